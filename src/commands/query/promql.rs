//! Answers as promtool prints them.

use serde_json::Value;

use super::document::{self, Labels};
use crate::cli::QueryKind;
use crate::model::is_legacy_label_name;

/// The answer as promtool prints it.
pub fn shown(kind: &QueryKind, data: &Value) -> Option<String> {
    match kind {
        QueryKind::Instant { .. } | QueryKind::Range { .. } => result(data),
        QueryKind::Series { .. } => data.as_array()?.iter().map(|labels| Some(label_set(labels)? + "\n")).collect(),
        QueryKind::Labels { .. } => {
            data.as_array()?.iter().map(|value| Some(value.as_str()?.to_owned() + "\n")).collect()
        }
    }
}

fn result(data: &Value) -> Option<String> {
    let result = &data["result"];
    match data["resultType"].as_str()? {
        "scalar" => Some(format!("scalar: {}\n", point(result, false)?)),
        "string" => Some(format!("{}\n", result[1].as_str()?)),
        "vector" => result
            .as_array()?
            .iter()
            .map(|sample| Some(format!("{} => {}\n", metric(&sample["metric"])?, sample_point(sample)?)))
            .collect(),
        "matrix" => result.as_array()?.iter().map(series).collect(),
        _ => None,
    }
}

fn series(series: &Value) -> Option<String> {
    let points = series["values"].as_array().into_iter().flatten().map(|it| point(it, false));
    let histograms = series["histograms"].as_array().into_iter().flatten().map(|it| point(it, true));
    let lines: Option<Vec<String>> = points.chain(histograms).collect();
    Some(format!("{} =>\n{}\n", metric(&series["metric"])?, lines?.join("\n")))
}

fn sample_point(sample: &Value) -> Option<String> {
    if sample["value"].is_null() { point(&sample["histogram"], true) } else { point(&sample["value"], false) }
}

/// `VALUE @[TIME]`
fn point(pair: &Value, is_histogram: bool) -> Option<String> {
    let (time, value) = (pair[0].as_number()?, &pair[1]);
    let value = if is_histogram { value.to_string() } else { value.as_str()?.to_owned() };
    Some(format!("{value} @[{time}]"))
}

fn metric(value: &Value) -> Option<String> {
    document::labels(value).map(|labels| metric_text(&labels))
}

/// `name{label="value", …}`
pub fn metric_text(labels: &Labels) -> String {
    let name = labels.get("__name__").map_or("", String::as_str);
    let pairs: Vec<String> =
        labels.iter().filter(|(label, _)| *label != "__name__").map(|(label, value)| pair(label, value)).collect();
    match (name.is_empty(), pairs.is_empty()) {
        (false, true) => name.to_owned(),
        _ => format!("{name}{{{}}}", pairs.join(", ")),
    }
}

fn label_set(labels: &Value) -> Option<String> {
    let labels = document::labels(labels)?;
    let pairs: Vec<String> = labels.iter().map(|(label, value)| pair(label, value)).collect();
    Some(format!("{{{}}}", pairs.join(", ")))
}

fn pair(label: &str, value: &str) -> String {
    if is_legacy_label_name(label) { format!("{label}={value:?}") } else { format!("{label:?}={value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_look_like_promtools() {
        let cases = [
            (r#"{"resultType":"scalar","result":[1.5,"2"]}"#, "scalar: 2 @[1.5]\n"),
            (r#"{"resultType":"string","result":[1,"x"]}"#, "x\n"),
            (
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","a":"b","c":"d"},"value":[1,"NaN"]},{"metric":{},"value":[1,"0"]}]}"#,
                "up{a=\"b\", c=\"d\"} => NaN @[1]\n{} => 0 @[1]\n",
            ),
            (
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"2"],[3,"4"]]}]}"#,
                "up =>\n2 @[1]\n4 @[3]\n",
            ),
        ];
        for (data, expected) in cases {
            let data: Value = serde_json::from_str(data).expect(data);
            assert_eq!(result(&data).as_deref(), Some(expected));
        }
        assert_eq!(result(&Value::Null), None);
    }
}
