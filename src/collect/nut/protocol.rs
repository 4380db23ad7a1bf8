//! The protocol of the Network UPS Tools: lines of words, asked and answered.
//!
//! Source: NUT's developer guide, chapter "Network protocol information" (RFC 9271). Words with spaces stand in double quotes,
//! with backslashes before quotes and backslashes.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// upsd's own lines are shorter than 512 bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// Lines of one list: a power supply has some fifty variables.
pub const LIST_LINES_MAX: usize = 512;

/// A conversation with a server.
pub struct Conversation<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Over an open connection.
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends a request and gives the words of the line that answers it.
    pub async fn ask(&mut self, request: &[&str]) -> Result<Vec<String>, String> {
        self.send(request).await?;
        let answer = self.line().await?;
        refusal(request, &answer)?;
        Ok(answer)
    }

    /// Asks for a list (`LIST` and `what`): the words of each line, without those that every line begins with.
    pub async fn list(&mut self, what: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let request: Vec<&str> = [&["LIST"], what].concat();
        let begin = self.ask(&request).await?;
        if begin.first().map(String::as_str) != Some("BEGIN") {
            return Err(format!("{} was answered with {:?}", request.join(" "), begin.join(" ")));
        }
        let mut lines = Vec::new();
        loop {
            let mut line = self.line().await?;
            if line.first().map(String::as_str) == Some("END") {
                return Ok(lines);
            }
            if lines.len() == LIST_LINES_MAX {
                return Err(format!("{} has more than {LIST_LINES_MAX} lines", request.join(" ")));
            }
            let is_of_it = line.len() > what.len() && line.iter().zip(what).all(|(word, asked)| word == asked);
            if !is_of_it {
                return Err(format!("{} goes on with {:?}", request.join(" "), line.join(" ")));
            }
            line.drain(..what.len());
            lines.push(line);
        }
    }

    async fn send(&mut self, request: &[&str]) -> Result<(), String> {
        let mut line = request.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).await.map_err(|error| error.to_string())
    }

    async fn line(&mut self) -> Result<Vec<String>, String> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.stream).take(LINE_BYTES_MAX);
        bounded.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        match line.pop() {
            Some(b'\n') => words(&String::from_utf8_lossy(&line)),
            Some(_) if line.len() + 1 >= LINE_BYTES_MAX as usize => Err("a line without an end".to_owned()),
            _ => Err("it closed the connection".to_owned()),
        }
    }
}

/// What an `ERR` means.
fn refusal(request: &[&str], answer: &[String]) -> Result<(), String> {
    let [word, code, ..] = answer else { return Ok(()) };
    if word != "ERR" {
        return Ok(());
    }
    Err(match code.as_str() {
        "UNKNOWN-UPS" => "it knows no such ups; `upsc -l` lists them".to_owned(),
        "ACCESS-DENIED" | "USERNAME-REQUIRED" | "PASSWORD-REQUIRED" | "INVALID-USERNAME" | "INVALID-PASSWORD" => {
            format!("access denied ({code}): set `basic_auth` to a user of its upsd.users")
        }
        "DRIVER-NOT-CONNECTED" => "its driver of the ups is not running (DRIVER-NOT-CONNECTED)".to_owned(),
        "DATA-STALE" => "its driver has lost the ups (DATA-STALE): look at the cable".to_owned(),
        // The second word of a request is no secret, unlike the one behind PASSWORD.
        code => format!("{} was refused: {code}", request.first().unwrap_or(&"")),
    })
}

/// The words of a line.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_word(quoted).ok_or_else(|| format!("a quote without an end in {line:?}"))?,
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// A word up to its closing quote, and what follows that.
fn quoted_word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((word, &text[at + 1..])),
            '\\' => word.push(chars.next()?.1),
            char => word.push(char),
        }
    }
    None
}

fn quoted(word: &str) -> String {
    // A line's end would begin another request.
    let word: String = word.chars().filter(|char| !char.is_control()).collect();
    // Outside quotes upsd's reader (NUT's common/parseconf.c) takes `#` for a comment and `=` for a word.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if word.is_empty() || !word.bytes().all(is_plain) {
        return format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words() {
        let check = |line: &str, expected: Result<&[&str], &str>| {
            let got = words(line);
            let expected = expected.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
            assert_eq!(got, expected.map_err(str::to_owned), "{line}");
        };
        check("", Ok(&[]));
        check("VAR su700 ups.mfr \"APC by \\\"S\\\"\"", Ok(&["VAR", "su700", "ups.mfr", "APC by \"S\""]));
        check("VAR su700 ups.model \"\"", Ok(&["VAR", "su700", "ups.model", ""]));
        check("A \"b\\\\\"  c", Ok(&["A", "b\\", "c"]));
        check("A \"b", Err("a quote without an end in \"A \\\"b\""));
        check("A \"b\\", Err("a quote without an end in \"A \\\"b\\\\\""));
    }

    #[test]
    fn words_become_lines() {
        for (word, expected) in
            [("a", "a"), ("", "\"\""), ("a b", "\"a b\""), ("a\"\\", "\"a\\\"\\\\\""), ("a\nFSD ups", "\"aFSD ups\"")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}
