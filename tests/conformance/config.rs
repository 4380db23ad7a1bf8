//! Configurations, rule files and unit tests with promtool's verdict: the same ones must be accepted and refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::shared;

#[derive(serde::Deserialize)]
struct Expected {
    kind: String,
    verdict: String,
    message: String,
}

#[test]
fn configurations() {
    verdicts_are_promtools("config", &["check", "config"], 300);
}

#[test]
fn rule_files() {
    verdicts_are_promtools("rules", &["check", "rules"], 150);
}

#[test]
fn unit_tests() {
    verdicts_are_promtools("unit", &["test", "rules"], 30);
}

fn verdicts_are_promtools(kind: &str, command: &[&str], count_min: usize) {
    let Some(folder) = shared("config_corpus") else { return };
    let expected = std::fs::read_to_string(folder.join("expected.json")).expect("the verdicts");
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&expected).expect("valid JSON");
    let (mut wrong, mut untold) = (Vec::new(), 0);
    let cases: Vec<_> = expected.iter().filter(|(_, case)| case.kind == kind).collect();
    for (path, case) in &cases {
        let (verdict, output) = run(command, &folder.join(path));
        if verdict == case.verdict {
            continue;
        }
        // What refuses a file with such a text says nothing about the file.
        if output.contains("template actions are not known") {
            untold += 1;
            continue;
        }
        wrong.push(format!(
            "{path}: promtool {}s it, outpost {verdict}s it\n  promtool: {}\n  outpost: {output}",
            case.verdict, case.message
        ));
    }
    if untold > 0 {
        eprintln!("NOT COMPARED: {untold} of {} files hold template actions", cases.len());
    }
    assert!(cases.len() > count_min, "only {} cases were found", cases.len());
    assert!(wrong.is_empty(), "{} of {} disagree:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Runs a command as a user does: in the file's folder, with its bare name.
fn run(command: &[&str], path: &Path) -> (&'static str, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .args(command)
        .arg(path.file_name().expect("a file"))
        .current_dir(path.parent().expect("a folder"))
        .output()
        .expect("outpost starts");
    let verdict = match output.status.code() {
        Some(0) => "accept",
        Some(1..100) => "reject",
        _ => "crash",
    };
    let text = [output.stderr, output.stdout].concat();
    (verdict, String::from_utf8_lossy(&text).trim().replace('\n', "\n    "))
}
