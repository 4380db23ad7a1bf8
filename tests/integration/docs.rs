//! What the pages under docs say works: their files are right and their commands run.
//!
//! A fenced `yaml` block that begins with `# NAME.yml` is that file; a line of a `sh` block that begins with
//! `outpost ` is run in a folder with all files of the page. `prometheus.yml` is the central's: promtool checks it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{program, run_to_end};

#[test]
fn the_pages_files_are_right_and_their_commands_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let mut commands_run = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        for (name, content) in files(&text) {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        if folder.path().join("prometheus.yml").exists() {
            check_with_promtool(folder.path());
        }
        for command in commands(&text) {
            let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
            let (code, output) = run_to_end(folder.path(), &arguments);
            assert_eq!(code, 0, "{}: {command}: {output}", page.display());
            commands_run += 1;
        }
    }
    assert!(commands_run > 0, "no page has a command: the test reads them wrongly");
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
    blocks(page, "sh")
        .flat_map(str::lines)
        .filter(|line| line.starts_with("outpost ") && !line.contains("--config.file"))
}
