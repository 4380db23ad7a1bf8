//! A slow reader of the Prometheus text format: one byte at a time, one copy per token, the standard library's numbers.

use super::checks::Sample;

/// The samples of a page up to its end or its first error, and whether the page is good.
pub fn read(page: &[u8]) -> (Vec<Sample>, bool) {
    let mut reader = Reader { rest: page.iter().copied().collect(), samples: Vec::new() };
    let is_good = reader.page().is_some();
    (reader.samples, is_good)
}

/// What is left of the page, and what was found.
struct Reader {
    rest: std::collections::VecDeque<u8>,
    samples: Vec<Sample>,
}

/// `None` is an error throughout.
impl Reader {
    fn page(&mut self) -> Option<()> {
        loop {
            self.blanks();
            match self.peek() {
                b'\0' => return Some(()),
                b'\n' => drop(self.next()),
                b'#' => {
                    if !self.comment()? {
                        return Some(());
                    }
                }
                _ => self.sample()?,
            }
        }
    }

    /// Whether the page goes on behind the line.
    fn comment(&mut self) -> Option<bool> {
        self.next();
        let is_bare = !matches!(self.peek(), b' ' | b'\t');
        self.blanks();
        let word: Vec<u8> = self.rest.iter().copied().take(5).collect();
        let is_metadata =
            matches!(word.as_slice(), [b'H', b'E', b'L', b'P', b' ' | b'\t'] | [b'T', b'Y', b'P', b'E', b' ' | b'\t']);
        if is_bare || !is_metadata {
            let line = self.line();
            return Some(!(is_bare && line.contains(&0)));
        }
        self.rest.drain(..4);
        self.blanks();
        let is_quoted = self.peek() == b'"';
        let name = if is_quoted { self.quoted()? } else { self.name(true) };
        if std::str::from_utf8(&name).is_err() || (name.is_empty() && !is_quoted) {
            return None;
        }
        let line = self.line();
        let text = if line.iter().all(|byte| matches!(byte, b' ' | b'\t')) { &[] } else { &line[1..] };
        let is_good = match word[0] {
            b'H' => std::str::from_utf8(text).is_ok(),
            _ => matches!(text, b"counter" | b"gauge" | b"histogram" | b"summary" | b"untyped"),
        };
        is_good.then_some(true)
    }

    fn sample(&mut self) -> Option<()> {
        let mut labels = Vec::new();
        let name = self.name(true);
        if !name.is_empty() {
            labels.push(("__name__".to_owned(), String::from_utf8(name).ok()?));
        } else if self.peek() != b'{' {
            return None;
        }
        self.blanks();
        if self.peek() == b'{' {
            self.next();
            self.labels(&mut labels)?;
        }
        self.blanks();
        let value = self.value()?;
        self.blanks();
        let mut digits = String::new();
        while self.peek().is_ascii_digit() {
            digits.push(char::from(self.next()));
        }
        let timestamp = if digits.is_empty() { None } else { Some(digits.parse().ok()?) };
        self.blanks();
        if !self.rest.is_empty() && self.next() != b'\n' {
            return None;
        }
        self.samples.push((labels, value, timestamp));
        Some(())
    }

    fn labels(&mut self, labels: &mut Vec<(String, String)>) -> Option<()> {
        let mut is_named = !labels.is_empty();
        loop {
            self.blanks();
            if self.peek() == b'}' {
                self.next();
                return is_named.then_some(());
            }
            let is_quoted = self.peek() == b'"';
            let name = if is_quoted { unescape(self.quoted()?)? } else { String::from_utf8(self.name(false)).ok()? };
            if name.is_empty() && !is_quoted {
                return None;
            }
            self.blanks();
            if self.peek() == b'=' {
                self.next();
                self.blanks();
                let value = unescape(self.quoted()?)?;
                labels.push((name, value));
                self.blanks();
                if self.peek() == b',' {
                    self.next();
                }
                continue;
            }
            if !is_quoted || is_named || !matches!(self.peek(), b',' | b'}') {
                return None;
            }
            is_named = true;
            labels.push(("__name__".to_owned(), name));
            if self.peek() == b',' {
                self.next();
            }
        }
    }

    /// The bits of a number.
    fn value(&mut self) -> Option<u64> {
        let mut token = Vec::new();
        while !self.rest.is_empty() && !matches!(self.peek(), b' ' | b'\t' | b'\n' | b'{') {
            token.push(self.next());
        }
        let token = String::from_utf8(token).ok()?;
        let value: f64 = token.parse().ok()?;
        let word = token.to_ascii_lowercase();
        match value {
            _ if value.is_nan() => (word == "nan").then_some(0x7ff8_0000_0000_0001),
            _ if value.is_infinite() => word.contains("inf").then_some(value.to_bits()),
            _ => Some(value.to_bits()),
        }
    }

    fn name(&mut self, is_metric: bool) -> Vec<u8> {
        let mut name = Vec::new();
        loop {
            let byte = self.peek();
            let fits = byte.is_ascii_alphabetic() || byte == b'_' || (is_metric && byte == b':');
            if self.rest.is_empty() || !(fits || (byte.is_ascii_digit() && !name.is_empty())) {
                return name;
            }
            name.push(self.next());
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        if self.rest.pop_front()? != b'"' {
            return None;
        }
        let mut text = Vec::new();
        loop {
            match self.rest.pop_front()? {
                b'"' => return Some(text),
                b'\\' => {
                    let escaped = self.rest.pop_front()?;
                    if escaped == b'\n' {
                        return None;
                    }
                    text.extend([b'\\', escaped]);
                }
                byte => text.push(byte),
            }
        }
    }

    fn line(&mut self) -> Vec<u8> {
        let len = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
        self.rest.drain(..len).collect()
    }

    fn blanks(&mut self) {
        while matches!(self.rest.front(), Some(b' ' | b'\t')) {
            self.rest.pop_front();
        }
    }

    /// The next byte; at the end a zero byte, which ends a page as well.
    fn peek(&self) -> u8 {
        self.rest.front().copied().unwrap_or(0)
    }

    fn next(&mut self) -> u8 {
        self.rest.pop_front().unwrap_or(0)
    }
}

fn unescape(text: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(text).ok()?;
    let mut output = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, chars.clone().next()) {
            ('\\', Some(escaped @ ('\\' | '"'))) => output.push(escaped),
            ('\\', Some('n')) => output.push('\n'),
            _ => {
                output.push(char);
                continue;
            }
        }
        chars.next();
    }
    Some(output)
}
