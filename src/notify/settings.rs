//! The `alerting` section, checked.

use std::time::Duration;

use crate::client::ClientSettings;
use crate::discovery::DiscoverySettings;
use crate::model::RelabelRule;

/// `alerting`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotifySettings {
    /// `alert_relabel_configs`, for all Alertmanagers.
    pub alert_relabel_rules: Vec<RelabelRule>,
    /// `alertmanagers`
    pub alertmanagers: Vec<AlertmanagerSettings>,
}

/// One entry of `alertmanagers`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertmanagerSettings {
    /// `scheme`
    pub scheme: String,
    /// `path_prefix`
    pub path_prefix: String,
    /// `timeout`, by default 10 s.
    pub timeout: Duration,
    /// How they are found.
    pub discovery: Vec<DiscoverySettings>,
    /// How they are talked to.
    pub client: ClientSettings,
    /// `relabel_configs`, on the discovered targets.
    pub relabel_rules: Vec<RelabelRule>,
    /// `alert_relabel_configs`, for this entry alone.
    pub alert_relabel_rules: Vec<RelabelRule>,
}
