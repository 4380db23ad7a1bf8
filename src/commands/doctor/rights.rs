//! Whether the service's account may read the files that are named to it: whoever asks may be root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::account::{Account, SERVICE_USER};
use super::host::Host;
use super::unit::drop_in;
use crate::commands::finding::{Finding, quoted};

/// Where the packages keep what root alone may read.
const SECRETS: &str = "/etc/outpost/secrets";
/// Where systemd puts what a unit hands over, while the service runs.
pub const CREDENTIALS: &str = "/run/credentials/outpost.service";

/// A finding for each file or folder that is in the way; nothing where no service is installed.
pub fn look(host: &Host, subject: &'static str, files: impl IntoIterator<Item = PathBuf>) -> Vec<Finding> {
    let Some(account) = Account::of_service(host) else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let kept = files.into_iter().filter_map(|file| Some((account.is_kept_from(&file)?, file)));
    let once = kept.filter(|(part, file)| seen.insert(if is_secret(part) { file.clone() } else { part.clone() }));
    once.map(|(part, file)| of_file(subject, &part, &file)).collect()
}

fn is_secret(path: &Path) -> bool {
    path.starts_with(SECRETS)
}

fn of_file(subject: &'static str, part: &Path, file: &Path) -> Finding {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let shown = quoted(part);
    let mend = if is_secret(part) {
        let hand_over = drop_in(&format!("secret-{name}"), &format!("LoadCredential={name}:{}\\n", file.display()));
        format!("name {CREDENTIALS}/{name} in its place, and have systemd put it there: {hand_over}")
    } else if part == file {
        format!("sudo chgrp {SERVICE_USER} {shown} && sudo chmod g+r {shown}")
    } else {
        format!("sudo chmod o+x {shown}; or keep what outpost reads below /etc/outpost")
    };
    Finding::problem(
        subject,
        format!("{} cannot be read by the service's user", if is_secret(part) { file } else { part }.display()),
        "the service does not start with it, or goes without what it says",
        mend,
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::host::tests::made;
    use super::*;

    #[test]
    fn files_that_root_alone_may_read_are_told_once_each() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let file = |path: &str, mode: u32| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path
        };
        let files =
            [file("open.yml", 0o644), file("own.yml", 0o600), file("home/a.yml", 0o644), file("home/b.yml", 0o600)];
        std::fs::set_permissions(folder.path().join("home"), PermissionsExt::from_mode(0o700)).unwrap();
        let (_folder, host) = made(&[]);
        assert_eq!(look(&host, "configuration", files.clone()), [], "no service");
        let (_folder, host) = made(&[("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n")]);
        let found = look(&host, "configuration", files);
        let told: Vec<(String, &str)> =
            found.iter().map(|finding| (finding.what.clone(), finding.mend.split(' ').nth(1).unwrap())).collect();
        let what = |path: &str| format!("{} cannot be read by the service's user", folder.path().join(path).display());
        assert_eq!(told, [(what("own.yml"), "chgrp"), (what("home"), "chmod")]);
    }

    #[test]
    fn a_secret_is_handed_over() {
        let file = Path::new(SECRETS).join("nas-password");
        let found = of_file("configuration", Path::new(SECRETS), &file);
        assert!(found.what.starts_with("/etc/outpost/secrets/nas-password cannot be read"), "{found:?}");
        let page = include_str!("../../../docs/raspberry-pi.md");
        for line in [
            "LoadCredential=nas-password:/etc/outpost/secrets/nas-password",
            "/run/credentials/outpost.service/nas-password",
        ] {
            assert!(found.mend.contains(line) && page.contains(line), "{found:?}");
        }
    }
}
