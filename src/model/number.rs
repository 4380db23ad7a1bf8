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
/// (`Inf`, `+inf`, `Infinity`, `NaN`, any case).
pub fn parse_float(text: &str) -> Option<f64> {
    // Rust accepts the same spellings, and none of Go's hexadecimal floats, which no format uses.
    text.parse().ok()
}
