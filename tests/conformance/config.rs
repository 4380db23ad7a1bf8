//! Configuration files with promtool's verdict: the same ones must be accepted and refused.

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
fn verdicts_are_promtools() {
    let Some(folder) = shared("config_corpus") else { return };
    let expected = std::fs::read_to_string(folder.join("expected.json")).expect("the verdicts");
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&expected).expect("valid JSON");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, case) in expected.iter().filter(|(_, case)| case.kind == "config") {
        count += 1;
        let (verdict, output) = check(&folder.join(path));
        if verdict != case.verdict {
            wrong.push(format!(
                "{path}: promtool {}s it, outpost {verdict}s it\n  promtool: {}\n  outpost: {output}",
                case.verdict, case.message
            ));
        }
    }
    assert!(count > 300, "only {count} cases were found");
    assert!(wrong.is_empty(), "{} of {count} disagree:\n{}", wrong.len(), wrong.join("\n"));
}

/// `check config` as a user runs it: in the file's folder, with its bare name.
fn check(path: &Path) -> (&'static str, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .args(["check", "config"])
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
