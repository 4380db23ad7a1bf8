//! Software RAID: `/proc/mdstat`, and `/sys/block/md*/md`.

use super::super::page::Page;
use super::host::{Folder, Host, NodeError};
use super::table::Table;
use crate::model::MetricType::Gauge;

/// State as node_exporter names it, and the word that stands for it in the text.
const STATES: [(&str, &str); 5] = [
    ("active", "active"),
    ("inactive", "inactive"),
    ("recovering", "recovery"),
    ("resync", "resync"),
    ("check", "check"),
];

const RAIDS: Table = Table {
    prefix: "node_md_",
    labels: &["device"],
    help: "",
    lines: "raid_disks raid_disks - Devices of the array when it is whole.\ndegraded degraded - Devices that it lacks.",
};

#[derive(Debug, PartialEq)]
struct Array<'t> {
    name: &'t str,
    state: &'t str,
    active: u64,
    required: u64,
    failed: usize,
    spare: usize,
    blocks: u64,
    synced: u64,
}

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_of_long_lines("mdstat").map_err(NodeError::or_nothing)?;
    let arrays = parse(&text).ok_or_else(|| host.unexpected("mdstat", "an array without its line of blocks"))?;
    let mut family = page.family("node_md_disks_required", Gauge, "Devices of the array when it is whole.");
    for array in &arrays {
        family.sample(&[("device", array.name)], array.required as f64);
    }
    let mut family = page.family("node_md_disks", Gauge, "Active, failed and spare devices of the array.");
    for array in &arrays {
        let counts = [("active", array.active as f64), ("failed", array.failed as f64), ("spare", array.spare as f64)];
        for (state, count) in counts {
            family.sample(&[("device", array.name), ("state", state)], count);
        }
    }
    let mut family = page.family("node_md_state", Gauge, "The state that the array is in.");
    for array in &arrays {
        for (state, word) in STATES {
            family.sample(&[("device", array.name), ("state", state)], f64::from(u8::from(array.state == word)));
        }
    }
    let mut family = page.family("node_md_blocks", Gauge, "Blocks of the array.");
    for array in &arrays {
        family.sample(&[("device", array.name)], array.blocks as f64);
    }
    let mut family = page.family("node_md_blocks_synced", Gauge, "Blocks of the array that are in sync.");
    for array in &arrays {
        family.sample(&[("device", array.name)], array.synced as f64);
    }
    write_raids(host, page);
    Ok(())
}

fn write_raids(host: &Host, page: &mut Page<'_>) {
    let mut rows = Vec::new();
    for device in host.sys_names("block").into_iter().filter(|name| name.starts_with("md")) {
        let Some(folder) = Folder::open(&host.sys_path(&format!("block/{device}/md"))) else { continue };
        let level = folder.word("level").unwrap_or_default();
        let has_redundancy = matches!(level.as_str(), "raid1" | "raid4" | "raid5" | "raid6" | "raid10");
        rows.push(RAIDS.row(vec![device], &mut |file| match file {
            // While it is reshaped: `4 (3)`. Containers have none.
            "raid_disks" if matches!(level.as_str(), "container" | "imsm" | "ddf" | "") => None,
            "raid_disks" => folder.word(file)?.split(' ').next()?.parse().ok(),
            _ if has_redundancy => folder.number(file),
            _ => Some(0.0),
        }));
    }
    RAIDS.write(page, &rows);
}

/// Of each array one line with its devices, one with its blocks, and perhaps one about a bitmap and one about a sync.
fn parse(text: &str) -> Option<Vec<Array<'_>>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_array =
        |line: &str| line.contains(" : ") && !line.starts_with([' ', '\t']) && !line.starts_with("Personalities");
    let arrays = lines.iter().enumerate().filter(|(_, line)| is_array(line));
    arrays.map(|(at, _)| parse_array(&lines[at..])).collect()
}

fn parse_array<'t>(lines: &[&'t str]) -> Option<Array<'t>> {
    let first = *lines.first()?;
    let mut words = first.split_ascii_whitespace();
    let (name, mut state) = (words.next()?, words.nth(1)?);
    let status = *lines.get(1)?;
    let blocks: u64 = status.split_ascii_whitespace().next()?.parse().ok()?;
    let (required, active) = if first.contains("raid0") || first.contains("linear") {
        let devices = first.matches('[').count() as u64;
        (devices, devices)
    } else if state == "inactive" {
        (0, 0)
    } else {
        device_counts(status)?
    };
    let mut synced = blocks;
    let follows_bitmap = lines.get(2).is_some_and(|line| line.contains("bitmap"));
    let sync = lines.get(if follows_bitmap { 3 } else { 2 }).copied().unwrap_or("");
    if let Some(word) = ["recovery", "reshape", "check", "resync"].into_iter().find(|word| sync.contains(word)) {
        state = word;
        synced = match sync.contains("PENDING") || sync.contains("DELAYED") {
            true => 0,
            false => sync.split_once('(')?.1.split_once('/')?.0.parse().ok()?,
        };
    }
    let (failed, spare) = (first.matches("(F)").count(), first.matches("(S)").count());
    Some(Array { name, state, active, required, failed, spare, blocks, synced })
}

/// `… [3/2] [UU_]`: required, active.
fn device_counts(status: &str) -> Option<(u64, u64)> {
    status.split('[').skip(1).find_map(|part| {
        let (required, active) = part.split_once(']')?.0.split_once('/')?;
        Some((required.parse().ok()?, active.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        let text = "Personalities : [raid1] [raid6] [raid5]\n\
                    md0 : active raid1 sdb1[1] sda1[0](F)\n      1024 blocks super 1.2 [2/1] [_U]\n      \
                    bitmap: 0/1 pages [0KB], 65536KB chunk\n\n\
                    md1 : active raid5 sdc[3] sdb[1] sda[0]\n      2048 blocks level 5, 64k chunk [3/2] [UU_]\n      \
                    [=>....]  recovery =  8.5% (174/2048) finish=17.1min speed=1K/sec\n\n\
                    md2 : inactive sdd[0](S)\n      512 blocks super 1.2\n\n\
                    md3 : active raid0 sde[0] sdf[1]\n      4096 blocks 64k chunks\n\n\
                    md4 : active raid1 sdg[0] sdh[1]\n      8 blocks [2/2] [UU]\n        resync=DELAYED\n\n\
                    unused devices: <none>\n";
        let shown: Vec<String> = parse(text)
            .expect("valid")
            .iter()
            .map(|a| {
                format!(
                    "{} {} {}/{} F{} S{} {}/{}",
                    a.name, a.state, a.active, a.required, a.failed, a.spare, a.synced, a.blocks
                )
            })
            .collect();
        let expected = [
            "md0 active 1/2 F1 S0 1024/1024",
            "md1 recovery 2/3 F0 S0 174/2048",
            "md2 inactive 0/0 F0 S1 512/512",
            "md3 active 2/2 F0 S0 4096/4096",
            "md4 resync 2/2 F0 S0 0/8",
        ];
        assert_eq!(shown, expected);
        assert_eq!(parse("md0 : active raid1 sda[0]\n").map(|arrays| arrays.len()), None);
    }
}
