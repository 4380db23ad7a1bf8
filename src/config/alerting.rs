//! `alerting`: where alerts go.

use std::time::Duration;

use super::paths::Folder;
use super::{client, discovery, relabel, unsupported};
use crate::notify::{AlertmanagerSettings, NotifySettings};
use crate::yaml::Field;

/// Reads `alerting`.
pub fn read(field: &Field<'_>, folder: &Folder) -> NotifySettings {
    let section = field.section();
    let settings = NotifySettings {
        alert_relabel_rules: relabel::read(&section, "alert_relabel_configs"),
        alertmanagers: section.items("alertmanagers").iter().map(|item| alertmanager(item, folder)).collect(),
    };
    section.finish(|_| None);
    settings
}

fn alertmanager(field: &Field<'_>, folder: &Folder) -> AlertmanagerSettings {
    let section = field.section();
    if let Some(version) = section.written_text("api_version").filter(|version| version != "v2") {
        section.problem("api_version", format!("Alertmanager's only API is v2, not {version:?}; remove the key"));
    }
    let relabel_rules = relabel::read(&section, "relabel_configs");
    let settings = AlertmanagerSettings {
        scheme: section.text("scheme").unwrap_or_else(|| "http".to_owned()),
        path_prefix: section.text("path_prefix").unwrap_or_default(),
        timeout: section.duration("timeout").unwrap_or(Duration::from_secs(10)),
        discovery: discovery::read(&section, relabel_rules.is_empty(), folder),
        client: client::read(&section, folder),
        relabel_rules,
        alert_relabel_rules: relabel::read(&section, "alert_relabel_configs"),
    };
    section.pass_empty(&unsupported::FOREIGN_DISCOVERIES);
    section.finish(unsupported::alertmanager);
    settings
}
