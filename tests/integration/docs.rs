//! What the pages under docs say works: their files are right and their commands run.
//!
//! A fenced `yaml` block that begins with `# NAME.yml` is that file; a line of a `sh` block that begins with
//! `outpost ` is run by a shell in a folder with all files of the page, beside a running outpost that stands for
//! `localhost:9090`. `prometheus.yml` is the central's: promtool checks it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::support::{Outpost, PATIENCE, eventually, program, query_value, run_to_end};

/// What reference pages, which show no files, may name.
const USUAL_FILES: [(&str, &str); 4] = [
    ("outpost.yml", "scrape_configs: []\n"),
    ("rules/usual.yml", "groups: [{name: usual, rules: [{record: a, expr: up}]}]\n"),
    ("history.txt", "up{job=\"a\"} 1 1767225600\nup{job=\"a\"} 0 1767225660\n# EOF\n"),
    ("rules-test.yml", "rule_files: [rules/usual.yml]\ntests: []\n"),
];

#[test]
fn the_pages_files_are_right_and_their_commands_run() {
    let server = Outpost::start_with(None, &[]);
    eventually(PATIENCE, "something to query", || query_value(&server.address, "node_load1"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let mut commands_run = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        for (name, content) in USUAL_FILES.into_iter().chain(files(&text)) {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        if text.contains("outpost store") {
            run(&page, folder.path(), "outpost store import data history.txt");
        }
        if folder.path().join("prometheus.yml").exists() {
            check_with_promtool(folder.path());
        }
        for command in commands(&text) {
            run(&page, folder.path(), &command.replace("localhost:9090", &server.address));
            commands_run += 1;
        }
    }
    assert!(commands_run > 0, "no page has a command: the test reads them wrongly");
}

#[test]
fn the_packaged_configuration_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let (code, output) = run_to_end(&folder, &["check", "config", "outpost.yml", "docker/outpost.yml"]);
    assert_eq!(code, 0, "{output}");
}

/// The rules that are packed and their unit tests: both judge them, every alert is tested, and the pages show them as they are.
#[test]
fn the_packaged_rules_are_right_and_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = [files_in("packaging/rules"), files_in("packaging/examples")].concat();
    let tests = files_in("tests/rules");
    assert!(rules.len() >= 3 && tests.len() >= 3, "{rules:?} {tests:?}");
    for (verb, paths) in [("check", &rules), ("test", &tests)] {
        let arguments: Vec<&str> = [verb, "rules"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let (code, output) = run_to_end(root, &arguments);
        assert_eq!(code, 0, "outpost {verb} rules: {output}");
        let promtool = Command::new(program("promtool")).current_dir(root).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&promtool.stdout).into_owned() + &String::from_utf8_lossy(&promtool.stderr);
        assert!(promtool.status.success(), "promtool {verb} rules: {said}");
    }
    let read = |path: &String| std::fs::read_to_string(root.join(path)).unwrap();
    let tested: String = tests.iter().map(read).collect();
    // `exp_alerts: []` says that it does not fire.
    let lines: Vec<&str> = tested.lines().map(str::trim).collect();
    let is_fired = |alert: &str| {
        lines.windows(2).any(|pair| pair[0].strip_prefix("alertname: ") == Some(alert) && pair[1] == "exp_alerts:")
    };
    for alert in
        rules.iter().map(read).collect::<String>().lines().filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(is_fired(alert), "{alert} has no test that fires it");
    }
    let pages: String = files_in("docs").iter().map(read).collect();
    for (name, shown) in files(&pages) {
        let packed = root.join("packaging/examples").join(name);
        assert!(!packed.exists() || std::fs::read_to_string(packed).unwrap() == format!("{shown}\n"), "{name} differs");
    }
}

/// Files below a folder of the repository, by their paths from its root.
fn files_in(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| format!("{folder}/{}", entry.unwrap().file_name().display());
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// A line that would start a server is asked for its configuration instead: the flags are checked all the same.
fn run(page: &Path, folder: &Path, command: &str) {
    let command = match command.strip_prefix("outpost --") {
        Some(flags) => format!("outpost print-config --{flags}"),
        None => command.to_owned(),
    };
    let binary_folder = Path::new(env!("CARGO_BIN_EXE_outpost")).parent().unwrap();
    let path = format!("{}:{}", binary_folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    let output = shell.current_dir(folder).env("PATH", path).args(["-c", &command]).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {command}: {said}{complained}", page.display());
}

fn check_with_promtool(folder: &Path) {
    let output =
        Command::new(program("promtool")).current_dir(folder).args(["check", "config", "prometheus.yml"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The fenced blocks of one language.
fn blocks<'a>(page: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    page.split("\n```").filter_map(move |part| part.strip_prefix(language)?.strip_prefix('\n'))
}

fn files(page: &str) -> impl Iterator<Item = (&str, &str)> {
    blocks(page, "yaml").filter_map(|block| Some((block.lines().next()?.strip_prefix("# ")?, block)))
}

fn commands(page: &str) -> impl Iterator<Item = &str> {
    blocks(page, "sh").flat_map(str::lines).filter(|line| line.starts_with("outpost "))
}
