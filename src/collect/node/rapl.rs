//! Energy that Intel and AMD processors count, `/sys/class/powercap`; only root may read it.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError};
use super::table::Tally;
use crate::model::MetricType::Counter;

struct Zone {
    name: String,
    index: u32,
    path: String,
    joules: f64,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let root = host.sys_path("class/powercap");
    let mut zones: Vec<Zone> = Vec::new();
    let mut seen = Tally::default();
    for entry in host.sys_names("class/powercap") {
        let path = root.join(&entry);
        let Some(folder) = Folder::open(&path) else { continue };
        let Some(name) = folder.word("name") else { continue };
        // `package-0` says its index; the others are numbered.
        let said = name.split_once('-').and_then(|(name, index)| Some((name.to_owned(), index.parse().ok()?)));
        let (name, index) = said.unwrap_or_else(|| (name.clone(), *seen.of(&name) as u32));
        *seen.of(&name) = f64::from(index) + 1.0;
        let Some(microjoules) = folder.number("energy_uj") else { continue };
        zones.push(Zone { name, index, path: path.display().to_string(), joules: microjoules / 1e6 });
    }
    if zones.is_empty() {
        return Err(NodeError::Nothing);
    }
    // Stable: within a name, in the order of the folders.
    zones.sort_by(|left, right| left.name.cmp(&right.name));
    let has_label = host.flags().is_on("rapl.enable-zone-label", false);
    for zones in zones.chunk_by(|left, right| has_label || left.name == right.name) {
        let name = metric_name(&zones[0].name);
        let parts = ["node_rapl_", &name, "_joules_total"];
        let parts = if has_label { &["node_rapl_joules_total"] } else { &parts[..] };
        let mut family = page.family_of(parts, Counter, "Energy counted, in joules.");
        for zone in zones {
            let index = zone.index.to_string();
            let labels = [("index", index.as_str()), ("path", &zone.path), ("rapl_zone", &zone.name)];
            family.sample(&labels[..if has_label { 3 } else { 2 }], zone.joules);
        }
    }
    Ok(())
}

/// Everything but letters, digits and underscores becomes an underscore.
fn metric_name(name: &str) -> String {
    name.chars().map(|character| if character.is_ascii_alphanumeric() { character } else { '_' }).collect()
}
