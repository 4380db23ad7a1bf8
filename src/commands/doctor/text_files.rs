//! Whether the folders of `--collector.textfile.directory` are there and can be read.

use std::path::{Path, PathBuf};

use super::account::Account;
use super::host::Host;
use crate::collect::CollectorSettings;
use crate::commands::finding::Finding;
use crate::config::Config;
use crate::glob::glob;
use crate::scrape::JobSource;

const SUBJECT: &str = "textfile";

/// All findings; nothing where the configuration names no folder.
pub fn look(host: &Host, config: &Config) -> Vec<Finding> {
    let jobs = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Collector(CollectorSettings::Node(settings)) => Some(settings),
        _ => None,
    });
    let folders = jobs.flat_map(|settings| settings.flags.text_folders());
    folders.flat_map(|folder| of_pattern(&Account::of_reader(host), folder)).collect()
}

fn of_pattern(account: &Account, pattern: &str) -> Vec<Finding> {
    let found = glob(Path::new(pattern)).unwrap_or_default();
    let folders = if found.is_empty() { vec![PathBuf::from(pattern)] } else { found };
    folders.iter().map(|folder| of_folder(account, folder)).collect()
}

fn of_folder(account: &Account, folder: &Path) -> Finding {
    let shown = folder.display();
    let why = "node_textfile_scrape_error is 1, and what scripts leave there is not shown";
    if account.sees_another(folder) {
        let what = format!("{shown} is another folder to the service, whose unit gives it a /tmp of its own");
        let mend = "keep text files elsewhere, such as in /var/lib/prometheus/node-exporter, and name that folder";
        return Finding::problem(SUBJECT, what, why, mend);
    }
    if !folder.is_dir() {
        let mend = if folder.exists() {
            format!("name a folder in --collector.textfile.directory; ls -ld {shown}")
        } else {
            format!("sudo mkdir -p {shown}; or remove --collector.textfile.directory")
        };
        return Finding::problem(SUBJECT, format!("{shown} is no folder"), why, mend);
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "prom")).collect();
    files.sort();
    let count = files.len();
    let kept_from = account.is_kept_from(folder).or_else(|| files.iter().find_map(|file| account.is_kept_from(file)));
    match kept_from {
        Some(path) => {
            let rights = if path.is_dir() { "rx" } else { "r" };
            let who = if account.is_service { "the service's user" } else { "this user" };
            let mend = format!("sudo chmod o+{rights} {}", path.display());
            Finding::problem(SUBJECT, format!("{} cannot be read by {who}", path.display()), why, mend)
        }
        None => {
            let files = if count == 1 { "file" } else { "files" };
            Finding::good(SUBJECT, format!("{shown} can be read, with {count} {files}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::host::tests::made;
    use super::*;
    use crate::commands::finding::Severity;

    #[test]
    fn folders_are_looked_for_and_at() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let at = |path: &str| folder.path().join(path).display().to_string();
        for (path, mode) in [("open/x.prom", 0o644), ("half/x.prom", 0o644), ("half/y.prom", 0o600), ("half/z", 0o600)]
        {
            let path = PathBuf::from(at(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let (_folder, host) = made(&[passwd]);
        let found = of_pattern(&Account::of_service(&host).unwrap(), "/tmp");
        assert!(found[0].severity == Severity::Problem && found[0].what.contains("another folder"), "{found:?}");
        // The folder of this test may lie there too.
        let (_folder, host) = made(&[passwd, ("etc/systemd/system/outpost.service", "")]);
        let account = Account::of_service(&host).unwrap();
        for (pattern, expected) in [
            ("open", &[(Severity::Good, "with 1 file", "")][..]),
            ("none", &[(Severity::Problem, "none is no folder", "sudo mkdir -p ")]),
            ("open/x.prom", &[(Severity::Problem, "x.prom is no folder", "name a folder")]),
            ("half", &[(Severity::Problem, "y.prom cannot be read by the service's user", "sudo chmod o+r ")]),
            ("*", &[(Severity::Problem, "y.prom cannot", "sudo chmod o+r "), (Severity::Good, "with 1 file", "")]),
        ] {
            let found = of_pattern(&account, &at(pattern));
            assert_eq!(found.len(), expected.len(), "{pattern}: {found:?}");
            for (finding, (severity, what, mend)) in found.iter().zip(expected) {
                assert!(finding.severity == *severity && finding.what.contains(what), "{pattern}: {finding:?}");
                assert!(finding.mend.starts_with(mend), "{pattern}: {finding:?}");
            }
        }
    }
}
