//! SELinux: `/sys/fs/selinux/enforce`, and what is configured.

use super::super::page::Page;
use super::host::{Host, NodeError, read_number, read_text};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let current = read_number(&host.sys_path("fs/selinux/enforce"));
    page.gauge("node_selinux_enabled", "Whether SELinux is on.", f64::from(u8::from(current.is_some())));
    if let Some(current) = current {
        let config = read_text(&host.root_path("etc/selinux/config")).unwrap_or_default();
        page.gauge("node_selinux_config_mode", "Configured mode: 1 enforcing, 0 permissive, -1 off.", mode(&config));
        page.gauge("node_selinux_current_mode", "Mode in force: 1 enforcing, 0 permissive.", current);
    }
    Ok(())
}

fn mode(config: &str) -> f64 {
    let setting = config.lines().find_map(|line| line.trim().strip_prefix("SELINUX=")).unwrap_or("");
    match setting.trim() {
        "enforcing" => 1.0,
        "permissive" => 0.0,
        _ => -1.0,
    }
}
