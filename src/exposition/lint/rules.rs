//! The rules. Source: prometheus/client_golang, prometheus/testutil/promlint/validations.

use super::page::Family;
use crate::model::MetricType;

/// Everything that the rules have against a family; texts may repeat.
pub(super) fn problems(family: &Family) -> Vec<String> {
    let mut found = Vec::new();
    if family.help.is_none() {
        found.push("no help text".to_owned());
    }
    check_unit(family, &mut found);
    check_counter(family, &mut found);
    check_reserved(family, &mut found);
    check_type_in_name(family, &mut found);
    check_spelling(family, &mut found);
    check_abbreviations(family, &mut found);
    if family.has_duplicates {
        found.push("metric not unique".to_owned());
    }
    found
}

/// The first part of the name that is a unit decides.
fn check_unit(family: &Family, found: &mut Vec<String>) {
    let unit = family.name.split('_').find_map(|part| Some((part, base_unit(part)?)));
    if let Some((unit, base)) = unit.filter(|(unit, base)| unit != base) {
        found.push(format!("use base unit {base:?} instead of {unit:?}"));
    }
}

fn check_counter(family: &Family, found: &mut Vec<String>) {
    let is_total = family.name.ends_with("_total");
    match family.metric_type() {
        MetricType::Counter if !is_total => found.push("counter metrics should have \"_total\" suffix".to_owned()),
        MetricType::Counter | MetricType::Unknown => {}
        _ if is_total => found.push("non-counter metrics should not have \"_total\" suffix".to_owned()),
        _ => {}
    }
}

/// Names and labels that belong to histograms and summaries.
fn check_reserved(family: &Family, found: &mut Vec<String>) {
    let is_histogram = family.metric_type() == MetricType::Histogram;
    let is_summary = family.metric_type() == MetricType::Summary;
    if family.metric_type() == MetricType::Unknown {
        return;
    }
    let has_suffix = |suffix| family.name.ends_with(suffix);
    let has_label = |label| family.label_names.contains(label);
    if !is_histogram && has_suffix("_bucket") {
        found.push("non-histogram metrics should not have \"_bucket\" suffix".to_owned());
    }
    for suffix in ["_count", "_sum"] {
        if !is_histogram && !is_summary && has_suffix(suffix) {
            found.push(format!("non-histogram and non-summary metrics should not have \"{suffix}\" suffix"));
        }
    }
    if !is_histogram && has_label("le") {
        found.push("non-histogram metrics should not have \"le\" label".to_owned());
    }
    if !is_summary && has_label("quantile") {
        found.push("non-summary metrics should not have \"quantile\" label".to_owned());
    }
}

fn check_type_in_name(family: &Family, found: &mut Vec<String>) {
    let word = match family.metric_type() {
        MetricType::Unknown => return,
        // The word of the protobuf schema.
        MetricType::GaugeHistogram => "gauge_histogram",
        other => other.as_str(),
    };
    if has_part(&family.name.to_lowercase(), word) {
        found.push(format!("metric name should not include type '{word}'"));
    }
}

fn check_spelling(family: &Family, found: &mut Vec<String>) {
    if family.name.contains(':') {
        found.push("metric names should not contain ':'".to_owned());
    }
    if is_camel_case(&family.name) {
        found.push("metric names should be written in 'snake_case' not 'camelCase'".to_owned());
    }
    if family.label_names.iter().any(|name| is_camel_case(name)) {
        found.push("label names should be written in 'snake_case' not 'camelCase'".to_owned());
    }
}

fn check_abbreviations(family: &Family, found: &mut Vec<String>) {
    const ABBREVIATIONS: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    let name = family.name.to_lowercase();
    if ABBREVIATIONS.iter().any(|unit| has_part(&name, unit)) {
        found.push("metric names should not contain abbreviated units".to_owned());
    }
}

/// Whether `part` stands between underscores or at the end, but not at the start.
fn has_part(name: &str, part: &str) -> bool {
    if part.contains('_') {
        return name.contains(&format!("_{part}_")) || name.ends_with(&format!("_{part}"));
    }
    name.split('_').skip(1).any(|found| found == part)
}

/// A lower-case letter right before an upper-case one.
fn is_camel_case(name: &str) -> bool {
    name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

/// The base unit of a unit, prefixed or not.
fn base_unit(word: &str) -> Option<&'static str> {
    const PREFIXES: [&str; 18] = [
        "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga",
        "gibi", "tera", "tebi", "peta", "pebi",
    ];
    let prefixed = || PREFIXES.iter().find_map(|prefix| plain_base_unit(word.strip_prefix(prefix)?));
    plain_base_unit(word).or_else(prefixed)
}

fn plain_base_unit(word: &str) -> Option<&'static str> {
    Some(match word {
        "amperes" => "amperes",
        "bytes" | "bits" => "bytes",
        "celsius" | "fahrenheit" | "rankine" => "celsius",
        "grams" | "pounds" | "ounces" => "grams",
        "joules" | "calories" => "joules",
        "kelvin" | "kelvins" => "kelvin",
        // Both spellings count as base units.
        "metres" => "metres",
        "meters" | "inches" | "yards" | "miles" => "meters",
        "seconds" | "minutes" | "hours" | "days" | "weeks" => "seconds",
        "volts" => "volts",
        _ => return None,
    })
}
