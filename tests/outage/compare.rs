//! All samples of both sides, and what differs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::support::{encode, get_json};

/// Per series, its samples: time in milliseconds and value as the API writes it.
pub type AllSamples = BTreeMap<String, BTreeMap<i64, String>>;

/// Reads every sample of the series of `selector` up to `until_ms`, as far back as `range` (`30h`). The label `without` is
/// left out.
pub fn samples(address: &str, selector: &str, range: &str, until_ms: i64, without: &str) -> Result<AllSamples, String> {
    let query = encode(&format!("{selector}[{range}]"));
    let time = format!("{}.{:03}", until_ms / 1000, until_ms % 1000);
    let answer = get_json(address, &format!("/api/v1/query?query={query}&time={time}"))?;
    let result = answer["data"]["result"].as_array().ok_or_else(|| format!("no matrix: {answer}"))?;
    let mut all = AllSamples::new();
    for series in result {
        let mut labels = series["metric"].as_object().cloned().unwrap_or_default();
        labels.remove(without);
        let samples = series["values"].as_array().into_iter().flatten().map(sample).collect::<Result<_, _>>()?;
        // Two series that differ in that label alone would be one here: nothing of them may get lost unseen.
        if all.insert(Value::Object(labels).to_string(), samples).is_some() {
            return Err(format!("two series are the same without {without}: {series}"));
        }
    }
    Ok(all)
}

fn sample(pair: &Value) -> Result<(i64, String), String> {
    let (time, value) = (pair[0].as_f64(), pair[1].as_str());
    let (Some(time), Some(value)) = (time, value) else { return Err(format!("no sample: {pair}")) };
    Ok(((time * 1000.0).round() as i64, value.to_owned()))
}

/// How many samples there are.
pub fn count(all: &AllSamples) -> usize {
    all.values().map(BTreeMap::len).sum()
}

/// What the central lacks, has too much, or has differently. Samples up to `reach_ms` may be missing there.
pub fn difference(site: &AllSamples, central: &AllSamples, reach_ms: i64) -> Result<(), String> {
    let mut wrong = Vec::new();
    let none = BTreeMap::new();
    for (series, expected) in site {
        let found = central.get(series).unwrap_or(&none);
        for (time, value) in expected {
            match found.get(time) {
                Some(there) if there == value => {}
                Some(there) => wrong.push(format!("{series} at {time}: {there} instead of {value}")),
                None if *time <= reach_ms => {}
                None => wrong.push(format!("{series} at {time} is missing")),
            }
        }
    }
    for (series, found) in central {
        let expected = site.get(series).unwrap_or(&none);
        let extra = found.keys().filter(|time| !expected.contains_key(time));
        wrong.extend(extra.map(|time| format!("{series} at {time} is at the central alone")));
    }
    match wrong.len() {
        0 => Ok(()),
        number => Err(format!("{number} samples differ, among them\n{}", wrong[..number.min(12)].join("\n"))),
    }
}

#[test]
fn differences_are_found() {
    let all = |samples: &[(i64, &str)]| {
        AllSamples::from([("up".to_owned(), samples.iter().map(|(at, value)| (*at, (*value).to_owned())).collect())])
    };
    let site = all(&[(1, "0"), (2, "1"), (3, "1")]);
    assert_eq!(difference(&site, &site, 0), Ok(()));
    assert_eq!(difference(&site, &all(&[(2, "1"), (3, "1")]), 1), Ok(()));
    for (central, reach, text) in [
        (all(&[(2, "1"), (3, "1")]), 0, "up at 1 is missing"),
        (all(&[(1, "1"), (2, "1"), (3, "1")]), 1, "up at 1: 1 instead of 0"),
        (all(&[(1, "0"), (2, "1"), (3, "1"), (4, "1")]), 1, "up at 4 is at the central alone"),
        (AllSamples::new(), 2, "up at 3 is missing"),
    ] {
        let said = difference(&site, &central, reach).unwrap_err();
        assert!(said.starts_with("1 samples differ") && said.ends_with(text), "{said}");
    }
}
