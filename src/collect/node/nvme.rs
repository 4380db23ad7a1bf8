//! NVMe controllers and their namespaces, `/sys/class/nvme`.

use super::super::page::Page;
use super::host::{Host, NodeError, names};
use super::table::Table;
use crate::model::MetricType::Gauge;

const NAMESPACES: Table = Table {
    prefix: "node_nvme_namespace_",
    labels: &["device", "nsid"],
    help: "",
    lines: "\
size capacity_bytes - Capacity of the namespace.
size size_bytes - Size of the namespace.
nuse used_bytes - Bytes of the namespace in use.
block logical_block_size_bytes - Size of a logical block.",
};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let devices = host.sys_folders("class/nvme")?;
    let mut family = page.family("node_nvme_info", Gauge, "Facts about NVMe controllers.");
    for (name, folder) in &devices {
        let word = |file: &str| folder.word(file).unwrap_or_default();
        let (revision, model, serial) = (word("firmware_rev"), word("model"), word("serial"));
        let (state, id) = (word("state"), word("cntlid"));
        let facts = [
            ("cntlid", id.as_str()),
            ("device", name),
            ("firmware_revision", &revision),
            ("model", &model),
            ("serial", &serial),
            ("state", &state),
        ];
        family.sample(&facts, 1.0);
    }
    let mut family = page.family("node_nvme_namespace_info", Gauge, "Namespaces, and their state among several paths.");
    let mut rows = Vec::new();
    for (name, folder) in &devices {
        for entry in names(&host.sys_path("class/nvme").join(name)) {
            let (Some(id), Some(namespace)) = (namespace_id(&entry), folder.folder(&entry)) else { continue };
            let state = namespace.word("ana_state").unwrap_or_else(|| "unknown".to_owned());
            family.sample(&[("ana_state", &state), ("device", name), ("nsid", id)], 1.0);
            let block = namespace.number("queue/logical_block_size").unwrap_or(0.0);
            rows.push(NAMESPACES.row(vec![name.clone(), id.to_owned()], &mut |file| match file {
                "block" => Some(block),
                _ => Some(namespace.number(file)? * block),
            }));
        }
    }
    NAMESPACES.write(page, &rows);
    Ok(())
}

/// `1` of `nvme0n1`, and of `nvme0c0n1`, a path among several.
fn namespace_id(name: &str) -> Option<&str> {
    let (controller, id) = name.strip_prefix("nvme")?.rsplit_once('n')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(controller) && digits(id)).then_some(id)
}
