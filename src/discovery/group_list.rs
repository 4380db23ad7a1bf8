//! The list of groups that files and HTTP servers give: `[{"targets": […], "labels": {…}}]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::TargetGroup;
use crate::model::Labels;
use crate::yaml;

/// Addresses, and the labels they have in common.
type Group = (Vec<String>, BTreeMap<String, String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads JSON.
pub(super) fn parse_json(text: &[u8]) -> Result<Vec<Group>, String> {
    let groups: Vec<Option<RawGroup>> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    check(groups)
}

/// Reads YAML, strictly: every mistake is named with the file's `name`, line and column, one a line.
pub(super) fn parse_yaml(text: &str, name: &str) -> Result<Vec<Group>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let document = yaml::parse(text).map_err(|error| format!("{name}:{error}"))?;
    let report = yaml::Report::new(name);
    let root = report.root(&document);
    let items = if root.is_null() { Vec::new() } else { root.items() };
    let groups = items.into_iter().map(|item| (!item.is_null()).then(|| raw_group(&item))).collect();
    let (problems, _) = report.into_parts();
    if problems.is_empty() {
        return check(groups).map_err(|problem| format!("{name}: {problem}"));
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(lines.join("\n"))
}

fn raw_group(item: &yaml::Field<'_>) -> RawGroup {
    let section = item.section();
    let targets = section.get("targets").map(|field| field.texts()).unwrap_or_default();
    let pairs = section.get("labels").map(|field| field.pairs()).unwrap_or_default();
    let labels = pairs.into_iter().filter_map(|(name, value)| Some((name, value.text()?))).collect();
    section.finish(|_| None);
    RawGroup { targets, labels: Some(labels) }
}

/// A group with its source, and what says where it came from.
pub(super) fn make_group(source: String, (targets, mut labels): Group, meta: (&str, &str)) -> TargetGroup {
    labels.insert(meta.0.to_owned(), meta.1.to_owned());
    let targets = targets.iter().map(|address| Labels::from_pairs([("__address__", address.as_str())])).collect();
    TargetGroup { source, targets, labels: Labels::from_pairs(labels) }
}

fn check(groups: Vec<Option<RawGroup>>) -> Result<Vec<Group>, String> {
    let numbered = groups.into_iter().enumerate();
    numbered
        .map(|(index, group)| {
            let group = group.ok_or_else(|| format!("nil target group item found (index {index})"))?;
            let labels = group.labels.unwrap_or_default();
            if let Some(name) = labels.keys().find(|name| name.is_empty()) {
                return Err(format!("{name:?} is not a valid label name (index {index})"));
            }
            Ok((group.targets, labels))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings() {
        let json = br#"[{"targets": ["a:1", "b:1"], "labels": {"x": "1"}}, {"targets": []}]"#;
        let yaml = "- targets: ['a:1', 'b:1']\n  labels:\n    x: '1'\n- targets: []\n";
        assert_eq!(parse_json(json), parse_yaml(yaml, "t.yml"));
        assert_eq!(parse_json(json).expect("valid")[0].0, ["a:1", "b:1"]);
        assert_eq!(parse_yaml("# none\n", "t.yml").map(|groups| groups.len()), Ok(0));
        for bad in ["{}", "[null]", r#"[{"target": []}]"#, "["] {
            assert!(parse_json(bad.as_bytes()).is_err(), "{bad}");
            assert!(parse_yaml(bad, "t.yml").is_err(), "{bad}");
        }
        assert!(parse_json(br#"[{"targets": [1]}]"#).is_err(), "JSON tells numbers from texts");
    }
}
