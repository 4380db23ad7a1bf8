//! The link from an alert to its expression.

/// Source of the form: `TableLinkForExpression` in prometheus/util/strutil/strconv.go.
pub fn generator_url(external_url: &str, query: &str) -> String {
    format!("{}/graph?g0.expr={}&g0.tab=1", external_url.trim_end_matches('/'), query_escape(query))
}

/// Escapes a value of a URL's query as Go's `url.QueryEscape` does.
fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_escaped() {
        let link = generator_url("http://pi:9090/", "up{job=\"a b\"} == 0");
        assert_eq!(link, "http://pi:9090/graph?g0.expr=up%7Bjob%3D%22a+b%22%7D+%3D%3D+0&g0.tab=1");
    }
}
