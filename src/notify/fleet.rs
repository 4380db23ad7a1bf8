//! Which Alertmanagers there are: discovered targets, relabelled, as URLs. Pure.
//! Source: `AlertmanagerFromGroup` in prometheus/notifier/alertmanager.go (3.5).

use std::collections::BTreeSet;

use super::settings::AlertmanagerSettings;
use crate::discovery::TargetGroup;
use crate::model::{Labels, LabelsBuilder, relabel};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const ALERTS_PATH: &str = "__alerts_path__";

/// Where alerts are posted to.
const API_PATH: &str = "api/v2/alerts";

/// The Alertmanagers of one entry of `alertmanagers`, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Those in use.
    pub active: BTreeSet<String>,
    /// Those that relabeling dropped.
    pub dropped: BTreeSet<String>,
    /// Addresses that cannot be used.
    pub invalid: BTreeSet<String>,
}

/// Applies the settings to what was discovered.
pub fn fleet(settings: &AlertmanagerSettings, groups: &[TargetGroup]) -> Fleet {
    let mut fleet = Fleet::default();
    for (target, group) in groups.iter().flat_map(|group| group.targets.iter().map(move |target| (target, group))) {
        let mut labels = discovered(settings, target, &group.labels);
        let before = url(&labels);
        if !relabel(&mut labels, &settings.relabel_rules) {
            fleet.dropped.insert(before);
        } else if is_address(labels.get(ADDRESS).unwrap_or("")) {
            fleet.active.insert(url(&labels));
        } else {
            fleet.invalid.insert(labels.get(ADDRESS).unwrap_or("").to_owned());
        }
    }
    fleet
}

fn discovered(settings: &AlertmanagerSettings, target: &Labels, group: &Labels) -> LabelsBuilder {
    let mut labels = target.to_builder();
    labels.set(SCHEME, settings.scheme.as_str());
    labels.set(ALERTS_PATH, alerts_path(&settings.path_prefix));
    for (name, value) in group.iter().filter(|(name, _)| target.get(name).is_none()) {
        labels.set(name, value);
    }
    labels
}

fn alerts_path(prefix: &str) -> String {
    let parts = prefix.split('/').chain(API_PATH.split('/')).filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| path + "/" + part)
}

fn url(labels: &LabelsBuilder) -> String {
    let part = |name| labels.get(name).unwrap_or("");
    format!("{}://{}{}", part(SCHEME), part(ADDRESS), part(ALERTS_PATH))
}

fn is_address(address: &str) -> bool {
    !address.is_empty() && !address.contains('/')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::ClientSettings;
    use crate::model::{AnchoredRegex, RelabelAction, RelabelRule};

    #[test]
    fn targets_become_urls() {
        let drop_b = RelabelRule {
            source_labels: vec![ADDRESS.to_owned()],
            separator: ";".to_owned(),
            regex: AnchoredRegex::new("b:.*").expect("valid"),
            modulus: 0,
            target_label: String::new(),
            replacement: String::new(),
            action: RelabelAction::Drop,
        };
        let settings = AlertmanagerSettings {
            scheme: "https".to_owned(),
            path_prefix: "/am/".to_owned(),
            timeout: Duration::from_secs(10),
            discovery: Vec::new(),
            client: ClientSettings::default(),
            relabel_rules: vec![drop_b],
            alert_relabel_rules: Vec::new(),
        };
        let target = |address: &str| Labels::from_pairs([(ADDRESS, address)]);
        let groups = [
            TargetGroup {
                source: "1".to_owned(),
                targets: vec![target("a:9093"), target("b:9093"), target("http://c:9093"), target("a:9093")],
                labels: Labels::empty(),
            },
            TargetGroup {
                source: "2".to_owned(),
                targets: vec![target("d:1")],
                labels: Labels::from_pairs([(SCHEME, "http"), (ADDRESS, "elsewhere")]),
            },
        ];
        let fleet = fleet(&settings, &groups);
        let active: Vec<&str> = fleet.active.iter().map(String::as_str).collect();
        // The group's labels come last, as in Prometheus, but a target's own label stays.
        assert_eq!(active, ["http://d:1/am/api/v2/alerts", "https://a:9093/am/api/v2/alerts"]);
        assert_eq!(fleet.dropped.iter().collect::<Vec<_>>(), ["https://b:9093/am/api/v2/alerts"]);
        assert_eq!(fleet.invalid.iter().collect::<Vec<_>>(), ["http://c:9093"]);
        assert_eq!(alerts_path(""), "/api/v2/alerts");
    }
}
