//! Which format a client is answered in.
//! Source: prometheus/common/expfmt (Negotiate, NegotiateIncludingOpenMetrics, v0.65 as in Prometheus 3.5).

use super::{EscapingScheme, Format};

/// How a page is written for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseFormat {
    /// The format.
    pub format: Format,
    /// What becomes of names beyond the legacy characters.
    pub escaping: EscapingScheme,
}

impl ResponseFormat {
    /// The `Content-Type` header.
    pub fn content_type(self) -> String {
        let format = match self.format {
            Format::PrometheusProto => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Format::PrometheusText004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::PrometheusText100 => "text/plain; version=1.0.0; charset=utf-8",
            Format::OpenMetricsText001 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Format::OpenMetricsText100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        format!("{format}; escaping={}", self.escaping.as_str())
    }
}

impl Default for ResponseFormat {
    /// What is answered to a client that asks for nothing.
    fn default() -> Self {
        Self { format: Format::PrometheusText004, escaping: EscapingScheme::Underscores }
    }
}

/// The format for an `Accept` header, never OpenMetrics: what Prometheus does on `/federate`.
pub fn negotiate(accept: &str) -> ResponseFormat {
    negotiate_among(accept, |clause| clause.prometheus_format())
}

/// The format for an `Accept` header, OpenMetrics included: what Prometheus does on `/metrics`.
pub fn negotiate_including_openmetrics(accept: &str) -> ResponseFormat {
    negotiate_among(accept, |clause| clause.prometheus_format().or_else(|| clause.openmetrics_format()))
}

/// An escaping scheme counts even if the clause that names it is not the one that is answered.
fn negotiate_among(accept: &str, format_of: impl Fn(&Clause<'_>) -> Option<Format>) -> ResponseFormat {
    let mut response = ResponseFormat::default();
    for clause in parse_accept(accept) {
        if let Some(escaping) = clause.parameter("escaping").and_then(EscapingScheme::parse) {
            response.escaping = escaping;
        }
        if let Some(format) = format_of(&clause) {
            response.format = format;
            break;
        }
    }
    response
}

/// One alternative of an `Accept` header.
struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f64,
    parameters: &'a str,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = match media_type.trim() {
            "*" => ("*", "*"),
            media_type => media_type.split_once('/')?,
        };
        let mut clause = Self { kind: kind.trim(), subtype: subtype.trim(), quality: 1.0, parameters };
        if let Some(quality) = clause.parameter("q") {
            clause.quality = quality.parse().ok().filter(|quality: &f64| quality.is_finite()).unwrap_or(1.0);
        }
        Some(clause)
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        let mut pairs = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim())
    }

    fn prometheus_format(&self) -> Option<Format> {
        match (self.kind, self.subtype) {
            ("application", "vnd.google.protobuf") => {
                let is_delimited = self.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && self.parameter("encoding") == Some("delimited");
                is_delimited.then_some(Format::PrometheusProto)
            }
            ("text", "plain") => {
                let is_known = matches!(self.parameter("version"), None | Some("" | "0.0.4"));
                is_known.then_some(Format::PrometheusText004)
            }
            _ => None,
        }
    }

    fn openmetrics_format(&self) -> Option<Format> {
        if (self.kind, self.subtype) != ("application", "openmetrics-text") {
            return None;
        }
        match self.parameter("version") {
            Some("1.0.0") => Some(Format::OpenMetricsText100),
            None | Some("" | "0.0.1") => Some(Format::OpenMetricsText001),
            Some(_) => None,
        }
    }
}

/// The alternatives, the one wanted most first; of equals, the more specific one.
fn parse_accept(accept: &str) -> Vec<Clause<'_>> {
    /// More alternatives than any client sends.
    const CLAUSES_MAX: usize = 64;
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).take(CLAUSES_MAX).collect();
    crate::model::sort_by(&mut clauses, |a, b| {
        b.quality
            .total_cmp(&a.quality)
            .then((a.kind == "*").cmp(&(b.kind == "*")))
            .then((a.subtype == "*").cmp(&(b.subtype == "*")))
    });
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_accept_header() {
        use EscapingScheme::{AllowUtf8, Underscores, Values};
        use Format::{OpenMetricsText001, OpenMetricsText100, PrometheusProto, PrometheusText004};
        let text = (PrometheusText004, Underscores);
        let prometheus35 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,\
                            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let cases = [
            ("", text, text),
            ("*/*", text, text),
            ("text/html, */*;q=0.1", text, text),
            (prometheus35, (PrometheusText004, AllowUtf8), (OpenMetricsText100, AllowUtf8)),
            (proto, (PrometheusProto, Underscores), (PrometheusProto, Underscores)),
            ("application/openmetrics-text", text, (OpenMetricsText001, Underscores)),
            ("application/openmetrics-text; version=2.0.0", text, text),
            (
                "text/plain;q=0.1, application/openmetrics-text;version=0.0.1;q=0.9",
                text,
                (OpenMetricsText001, Underscores),
            ),
            ("text/plain;version=0.0.4;escaping=values", (PrometheusText004, Values), (PrometheusText004, Values)),
            ("text/plain;escaping=nonsense", text, text),
            ("application/vnd.google.protobuf", text, text),
        ];
        for (accept, plain, with_openmetrics) in cases {
            let of = |(format, escaping)| ResponseFormat { format, escaping };
            assert_eq!(negotiate(accept), of(plain), "{accept}");
            assert_eq!(negotiate_including_openmetrics(accept), of(with_openmetrics), "{accept}");
        }
        assert_eq!(
            ResponseFormat::default().content_type(),
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
        );
    }
}
