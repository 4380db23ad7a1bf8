//! Floats as text, in Go's spelling, which Prometheus's formats share.

/// Writes a float as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: shortest form that reads back,
/// no exponent, `+Inf`, `-Inf`, `NaN`.
pub fn format_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

/// Reads a float as Go's `strconv.ParseFloat` does for decimal and special spellings
/// (`Inf`, `+inf`, `Infinity`, `NaN`, any case). A number too large for a float is none, and a sign
/// in front of `NaN` is not allowed.
pub fn parse_float(text: &str) -> Option<f64> {
    // Rust accepts the same spellings, and none of Go's hexadecimal floats, which no format uses.
    let value: f64 = text.parse().ok()?;
    let is_number = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_signed = text.starts_with(['+', '-']);
    let is_refused = (value.is_infinite() && is_number) || (value.is_nan() && is_signed);
    (!is_refused).then_some(value)
}

/// Writes a float as Go's `%g`: shortest form that reads back, with an exponent below 1e-4 and from
/// 1e21 on; `+Inf`, `-Inf`, `NaN`. Histograms and messages are written so.
pub fn format_general(value: f64) -> String {
    if value != 0.0 && value.is_finite() && !(1e-4..1e21).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format_float(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_form_has_go_exponents() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.25e-300, "-1.25e-300"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_general(value), expected);
        }
    }
}
