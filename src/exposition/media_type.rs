//! `Content-Type` and its like: a media type and its parameters, with the strictness of Go's mime.ParseMediaType.

/// A media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// `text/plain`, in lower case.
    pub name: String,
    /// Names in lower case, and values.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// The value of a parameter, by its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the value of such a header. The error has Go's words.
pub fn parse_media_type(header: &str) -> Result<MediaType, &'static str> {
    let (name, mut rest) = header.split_once(';').unwrap_or((header, ""));
    let name = name.trim().to_ascii_lowercase();
    check_name(&name)?;
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(MediaType { name, parameters });
        }
        let (name, value, after) = take_parameter(rest).ok_or("mime: invalid media parameter")?;
        if parameters.iter().any(|(known, other)| *known == name && *other != value) {
            return Err("mime: duplicate parameter name");
        }
        parameters.push((name, value));
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(';').ok_or("mime: invalid media parameter")?;
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let (kind, rest) = name.split_at(token_len(name));
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let subtype = rest.strip_prefix('/').ok_or("mime: expected slash after first token")?;
    match token_len(subtype) {
        0 => Err("mime: expected token after slash"),
        length if length < subtype.len() => Err("mime: unexpected content after media subtype"),
        _ => Ok(()),
    }
}

fn token_len(text: &str) -> usize {
    text.bytes().take_while(|byte| is_token(*byte)).count()
}

/// `name=token` or `name="quoted"`: name in lower case, value, and what follows.
fn take_parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = text.split_at(token_len(text));
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    if name.is_empty() {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted)?,
        None => {
            let (value, rest) = rest.split_at(token_len(rest));
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
    fn mistakes_have_go_s_words() {
        for (header, expected) in [
            ("", "mime: no media type"),
            ("/plain", "mime: no media type"),
            ("text", ""),
            ("a b", "mime: expected slash after first token"),
            ("text/", "mime: expected token after slash"),
            ("text/a b", "mime: unexpected content after media subtype"),
            ("text/plain; a", "mime: invalid media parameter"),
            ("text/plain; a=1 b", "mime: invalid media parameter"),
            ("text/plain; a=1; A=2", "mime: duplicate parameter name"),
            ("text/plain; a=1; A=1", ""),
            ("Text/Plain; A=\"b \\\" c\" ;d=e;", ""),
        ] {
            assert_eq!(parse_media_type(header).err().unwrap_or(""), expected, "{header}");
        }
        let found = parse_media_type("Form-Data; NAME=\"a b\"").expect("valid");
        assert_eq!(
            (found.name.as_str(), found.parameter("name"), found.parameter("b")),
            ("form-data", Some("a b"), None)
        );
    }
}
