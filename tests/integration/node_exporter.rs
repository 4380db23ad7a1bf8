//! This host beside a live node_exporter: on this machine in the same second, and on the trees of kernel files.
//!
//! `node_exporter.txt` says which of its series may be missing and which values move, each with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::support::{Outpost, PATIENCE, Process, eventually, get, get_json, node_exporter_with, program, query_value};

/// The share of node_exporter's series that must be there.
const SHARE_LEAST: f64 = 0.98;

/// Name and labels without empty ones, as node_exporter spells `name{a="b"}`, labels sorted.
type Values = BTreeMap<String, f64>;

/// A page's values, and the types of its families.
struct Page {
    values: Values,
    types: BTreeMap<String, String>,
}

#[test]
fn a_live_node_exporter_says_the_same_of_this_host() {
    let folder = tempfile::TempDir::new().unwrap();
    let textfiles = format!("--collector.textfile.directory={}", folder.path().display());
    let flags = [
        "--web.disable-exporter-metrics",
        "--collector.filesystem.mount-points-exclude=^/(dev|proc|run|sys|mnt|media)($|/)",
        &textfiles,
    ];
    let (_exporter, address) = node_exporter_with(folder.path(), &flags);
    let outpost = Outpost::start(&format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: node, collector: node, flags: ['{}', '{}']}}]\n",
        flags[1], flags[2]
    ));
    eventually(PATIENCE, "a first collection", || query_value(&outpost.address, "node_load1"));
    let before = stored(&outpost);
    let theirs = parse(&get(&address, "/metrics").unwrap().body);
    let asked = theirs.values["node_time_seconds"];
    eventually(PATIENCE, "a collection after theirs", || match query_value(&outpost.address, "node_time_seconds")? {
        time if time > asked => Ok(()),
        time => Err(format!("{time}")),
    });
    let after = stored(&outpost);
    let types = stored_types(&outpost);

    let rules = Rules::read();
    let mut wrong = Vec::new();
    let mut missing = 0;
    for (series, value) in &theirs.values {
        let Some((first, last)) = before.get(series).zip(after.get(series)) else {
            missing += 1;
            if !rules.may_be_missing(series) {
                wrong.push(format!("missing: {series} {value}"));
            }
            continue;
        };
        let name = series.split('{').next().unwrap();
        if types.get(name) != theirs.types.get(name) {
            wrong.push(format!("type of {name}: {:?}, not {:?}", types.get(name), theirs.types.get(name)));
        }
        // What is counted lies between two collections of ours; what moves to and fro lies near them.
        let slack = rules.slack(series).max(1e-9) * first.abs().max(last.abs()).max(1.0);
        if !(first.min(*last) - slack..=first.max(*last) + slack).contains(value) && !value.is_nan() {
            wrong.push(format!("value: {series} {value}, ours {first} and {last}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let share = 1.0 - f64::from(missing) / theirs.values.len() as f64;
    assert!(share >= SHARE_LEAST && theirs.values.len() > 300, "{share} of {}", theirs.values.len());
}

#[test]
fn a_live_node_exporter_reads_the_trees_alike() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node");
    for tree in ["nas", "pi3", "pi4", "pi5", "zero2"] {
        let root = trees.join(tree);
        let path = |part: &str| root.join(part).display().to_string();
        let folder = tempfile::TempDir::new().unwrap();
        let mut flags: Vec<String> =
            [("procfs", "proc"), ("sysfs", "sys"), ("rootfs", "rootfs"), ("udev.data", "rootfs/run/udev/data")]
                .map(|(name, part)| format!("--path.{name}={}", path(part)))
                .to_vec();
        // What asks the kernel instead of the trees, what is not there, and what the tree's page leaves out.
        for collector in
            ["arp", "bcachefs", "filesystem", "selinux", "systemd", "time", "timex", "uname", "netdev.netlink"]
        {
            flags.push(format!("--no-collector.{collector}"));
        }
        for flag in ["interrupts", "softirqs", "stat.softirq", "bcache.priorityStats"] {
            flags.push(format!("--collector.{flag}"));
        }
        flags.push("--web.disable-exporter-metrics".to_owned());
        flags.push(format!("--collector.textfile.directory={}", folder.path().display()));
        let (_exporter, address) =
            node_exporter_with(folder.path(), &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let theirs = parse(&get(&address, "/metrics").unwrap().body.replace(&root.display().to_string(), "TREE"));
        let ours = parse(&std::fs::read_to_string(root.with_extension("txt")).unwrap());
        let mut wrong = Vec::new();
        for (series, value) in &theirs.values {
            let name = series.split('{').next().unwrap();
            if matches!(name, "node_exporter_build_info" | "node_scrape_collector_duration_seconds") {
                continue;
            }
            match ours.values.get(series) {
                None => wrong.push(format!("missing: {series} {value}")),
                // A collector of ours may understand what theirs gives up on.
                Some(own) if name == "node_scrape_collector_success" && own >= value => {}
                Some(own) if (own - value).abs() <= 1e-9 * own.abs() => {}
                Some(own) => wrong.push(format!("value: {series} {value}, ours {own}")),
            }
            if ours.types.get(name) != theirs.types.get(name) {
                wrong.push(format!("type of {name}"));
            }
        }
        assert!(wrong.is_empty() && theirs.values.len() > 100, "{tree}:\n{}", wrong.join("\n"));
    }
}

/// What drivers say, of devices that nothing else moves: pairs in namespaces of their own, where an outpost
/// scrapes the exporter and itself.
#[test]
fn a_live_node_exporter_hears_the_same_from_drivers() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = "
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: theirs, static_configs: [{targets: ['127.0.0.1:9100']}]}
  - {job_name: ours, collector: node, flags: [--collector.disable-defaults, --collector.ethtool, FILTER]}
";
    let unshare = ["-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c"];
    let trial = Command::new("unshare").args(unshare).arg("mount -t sysfs none /sys").status();
    if !trial.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "no namespaces");
        eprintln!("SKIPPED: no namespaces");
        return;
    }
    let filter = "--collector.ethtool.device-exclude=^left$";
    std::fs::write(folder.path().join("outpost.yml"), config.replace("FILTER", filter)).unwrap();
    let set_up = format!(
        "set -e; mount -t sysfs none /sys; ip link set lo up; ip link add here type veth peer name there; \
         ip link add left type veth peer name right; \
         {} --web.listen-address=127.0.0.1:9100 --web.disable-exporter-metrics --collector.disable-defaults \
         --collector.ethtool '{filter}' & exec {} --config.file=outpost.yml --storage.path=data \
         --web.listen-address=127.0.0.1:9090",
        program("prometheus-node-exporter").display(),
        env!("CARGO_BIN_EXE_outpost")
    );
    let mut command = Command::new("unshare");
    command.current_dir(folder.path()).args(unshare).arg(set_up);
    let mut process = Process::start("outpost", &mut command);
    process.wait_for_field("listening", "address=");
    let ask = |query: &str| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &process.id().to_string(), "-n", env!("CARGO_BIN_EXE_outpost"), "query", "instant"]);
        let output = command.args(["http://127.0.0.1:9090", query]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let names = "node_ethtool_.+|node_network_(supported|advertised|autonegotiate|pause|asymmetricpause).*";
    let of = |job: &str| format!("{{job='{job}',__name__=~'{names}'}}");
    let labels = "__name__,device,duplex,mode,type,driver,version,firmware_version,bus_info,expansion_rom_version";
    eventually(PATIENCE, "both have collected", || {
        let found = ask(&format!("count({}) > bool 10 and count({}) > bool 10", of("theirs"), of("ours")));
        if found.contains("=> 1 @") { Ok(()) } else { Err(format!("{found}\n{}", process.output())) }
    });
    for (left, operator, right) in
        [("theirs", "unless", "ours"), ("ours", "unless", "theirs"), ("theirs", "!=", "ours")]
    {
        let differing = ask(&format!("{} {operator} on({labels}) {}", of(left), of(right)));
        assert!(!differing.contains("=>") && !differing.contains("rror"), "{left} {operator} {right}: {differing}");
    }
}

/// Which series may be missing, and how far values move in a second, as a share.
struct Rules {
    missing: BTreeSet<String>,
    moving: Vec<(String, f64)>,
}

impl Rules {
    /// `missing SERIES reason` and `moves PREFIX SHARE reason`.
    fn read() -> Self {
        let mut rules = Self { missing: BTreeSet::new(), moving: Vec::new() };
        for line in include_str!("node_exporter.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let mut words = line.splitn(4, ' ');
            match (words.next().unwrap(), words.next().unwrap(), words.next().unwrap()) {
                ("missing", series, _) => drop(rules.missing.insert(series.to_owned())),
                ("moves", prefix, share) => rules.moving.push((prefix.to_owned(), share.parse().unwrap())),
                other => panic!("{other:?}"),
            }
        }
        rules
    }

    fn may_be_missing(&self, series: &str) -> bool {
        self.missing.iter().any(|known| series == known || series.split('{').next() == Some(known))
    }

    fn slack(&self, series: &str) -> f64 {
        self.moving
            .iter()
            .filter(|(prefix, _)| series.starts_with(prefix.as_str()))
            .map(|(_, share)| *share)
            .fold(0.0, f64::max)
    }
}

/// The newest samples of the job, without the labels that scraping adds.
fn stored(outpost: &Outpost) -> Values {
    let found = get_json(&outpost.address, "/api/v1/query?query=%7Bjob%3D%22node%22%7D").unwrap();
    let series = found["data"]["result"].as_array().unwrap().iter().map(|entry| {
        let labels = entry["metric"].as_object().unwrap();
        let name = labels["__name__"].as_str().unwrap();
        let labels = labels.iter().filter(|(label, _)| !matches!(label.as_str(), "__name__" | "job" | "instance"));
        let labels = labels.map(|(label, value)| (label.clone(), value.as_str().unwrap().to_owned())).collect();
        (spelled(name, labels), entry["value"][1].as_str().unwrap().parse().unwrap())
    });
    series.collect()
}

fn stored_types(outpost: &Outpost) -> BTreeMap<String, String> {
    let found = get_json(&outpost.address, "/api/v1/metadata").unwrap();
    let families = found["data"].as_object().unwrap().iter().map(|(name, entries)| {
        let kind = entries[0]["type"].as_str().unwrap();
        (name.clone(), if kind == "unknown" { "untyped" } else { kind }.to_owned())
    });
    families.collect()
}

fn spelled(name: &str, mut labels: Vec<(String, String)>) -> String {
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort();
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn parse(page: &str) -> Page {
    let (mut values, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            values.insert(spelled(name, parse_labels(labels)), value.parse().unwrap());
        }
    }
    Page { values, types }
}

/// `a="b",c="d\"e"}`
fn parse_labels(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while let Some((label, rest)) = text.split_once("=\"") {
        let (mut value, mut characters) = (String::new(), rest.char_indices());
        let end = loop {
            match characters.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((label.to_owned(), value));
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}
