//! Containers of a real engine, started by the test itself with a folder and a socket of its own.

use std::path::Path;
use std::process::Command;

use super::support::{Outpost, PATIENCE, Process, eventually, query_value};

#[test]
fn containers_of_a_real_engine_are_seen_with_state_and_usage() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(engine) = Engine::start(folder.path()) else { return };
    engine.import_busybox();
    engine.docker(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--net=none",
        "-l",
        "team=site",
        "box",
        "/busybox",
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    engine.docker(&["run", "-d", "--name", "brief", "--net=none", "box", "/busybox", "true"]);

    let outpost = Outpost::start(&format!(
        "scrape_configs: [{{job_name: docker, collector: docker, scrape_interval: 1s, docker_host: '{}'}}]\n",
        engine.host
    ));
    eventually(PATIENCE, "the engine is up", || query_value(&outpost.address, r#"up{job="docker"} == 1"#));
    let busy = [
        r#"rate(container_cpu_usage_seconds_total{name="busy"}[30s]) > 0.05"#,
        r#"container_memory_working_set_bytes{name="busy"} > 0"#,
        r#"container_start_time_seconds{name="busy"} > 0"#,
        r#"container_last_seen{name="busy",image="box",container_label_team="site"} > 0"#,
    ];
    for expr in busy {
        eventually(PATIENCE, expr, || query_value(&outpost.address, expr));
    }
    engine.docker(&["kill", "busy"]);
    eventually(PATIENCE, "the killed container has ended", || {
        query_value(&outpost.address, r#"absent(container_cpu_usage_seconds_total{name="busy"})"#)
    });
}

struct Engine {
    process: Process,
    host: String,
}

/// Containers outlive their engine: they are ended first, also when the test has failed.
impl Drop for Engine {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["-H", &self.host, "kill", "busy"]).output();
        self.process.signal("TERM");
        let _ = self.process.wait();
    }
}

impl Engine {
    /// Starts an engine; `None`, loudly, where the machine cannot run one.
    fn start(folder: &Path) -> Option<Self> {
        let host = format!("unix://{}/docker.sock", folder.display());
        let mut command = Command::new("dockerd");
        command.args(["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false", "-H", &host]);
        for (flag, name) in [("--data-root", "root"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(format!("{flag}={}/{name}", folder.display()));
        }
        if Command::new("dockerd").arg("--version").output().is_err() {
            return skipped("dockerd is not installed");
        }
        let mut process = Process::start("dockerd", &mut command);
        let engine = host.clone();
        let is_up = eventually(PATIENCE, "dockerd answers or ends", || {
            let answered = Command::new("docker").args(["-H", &engine, "version"]).output().unwrap().status.success();
            match (answered, process.has_ended()) {
                (true, _) => Ok(true),
                (false, true) => Ok(false),
                (false, false) => Err("neither".to_owned()),
            }
        });
        if is_up { Some(Self { process, host }) } else { skipped(&process.output()) }
    }

    fn docker(&self, arguments: &[&str]) {
        let output = Command::new("docker").args(["-H", &self.host]).args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// An image that holds a static busybox and nothing else: nothing is pulled.
    fn import_busybox(&self) {
        let script = "tar -C /bin --dereference -cf - busybox | docker -H \"$0\" import - box";
        let output = Command::new("sh").args(["-c", script, &self.host]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn skipped(reason: &str) -> Option<Engine> {
    eprintln!("SKIPPED: no container engine can run here, containers are tested on recorded answers alone: {reason}");
    assert!(std::env::var_os("CI").is_none(), "CI has an engine: {reason}");
    None
}
