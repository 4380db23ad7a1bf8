//! A large OpenMetrics text in pieces of whole lines, so that memory holds one piece only.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::exposition::{Entry, OpenMetricsParser, ParseError, Series};

/// A piece; a single line may make it longer.
const CHUNK_BYTES: usize = 1 << 20;
/// No line is longer.
const LINE_BYTES_MAX: usize = 16 << 20;
const END: &[u8] = b"# EOF\n";

/// Where a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: usize,
    /// Lines before it.
    pub lines_before: usize,
    /// The last TYPE line before it: it says how `le` is spelled.
    pub type_line: Vec<u8>,
}

/// The file and a buffer.
pub struct TextChunks {
    file: File,
    text: Vec<u8>,
}

/// What is wrong with a text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// A line is wrong.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl TextChunks {
    /// The text in a file.
    pub fn new(file: File) -> Self {
        Self { file, text: Vec::new() }
    }

    /// Goes through the whole text once; `visit` gets each sample and the number of its piece. Gives the pieces.
    pub fn scan(
        &mut self,
        mut visit: impl FnMut(usize, &Series<'_>) -> Result<(), String>,
    ) -> Result<Vec<Chunk>, TextError> {
        let (mut chunks, mut rest) = (Vec::new(), Vec::new());
        let (mut offset, mut lines_before, mut type_line) = (0u64, 0, Vec::new());
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            let is_last = self.fill(&mut rest, lines_before)?;
            let chunk = Chunk { offset, len: self.text.len(), lines_before, type_line: type_line.clone() };
            if let Some(at) = memchr::memmem::find(&self.text, b"\r\n") {
                let line = lines_before + lines(&self.text[..at]) + 1;
                let reason =
                    "it ends in CR and LF: OpenMetrics has LF alone (sed -i 's/\\r$//' FILE removes the others)";
                return Err(TextError::Line { line, reason: reason.to_owned() });
            }
            if is_last && !self.text.ends_with(END) && !self.text.ends_with(b"# EOF") {
                let line = lines_before + lines(&self.text).max(1);
                return Err(TextError::Line {
                    line,
                    reason: "the text does not end with \"# EOF\"; it is cut off".to_owned(),
                });
            }
            let number = chunks.len();
            self.parse(&chunk, is_last, |series| visit(number, series))?;
            offset += self.text.len() as u64;
            lines_before += lines(&self.text);
            if let Some(line) = last_type_line(&self.text) {
                type_line = line.to_vec();
            }
            chunks.push(chunk);
            if is_last {
                return Ok(chunks);
            }
        }
    }

    /// Reads one piece again.
    pub fn read(
        &mut self,
        chunk: &Chunk,
        is_last: bool,
        visit: impl FnMut(&Series<'_>) -> Result<(), String>,
    ) -> Result<(), TextError> {
        self.text.resize(chunk.len, 0);
        self.file.seek(SeekFrom::Start(chunk.offset))?;
        self.file.read_exact(&mut self.text)?;
        self.parse(chunk, is_last, visit)
    }

    /// Fills `text` with whole lines; what comes behind waits in `rest`. Says whether the file has ended.
    fn fill(&mut self, rest: &mut Vec<u8>, lines_before: usize) -> Result<bool, TextError> {
        self.text.clear();
        self.text.append(rest);
        let mut wanted = CHUNK_BYTES;
        loop {
            let missing = wanted.saturating_sub(self.text.len()) as u64;
            let read = (&mut self.file).take(missing).read_to_end(&mut self.text)?;
            if (read as u64) < missing {
                return Ok(true);
            }
            if let Some(end) = memchr::memrchr(b'\n', &self.text) {
                rest.extend_from_slice(&self.text[end + 1..]);
                self.text.truncate(end + 1);
                return Ok(false);
            }
            if wanted > LINE_BYTES_MAX {
                let reason = format!("it is longer than {LINE_BYTES_MAX} bytes");
                return Err(TextError::Line { line: lines_before + 1, reason });
            }
            wanted *= 2;
        }
    }

    fn parse(
        &self,
        chunk: &Chunk,
        is_last: bool,
        mut visit: impl FnMut(&Series<'_>) -> Result<(), String>,
    ) -> Result<(), TextError> {
        let mut page = chunk.type_line.clone();
        let lines_added = lines(&page);
        page.extend_from_slice(&self.text);
        if !is_last {
            page.extend_from_slice(END);
        }
        let mut parser = OpenMetricsParser::new(&page);
        // A part of the page tells by its address where it stands.
        let line_of = |part: &[u8]| {
            let before = (part.as_ptr() as usize).saturating_sub(page.as_ptr() as usize);
            (chunk.lines_before + lines(&page[..before]) + 1).saturating_sub(lines_added)
        };
        loop {
            match parser.next_entry() {
                Ok(Some(Entry::Series(series))) => {
                    visit(&series).map_err(|reason| TextError::Line { line: line_of(series.raw), reason })?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(ParseError::Text { line, reason }) => {
                    let line = (chunk.lines_before + line).saturating_sub(lines_added);
                    return Err(TextError::Line { line, reason });
                }
                Err(error) => return Err(TextError::Line { line: chunk.lines_before, reason: error.to_string() }),
            }
        }
    }
}

fn lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// The last TYPE line of a piece, with its end.
fn last_type_line(text: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::rfind(text, b"\n# TYPE ").map(|at| at + 1);
    let start = start.or_else(|| text.starts_with(b"# TYPE ").then_some(0))?;
    let len = memchr::memchr(b'\n', &text[start..])? + 1;
    Some(&text[start..start + len])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn scanned(text: &str) -> Result<(usize, usize), String> {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("writable");
        let mut chunks = TextChunks::new(file);
        let (mut samples, mut again) = (0, 0);
        let found = chunks.scan(|_, _| {
            samples += 1;
            Ok(())
        });
        let found = found.map_err(|error| error.to_string())?;
        for (index, chunk) in found.iter().enumerate() {
            let counted = chunks.read(chunk, index + 1 == found.len(), |series| {
                assert_eq!(series.metric_type, crate::model::MetricType::Histogram);
                again += 1;
                Ok(())
            });
            counted.map_err(|error| error.to_string())?;
        }
        assert_eq!(samples, again);
        Ok((found.len(), samples))
    }

    #[test]
    fn pieces_are_whole_lines_and_know_their_type() {
        let line = "a_bucket{le=\"1\"} 5 1700000000.5\n";
        let text = format!("# TYPE a histogram\n{}# EOF\n", line.repeat(100_000));
        assert_eq!(scanned(&text), Ok((4, 100_000)));
    }

    #[test]
    fn errors_name_the_line() {
        let text = format!("# TYPE a histogram\n{}", "a_bucket{le=\"1\"} 5 1700000000.5\n".repeat(100_000));
        let error = |end: &str| scanned(&format!("{text}{end}")).expect_err("bad");
        assert_eq!(error("a 5 x\n# EOF\n"), "line 100002: expected a number, found \" x\"");
        assert!(error("").contains("line 100001: the text does not end with"), "{}", error(""));
        assert!(error("a_buck").contains("does not end with \"# EOF\""));
    }
}
