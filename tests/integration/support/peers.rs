//! The real peers. `tests/run` unpacks them and names their folder in `OUTPOST_PEERS`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PATIENCE, Process, eventually, get};

/// A Prometheus with this configuration, ready; gives its address too.
pub fn prometheus(folder: &Path, config: &str) -> (Process, String) {
    prometheus_with(folder, config, &[])
}

/// The same with more flags.
pub fn prometheus_with(folder: &Path, config: &str, flags: &[&str]) -> (Process, String) {
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let mut command = Command::new(program("prometheus"));
    command.current_dir(folder).args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=prometheus-data",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=info",
    ]);
    command.args(flags);
    ready("prometheus", &mut command, "Listening on")
}

/// An Alertmanager with this configuration, ready; gives its address too.
pub fn alertmanager(folder: &Path, config: &str) -> (Process, String) {
    let program = program("prometheus-alertmanager");
    alertmanager_by(Command::new(program), folder, config, "127.0.0.1:0")
}

/// The same in a network namespace, at an address there.
pub fn alertmanager_within(namespace: &str, folder: &Path, config: &str, listen: &str) -> (Process, String) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program("prometheus-alertmanager"));
    alertmanager_by(command, folder, config, listen)
}

fn alertmanager_by(mut command: Command, folder: &Path, config: &str, listen: &str) -> (Process, String) {
    std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
    command.current_dir(folder).args([
        "--config.file=alertmanager.yml",
        "--storage.path=alertmanager-data",
        "--cluster.listen-address=",
    ]);
    command.arg(format!("--web.listen-address={listen}"));
    ready("alertmanager", &mut command, "Listening on")
}

/// A node_exporter; gives its address too.
pub fn node_exporter(folder: &Path) -> (Process, String) {
    node_exporter_with(folder, &[])
}

/// The same with more flags.
pub fn node_exporter_with(folder: &Path, flags: &[&str]) -> (Process, String) {
    let mut command = Command::new(program("prometheus-node-exporter"));
    command.current_dir(folder).arg("--web.listen-address=127.0.0.1:0").args(flags);
    let mut process = Process::start("node_exporter", &mut command);
    let address = process.wait_for_field("Listening on", "address=");
    (process, address)
}

/// A blackbox_exporter with this configuration in the folder; gives its address too.
pub fn blackbox_exporter(folder: &Path, config: &str) -> (Process, String) {
    let mut command = Command::new(program("prometheus-blackbox-exporter"));
    command.current_dir(folder).arg("--web.listen-address=127.0.0.1:0").arg(format!("--config.file={config}"));
    let mut process = Process::start("blackbox_exporter", &mut command);
    let address = process.wait_for_field("Listening on", "address=");
    (process, address)
}

fn ready(name: &str, command: &mut Command, line: &str) -> (Process, String) {
    let mut process = Process::start(name, command);
    let address = process.wait_for_field(line, "address=");
    eventually(PATIENCE, &format!("{name} is ready"), || match get(&address, "/-/ready") {
        Ok(reply) if reply.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    (process, address)
}

/// The path of a peer's program.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("OUTPOST_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run the tests through tests/run, which fetches the peers", path.display());
    path
}
