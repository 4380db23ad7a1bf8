//! Tests that concern all formats: recorded pages, Prometheus's verdicts, hostile bytes.

use super::*;

/// An entry as one short text, for tables of expectations.
pub(super) fn show(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Series(series) => format!("{}|", show_series(series)),
        Entry::NativeHistogram(histogram) => format!("NATIVE {}|", show_labels(histogram.labels())),
        Entry::Help { name, help } => format!("HELP {name} {help}|"),
        Entry::Type { name, metric_type } => format!("TYPE {name} {metric_type}|"),
        Entry::Unit { name, unit } => format!("UNIT {name} {unit}|"),
        Entry::Comment(text) => format!("# {}|", String::from_utf8_lossy(text)),
    }
}

fn show_series(series: &Series<'_>) -> String {
    let at = |timestamp: Option<i64>| timestamp.map(|ms| format!(" @{ms}")).unwrap_or_default();
    let mut text = format!("{} = {}{}", show_labels(series.labels()), series.value, at(series.timestamp));
    if let Some(exemplar) = series.exemplar {
        let labels = show_labels(exemplar.labels());
        text += &format!(" {{{labels} = {}{}}}", exemplar.value, at(exemplar.timestamp));
    }
    text
}

fn show_labels(labels: LabelIter<'_>) -> String {
    let mut is_first = true;
    let shown = labels.map(|(name, value)| {
        let is_name = name == "__name__" && std::mem::take(&mut is_first);
        if is_name { value.into_owned() } else { format!("{name}={value}") }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Reads a page to its end or to its first error; gives how many samples were seen.
fn count_series(format: Format, page: &[u8]) -> Result<usize, ParseError> {
    let mut parser = Parser::new(format, page);
    let mut count = 0;
    while let Some(entry) = parser.next_entry()? {
        if let Entry::Series(series) = entry {
            count += 1;
            assert!(series.labels().any(|(name, _)| name == "__name__"), "every series has a name");
        }
    }
    Ok(count)
}

/// The recorded scrapes of one target: `#@ k start received length`, line feed, body.
fn recorded_pages(path: &std::path::Path) -> Vec<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path).expect("a capture can be opened");
    let mut decoder = zstd::stream::Decoder::new(file).expect("a capture is zstd");
    decoder.window_log_max(27).expect("a valid window");
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).expect("a capture is whole");
    let (mut pages, mut rest) = (Vec::new(), bytes.as_slice());
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a head line");
        let head = std::str::from_utf8(&rest[..end]).expect("a head line is text");
        let len: usize = head.rsplit(' ').next().and_then(|len| len.parse().ok()).expect("a length");
        pages.push(rest[end + 1..end + 1 + len].to_vec());
        rest = &rest[end + 1 + len..];
    }
    pages
}

#[test]
fn every_recorded_page_is_read_to_its_end() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/capture");
    let Ok(files) = std::fs::read_dir(folder) else {
        eprintln!("SKIPPED: no recorded pages in {folder}");
        return;
    };
    let is_capture = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".cap.zst");
    let paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).filter(is_capture).collect();
    assert!(!paths.is_empty(), "{folder} has no captures");
    for path in paths {
        let pages = recorded_pages(&path);
        // Neighbours differ in values only: a dozen over the whole length is enough here.
        for page in pages.iter().step_by((pages.len() / 12).max(1)) {
            let lines = page.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(|byte| *byte != b'#'));
            assert_eq!(count_series(Format::PrometheusText004, page), Ok(lines.count()), "{}", path.display());
        }
    }
}

#[test]
fn hostile_pages_end_in_bounded_time() {
    let mega = 1 << 20;
    let value = format!("a{{b=\"{}\"}} 1\n# EOF\n", "x".repeat(mega));
    let escapes = format!("a{{b=\"{}\"}} 1\n# EOF\n", "\\n".repeat(mega));
    let digits = format!("a {}\n# EOF\n", "9".repeat(mega));
    let fraction = format!("a 0.{}\n# EOF\n", "1".repeat(mega));
    let unended = format!("a{{b=\"{}", "x".repeat(mega));
    let labels = format!("a{{{}}} 1\n# EOF\n", "b=\"c\",".repeat(mega / 8));
    let nuls = "\0".repeat(mega);
    let braces = "{".repeat(mega);
    let quotes = "\"".repeat(mega);
    let texts =
        [(&value, true), (&escapes, true), (&digits, false), (&fraction, true), (&unended, false), (&labels, true)];
    for (page, is_good) in texts {
        for format in [Format::PrometheusText004, Format::OpenMetricsText100] {
            let found = count_series(format, page.as_bytes());
            assert_eq!(found.is_ok(), is_good, "{format:?} {}", &page[..20]);
        }
    }
    for page in [&value, &nuls, &braces, &quotes, &"\u{80}".repeat(mega)] {
        // A word of judgement on each is enough: none may panic or hang.
        let _ = count_series(Format::PrometheusText004, page.as_bytes());
        let _ = count_series(Format::OpenMetricsText100, page.as_bytes());
        let _ = count_series(Format::PrometheusProto, page.as_bytes());
        let _ = lint::check(page.as_bytes());
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(page in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        for format in [Format::PrometheusText004, Format::OpenMetricsText100, Format::PrometheusProto] {
            let _ = count_series(format, &page);
        }
    }

    #[test]
    fn no_page_like_text_makes_a_parser_panic(page in "([a{}=\",\\\\# \n\u{00e9}\u{0}10.+-]|HELP |TYPE |EOF|UNIT ){0,40}") {
        for format in [Format::PrometheusText004, Format::OpenMetricsText100] {
            let _ = count_series(format, page.as_bytes());
        }
        let _ = lint::check(page.as_bytes());
    }
}

/// Labels and value of a series, for comparison.
type Found = (std::collections::BTreeMap<String, String>, String);

/// The series of a page, or that a scrape of it fails: what a scraper adds to the parser's judgement
/// is that names must not be empty nor occur twice.
fn scrape(format: Format, page: &[u8]) -> Option<Vec<Found>> {
    let mut parser = Parser::new(format, page);
    let mut found = Vec::new();
    while let Some(entry) = parser.next_entry().ok()? {
        let Entry::Series(series) = entry else { continue };
        let mut labels = std::collections::BTreeMap::new();
        for (name, value) in series.labels() {
            if name.is_empty() || (name == "__name__" && value.is_empty()) {
                return None;
            }
            if labels.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        found.push((labels, crate::model::format_float(series.value)));
    }
    found.sort();
    Some(found)
}

#[test]
fn verdicts_are_those_of_prometheus() {
    let verdicts = include_str!("../../tests/fixtures/exposition/prometheus-3.5.3.json");
    let verdicts: serde_json::Value = serde_json::from_str(verdicts).expect("the fixture is JSON");
    for verdict in verdicts.as_array().expect("a list") {
        let text = verdict["page"].as_str().expect("a page");
        let page: Vec<u8> = text.chars().map(|char| u8::try_from(char).expect("a byte")).collect();
        let is_text = verdict["format"] == "text";
        let format = if is_text { Format::PrometheusText004 } else { Format::OpenMetricsText100 };
        let expected = verdict["series"].as_array().map(|series| {
            let mut expected: Vec<Found> = series.iter().map(expected_series).collect();
            expected.sort();
            expected
        });
        assert_eq!(scrape(format, &page), expected, "{text:?}: Prometheus says {}", verdict["error"]);
    }
}

fn expected_series(series: &serde_json::Value) -> Found {
    let labels = series[0].as_object().expect("labels").iter();
    // The one deviation: there, blanks in front of a name become part of it.
    let labels = labels.map(|(name, value)| (name.clone(), value.as_str().expect("a value").to_owned()));
    let labels = labels.map(|(name, value)| {
        if name == "__name__" { (name, value.trim_start_matches([' ', '\t']).to_owned()) } else { (name, value) }
    });
    let value: f64 = series[1].as_str().and_then(|value| value.parse().ok()).expect("a number");
    (labels.collect(), crate::model::format_float(value))
}
