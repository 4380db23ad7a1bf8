//! Log lines as Prometheus writes them: logfmt or JSON on standard error, one line an event.
//!
//! Fields in order: `time`, `level`, `source` (the module), `msg`, then the event's own. Lines of other libraries are
//! left out below warnings. A line that cannot be written is lost: logging never stops the program.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::clock::Clock;
use crate::model::{Timestamp, format_rfc3339};

/// A line is cut here: one odd target must not fill the card.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the levels")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the formats")]
pub enum LogFormat {
    Logfmt,
    Json,
}

/// Starts logging for the whole program; later calls change nothing.
pub fn init(level: LogLevel, format: LogFormat, clock: Clock) {
    let layer = Lines { max: filter(level), format, clock };
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    }
}

struct Lines {
    max: LevelFilter,
    format: LogFormat,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let is_own = metadata.target().starts_with("outpost");
        let max = if is_own { self.max } else { self.max.min(LevelFilter::WARN) };
        *metadata.level() <= max
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::start(self.format, self.clock.now(), event.metadata());
        event.record(&mut line);
        let _ = io::stderr().lock().write_all(line.finish().as_bytes());
    }
}

/// One line under construction. The message is a field among others, in no fixed place, but stands first.
struct Line {
    format: LogFormat,
    head: String,
    message: String,
    fields: String,
}

impl Line {
    fn start(format: LogFormat, now: Timestamp, metadata: &Metadata<'_>) -> Self {
        let mut line = Self { format, head: String::new(), message: String::new(), fields: String::new() };
        let time = format_rfc3339(now);
        let source = metadata.target().strip_prefix("outpost::").unwrap_or(metadata.target());
        let level = match *metadata.level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            _ => "DEBUG",
        };
        for (name, value) in [("time", time.as_str()), ("level", level), ("source", source)] {
            push_text(&mut line.head, format, name, value);
        }
        line
    }

    fn finish(mut self) -> String {
        push_text(&mut self.head, self.format, "msg", &self.message);
        self.head.push_str(&self.fields);
        let mut line = self.head;
        // The first field brought a separator that nothing stands before.
        line.remove(0);
        if self.format == LogFormat::Json {
            line.insert(0, '{');
            line.push('}');
        }
        line.push('\n');
        line
    }

    fn text(&mut self, field: &Field, value: &str) {
        let value = cut(value);
        if field.name() == "message" {
            self.message = value.to_owned();
        } else if self.has_room() {
            push_text(&mut self.fields, self.format, field.name(), value);
        }
    }

    fn plain(&mut self, field: &Field, value: &dyn fmt::Display) {
        if self.has_room() {
            push_name(&mut self.fields, self.format, field.name());
            let _ = write!(self.fields, "{value}");
        }
    }

    fn has_room(&self) -> bool {
        self.fields.len() < LINE_BYTES_MAX
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.text(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() { self.plain(field, &value) } else { self.text(field, &value.to_string()) }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LINE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn push_name(output: &mut String, format: LogFormat, name: &str) {
    match format {
        LogFormat::Logfmt => {
            output.push(' ');
            output.push_str(name);
            output.push('=');
        }
        LogFormat::Json => {
            output.push(',');
            push_quoted(output, name);
            output.push(':');
        }
    }
}

fn push_text(output: &mut String, format: LogFormat, name: &str, value: &str) {
    push_name(output, format, name);
    let needs_quotes = |c: char| c <= ' ' || matches!(c, '"' | '=' | '\\' | '\u{7f}'..='\u{9f}');
    if format == LogFormat::Logfmt && !value.is_empty() && !value.contains(needs_quotes) {
        output.push_str(value);
    } else {
        push_quoted(output, value);
    }
}

/// A JSON text, which is a logfmt text too. Control characters cannot reach the terminal.
fn push_quoted(output: &mut String, text: &str) {
    output.push('"');
    for c in text.chars() {
        match c {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            '\n' => output.push_str("\\n"),
            '\r' => output.push_str("\\r"),
            '\t' => output.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(output, "\\u{:04x}", u32::from(c));
            }
            c => output.push(c),
        }
    }
    output.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps lines instead of writing them.
    struct Kept(LogFormat, Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line::start(self.0, Timestamp(1_700_000_000_123), event.metadata());
            event.record(&mut line);
            self.1.lock().expect("no panic").push(line.finish());
        }
    }

    fn lines(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        let kept = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Kept(format, Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, log);
        kept.lock().expect("no panic").clone()
    }

    fn events() {
        let error = io::Error::other("disk full");
        tracing::info!(target: "outpost::store", address = "[::1]:9090", count = 3_u64, "listening");
        tracing::warn!(target: "outpost", error = &error as &dyn std::error::Error, ok = false, "a \"bad\" line\n\u{1b}[31m");
        tracing::error!(target: "outpost", empty = "", ratio = 0.5, "x");
    }

    #[test]
    fn logfmt() {
        let expected = [
            "time=2023-11-14T22:13:20.123Z level=INFO source=store msg=listening address=[::1]:9090 count=3\n",
            "time=2023-11-14T22:13:20.123Z level=WARN source=outpost msg=\"a \\\"bad\\\" line\\n\\u001b[31m\" error=\"disk full\" ok=false\n",
            "time=2023-11-14T22:13:20.123Z level=ERROR source=outpost msg=x empty=\"\" ratio=0.5\n",
        ];
        assert_eq!(lines(LogFormat::Logfmt, events), expected);
    }

    #[test]
    fn json() {
        let lines = lines(LogFormat::Json, events);
        let values: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
        assert_eq!(values[0]["msg"], "listening");
        assert_eq!(values[0]["count"], 3);
        assert_eq!(values[1]["msg"], "a \"bad\" line\n\u{1b}[31m");
        assert_eq!(values[1]["ok"], false);
        assert_eq!(values[2]["level"], "ERROR");
    }

    #[test]
    fn long_values_are_cut() {
        let long = "ä".repeat(100_000);
        let lines = lines(LogFormat::Logfmt, || {
            tracing::info!(target: "outpost", a = long.as_str(), b = long.as_str(), c = 1_u64, "{long}");
        });
        assert!(lines[0].len() < 4 * LINE_BYTES_MAX, "{}", lines[0].len());
    }
}
