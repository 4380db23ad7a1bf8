//! Whether `collector: smart` can ask the disks: the program, and the rights over them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::host::Host;
use super::unit::drop_in;
use crate::collect::{CollectorSettings, SmartCollectorSettings};
use crate::commands::finding::Finding;
use crate::config::Config;
use crate::scrape::JobSource;

const SUBJECT: &str = "smart";
const WHY: &str = "the smart job is down: nobody is warned of a disk that fails";
/// Where a service looks for programs.
const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Lines of the drop-in of docs/disks-and-ups.md.
const DROP_IN: &str = "PrivateUsers=no\\nPrivateDevices=no\\nDeviceAllow=block-sd r\\nDeviceAllow=char-nvme \
                       rw\\nSupplementaryGroups=disk\\nCapabilityBoundingSet=CAP_SYS_RAWIO \
                       CAP_SYS_ADMIN\\nAmbientCapabilities=CAP_SYS_RAWIO CAP_SYS_ADMIN\\n";

/// All findings; nothing where the configuration asks no disks.
pub fn look(host: &Host, config: &Config) -> Vec<Finding> {
    let jobs = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Collector(CollectorSettings::Smart(settings)) => Some(settings),
        _ => None,
    });
    jobs.map(|settings| of_job(host, settings)).collect()
}

fn of_job(host: &Host, settings: &SmartCollectorSettings) -> Finding {
    let name = &settings.smartctl;
    let install = "sudo apt install smartmontools";
    let Some(program) = program(name) else {
        return Finding::problem(SUBJECT, format!("there is no program {name}"), WHY, install);
    };
    let shown = program.display();
    if std::fs::metadata(&program).is_ok_and(|facts| facts.permissions().mode() & 0o111 == 0) {
        return Finding::problem(SUBJECT, format!("{shown} cannot be run"), WHY, format!("sudo chmod +x {shown}"));
    }
    let account = Account::of_reader(host);
    if account.is_capable_of("CAP_SYS_RAWIO") {
        return Finding::good(SUBJECT, format!("{shown} is there, with rights over the disks"));
    }
    if !account.is_service {
        let what = format!("{shown} is there, but this user has no rights over disks");
        return Finding::warning(
            SUBJECT,
            what,
            "smartctl wants the rights of root",
            "look as root: sudo outpost doctor",
        );
    }
    Finding::problem(
        SUBJECT,
        format!("{shown} is there, but the service has no rights over disks"),
        "smartctl is refused, and no disk is shown; the unit does not give these rights by itself, as they are close to root's",
        drop_in("disks", DROP_IN),
    )
}

/// The program that a name means.
fn program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let own = std::env::var("PATH").unwrap_or_default();
    let mut folders = own.split(':').chain(SERVICE_PATH.split(':')).filter(|folder| !folder.is_empty());
    folders.find_map(|folder| Some(Path::new(folder).join(name)).filter(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::made;
    use super::*;
    use crate::commands::finding::Severity;

    #[test]
    fn the_program_and_its_rights_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let (good, plain) = (program("smartctl", 0o755), program("plain", 0o644));
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let drop_in = (
            "etc/systemd/system/outpost.service.d/disks.conf",
            "[Service]\nPrivateUsers=no\nAmbientCapabilities=CAP_SYS_RAWIO CAP_SYS_ADMIN\n",
        );
        let as_root = ("etc/systemd/system/outpost.service", "[Service]\nUser=root\nCapabilityBoundingSet=\n");
        let rights = ("etc/systemd/system/outpost.service.d/x.conf", "CapabilityBoundingSet=CAP_SYS_RAWIO\n");
        let none = ("proc/self/status", "CapEff:\t0000000000000000\n");
        let root = ("proc/self/status", "CapEff:\t000001ffffffffff\n");
        for (files, smartctl, severity, what, mend) in [
            (&[root][..], "/nonexistent/smartctl", Severity::Problem, "there is no program", "smartmontools"),
            (&[root], "no-such-program", Severity::Problem, "there is no program no-such-program", "smartmontools"),
            (&[root], &plain, Severity::Problem, "cannot be run", "sudo chmod +x "),
            (&[root], &good, Severity::Good, "with rights", ""),
            (&[none], &good, Severity::Warning, "this user has no rights", "sudo outpost doctor"),
            (
                &[root, passwd],
                &good,
                Severity::Problem,
                "the service has no rights",
                "AmbientCapabilities=CAP_SYS_RAWIO",
            ),
            (&[none, passwd, drop_in], &good, Severity::Good, "with rights", ""),
            (&[passwd, as_root], &good, Severity::Problem, "the service has no rights", "CapabilityBoundingSet="),
            (&[passwd, as_root, rights], &good, Severity::Good, "with rights", ""),
        ] {
            let (_folder, host) = made(files);
            let settings = SmartCollectorSettings { smartctl: smartctl.to_owned(), ..Default::default() };
            let found = of_job(&host, &settings);
            assert_eq!(found.severity, severity, "{found:?}");
            assert!(found.what.contains(what) && found.mend.contains(mend), "{found:?}");
        }
        // The command writes what the page says.
        let page = include_str!("../../../docs/disks-and-ups.md");
        assert!(page.contains(&DROP_IN.replace("\\n", "\n")), "{DROP_IN}");
    }
}
