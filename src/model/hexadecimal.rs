//! Bytes as text in base 16, two digits each.

/// The digits of all bytes.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_each() {
        assert_eq!(hexadecimal(&[0, 0x0f, 0xa9, 0xff]), "000fa9ff");
    }
}
