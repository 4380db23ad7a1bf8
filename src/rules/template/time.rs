//! Instants and durations as Go prints them.
//!
//! Source: the documentation of Go's time package (layouts, `Time.String`, `Duration.String`).

use std::fmt::{self, Display, Formatter};

use super::value::Value;
use crate::model::{Timestamp, date_of};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY_SECONDS: i64 = 86_400;

/// An instant in UTC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Instant(pub Timestamp);

/// An instant taken apart.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    weekday: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millis: i64,
}

impl Instant {
    /// From seconds since the epoch; what 64 bits of nanoseconds cannot hold is an error.
    pub fn from_seconds(seconds: f64) -> Result<Self, String> {
        if !seconds.is_finite() {
            return Err("value is NaN or Inf".to_owned());
        }
        let nanos = seconds * 1e9;
        if nanos.abs() > i64::MAX as f64 {
            let shown = crate::model::format_general(seconds);
            return Err(format!("{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"));
        }
        Ok(Self(Timestamp(nanos as i64 / 1_000_000)))
    }

    /// A method without arguments.
    pub fn method(self, name: &str) -> Option<Value> {
        let parts = self.parts();
        Some(match name {
            "Year" => Value::Int(parts.year),
            "Month" => MONTHS[parts.month as usize - 1].into(),
            "Day" => Value::Int(parts.day),
            "Weekday" => WEEKDAYS[parts.weekday as usize].into(),
            "Hour" => Value::Int(parts.hour),
            "Minute" => Value::Int(parts.minute),
            "Second" => Value::Int(parts.second),
            "Unix" => Value::Int(self.0.0.div_euclid(1000)),
            "UnixMilli" => Value::Int(self.0.0),
            "UTC" => Value::Instant(self),
            "String" => self.to_string().into(),
            _ => return None,
        })
    }

    /// The instant in a layout that shows how Go's reference time, Mon Jan 2 15:04:05 2006, looks.
    pub fn format(self, layout: &str) -> String {
        let parts = self.parts();
        let mut output = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            let length = match layout_element(rest) {
                Some(element) => {
                    output.push_str(&parts.show(element));
                    element.len()
                }
                None => {
                    output.push(first);
                    first.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        output
    }

    fn parts(self) -> Parts {
        let seconds = self.0.0.div_euclid(1000);
        let (days, of_day) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        let (year, month, day) = date_of(days);
        Parts {
            year,
            month,
            day,
            // The epoch was a Thursday.
            weekday: (days + 4).rem_euclid(7),
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            millis: self.0.0.rem_euclid(1000),
        }
    }
}

/// The element of a layout at the start of `text`: the longest of those that match.
fn layout_element(text: &str) -> Option<&str> {
    const ELEMENTS: [&str; 28] = [
        "January", "Jan", "Monday", "Mon", "MST", "2006", "Z07:00", "Z0700", "-07:00", "-0700", "-07", "01", "02",
        "03", "04", "05", "06", "15", "_2", "PM", "pm", ".000", ".999", ",000", "1", "2", "3", "4",
    ];
    let element = ELEMENTS.into_iter().find(|element| text.starts_with(element))?;
    if !matches!(element, ".000" | ".999" | ",000") {
        return Some(&text[..element.len()]);
    }
    // A fraction is as long as its run of digits.
    let digit = char::from(element.as_bytes()[1]);
    let length = 1 + text[1..].find(|c| c != digit).unwrap_or(text.len() - 1);
    Some(&text[..length])
}

impl Parts {
    fn show(&self, element: &str) -> String {
        let hour12 = if self.hour % 12 == 0 { 12 } else { self.hour % 12 };
        match element {
            "2006" => format!("{:04}", self.year),
            "06" => format!("{:02}", self.year.rem_euclid(100)),
            "January" => MONTHS[self.month as usize - 1].to_owned(),
            "Jan" => MONTHS[self.month as usize - 1][..3].to_owned(),
            "01" => format!("{:02}", self.month),
            "1" => self.month.to_string(),
            "02" => format!("{:02}", self.day),
            "_2" => format!("{:2}", self.day),
            "2" => self.day.to_string(),
            "Monday" => WEEKDAYS[self.weekday as usize].to_owned(),
            "Mon" => WEEKDAYS[self.weekday as usize][..3].to_owned(),
            "15" => format!("{:02}", self.hour),
            "03" => format!("{hour12:02}"),
            "3" => hour12.to_string(),
            "04" => format!("{:02}", self.minute),
            "4" => self.minute.to_string(),
            "05" => format!("{:02}", self.second),
            "PM" => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            "pm" => if self.hour < 12 { "am" } else { "pm" }.to_owned(),
            "MST" => "UTC".to_owned(),
            "Z07:00" | "Z0700" => "Z".to_owned(),
            "-07:00" => "+00:00".to_owned(),
            "-0700" => "+0000".to_owned(),
            "-07" => "+00".to_owned(),
            fraction => self.fraction(fraction),
        }
    }

    /// `.000` shows so many digits, `.999` at most so many.
    fn fraction(&self, element: &str) -> String {
        let nanos = format!("{:03}000000", self.millis);
        let digits = &nanos[..(element.len() - 1).min(9)];
        if element.ends_with('0') {
            return format!("{}{digits}", &element[..1]);
        }
        match digits.trim_end_matches('0') {
            "" => String::new(),
            digits => format!("{}{digits}", &element[..1]),
        }
    }
}

impl Display for Instant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// A duration in nanoseconds as Go prints it: `1h2m3.5s`, `1.5ms`, `0s`.
pub(super) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let (unit, size) = match total {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    if unit != "s" {
        return format!("{sign}{}{unit}", decimal(total, size));
    }
    let seconds = decimal(total % 60_000_000_000, size);
    let minutes = total / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `count / size` with as many decimals as it takes; `size` is a power of ten.
fn decimal(count: u64, size: u64) -> String {
    let (whole, rest) = (count / size, count % size);
    if rest == 0 {
        return whole.to_string();
    }
    let width = size.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}
