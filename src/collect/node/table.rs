//! Families that differ by name and source alone, as lines of text: one reader and one writer for all of them.
//!
//! A line is `source name unit help…`. The source is a file below the device's folder, or a word that the caller's parser
//! knows; the name follows the table's prefix, and `…_total` is a counter, everything else a gauge; the unit is `-` for the
//! number as it stands, or what it is multiplied with (`*512`) or divided by (`/1000`); a line without help has the table's.

use super::super::page::Page;
use super::host::Folder;
use crate::model::MetricType;

/// A table of families that share their labels.
pub(super) struct Table {
    /// What every family's name begins with.
    pub prefix: &'static str,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The help of families without a help of their own.
    pub help: &'static str,
    /// The families.
    pub lines: &'static str,
}

/// One line of a table.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// Where the number is found.
    pub source: &'static str,
    name: &'static str,
    unit: &'static str,
    help: &'static str,
}

/// One device: its labels, and a number for each line of the table.
pub(super) struct Row {
    labels: Vec<String>,
    values: Vec<Option<f64>>,
}

impl Table {
    /// The table's lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        self.lines.lines().map(|line| {
            let mut rest = line;
            // Words are short: a search that is fast in long texts costs several times this one.
            let mut word = || {
                let end = rest.bytes().position(|byte| byte == b' ').unwrap_or(rest.len());
                let word = &rest[..end];
                rest = rest.get(end + 1..).unwrap_or("");
                word
            };
            let (source, name, unit) = (word(), word(), word());
            Line { source, name, unit, help: rest }
        })
    }

    /// A row of numbers that `value` finds by their source.
    pub(super) fn row(&self, labels: Vec<String>, value: &mut dyn FnMut(&'static str) -> Option<f64>) -> Row {
        Row { labels, values: self.lines().map(|line| Some(in_unit(value(line.source)?, line.unit))).collect() }
    }

    /// A row of the files in a device's folder.
    pub(super) fn files(&self, labels: Vec<String>, folder: &Folder) -> Row {
        self.row(labels, &mut |file| folder.number(file))
    }

    /// Writes the rows, family by family; a family without a number is left out.
    pub(super) fn write(&self, page: &mut Page<'_>, rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        for (column, line) in self.lines().enumerate() {
            let metric_type = if line.name.ends_with("_total") { MetricType::Counter } else { MetricType::Gauge };
            let help = if line.help.is_empty() { self.help } else { line.help };
            let mut family = page.family_of(&[self.prefix, line.name], metric_type, help);
            for row in rows {
                if let Some(value) = row.values[column] {
                    let labels = self.labels.iter().copied().zip(row.labels.iter().map(String::as_str));
                    family.sample_of(&mut { labels }, value);
                }
            }
        }
    }

    /// Writes one row without labels, of numbers that `value` finds by their source.
    pub(super) fn write_alone(&self, page: &mut Page<'_>, value: &mut dyn FnMut(&'static str) -> Option<f64>) {
        let row = self.row(Vec::new(), value);
        self.write(page, &[row]);
    }
}

/// Numbers by key, sorted: one type for everybody who counts.
#[derive(Default)]
pub(super) struct Tally(Vec<(String, f64)>);

impl Tally {
    /// The number of a key; it begins with zero.
    pub(super) fn of(&mut self, key: &str) -> &mut f64 {
        let at = match self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key.to_owned(), 0.0));
                at
            }
        };
        &mut self.0[at].1
    }

    /// Whether a key has a number.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).is_ok()
    }

    /// Keys and numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(key, number)| (key.as_str(), *number))
    }
}

fn in_unit(value: f64, unit: &str) -> f64 {
    let factor = |digits: &str| digits.parse().unwrap_or(1.0);
    match unit.split_at_checked(1) {
        Some(("*", digits)) => value * factor(digits),
        Some(("/", digits)) => value / factor(digits),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_families() {
        let table = Table {
            prefix: "p_",
            labels: &["device"],
            help: "Usual.",
            lines: "a reads_total -\nb size_bytes *512 Own help.\nc time_seconds /1000\nd never -",
        };
        let row = |name: &str, a: Option<f64>| {
            table.row(vec![name.to_owned()], &mut |source| match source {
                "a" => a,
                "b" => Some(2.0),
                "c" => Some(1.0),
                _ => None,
            })
        };
        let mut bytes = Vec::new();
        table.write(&mut Page::new(&mut bytes), &[row("x", Some(1.0)), row("y", None)]);
        let expected = "# HELP p_reads_total Usual.\n# TYPE p_reads_total counter\np_reads_total{device=\"x\"} 1\n\
                        # HELP p_size_bytes Own help.\n# TYPE p_size_bytes gauge\np_size_bytes{device=\"x\"} 1024\n\
                        p_size_bytes{device=\"y\"} 1024\n# HELP p_time_seconds Usual.\n# TYPE p_time_seconds gauge\n\
                        p_time_seconds{device=\"x\"} 0.001\np_time_seconds{device=\"y\"} 0.001\n";
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
    }
}
