//! Answers as comma-separated values (RFC 4180): a column per label, a row per point.

use super::document::{Document, Labels, Series, label_names};

/// The whole answer, with a line of names first.
pub fn csv(document: &Document) -> String {
    let mut out = String::new();
    match document {
        Document::Single(point) => {
            push_row(&mut out, ["timestamp", "value"]);
            push_row(&mut out, [point.time.to_string().as_str(), &point.value]);
        }
        Document::Series(series) => push_series(&mut out, series),
        Document::Sets(sets) => {
            let names = label_names(sets);
            push_row(&mut out, names.iter().copied());
            for labels in sets {
                push_row(&mut out, columns(labels, &names));
            }
        }
        Document::Values(name, values) => {
            push_row(&mut out, [name.as_str()]);
            values.iter().for_each(|value| push_row(&mut out, [value.as_str()]));
        }
    }
    out
}

fn push_series(out: &mut String, series: &[Series]) {
    let names = label_names(series.iter().map(|series| &series.labels));
    push_row(out, names.iter().copied().chain(["timestamp", "value"]));
    for one in series {
        for point in &one.points {
            let time = point.time.to_string();
            push_row(out, columns(&one.labels, &names).chain([time.as_str(), &point.value]));
        }
    }
}

fn columns<'l>(labels: &'l Labels, names: &'l [&'l str]) -> impl Iterator<Item = &'l str> {
    names.iter().map(|name| labels.get(*name).map_or("", String::as_str))
}

fn push_row<'f>(out: &mut String, fields: impl IntoIterator<Item = &'f str>) {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            out.push_str(&format!("\"{}\"", field.replace('"', "\"\"")));
        } else {
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_column_per_label_and_a_row_per_point() {
        let data = json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "up", "job": "a,b"}, "values": [[1, "2"], [3.5, "NaN"]]},
            {"metric": {"zone": "say \"hi\""}, "values": [[1, "0"]]},
        ]});
        let text = csv(&Document::of_query(&data).expect("a matrix"));
        let expected = "__name__,job,zone,timestamp,value\r\nup,\"a,b\",,1,2\r\nup,\"a,b\",,3.5,NaN\r\n,,\"say \"\"hi\"\"\",1,0\r\n";
        assert_eq!(text, expected);
        let values = Document::of_values("job", &json!(["a", "b"])).expect("values");
        assert_eq!(csv(&values), "job\r\na\r\nb\r\n");
        let sets = Document::of_sets(&json!([{"a": "1"}, {"b": "2"}])).expect("sets");
        assert_eq!(csv(&sets), "a,b\r\n1,\r\n,2\r\n");
        let scalar = Document::of_query(&json!({"resultType": "scalar", "result": [1.5, "2"]})).expect("a scalar");
        assert_eq!(csv(&scalar), "timestamp,value\r\n1.5,2\r\n");
    }
}
