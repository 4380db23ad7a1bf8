//! The store's commands and the admin API, beside the real promtool and Prometheus.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::{
    Outpost, PATIENCE, PageServer, eventually, get, get_json, post, program, prometheus, query_value, run_to_end,
};

/// 2026-01-01T00:00:00Z
const START: i64 = 1_767_225_600;

/// A day of three series at 60 s, in the order of promtool's dumps: series by series.
fn history() -> String {
    let mut text = String::new();
    for (name, slope) in [("a_total{job=\"x\",le=\"+Inf\"}", 3.0), ("b{job=\"x\"}", -0.25), ("c:d{job=\"y\"}", 1e9)] {
        for minute in 0..24 * 60 {
            text.push_str(&format!("{name} {} {}.5\n", slope * f64::from(minute), START + i64::from(minute) * 60));
        }
    }
    text + "# EOF\n"
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.sort_unstable();
    lines
}

fn promtool(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program("promtool")).current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What promtool reads of blocks; it misses a write-ahead log otherwise.
fn dump_of(folder: &Path, blocks: &str) -> String {
    std::fs::create_dir_all(folder.join(blocks).join("wal")).unwrap();
    promtool(folder, &["tsdb", "dump-openmetrics", blocks])
}

fn outpost(folder: &Path, arguments: &[&str]) -> String {
    let (code, output) = run_to_end(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {output}");
    output
}

#[test]
fn text_goes_both_ways_between_outpost_and_prometheus() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("history.txt"), history()).unwrap();
    // From Prometheus: its blocks, its dump, our import.
    promtool(folder, &["tsdb", "create-blocks-from", "openmetrics", "history.txt", "prometheus-data"]);
    let dump = dump_of(folder, "prometheus-data");
    std::fs::write(folder.join("dump.txt"), &dump).unwrap();
    let said = outpost(folder, &["store", "import", "store", "dump.txt"]);
    assert!(said.contains("4320 samples imported"), "{said}");
    let again = outpost(folder, &["store", "import", "store", "dump.txt"]);
    assert!(again.contains("in the store already") && again.contains("0 samples imported"), "{again}");
    outpost(folder, &["store", "verify", "store"]);
    // To Prometheus: our export, its blocks, its dump.
    outpost(folder, &["store", "export", "store", "--output", "export.txt"]);
    promtool(folder, &["tsdb", "create-blocks-from", "openmetrics", "export.txt", "second"]);
    let second = dump_of(folder, "second");
    assert_eq!(lines(&second), lines(&dump));
    let exported = std::fs::read_to_string(folder.join("export.txt")).unwrap();
    assert_eq!(lines(&exported).len(), 4320);
    // And a Prometheus answers from them as outpost does.
    std::fs::rename(folder.join("second"), folder.join("prometheus-data-2")).unwrap();
    std::fs::remove_dir_all(folder.join("prometheus-data")).unwrap();
    std::fs::rename(folder.join("prometheus-data-2"), folder.join("prometheus-data")).unwrap();
    let (_peer, peer) = prometheus(folder, "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 0s}}\n");
    let ours = tempfile::TempDir::new().unwrap();
    std::fs::rename(folder.join("store"), ours.path().join("data")).unwrap();
    let server = Outpost::start_in(ours, Some("scrape_configs: []\n"), &["--storage.tsdb.retention.time=10y"]);
    let query = format!(
        "/api/v1/query_range?query=rate({{__name__=~%22.%2B%22}}[10m])&start={START}&end={}&step=300",
        START + 24 * 3600
    );
    let (theirs, ours) = (get_json(&peer, &query).unwrap(), get_json(&server.address, &query).unwrap());
    assert_eq!(theirs["data"], ours["data"]);
    assert_eq!(ours["data"]["result"].as_array().unwrap().len(), 3);
}

/// What the import that is killed is given.
const DAYS: i64 = 60;
const SERIES: i64 = 20;

#[test]
fn an_import_that_is_killed_ends_up_whole() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    // Sixty days, which are 120 blocks: each takes the disk a moment.
    let mut text = String::new();
    for step in 0..DAYS * 288 {
        for series in 0..SERIES {
            text.push_str(&format!("m{{s=\"{series}\"}} {} {}\n", step * series, START + step * 300));
        }
    }
    std::fs::write(folder.join("large.txt"), text + "# EOF\n").unwrap();
    // Killed at whatever it does then: reading, or writing one of its blocks.
    for milliseconds in [100, 300, 500, 700, 900, 1100] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
        command.current_dir(folder).args(["store", "import", "store", "large.txt"]).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    outpost(folder, &["store", "import", "store", "large.txt"]);
    outpost(folder, &["store", "export", "store", "--output", "export.txt"]);
    let exported = std::fs::read_to_string(folder.join("export.txt")).unwrap();
    assert_eq!(
        exported.lines().count(),
        (DAYS * 288 * SERIES) as usize + 1,
        "nothing is missing and nothing is there twice"
    );
    outpost(folder, &["store", "verify", "store"]);
}

#[test]
fn wrong_input_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let folder = folder.path();
    for (text, words) in [
        ("a 1 1700000000\n", "line 1: the text does not end with"),
        ("a 1 1700000000\nb x 1700000000\n# EOF\n", "text.txt: line 2: expected a number"),
        ("a 1 1700000000\na 1\n# EOF\n", "text.txt: line 2: a sample without a time"),
        ("# TYPE a gauge\na 1 32503680000\n# EOF\n", "line 2: a sample at 3000-01-01T00:00:00Z lies ahead of"),
    ] {
        std::fs::write(folder.join("text.txt"), text).unwrap();
        let (code, said) = run_to_end(folder, &["store", "import", "store", "text.txt"]);
        assert!(code == 1 && said.contains(words), "{text:?}: {said}");
        assert!(!folder.join("store").exists(), "{text:?}");
    }
    for (text, words) in
        [("", "text.txt: the file is empty"), ("a 1 1700000000\r\n# EOF\r\n", "line 1: it ends in CR and LF")]
    {
        std::fs::write(folder.join("text.txt"), text).unwrap();
        let (code, said) = run_to_end(folder, &["store", "import", "store", "text.txt"]);
        assert!(code == 1 && said.contains(words), "{text:?}: {said}");
    }
    let (code, said) = run_to_end(folder, &["store", "export", "nowhere", "--end", "x"]);
    assert!(code == 1 && said.contains("--end: \"x\" is not a time"), "{said}");
    let (code, said) = run_to_end(folder, &["store", "import", "store", "/dev/null"]);
    assert!(code == 1 && said.contains("/dev/null: it is no regular file"), "{said}");
    for arguments in [["store", "verify", "nowhere"], ["store", "stats", "nowhere"], ["store", "export", "nowhere"]] {
        let (code, said) = run_to_end(folder, &arguments);
        assert!(code == 1 && said.contains("nowhere is no store"), "{said}");
    }
}

#[test]
fn a_running_store_is_copied_looked_at_and_exported() {
    let target = PageServer::start("battery_volts 12.5\n");
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: page, static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    );
    let server = Outpost::start_with(Some(&config), &["--web.enable-admin-api"]);
    eventually(PATIENCE, "three samples", || {
        query_value(&server.address, "count_over_time(battery_volts[1h])")
            .and_then(|count| if count >= 3.0 { Ok(()) } else { Err(format!("{count}")) })
    });
    let reply = post(&server.address, "/api/v1/admin/tsdb/snapshot", "", b"").unwrap();
    let answer: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let snapshot = format!("data/snapshots/{}", answer["data"]["name"].as_str().unwrap());
    let folder = server.folder();
    outpost(&folder, &["store", "verify", &snapshot]);
    let text = outpost(&folder, &["store", "export", &snapshot, "--match", "battery_volts"]);
    assert!(text.lines().filter(|line| line.starts_with("battery_volts{")).count() >= 3, "{text}");
    assert!(outpost(&folder, &["store", "stats", "data"]).contains("a server has it open"));
    outpost(&folder, &["store", "verify", "data"]);
    // What was left of a backup that was killed is made anew.
    std::fs::create_dir_all(folder.join(".backup.unfinished/log")).unwrap();
    outpost(&folder, &["store", "backup", "data", "backup"]);
    outpost(&folder, &["store", "verify", "backup"]);
    assert!(!folder.join(".backup.unfinished").exists());
    let (code, said) = run_to_end(&folder, &["store", "repair", "data"]);
    assert!(code == 1 && said.contains("in use by another process"), "{said}");
}

#[test]
fn a_data_folder_that_is_removed_under_a_server_is_made_anew() {
    let target = PageServer::start("battery_volts 12.5\n");
    let config = format!(
        "outpost: {{store: {{flush_interval: 5s}}}}\nglobal: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - {{job_name: page, static_configs: [{{targets: ['{}']}}]}}\n- {{job_name: outpost, collector: outpost}}\n",
        target.address
    );
    let mut server = Outpost::start_with(Some(&config), &[]);
    eventually(PATIENCE, "three samples", || {
        query_value(&server.address, "count_over_time(battery_volts[1h])")
            .and_then(|count| if count >= 3.0 { Ok(()) } else { Err(format!("{count}")) })
    });
    let newest = query_value(&server.address, "timestamp(battery_volts)").unwrap();
    let scraped = format!("count_over_time(battery_volts[1h] @ {newest})");
    let before = query_value(&server.address, &scraped).unwrap();
    std::fs::remove_dir_all(server.folder().join("data")).unwrap();
    eventually(PATIENCE, "a word about it", || {
        let text = get(&server.address, "/-/healthy")?.body;
        let count = query_value(&server.address, "outpost_store_files_replaced_total")?;
        if text.contains("removed or replaced") && count == 1.0 { Ok(()) } else { Err(format!("{count}: {text}")) }
    });
    // What memory held is on the disk, without the tail too.
    server.process.signal("KILL");
    server.process.wait();
    std::fs::remove_dir_all(server.folder().join("data/tail")).unwrap();
    server.restart();
    assert_eq!(query_value(&server.address, &scraped), Ok(before));
}

/// A folder with a `store` that holds a text of samples and nothing else.
fn imported() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("history.txt"), history()).unwrap();
    outpost(folder.path(), &["store", "import", "store", "history.txt"]);
    folder
}

/// A store whose block database holds nothing that can be read.
#[test]
fn what_repair_cannot_bring_back_is_told() {
    let folder = imported();
    let folder = folder.path();
    std::fs::write(folder.join("store/blocks.db"), vec![7; 65536]).unwrap();
    let (code, said) = run_to_end(folder, &["store", "stats", "store"]);
    assert!(code == 1 && said.contains("`outpost store repair`"), "{said}");
    let (code, said) = run_to_end(folder, &["store", "repair", "store"]);
    assert_eq!(code, 1, "{said}");
    for words in [
        "kept as store/blocks.db.aside-1",
        "blocks are lost, nobody knows how many",
        "All that is left of them is in store/blocks.db.aside-1",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    outpost(folder, &["store", "verify", "store"]);
}

/// An export that fails leaves no file, and one whose file is there already leaves that.
#[test]
fn an_export_that_fails_leaves_nothing() {
    let folder = imported();
    let folder = folder.path();
    let export = format!(
        "trap '' XFSZ; ulimit -f 8; exec {} store export store --output export.txt",
        env!("CARGO_BIN_EXE_outpost")
    );
    let output = Command::new("sh").args(["-c", &export]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot write export.txt: File too large"), "{said}");
    assert!(!folder.join("export.txt").exists());
    std::fs::write(folder.join("export.txt"), "mine").unwrap();
    let (code, said) = run_to_end(folder, &["store", "export", "store", "--output", "export.txt"]);
    assert!(code == 1 && said.contains("export.txt"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.join("export.txt")).unwrap(), "mine");
}
