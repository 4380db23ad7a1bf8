//! A range as a picture for the terminal. One series is a line of braille dots; several are drawn with a letter each,
//! so that they can be told apart without colours. Below stands who is who, with its smallest, largest and last value.

use super::document::{Document, Series};
use super::promql::metric_text;
use crate::model::{Timestamp, format_rfc3339};

/// Lines of the picture.
const ROWS: usize = 16;
/// The narrowest picture that shows anything.
const COLUMNS_MIN: usize = 10;
/// Series that are drawn: a letter each.
const SERIES_MAX: usize = 26;
/// Dots of a braille character, across and down.
const DOTS: [usize; 2] = [2, 4];

/// The picture of a range; none if there are no numbers over time to draw.
pub fn plot(document: &Document, width: usize) -> Option<String> {
    let Document::Series(series) = document else { return None };
    let lines: Vec<Line<'_>> = series.iter().filter_map(Line::of).collect();
    let frame = Frame::around(&lines, width)?;
    let drawn = &lines[..lines.len().min(SERIES_MAX)];
    let rows = match drawn {
        [line] => braille(line, &frame),
        several => letters(several, &frame),
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let label = frame.label(index);
        text.push_str(&format!("{label:>margin$} ┤{}\n", row.trim_end(), margin = frame.margin));
    }
    text.push_str(&frame.time_axis());
    text.push_str(&legend(drawn, width));
    match lines.len() - drawn.len() {
        0 => {}
        more => text.push_str(&format!("… and {more} more series; narrow the expression, or use topk\n")),
    }
    Some(text)
}

/// A series' points that can be drawn.
struct Line<'s> {
    series: &'s Series,
    points: Vec<(f64, f64)>,
}

impl<'s> Line<'s> {
    fn of(series: &'s Series) -> Option<Self> {
        let numbers = series.points.iter().filter_map(|point| Some((point.time, point.number()?)));
        let points: Vec<(f64, f64)> = numbers.filter(|(_, value)| value.is_finite()).collect();
        (!points.is_empty()).then_some(Self { series, points })
    }

    fn bounds(&self) -> (f64, f64) {
        let values = || self.points.iter().map(|(_, value)| *value);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The smallest and the largest value in each of `columns` slices of time.
    fn slices(&self, frame: &Frame, columns: usize) -> Vec<Option<(f64, f64)>> {
        let mut slices = vec![None; columns];
        for (time, value) in &self.points {
            let share = (time - frame.start) / frame.duration();
            let column = ((share * (columns - 1) as f64).round() as usize).min(columns - 1);
            let (low, high) = slices[column].unwrap_or((*value, *value));
            slices[column] = Some((low.min(*value), high.max(*value)));
        }
        slices
    }
}

/// The picture's ends in time and value.
struct Frame {
    start: f64,
    end: f64,
    low: f64,
    high: f64,
    margin: usize,
    columns: usize,
}

impl Frame {
    fn around(lines: &[Line<'_>], width: usize) -> Option<Self> {
        let first = lines.first()?;
        let mut frame = Self {
            start: first.points[0].0,
            end: first.points[0].0,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            margin: 0,
            columns: 0,
        };
        for line in lines {
            let (low, high) = line.bounds();
            frame.low = frame.low.min(low);
            frame.high = frame.high.max(high);
            frame.start = frame.start.min(line.points[0].0);
            frame.end = line.points.iter().fold(frame.end, |end, (time, _)| end.max(*time));
        }
        if frame.high <= frame.low {
            // A flat line stands in the middle.
            let half = if frame.low == 0.0 { 1.0 } else { frame.low.abs() / 2.0 };
            (frame.low, frame.high) = (frame.low - half, frame.high + half);
        }
        frame.margin = (0..ROWS).map(|row| frame.label(row).chars().count()).max()?;
        frame.columns = width.saturating_sub(frame.margin + 2).max(COLUMNS_MIN);
        Some(frame)
    }

    fn duration(&self) -> f64 {
        (self.end - self.start).max(f64::MIN_POSITIVE)
    }

    /// The row of a value, from the top, in a picture of so many rows. Halves first: the range of floats overflows.
    fn row_of(&self, value: f64, rows: usize) -> usize {
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        (rows - 1) - ((share * (rows - 1) as f64).round() as usize).min(rows - 1)
    }

    /// The value beside a row; every fifth has one.
    fn label(&self, row: usize) -> String {
        if !row.is_multiple_of(5) {
            return String::new();
        }
        let share = 1.0 - row as f64 / (ROWS - 1) as f64;
        short(self.low * (1.0 - share) + self.high * share)
    }

    fn time_axis(&self) -> String {
        let (start, end) = (time_text(self.start), time_text(self.end));
        let indent = " ".repeat(self.margin + 1);
        let gap = self.columns.saturating_sub(start.len() + end.len()).max(1);
        format!("{indent}└{}\n{indent} {start}{}{end}\n", "─".repeat(self.columns), " ".repeat(gap))
    }
}

fn braille(line: &Line<'_>, frame: &Frame) -> Vec<String> {
    let (columns, rows) = (frame.columns * DOTS[0], ROWS * DOTS[1]);
    let mut cells = vec![[0_u8; ROWS]; frame.columns];
    let mut last: Option<(usize, usize)> = None;
    for (column, slice) in line.slices(frame, columns).into_iter().enumerate() {
        let Some((low, high)) = slice else { continue };
        let (top, bottom) = (frame.row_of(high, rows), frame.row_of(low, rows));
        for row in top..=bottom {
            set_dot(&mut cells, column, row);
        }
        if let Some((before, row_before)) = last {
            connect(&mut cells, (before, row_before), (column, if row_before < top { top } else { bottom }));
        }
        last = Some((column, (top + bottom) / 2));
    }
    (0..ROWS).map(|row| cells.iter().map(|column| braille_char(column[row])).collect()).collect()
}

/// A straight line of dots between two.
fn connect(cells: &mut [[u8; ROWS]], from: (usize, usize), to: (usize, usize)) {
    let steps = (to.0 - from.0).max(from.1.abs_diff(to.1)).max(1);
    for step in 0..=steps {
        let share = step as f64 / steps as f64;
        let between = |from: usize, to: usize| (from as f64 + (to as f64 - from as f64) * share).round() as usize;
        set_dot(cells, between(from.0, to.0), between(from.1, to.1));
    }
}

/// The bits of a braille cell: its dots are numbered down the left, down the right, then the bottom row.
fn set_dot(cells: &mut [[u8; ROWS]], column: usize, row: usize) {
    const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    cells[column / DOTS[0]][row / DOTS[1]] |= BITS[column % DOTS[0]][row % DOTS[1]];
}

fn braille_char(dots: u8) -> char {
    if dots == 0 { ' ' } else { char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ') }
}

fn letters(lines: &[Line<'_>], frame: &Frame) -> Vec<String> {
    let mut cells = vec![vec![' '; frame.columns]; ROWS];
    for (line, letter) in lines.iter().zip('a'..='z') {
        for (column, slice) in line.slices(frame, frame.columns).into_iter().enumerate() {
            let Some((low, high)) = slice else { continue };
            for row in cells.iter_mut().take(frame.row_of(low, ROWS) + 1).skip(frame.row_of(high, ROWS)) {
                // Where several meet, that is shown rather than the last one alone.
                row[column] = if row[column] == ' ' { letter } else { '*' };
            }
        }
    }
    cells.into_iter().map(|row| row.into_iter().collect()).collect()
}

fn legend(lines: &[Line<'_>], width: usize) -> String {
    let several = lines.len() > 1;
    let mut text = String::new();
    for (line, letter) in lines.iter().zip('a'..='z') {
        let (low, high) = line.bounds();
        let last = line.points.last().map_or(f64::NAN, |(_, value)| *value);
        let key = if several { format!("{letter} ") } else { String::new() };
        let numbers = format!("  min {}  max {}  last {}", short(low), short(high), short(last));
        let room = width.saturating_sub(key.len() + numbers.len()).max(COLUMNS_MIN);
        text.push_str(&format!("{key}{}{numbers}\n", cut(&metric_text(&line.series.labels), room)));
    }
    if several && lines.len() > 1 {
        text.push_str("* several at once\n");
    }
    text
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Four significant digits, with k, M, G … as people read them.
fn short(value: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-4) {
        return format!("{value:.2e}");
    }
    // A little below, so that 999,999 does not read 1000k.
    let unit = UNITS.iter().find(|(unit, _)| size >= unit * 0.99995 && size >= 9_999.5);
    let (scaled, suffix) = unit.map_or((value, ""), |(unit, suffix)| (value / unit, *suffix));
    let whole_digits = if scaled.abs() < 1.0 { 1 } else { scaled.abs().log10().floor() as usize + 1 };
    let text = format!("{scaled:.*}", 4_usize.saturating_sub(whole_digits));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{suffix}", if text == "-0" { "0" } else { text })
}

fn time_text(seconds: f64) -> String {
    format_rfc3339(Timestamp((seconds.round() * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn picture(series: Value, width: usize) -> String {
        let document = Document::of_query(&json!({"resultType": "matrix", "result": series})).expect("a matrix");
        plot(&document, width).unwrap_or_else(|| "nothing".to_owned())
    }

    fn ramp(name: &str, first: i64, step: i64) -> Value {
        let values: Vec<Value> = (0..40).map(|index| json!([index * 60, (first + step * index).to_string()])).collect();
        json!({"metric": {"__name__": name}, "values": values})
    }

    #[test]
    fn one_series_is_a_line_of_dots() {
        let text = picture(json!([ramp("up", 0, 1)]), 60);
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), ROWS + 3, "{text}");
        assert!(lines[0].starts_with("39 ┤") && lines[0].ends_with(|last| ('⠁'..='⣿').contains(&last)), "{text}");
        assert!(lines[ROWS - 1].starts_with(" 0 ┤⣀") || lines[ROWS - 1].contains("┤⡠"), "{text}");
        assert!(
            lines[ROWS + 1].contains("1970-01-01T00:00:00Z") && lines[ROWS + 1].ends_with("1970-01-01T00:39:00Z"),
            "{text}"
        );
        assert_eq!(lines[ROWS + 2], "up  min 0  max 39  last 39");
    }

    #[test]
    fn several_series_have_letters() {
        let text = picture(json!([ramp("first", 0, 1), ramp("second", 39, -1)]), 70);
        assert!(text.lines().all(|line| line.chars().count() <= 70), "{text}");
        let top = text.lines().next().expect("a line");
        assert!(top.contains('b') && top.ends_with('a'), "{text}");
        assert!(text.contains("\na first  min 0  max 39  last 39\nb second  min 0  max 39  last 0\n"), "{text}");
        let many: Vec<Value> = (0..30).map(|index| ramp(&format!("m{index}"), index, 1)).collect();
        assert!(picture(json!(many), 60).contains("4 more series"));
    }

    #[test]
    fn odd_values_do_no_harm() {
        let one = |values: Value| json!([{"metric": {}, "values": values}]);
        assert_eq!(picture(one(json!([])), 80), "nothing");
        assert_eq!(picture(one(json!([[0, "NaN"], [1, "+Inf"]])), 80), "nothing");
        for values in [
            json!([[0, "5"]]),
            json!([[0, "0"], [60, "0"]]),
            json!([[0, "-1.7e308"], [60, "1.7e308"]]),
            json!([[0, "5e-324"], [60, "NaN"], [120, "0"]]),
        ] {
            for width in [0, 1, 20, 200] {
                assert!(picture(one(values.clone()), width).contains('┤'), "{values}");
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.25, "0.25"),
            (1234.0, "1234"),
            (12_345.0, "12.35k"),
            (999_999.0, "1M"),
            (1.5e9, "1.5G"),
            (2e18, "2.00e18"),
            (0.00001, "1.00e-5"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
