//! Go's `fmt`: `print`, `println`, `printf` with its verbs, flags, widths and error notes.
//!
//! Source: the documentation of Go's package fmt.

use std::fmt::Write;

use super::OUTPUT_BYTES_MAX;
use super::time::show_duration;
use super::value::Value;
use crate::model::{push_general, quote};

/// The largest width and precision; Go allows a million, which no alert is the better for.
const WIDTH_MAX: usize = 10_000;

/// Operands one after the other; a blank goes between two that are both no texts.
pub(super) fn sprint(values: &[Value]) -> String {
    let mut output = String::new();
    let mut follows_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !follows_text {
            output.push(' ');
        }
        Verb::plain('v').push(&mut output, value);
        follows_text = is_text;
    }
    output
}

/// Operands with blanks between them and a newline behind.
pub(super) fn sprintln(values: &[Value]) -> String {
    let mut output = String::new();
    for (index, value) in values.iter().enumerate() {
        output.push_str(if index == 0 { "" } else { " " });
        Verb::plain('v').push(&mut output, value);
    }
    output.push('\n');
    output
}

/// A value as `%v` shows it.
pub(super) fn show(value: &Value) -> String {
    let mut output = String::new();
    Verb::plain('v').push(&mut output, value);
    output
}

/// A number as `%.4g` shows it.
pub(super) fn four_digits(value: f64) -> String {
    let mut output = String::new();
    Verb { precision: Some(4), ..Verb::plain('g') }.push(&mut output, &Value::Float(value));
    output
}

/// Fills a format with operands. Mistakes show in the output: `%!d(string=x)`, `%!s(MISSING)`.
pub(super) fn sprintf(format: &str, values: &[Value]) -> String {
    let mut printer = Printer { rest: format, values, next: 0, reordered: false, output: String::new() };
    while let Some(percent) = printer.rest.find('%') {
        printer.output.push_str(&printer.rest[..percent]);
        printer.rest = &printer.rest[percent + 1..];
        printer.verb();
    }
    printer.output.push_str(printer.rest);
    printer.extra();
    printer.output
}

struct Printer<'a> {
    rest: &'a str,
    values: &'a [Value],
    next: usize,
    /// Whether an index such as `%[2]d` was used, which excuses operands that are not.
    reordered: bool,
    output: String,
}

impl Printer<'_> {
    /// What follows a percent sign.
    fn verb(&mut self) {
        let mut verb = Verb::plain('v');
        while let Some(flag) = self.rest.chars().next().filter(|c| "+-# 0".contains(*c)) {
            verb.flag(flag);
            self.rest = &self.rest[1..];
        }
        let mut is_good = self.index();
        verb.width = match self.star() {
            Some(Ok(width)) => {
                verb.minus |= width < 0;
                Some(width.unsigned_abs() as usize)
            }
            Some(Err(())) => {
                self.output.push_str("%!(BADWIDTH)");
                None
            }
            None => self.count(),
        };
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            is_good &= self.index();
            verb.precision = match self.star() {
                Some(Ok(precision)) if precision >= 0 => Some(precision as usize),
                Some(_) => {
                    self.output.push_str("%!(BADPREC)");
                    None
                }
                None => Some(self.count().unwrap_or(0)),
            };
        }
        is_good &= self.index();
        let Some(letter) = self.rest.chars().next() else {
            self.output.push_str("%!(NOVERB)");
            return;
        };
        self.rest = &self.rest[letter.len_utf8()..];
        verb.letter = letter;
        self.operand(&verb, is_good);
    }

    fn operand(&mut self, verb: &Verb, is_good: bool) {
        let letter = verb.letter;
        if letter == '%' {
            self.output.push('%');
        } else if !is_good {
            let _ = write!(self.output, "%!{letter}(BADINDEX)");
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            verb.push(&mut self.output, value);
        } else {
            let _ = write!(self.output, "%!{letter}(MISSING)");
        }
    }

    /// `[n]`: the next operand is the n-th. False where there is none such.
    fn index(&mut self) -> bool {
        let Some(inner) = self.rest.strip_prefix('[') else {
            return true;
        };
        self.reordered = true;
        let Some((digits, rest)) = inner.split_once(']') else {
            return false;
        };
        self.rest = rest;
        let position = digits.parse::<usize>().ok().filter(|index| (1..=self.values.len()).contains(index));
        self.next = position.map_or(self.next, |index| index - 1);
        position.is_some()
    }

    /// `*`: a width or precision taken from the operands.
    fn star(&mut self) -> Option<Result<i64, ()>> {
        self.rest = self.rest.strip_prefix('*')?;
        let value = self.values.get(self.next);
        self.next += 1;
        Some(match value {
            Some(Value::Int(number)) if number.unsigned_abs() <= WIDTH_MAX as u64 => Ok(*number),
            _ => Err(()),
        })
    }

    fn count(&mut self) -> Option<usize> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits.parse().ok().filter(|count| *count <= WIDTH_MAX)
    }

    /// Operands that no verb asked for.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.values.len() {
            return;
        }
        self.output.push_str("%!(EXTRA ");
        for (index, value) in self.values[self.next..].iter().enumerate() {
            self.output.push_str(if index == 0 { "" } else { ", " });
            push_typed(&mut self.output, value);
        }
        self.output.push(')');
    }
}

/// `int=1`, `<nil>`
fn push_typed(output: &mut String, value: &Value) {
    if !matches!(value, Value::Nil) {
        let _ = write!(output, "{}=", value.type_name());
    }
    Verb::plain('v').push(output, value);
}

/// A verb with its flags.
struct Verb {
    letter: char,
    width: Option<usize>,
    precision: Option<usize>,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
}

impl Verb {
    fn plain(letter: char) -> Self {
        Self {
            letter,
            width: None,
            precision: None,
            plus: false,
            minus: false,
            sharp: false,
            space: false,
            zero: false,
        }
    }

    fn flag(&mut self, flag: char) {
        match flag {
            '+' => self.plus = true,
            '-' => self.minus = true,
            '#' => self.sharp = true,
            ' ' => self.space = true,
            _ => self.zero = true,
        }
    }

    fn push(&self, output: &mut String, value: &Value) {
        // Maps within maps grow fast; what is longer than this is refused afterwards anyway.
        if output.len() > OUTPUT_BYTES_MAX {
            return;
        }
        if self.letter == 'T' {
            return self.pad(output, value.type_name());
        }
        match value {
            Value::Nil if self.letter == 'v' => self.pad(output, "<nil>"),
            Value::Bool(flag) if matches!(self.letter, 't' | 'v') => self.pad(output, &flag.to_string()),
            Value::Int(number) => self.int(output, *number),
            Value::Float(number) => self.float(output, *number),
            Value::Text(text) => self.text(output, text),
            Value::Instant(instant) => self.text(output, &instant.to_string()),
            Value::Duration(nanos) => self.text(output, &show_duration(*nanos)),
            Value::Histogram(histogram) => self.text(output, &histogram.to_string()),
            Value::Labels(labels) => {
                let pairs = labels.iter().map(|(name, value)| (name, Value::from(value)));
                self.map(output, pairs);
            }
            Value::Map(map) => self.map(output, map.iter().map(|(name, value)| (name.as_str(), value.clone()))),
            Value::Samples(samples) => {
                self.list(output, ('[', ']'), samples.iter().map(|sample| Value::Sample(sample.clone())));
            }
            Value::Sample(sample) => {
                let fields = [Value::Labels(sample.labels.clone()), sample.value.clone()];
                self.list(output, ('{', '}'), fields.into_iter());
            }
            Value::Data(data) => {
                let labels = [&data.labels, &data.external_labels].map(|labels| Value::Labels(labels.clone()));
                let rest = [Value::Text(data.external_url.clone()), data.value.clone()];
                self.list(output, ('{', '}'), labels.into_iter().chain(rest));
            }
            Value::Nil | Value::Bool(_) => self.bad(output, value),
        }
    }

    /// The value has no such verb: it is shown as `%v` would, with this one's flags.
    fn bad(&self, output: &mut String, value: &Value) {
        let _ = write!(output, "%!{}(", self.letter);
        match value {
            Value::Nil => output.push_str("<nil>"),
            value => {
                let _ = write!(output, "{}=", value.type_name());
                Self { letter: 'v', ..*self }.push(output, value);
            }
        }
        output.push(')');
    }

    fn map<'v>(&self, output: &mut String, pairs: impl Iterator<Item = (&'v str, Value)>) {
        output.push_str("map[");
        for (index, (name, value)) in pairs.enumerate() {
            output.push_str(if index == 0 { "" } else { " " });
            self.push(output, &Value::from(name));
            output.push(':');
            self.push(output, &value);
        }
        output.push(']');
    }

    fn list(&self, output: &mut String, (open, close): (char, char), items: impl Iterator<Item = Value>) {
        output.push(open);
        for (index, value) in items.enumerate() {
            output.push_str(if index == 0 { "" } else { " " });
            self.push(output, &value);
        }
        output.push(close);
    }

    fn text(&self, output: &mut String, text: &str) {
        let kept = match self.precision {
            Some(count) => text.char_indices().nth(count).map_or(text, |(index, _)| &text[..index]),
            None => text,
        };
        match self.letter {
            'v' | 's' => self.pad(output, kept),
            'q' if self.sharp && !kept.contains('`') => self.pad(output, &format!("`{kept}`")),
            'q' => self.pad(output, &quote(kept)),
            'x' | 'X' => self.pad(output, &self.hex(text)),
            _ => self.bad(output, &Value::from(text)),
        }
    }

    fn hex(&self, text: &str) -> String {
        let bytes = &text.as_bytes()[..self.precision.unwrap_or(text.len()).min(text.len())];
        let mut shown = String::new();
        for (index, byte) in bytes.iter().enumerate() {
            shown.push_str(if self.space && index > 0 { " " } else { "" });
            shown.push_str(if self.sharp && (self.space || index == 0) { "0x" } else { "" });
            let _ = write!(shown, "{byte:02x}");
        }
        if self.letter == 'X' { shown.to_uppercase() } else { shown }
    }

    fn int(&self, output: &mut String, number: i64) {
        let magnitude = number.unsigned_abs();
        let (prefix, digits) = match self.letter {
            'v' | 'd' => ("", magnitude.to_string()),
            'b' => ("0b", format!("{magnitude:b}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' => ("0o", format!("{magnitude:o}")),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'c' | 'q' | 'U' => return self.character(output, number),
            _ => return self.bad(output, &Value::Int(number)),
        };
        let prefix = if self.sharp || self.letter == 'O' { prefix } else { "" };
        let digits = match self.precision {
            Some(0) if number == 0 => String::new(),
            Some(width) => format!("{digits:0>width$}"),
            None => digits,
        };
        let sign = self.sign(number < 0);
        let may_zero = self.zero && !self.minus && self.precision.is_none();
        self.pad_number(output, &format!("{sign}{prefix}"), &digits, may_zero);
    }

    fn character(&self, output: &mut String, number: i64) {
        let code = u32::try_from(number).unwrap_or(u32::MAX);
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        match self.letter {
            'c' => self.pad(output, &character.to_string()),
            'U' => self.pad(output, &format!("U+{code:04X}")),
            _ => {
                let quoted = quote(&character.to_string());
                let inner = quoted.trim_matches('"').replace("\\\"", "\"").replace('\'', "\\'");
                self.pad(output, &format!("'{inner}'"));
            }
        }
    }

    fn float(&self, output: &mut String, number: f64) {
        let magnitude = number.abs();
        let digits = match (self.letter, self.precision) {
            _ if !number.is_finite() => return self.special(output, number),
            ('v' | 'g' | 'G', None) => {
                let mut shown = String::new();
                push_general(&mut shown, magnitude);
                shown
            }
            ('v' | 'g' | 'G', Some(precision)) => general(magnitude, precision.max(1)),
            ('f' | 'F', precision) => format!("{magnitude:.*}", precision.unwrap_or(6)),
            ('e' | 'E', precision) => exponent(magnitude, precision.unwrap_or(6)),
            ('x' | 'X', None) => hex_float(magnitude),
            _ => return self.bad(output, &Value::Float(number)),
        };
        let digits = if self.letter.is_uppercase() { digits.to_uppercase() } else { digits };
        let sign = self.sign(number.is_sign_negative());
        self.pad_number(output, sign, &digits, self.zero && !self.minus);
    }

    fn special(&self, output: &mut String, number: f64) {
        if !"vgGfFeExX".contains(self.letter) {
            return self.bad(output, &Value::Float(number));
        }
        let text = match number {
            f64::INFINITY if self.space && !self.plus => " Inf",
            f64::INFINITY => "+Inf",
            f64::NEG_INFINITY => "-Inf",
            _ if self.plus => "+NaN",
            _ => "NaN",
        };
        // Zeros would make numbers of them.
        Self { zero: false, ..*self }.pad(output, text);
    }

    fn sign(&self, is_negative: bool) -> &'static str {
        match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn pad(&self, output: &mut String, text: &str) {
        let width = self.width.unwrap_or(0);
        // Writing to a String cannot fail.
        let _ = match (self.minus, self.zero) {
            (true, _) => write!(output, "{text:<width$}"),
            (false, true) => write!(output, "{text:0>width$}"),
            (false, _) => write!(output, "{text:>width$}"),
        };
    }

    fn pad_number(&self, output: &mut String, sign: &str, digits: &str, with_zeros: bool) {
        let width = self.width.unwrap_or(0);
        if !with_zeros {
            let spaces = Self { zero: false, ..*self };
            return spaces.pad(output, &format!("{sign}{digits}"));
        }
        let width = width.saturating_sub(sign.len());
        let _ = write!(output, "{sign}{digits:0>width$}");
    }
}

/// `%e`: Go writes the exponent with its sign and two digits at least.
fn exponent(magnitude: f64, precision: usize) -> String {
    let shown = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%g` with a number of significant digits: without trailing zeros, and with an exponent where it
/// is below -4 or not below that number.
fn general(magnitude: f64, precision: usize) -> String {
    let shown = exponent(magnitude, precision - 1);
    let (mantissa, power) = shown.split_once('e').unwrap_or((&shown, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let without_zeros = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if power < -4 || power >= limit {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), power.abs());
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    without_zeros(&format!("{magnitude:.decimals$}"))
}

/// `%x` of a float: a hexadecimal mantissa and a binary exponent.
fn hex_float(magnitude: f64) -> String {
    if magnitude == 0.0 {
        return "0x0p+00".to_owned();
    }
    let bits = magnitude.to_bits();
    let (mut power, mut mantissa) = ((bits >> 52) as i32 - 1023, bits & ((1 << 52) - 1));
    if power == -1023 {
        // A subnormal number: shift until the leading one is where it belongs.
        let shift = mantissa.leading_zeros() - 11;
        mantissa = (mantissa << shift) & ((1 << 52) - 1);
        power = -1022 - shift as i32;
    }
    let digits = format!("{mantissa:013x}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if power < 0 { '-' } else { '+' };
    format!("0x1{point}{digits}p{sign}{:02}", power.abs())
}
