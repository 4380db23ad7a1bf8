//! `multipart/form-data`: the fields of a form that a browser or `curl -F` sends. Files are passed over.
//!
//! Source: RFC 7578 and Go's mime/multipart, as far as forms go: parts are not transfer-encoded.

use memchr::memmem;

use super::params::PARAMS_MAX;
use crate::exposition::parse_media_type;

/// Name and value of each field; `None` where the body is not whole.
pub(super) fn fields(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let delimiter = format!("--{boundary}");
    let mut fields = Vec::new();
    let mut rest = first_part(body, delimiter.as_bytes())?;
    loop {
        let (part, after) = take_part(rest, delimiter.as_bytes())?;
        if let Some(field) = field(part)? {
            fields.push(field);
        }
        if fields.len() > PARAMS_MAX {
            return None;
        }
        match after.strip_prefix(b"--") {
            Some(_) => return Some(fields),
            None => rest = after_line_end(after)?,
        }
    }
}

/// What comes behind the first delimiter, before which anything may stand.
fn first_part<'b>(body: &'b [u8], delimiter: &[u8]) -> Option<&'b [u8]> {
    let mut rest = body;
    loop {
        if let Some(after) = rest.strip_prefix(delimiter)
            && let Some(part) = after_line_end(after)
        {
            return Some(part);
        }
        rest = &rest[memchr::memchr(b'\n', rest)? + 1..];
    }
}

/// A part, and what comes behind the delimiter that ends it.
fn take_part<'b>(rest: &'b [u8], delimiter: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let ending = [b"\r\n", delimiter].concat();
    let mut from = 0;
    loop {
        let at = from + memmem::find(&rest[from..], &ending)?;
        let after = &rest[at + ending.len()..];
        // A longer line that only begins like it belongs to the part.
        if after.starts_with(b"--") || after_line_end(after).is_some() {
            return Some((&rest[..at], after));
        }
        from = at + 1;
    }
}

fn after_line_end(after: &[u8]) -> Option<&[u8]> {
    let blanks = after.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    after[blanks..].strip_prefix(b"\r\n")
}

/// A part's field; `Some(None)` for a file and for a part without a name.
fn field(part: &[u8]) -> Option<Option<(String, String)>> {
    const DISPOSITION: &str = "content-disposition";
    // A part may have no header and begin with the empty line.
    let (head, value) = match part.strip_prefix(b"\r\n") {
        Some(value) => (&[][..], value),
        None => {
            let end = memmem::find(part, b"\r\n\r\n")?;
            (&part[..end], &part[end + 4..])
        }
    };
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition = lines.find(|(name, _)| name.eq_ignore_ascii_case(DISPOSITION));
    let Some(disposition) = disposition.and_then(|(_, value)| parse_media_type(value.trim()).ok()) else {
        return Some(None);
    };
    let is_field = disposition.name == "form-data" && disposition.parameter("filename").is_none();
    let name = disposition.parameter("name").filter(|_| is_field);
    Some(name.map(|name| (name.to_owned(), String::from_utf8_lossy(value).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_files_passed_over() {
        const A: &str = "Content-Disposition: form-data; name=\"a\"";
        for (body, expected) in [
            (format!("--x\r\n{A}\r\n\r\n1\r\n--x--\r\n"), Some(&[("a", "1")][..])),
            (format!("preamble\r\n--x \r\n{A}\r\n\r\n1\r\n--x--"), Some(&[("a", "1")])),
            (format!("--x\r\n{A}\r\n\r\n1\r\n--xy\r\n\r\n--x--"), Some(&[("a", "1\r\n--xy\r\n")])),
            (format!("--x\r\n{A}\r\n\r\n\r\n--x\r\n{A}\r\nX: y\r\n\r\n2 3\r\n--x--"), Some(&[("a", ""), ("a", "2 3")])),
            (format!("--x\r\n{A}; filename=\"f\"\r\n\r\n1\r\n--x--"), Some(&[])),
            ("--x\r\ncontent-disposition:form-data;name=a\r\n\r\n1\r\n--x--".to_owned(), Some(&[("a", "1")])),
            ("--x\r\n\r\n1\r\n--x--".to_owned(), Some(&[])),
            ("--x\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x--".to_owned(), Some(&[])),
            (format!("--x\r\n{A}\r\n\r\n1\r\n--x"), None),
            (format!("--x\r\n{A}\r\n\r\n1\r\n"), None),
            (format!("--x\r\n{A}\r\n1\r\n--x--"), None),
            ("--y--".to_owned(), None),
            ("a=1".to_owned(), None),
            (String::new(), None),
        ] {
            let expected = expected.map(|fields| {
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
            });
            assert_eq!(fields(body.as_bytes(), "x"), expected, "{body:?}");
        }
    }
}
