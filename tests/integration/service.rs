//! What systemd is given and told: the unit's hardening, and readiness, reload, watchdog and end over the notify socket.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::support::{Outpost, PATIENCE};

/// What `systemd-analyze security` may give at most.
const EXPOSURE_MAX: &str = "15";

/// The unit beside the program under test, under a name that systemd takes.
fn unit(folder: &Path) -> PathBuf {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/outpost.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/outpost "));
    let path = folder.join("outpost.service");
    fs::write(&path, text.replace("/usr/bin/outpost", env!("CARGO_BIN_EXE_outpost"))).unwrap();
    path
}

/// Runs `systemd-analyze`; `None` where it is not installed, which CI does not forgive.
fn analyze(arguments: &[&str], unit: &Path) -> Option<(bool, String)> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            Some((output.status.success(), text))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze (package systemd) is needed: {error}");
            eprintln!("SKIPPED: the unit is not checked, since systemd-analyze does not run: {error}");
            None
        }
    }
}

#[test]
fn the_unit_is_valid() {
    let folder = TempDir::new().unwrap();
    let Some((is_valid, text)) = analyze(&["verify", "--recursive-errors=no"], &unit(folder.path())) else { return };
    // Documentation is looked up with man, which small systems do not have.
    let complaints: Vec<&str> = text.lines().filter(|line| line.contains("outpost.service:")).collect();
    assert!(is_valid && complaints.is_empty(), "{text}");
}

#[test]
fn the_unit_is_hardened() {
    let folder = TempDir::new().unwrap();
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let Some((is_low, text)) = analyze(&["security", "--offline=true", &threshold], &unit(folder.path())) else {
        return;
    };
    assert!(is_low && text.contains("Overall exposure level"), "{text}");
}

#[test]
fn the_service_manager_hears_of_start_reload_health_and_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")];
    let config = "scrape_configs: [{job_name: self, collector: outpost}]";
    let mut outpost = Outpost::start_with_environment(TempDir::new().unwrap(), Some(config), &[], &environment);
    assert_eq!(next_but_watchdog(&manager), "READY=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    outpost.process.signal("HUP");
    assert_eq!(next_but_watchdog(&manager), "RELOADING=1");
    assert_eq!(next_but_watchdog(&manager), "READY=1");
    outpost.process.signal("TERM");
    assert_eq!(next_but_watchdog(&manager), "STOPPING=1");
    assert!(outpost.process.wait().success());
    manager.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert!(manager.recv(&mut [0; 512]).is_err(), "nothing comes behind the end");
}

/// The first line of the next message that does not just feed the watchdog.
fn next_but_watchdog(manager: &UnixDatagram) -> String {
    loop {
        let line = next(manager);
        if line != "WATCHDOG=1" {
            return line;
        }
    }
}

fn next(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let read = manager.recv(&mut buffer).expect("a message in time");
    String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or_default().to_owned()
}
