//! Answers side by side.

use std::collections::BTreeMap;

use serde_json::Value;

type Points = Vec<(String, f64)>;

/// The first difference between two answers, if there is any.
pub fn difference(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs) = (series_of(ours), series_of(theirs));
    if ours.len() != theirs.len() {
        return Some(format!("{} series, and {} at the peer", ours.len(), theirs.len()));
    }
    for (labels, points) in &theirs {
        let Some(found) = ours.get(labels) else { return Some(format!("{labels} is missing")) };
        if found.len() != points.len() {
            return Some(format!("{labels}: {} points, and {} at the peer", found.len(), points.len()));
        }
        let differs = found.iter().zip(points).find(|(a, b)| a.0 != b.0 || !is_same(a.1, b.1));
        if let Some((a, b)) = differs {
            return Some(format!("{labels}: {a:?}, and {b:?} at the peer"));
        }
    }
    None
}

/// Sums are compensated on both sides, but not added up in the same order.
fn is_same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-11 * a.abs().max(b.abs())
}

fn series_of(answer: &str) -> BTreeMap<String, Points> {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let result = answer["data"]["result"].as_array().expect("a vector or a matrix").iter();
    let series = result.map(|series| {
        let points = match series["values"].as_array() {
            Some(points) => points.iter().map(point).collect(),
            None => vec![point(&series["value"])],
        };
        (series["metric"].to_string(), points)
    });
    series.collect()
}

fn point(pair: &Value) -> (String, f64) {
    (pair[0].to_string(), pair[1].as_str().and_then(|text| text.parse().ok()).expect("a number as text"))
}
