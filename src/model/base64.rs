//! Base64 in the standard alphabet: RFC 4648, section 4.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as text, with padding.
pub fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let index = (group >> (18 - 6 * position) & 63) as usize;
            text.push(if position <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

/// The bytes that digits without padding stand for; bits that make no whole byte are left out. `None` if one is no digit.
pub fn decode_base64_digits(digits: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(digits.size_hint().0 / 4 * 3);
    let (mut group, mut bits) = (0_u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (text, expected) in cases {
            assert_eq!(encode_base64(text.as_bytes()), expected, "{text}");
            let digits = expected.trim_end_matches('=').bytes();
            assert_eq!(decode_base64_digits(digits).as_deref(), Some(text.as_bytes()), "{expected}");
        }
        let every = ALPHABET.iter().copied();
        let bytes = decode_base64_digits(every).expect("digits");
        assert_eq!(encode_base64(&bytes).as_bytes(), ALPHABET);
        assert_eq!(decode_base64_digits(b"Zg=".iter().copied()), None);
    }
}
