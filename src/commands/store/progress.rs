//! How far long work is: one line on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use super::super::print_error;

const WIDTH: u64 = 30;
/// Drawing costs more than much of the work.
const INTERVAL: Duration = Duration::from_millis(200);

/// The line.
pub struct Progress {
    what: &'static str,
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    /// A line that says what is being done.
    pub fn new(what: &'static str) -> Self {
        Self { what, is_shown: io::stderr().is_terminal(), last: None }
    }

    /// Draws the line, if it is time.
    #[allow(clippy::disallowed_methods, reason = "monotonic time, for drawing")]
    pub fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if !self.is_shown || self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return;
        }
        self.last = Some(now);
        print_error(&format!("\r{}", bar(self.what, done, total)));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.last.is_some() {
            print_error("\r\x1b[K");
        }
    }
}

fn bar(what: &str, done: u64, total: u64) -> String {
    let total = total.max(1);
    let done = done.min(total);
    let filled = (WIDTH as u128 * u128::from(done) / u128::from(total)) as usize;
    let percent = 100 * u128::from(done) / u128::from(total);
    format!("{what} [{}{}] {percent:3} %", "#".repeat(filled), " ".repeat(WIDTH as usize - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill() {
        assert_eq!(bar("x", 0, 0), format!("x [{}]   0 %", " ".repeat(30)));
        assert_eq!(bar("x", 1, 2), format!("x [{}{}]  50 %", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar("x", 9, 2), format!("x [{}] 100 %", "#".repeat(30)));
    }
}
