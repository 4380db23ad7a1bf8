//! Answers as tables for people: a column per label, or a column for whole label sets where that would be too wide.

use super::document::{Document, Labels, Point, Series, label_names};
use super::promql::metric_text;
use crate::model::{Timestamp, format_rfc3339};

/// Between two columns.
const GAP: &str = "  ";

/// A table of at most `width` columns, as far as its values allow.
pub fn table(document: &Document, width: usize) -> String {
    match document {
        Document::Single(point) => format!("{}\n", point.value),
        Document::Series(series) => of_series(series, width),
        Document::Sets(sets) => of_sets(sets, width),
        Document::Values(_, values) => values.iter().map(|value| format!("{}\n", printable(value))).collect(),
    }
}

fn of_series(series: &[Series], width: usize) -> String {
    let with_times = series.iter().any(|series| series.points.len() > 1);
    let names = label_names(series.iter().map(|series| &series.labels));
    let rows = |label_cells: &dyn Fn(&Labels) -> Vec<String>| -> Vec<Vec<String>> {
        let row = |one: &Series, point: &Point| {
            let mut row = label_cells(&one.labels);
            row.extend(with_times.then(|| time_text(point.time)));
            row.push(printable(&point.value));
            row
        };
        series
            .iter()
            .flat_map(|one| one.points.iter().map(move |point| (one, point)))
            .map(|(one, point)| row(one, point))
            .collect()
    };
    let tail = || with_times.then_some("TIME").into_iter().chain(["VALUE"]).map(str::to_owned);
    let wide = Grid {
        heads: names.iter().map(|name| head(name)).chain(tail()).collect(),
        rows: rows(&|labels| cells(labels, &names)),
        numbers: true,
    };
    if wide.width() <= width {
        return wide.text();
    }
    let heads = std::iter::once("SERIES".to_owned()).chain(tail()).collect();
    Grid { heads, rows: rows(&|labels| vec![metric_text(labels)]), numbers: true }.text()
}

fn of_sets(sets: &[Labels], width: usize) -> String {
    let names = label_names(sets);
    let wide = Grid {
        heads: names.iter().map(|name| head(name)).collect(),
        rows: sets.iter().map(|labels| cells(labels, &names)).collect(),
        numbers: false,
    };
    match wide.width() <= width {
        true => wide.text(),
        false => sets.iter().map(|labels| format!("{}\n", metric_text(labels))).collect(),
    }
}

fn head(name: &str) -> String {
    if name == "__name__" { "METRIC".to_owned() } else { printable(name) }
}

fn cells(labels: &Labels, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| labels.get(*name).map(|value| printable(value)).unwrap_or_default()).collect()
}

/// A target's text must not steer the terminal.
fn printable(text: &str) -> String {
    match text.chars().any(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text.to_owned(),
    }
}

fn time_text(seconds: f64) -> String {
    format_rfc3339(Timestamp((seconds * 1000.0).round() as i64))
}

/// Heads and rows of equal length.
struct Grid {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Whether the last column holds numbers, which stand to the right.
    numbers: bool,
}

impl Grid {
    fn column_widths(&self) -> Vec<usize> {
        let of = |column: usize, head: &String| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([head.chars().count()]).max().unwrap_or(0)
        };
        self.heads.iter().enumerate().map(|(column, head)| of(column, head)).collect()
    }

    fn width(&self) -> usize {
        self.column_widths().iter().sum::<usize>() + GAP.len() * self.heads.len().saturating_sub(1)
    }

    fn text(&self) -> String {
        let widths = self.column_widths();
        std::iter::once(&self.heads).chain(&self.rows).map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let last = row.len().saturating_sub(1);
        let cell = |(column, text): (usize, &String)| match self.numbers && column == last {
            true => format!("{text:>width$}", width = widths[column]),
            false => format!("{text:<width$}", width = widths[column]),
        };
        let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
        format!("{}\n", cells.join(GAP).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_or_whole_label_sets() {
        let data = json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "node", "x": "\u{1b}[31m"}, "value": [1, "1"]},
            {"metric": {"__name__": "up", "job": "a longer one"}, "value": [1, "12.5"]},
        ]});
        let document = Document::of_query(&data).expect("a vector");
        let wide = "METRIC  job           x           VALUE\nup      node          \\u{1b}[31m      1\nup      a longer one               12.5\n";
        assert_eq!(table(&document, 80), wide);
        let narrow = table(&document, 30);
        assert!(narrow.starts_with("SERIES") && narrow.contains("up{job=\"node\", x=\"\\u{1b}[31m\"}"), "{narrow}");
        let sets = Document::of_sets(&json!([{"__name__": "up", "a": "1"}, {"a": "22"}])).expect("sets");
        assert_eq!(table(&sets, 80), "METRIC  a\nup      1\n        22\n");
        assert_eq!(table(&sets, 5), "up{a=\"1\"}\n{a=\"22\"}\n");
    }

    #[test]
    fn ranges_have_times() {
        let data =
            json!({"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": [[0, "1"], [60.5, "2"]]}]});
        let text = table(&Document::of_query(&data).expect("a matrix"), 80);
        assert_eq!(
            text,
            "a  TIME                    VALUE\nb  1970-01-01T00:00:00Z        1\nb  1970-01-01T00:01:00.5Z      2\n"
        );
    }
}
