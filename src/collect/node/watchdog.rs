//! Hardware watchdogs, `/sys/class/watchdog`.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;
use crate::model::MetricType::Gauge;

const WATCHDOGS: Table = Table {
    prefix: "node_watchdog_",
    labels: &["name"],
    help: "Value of a file in /sys/class/watchdog/<watchdog>.",
    lines: "\
bootstatus bootstatus -
fw_version fw_version -
nowayout nowayout -
timeleft timeleft_seconds -
timeout timeout_seconds -
pretimeout pretimeout_seconds -
access_cs0 access_cs0 -",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let watchdogs = host.sys_folders("class/watchdog")?;
    let rows: Vec<_> = watchdogs.iter().map(|(name, folder)| WATCHDOGS.files(vec![name.clone()], folder)).collect();
    WATCHDOGS.write(page, &rows);
    let mut family = page.family("node_watchdog_info", Gauge, "Facts about watchdogs.");
    for (name, folder) in &watchdogs {
        let word = |file: &str| folder.word(file).unwrap_or_default();
        let (identity, options, governor) = (word("identity"), word("options"), word("pretimeout_governor"));
        let (state, status) = (word("state"), word("status"));
        let facts = [
            ("identity", identity.as_str()),
            ("name", name),
            ("options", &options),
            ("pretimeout_governor", &governor),
            ("state", &state),
            ("status", &status),
        ];
        family.sample(&facts, 1.0);
    }
    Ok(())
}
