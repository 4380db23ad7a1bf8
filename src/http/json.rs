//! JSON as Prometheus writes it, byte for byte: key order is the caller's, floats are Go's, and
//! `<`, `>` and `&` are escaped everywhere but in label sets.
//!
//! Source: prometheus/util/jsonutil and json-iterator's standard-compatible configuration.

use crate::model::{Labels, Timestamp, push_float_json, push_rfc3339};

/// A JSON text under construction. Commas are put in by the writer.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
    needs_comma: bool,
    /// Numbers are spelled here first; one buffer serves all.
    number: String,
}

impl Json {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Continues a text of which an element was written before.
    pub(super) fn continuing(out: Vec<u8>, needs_comma: bool) -> Self {
        Self { out, needs_comma, number: String::new() }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Whether an element stands before the place where the text ends now.
    pub(super) fn needs_comma(&self) -> bool {
        self.needs_comma
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn object(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(b'{', b'}', body)
    }

    pub(super) fn array(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.nested(b'[', b']', body)
    }

    /// An array with one element per item.
    pub(super) fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.array(|json| items.into_iter().for_each(|item| each(json, item)));
    }

    pub(super) fn strings<S: AsRef<str>>(&mut self, items: impl IntoIterator<Item = S>) {
        self.list(items, |json, item| {
            json.string(item.as_ref());
        });
    }

    /// An object's key; its value follows.
    pub(super) fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        push_string(&mut self.out, name, true);
        self.out.push(b':');
        self.needs_comma = false;
        self
    }

    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.separate();
        push_string(&mut self.out, text, true);
        self
    }

    /// A bare number.
    pub(super) fn float(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.push_float(value);
        self
    }

    /// A number in quotes: how sample values travel, since JSON has no NaN and no infinity.
    pub(super) fn quoted_float(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.push_float(value);
        self.out.push(b'"');
        self
    }

    pub(super) fn integer(&mut self, value: impl Into<i128>) -> &mut Self {
        self.raw(&value.into().to_string())
    }

    pub(super) fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.raw("null")
    }

    /// A label set as an object.
    pub(super) fn labels(&mut self, labels: &Labels) -> &mut Self {
        self.separate();
        self.out.push(b'{');
        for (index, (name, value)) in labels.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_string(&mut self.out, name, false);
            self.out.push(b':');
            push_string(&mut self.out, value, false);
        }
        self.out.push(b'}');
        self
    }

    /// A sample's time: seconds, with three decimals unless it is a whole second.
    pub(super) fn sample_time(&mut self, at: Timestamp) -> &mut Self {
        self.separate();
        push_sample_time(&mut self.out, at);
        self
    }

    /// A point in time as RFC 3339 text; what never happened is Go's year 1.
    pub(super) fn date(&mut self, at: Option<Timestamp>) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        match at {
            Some(at) => {
                self.number.clear();
                push_rfc3339(&mut self.number, at);
                self.out.extend_from_slice(self.number.as_bytes());
            }
            None => self.out.extend_from_slice(b"0001-01-01T00:00:00Z"),
        }
        self.out.push(b'"');
        self
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    /// Bytes that continue the text where it stands, without a separator.
    pub(super) fn punctuation(&mut self, text: &str, needs_comma: bool) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self.needs_comma = needs_comma;
        self
    }

    fn push_float(&mut self, value: f64) {
        self.number.clear();
        push_float_json(&mut self.number, value);
        self.out.extend_from_slice(self.number.as_bytes());
    }

    fn nested(&mut self, open: u8, close: u8, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.separate();
        self.out.push(open);
        self.needs_comma = false;
        body(self);
        self.out.push(close);
        self.needs_comma = true;
        self
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }
}

/// Go's `strconv.FormatFloat(v, 'e', -1, 64)`.
pub(super) fn format_exponent(value: f64) -> String {
    if !value.is_finite() {
        return crate::model::format_float(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("LowerExp always writes an exponent");
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

fn push_sample_time(out: &mut Vec<u8>, at: Timestamp) {
    let millis = at.0.unsigned_abs();
    let sign = if at.0 < 0 { "-" } else { "" };
    let text = match millis % 1000 {
        0 => format!("{sign}{}", millis / 1000),
        fraction => format!("{sign}{}.{fraction:03}", millis / 1000),
    };
    out.extend_from_slice(text.as_bytes());
}

fn push_string(out: &mut Vec<u8>, text: &str, escape_html: bool) {
    out.push(b'"');
    let mut written = 0;
    for (at, symbol) in text.char_indices() {
        let Some(escape) = escape(symbol, escape_html) else { continue };
        out.extend_from_slice(&text.as_bytes()[written..at]);
        out.extend_from_slice(escape.as_bytes());
        written = at + symbol.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
    out.push(b'"');
}

fn escape(symbol: char, escape_html: bool) -> Option<std::borrow::Cow<'static, str>> {
    Some(match symbol {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\0'..='\u{1f}' => format!("\\u{:04x}", u32::from(symbol)).into(),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if escape_html => format!("\\u{:04x}", u32::from(symbol)).into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::new();
        body(&mut json);
        String::from_utf8(json.into_bytes()).expect("JSON is UTF-8")
    }

    #[test]
    fn floats_are_gos() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (2.0, "2"),
            (0.002184239, "0.002184239"),
            (1e-6, "0.000001"),
            (-1e-7, "-1e-07"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (2.15e31, "2.15e+31"),
            (1e-300, "1e-300"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(
                written(|json| {
                    json.float(value);
                }),
                expected
            );
        }
        assert_eq!(format_exponent(1.0), "1e+00");
        assert_eq!(format_exponent(-123.5), "-1.235e+02");
    }

    #[test]
    fn sample_times_have_three_decimals_or_none() {
        for (millis, expected) in [(0, "0"), (1_000, "1"), (1_500, "1.500"), (1_030, "1.030"), (-1_001, "-1.001")] {
            assert_eq!(
                written(|json| {
                    json.sample_time(Timestamp(millis));
                }),
                expected
            );
        }
    }

    #[test]
    fn text_is_safe_in_html_and_label_sets_are_plain() {
        let hostile = "<b>&\"\\\n\r\t\u{1}\u{2028}é";
        let escaped = "\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\r\\t\\u0001\\u2028é\"";
        assert_eq!(
            written(|json| {
                json.string(hostile);
            }),
            escaped
        );
        let labels = Labels::from_pairs([("room", "<b>&\n")]);
        assert_eq!(
            written(|json| {
                json.labels(&labels);
            }),
            r#"{"room":"<b>&\n"}"#
        );
    }

    #[test]
    fn commas_fall_where_they_belong() {
        let text = written(|json| {
            json.object(|json| {
                json.key("a").list([1, 2], |json, item| {
                    json.integer(item);
                });
                json.key("b").object(|_| {});
                json.key("c").null();
            });
        });
        assert_eq!(text, r#"{"a":[1,2],"b":{},"c":null}"#);
    }
}
