//! Which format a page is in, and which formats a scrape asks for.
//! Sources: prometheus 3.5 model/textparse/interface.go, scrape/scrape.go, config/config.go.

use super::EscapingScheme;

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
            Ok((media_type, version)) => match Self::from_media_type(&media_type, version.as_deref()) {
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

/// Media type (in lower case) and its `version`, with the strictness of Go's mime.ParseMediaType.
fn parse_media_type(header: &str) -> Result<(String, Option<String>), &'static str> {
    let (media_type, mut rest) = header.split_once(';').map_or((header, ""), |(first, rest)| (first, rest));
    let media_type = media_type.trim().to_ascii_lowercase();
    check_media_type(&media_type)?;
    let mut names: Vec<String> = Vec::new();
    let mut version = None;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok((media_type, version));
        }
        let (name, value, after) = take_parameter(rest).ok_or("mime: invalid media parameter")?;
        if names.contains(&name) {
            return Err("mime: duplicate parameter name");
        }
        if name == "version" {
            version = Some(value);
        }
        names.push(name);
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(';').ok_or("mime: invalid media parameter")?;
        }
    }
}

fn check_media_type(media_type: &str) -> Result<(), &'static str> {
    let (kind, subtype) = media_type.split_once('/').map_or((media_type, None), |(kind, sub)| (kind, Some(sub)));
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if !kind.bytes().all(is_token) {
        return Err("mime: unexpected content after media subtype");
    }
    match subtype {
        None => Ok(()),
        Some("") => Err("mime: expected token after slash"),
        Some(subtype) if subtype.bytes().all(is_token) => Ok(()),
        Some(_) => Err("mime: unexpected content after media subtype"),
    }
}

/// `name=token` or `name="quoted"`: name in lower case, value, and what follows.
fn take_parameter(text: &str) -> Option<(String, String, &str)> {
    let name_len = text.bytes().take_while(|byte| is_token(*byte)).count();
    let (name, rest) = text.split_at(name_len);
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    if name.is_empty() {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted)?,
        None => {
            let (value, rest) = rest.split_at(rest.bytes().take_while(|byte| is_token(*byte)).count());
            (value.to_owned(), rest)
        }
    };
    (!value.is_empty()).then(|| (name.to_ascii_lowercase(), value, rest))
}

fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            '\r' | '\n' => return None,
            _ => value.push(char),
        }
    }
    None
}

/// Characters of a token (RFC 7230).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
