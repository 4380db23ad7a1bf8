//! The parameters of a request: the query string and an urlencoded form, read as Go's net/http does.

use std::ops::Range;

use super::api::ApiError;
use super::time::{parse_length, parse_time};
use crate::model::Timestamp;

/// The most parameters that one request may carry.
pub(super) const PARAMS_MAX: usize = 10_000;

/// What came with a request beside its URL.
#[derive(Debug, Default)]
pub(super) enum Form {
    #[default]
    None,
    /// `application/x-www-form-urlencoded`
    Encoded(Vec<u8>),
    /// `multipart/form-data`, read.
    Fields(Vec<(String, String)>),
}

/// Name and value pairs. Those of an encoded form stand before those of the URL, those of fields behind them.
#[derive(Debug, Default)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    of_url: Range<usize>,
    error: Option<String>,
}

impl Params {
    /// Reads both places. A malformed pair is left out and remembered: only some endpoints mind.
    pub(super) fn parse(query: &str, form: Form) -> Self {
        let mut params = Self::default();
        if let Form::Encoded(form) = &form {
            params.read(&String::from_utf8_lossy(form));
        }
        let start = params.pairs.len();
        params.read(query);
        params.of_url = start..params.pairs.len();
        if let Form::Fields(fields) = form {
            params.pairs.extend(fields);
        }
        params
    }

    /// The first value of `name`, or the empty string.
    pub(super) fn get(&self, name: &str) -> &str {
        first(&self.pairs, name)
    }

    /// The first value of `name` in the URL, or the empty string: what some endpoints look at alone.
    pub(super) fn in_url(&self, name: &str) -> &str {
        first(&self.pairs[self.of_url.clone()], name)
    }

    /// All values of `name`.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// Fails if any pair was malformed.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        match &self.error {
            Some(reason) => Err(ApiError::bad_data(format!("error parsing form values: {reason}"))),
            None => Ok(()),
        }
    }

    /// An optional time.
    pub(super) fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text).map_err(|reason| {
                ApiError::invalid_parameter(name, format!("invalid time value for '{name}': {reason}"))
            }),
        }
    }

    /// A time that must be there.
    pub(super) fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.get(name)).map_err(|reason| ApiError::invalid_parameter(name, reason))
    }

    /// A length of time that must be there, in nanoseconds.
    pub(super) fn length(&self, name: &str) -> Result<i64, ApiError> {
        parse_length(self.get(name)).map_err(|reason| ApiError::invalid_parameter(name, reason))
    }

    /// `limit`: none if absent or 0.
    pub(super) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(None);
        }
        let limit = parse_integer(text, "Atoi").map_err(|reason| ApiError::invalid_parameter("limit", reason))?;
        match usize::try_from(limit) {
            Ok(0) => Ok(None),
            Ok(limit) => Ok(Some(limit)),
            Err(_) if limit < 0 => Err(ApiError::invalid_parameter("limit", "limit must be non-negative")),
            // More than the address space holds is no limit.
            Err(_) => Ok(None),
        }
    }

    fn read(&mut self, text: &str) {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if self.pairs.len() >= PARAMS_MAX {
                self.fail(format!("more than {PARAMS_MAX} parameters"));
                return;
            }
            match parse_pair(pair) {
                Ok(pair) => self.pairs.push(pair),
                Err(reason) => self.fail(reason),
            }
        }
    }

    /// Remembers a mistake, unless there was one before.
    pub(super) fn fail(&mut self, reason: String) {
        self.error.get_or_insert(reason);
    }
}

/// A whole number, with the error text of Go's function of that name.
pub(super) fn parse_integer(text: &str, function: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {reason}")
    })
}

/// Decodes `%41`; `+` stays as it is. The error names the faulty escape.
pub(super) fn decode_percent(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            decoded.push(bytes[at]);
            at += 1;
            continue;
        }
        let escape = &bytes[at..bytes.len().min(at + 3)];
        let digits = std::str::from_utf8(&escape[1..]).ok().filter(|digits| digits.len() == 2);
        let byte = digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| format!("invalid URL escape {:?}", String::from_utf8_lossy(escape)))?;
        decoded.push(byte);
        at += 3;
    }
    Ok(decoded)
}

fn parse_pair(pair: &str) -> Result<(String, String), String> {
    if pair.contains(';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decode = |part: &str| decode_percent(&part.replace('+', " ")).map(into_text);
    Ok((decode(name)?, decode(value)?))
}

/// What is no UTF-8 becomes replacement characters.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(candidate, _)| candidate == name).map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_comes_before_url() {
        let form = Form::Encoded(b"q=body&m%5B%5D=a+b%2B&m[]=2".to_vec());
        let params = Params::parse("q=url&m[]=1&x=%C3%A9", form);
        assert_eq!(params.get("q"), "body");
        assert_eq!(params.in_url("q"), "url");
        assert_eq!(params.all("m[]").collect::<Vec<_>>(), ["a b+", "2", "1"]);
        assert_eq!(params.get("x"), "é");
        assert_eq!(params.get("absent"), "");
        assert!(params.check().is_ok());
    }

    #[test]
    fn fields_come_behind_url() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let params =
            Params::parse("q=url&m=1", Form::Fields(vec![field("q", "field"), field("m", "2"), field("x", "3")]));
        assert_eq!((params.get("q"), params.get("x"), params.in_url("x")), ("url", "3", ""));
        assert_eq!(params.all("m").collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn malformed_pairs_are_left_out_and_remembered() {
        for (query, reason) in [
            ("a=%zz", "invalid URL escape \"%zz\""),
            ("a=%", "invalid URL escape \"%\""),
            ("a=%4", "invalid URL escape \"%4\""),
            ("a=%+1", "invalid URL escape \"% 1\""),
            ("a;b=c", "invalid semicolon separator in query"),
        ] {
            let params = Params::parse(&format!("{query}&q=1"), Form::None);
            assert_eq!(params.get("q"), "1", "{query}");
            let error = params.check().expect_err(query);
            assert_eq!(error.message(), format!("error parsing form values: {reason}"));
        }
    }

    #[test]
    fn parameters_are_counted() {
        let params = Params::parse(&"a=1&".repeat(PARAMS_MAX + 5), Form::None);
        assert_eq!(params.all("a").count(), PARAMS_MAX);
        assert!(params.check().is_err());
    }

    #[test]
    fn limits() {
        let of = |text: &str| {
            Params::parse(&format!("limit={text}"), Form::None).limit().map_err(|error| error.message().to_owned())
        };
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("0"), Ok(None));
        assert_eq!(of("%2B5"), Ok(Some(5)));
        for (text, reason) in [
            ("abc", "strconv.Atoi: parsing \"abc\": invalid syntax"),
            ("99999999999999999999", "strconv.Atoi: parsing \"99999999999999999999\": value out of range"),
            ("-1", "limit must be non-negative"),
        ] {
            assert_eq!(of(text), Err(format!("invalid parameter \"limit\": {reason}")));
        }
    }
}
