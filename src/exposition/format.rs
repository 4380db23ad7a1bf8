//! Which format a page is in, and which formats a scrape asks for.
//! Sources: prometheus 3.5 model/textparse/interface.go, scrape/scrape.go, config/config.go.

use super::EscapingScheme;
use super::media_type::parse_media_type;

/// A format in which a page of metrics may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `PrometheusProto`: length-delimited io.prometheus.client.MetricFamily messages.
    PrometheusProto,
    /// `PrometheusText0.0.4`
    PrometheusText004,
    /// `PrometheusText1.0.0`
    PrometheusText100,
    /// `OpenMetricsText0.0.1`
    OpenMetricsText001,
    /// `OpenMetricsText1.0.0`
    OpenMetricsText100,
}

/// A format found, and why it is not the one that the target named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedFormat {
    /// How the page is to be read.
    pub format: Format,
    /// What is wrong with the target, where the fallback had to be used.
    pub warning: Option<String>,
}

/// A target does not say in which format its page is, and the job names no fallback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// No header.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// Not a media type.
    #[error("cannot parse Content-Type {content_type:?} and no fallback_scrape_protocol for target: {reason}")]
    Malformed {
        /// The header.
        content_type: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Another media type.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(String),
}

impl Format {
    /// The media type with its version, as it is asked for and as `fallback_scrape_protocol` stands in.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::PrometheusText004 => "text/plain;version=0.0.4",
            Self::PrometheusText100 => "text/plain;version=1.0.0",
            Self::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
        }
    }

    /// The format that a response's `Content-Type` names (empty if there is none). Versions and other
    /// parameters must be well formed but do not matter: one parser reads all versions.
    pub fn from_content_type(content_type: &str, fallback: Option<Self>) -> Result<DetectedFormat, ContentTypeError> {
        let error = match parse_media_type(content_type) {
            Ok(found) => match Self::from_media_type(&found.name, found.parameter("version")) {
                Some(format) => return Ok(DetectedFormat { format, warning: None }),
                None => ContentTypeError::Unsupported(content_type.to_owned()),
            },
            Err(_) if content_type.is_empty() => ContentTypeError::Blank,
            Err(reason) => ContentTypeError::Malformed { content_type: content_type.to_owned(), reason },
        };
        match fallback {
            Some(format) => Ok(DetectedFormat { format, warning: Some(error.warning(format)) }),
            None => Err(error),
        }
    }

    fn from_media_type(media_type: &str, version: Option<&str>) -> Option<Self> {
        Some(match (media_type, version) {
            ("application/vnd.google.protobuf", _) => Self::PrometheusProto,
            ("application/openmetrics-text", Some("0.0.1")) => Self::OpenMetricsText001,
            ("application/openmetrics-text", _) => Self::OpenMetricsText100,
            ("text/plain", Some("1.0.0")) => Self::PrometheusText100,
            ("text/plain", _) => Self::PrometheusText004,
            _ => return None,
        })
    }

    /// Whether names beyond the legacy characters can be asked for in this format.
    fn takes_escaping(self) -> bool {
        matches!(self, Self::PrometheusText100 | Self::OpenMetricsText100)
    }
}

impl ContentTypeError {
    /// The same finding where a fallback was there.
    fn warning(&self, fallback: Format) -> String {
        let fallback = fallback.media_type().split(';').next().unwrap_or_default();
        match self {
            Self::Blank => format!(
                "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol {fallback:?}"
            ),
            Self::Malformed { content_type, reason } => format!(
                "could not parse received Content-Type {content_type:?}, using fallback_scrape_protocol {fallback:?}: {reason}"
            ),
            Self::Unsupported(content_type) => format!(
                "received unsupported Content-Type {content_type:?}, using fallback_scrape_protocol {fallback:?}"
            ),
        }
    }
}

/// The `Accept` header of a scrape that wants `formats`, the first one most, byte for byte
/// Prometheus 3.5's.
pub fn accept_header(formats: &[Format], escaping: EscapingScheme) -> String {
    /// One more than there are formats.
    const WEIGHT_MAX: usize = 6;
    let mut header = String::new();
    for (index, format) in formats.iter().take(WEIGHT_MAX - 1).enumerate() {
        header.push_str(format.media_type());
        if format.takes_escaping() {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        header.push_str(&format!(";q=0.{},", WEIGHT_MAX - index));
    }
    header.push_str(&format!("*/*;q=0.{}", WEIGHT_MAX - formats.len().min(WEIGHT_MAX - 1)));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_names_the_format() {
        use Format::*;
        let cases = [
            ("text/plain", Some(PrometheusText004)),
            ("text/plain; version=0.0.4; charset=utf-8; escaping=values", Some(PrometheusText004)),
            ("Text/Plain;VERSION=1.0.0", Some(PrometheusText100)),
            ("text/plain; version=\"1.0.0\"", Some(PrometheusText100)),
            ("text/plain;", Some(PrometheusText004)),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(OpenMetricsText100)),
            ("application/openmetrics-text;version=0.0.1", Some(OpenMetricsText001)),
            ("application/openmetrics-text", Some(OpenMetricsText100)),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Some(PrometheusProto),
            ),
            ("", None),
            ("text/html", None),
            ("text/plain; version", None),
            ("text/plain; a=1; a=2", None),
            ("text/", None),
            ("/plain", None),
            ("text/plain;;", None),
            ("text/plain; version=\"1", None),
        ];
        for (header, expected) in cases {
            let found = Format::from_content_type(header, None);
            assert_eq!(found.as_ref().ok().map(|found| found.format), expected, "{header}: {found:?}");
            if let Ok(found) = Format::from_content_type(header, Some(OpenMetricsText100)) {
                assert_eq!(found.warning.is_some(), expected.is_none(), "{header}");
                assert_eq!(found.format, expected.unwrap_or(OpenMetricsText100), "{header}");
            }
        }
    }

    #[test]
    fn accept_header_is_that_of_prometheus() {
        let formats = [
            Format::OpenMetricsText100,
            Format::OpenMetricsText001,
            Format::PrometheusText100,
            Format::PrometheusText004,
        ];
        let expected = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                        application/openmetrics-text;version=0.0.1;q=0.5,\
                        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accept_header(&formats, EscapingScheme::AllowUtf8), expected);
    }
}
