//! Containers of a real engine, started by the test itself with a folder and a socket of its own.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::{Outpost, PATIENCE, Process, encode, eventually, get_json, query_value};

#[test]
fn containers_of_a_real_engine_are_seen_with_state_and_usage() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(engine) = Engine::start(folder.path()) else { return };
    engine.import_busybox(&[]);
    engine.docker(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--net=none",
        "-l",
        "team=site",
        "-l",
        "secret=word",
        "box",
        "/busybox",
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    engine.docker(&["run", "-d", "--name", "brief", "--net=none", "box", "/busybox", "true"]);

    let outpost = engine.outpost();
    let busy = [
        r#"rate(container_cpu_usage_seconds_total{name="busy"}[30s]) > 0.05"#,
        r#"container_memory_working_set_bytes{name="busy"} > 0"#,
        r#"container_start_time_seconds{name="busy"} > 0"#,
        r#"container_last_seen{name="busy",image="box",container_label_team="site"} > 0"#,
        r#"absent(container_last_seen{container_label_secret!=""})"#,
        r#"time() - container_image_created_seconds{name="busy"} < 3600"#,
        r#"container_fs_rootfs_bytes{name="busy"} > container_fs_usage_bytes"#,
    ];
    for expr in busy {
        eventually(PATIENCE, expr, || query_value(&outpost.address, expr));
    }
    engine.docker(&["kill", "busy"]);
    eventually(PATIENCE, "the killed container has ended", || {
        query_value(&outpost.address, r#"absent(container_cpu_usage_seconds_total{name="busy"})"#)
    });
}

/// Ends with 3 when there is a file /end, and takes that away before; is ill for as long as there is a file /ill.
const MORTAL: &str = "while ! /busybox test -e /end; do /busybox sleep 0.1; done; /busybox rm /end; exit 3";
const HEALTH_CHECK: &str = r#"HEALTHCHECK --interval=1s --retries=1 CMD ["/busybox", "test", "!", "-e", "/ill"]"#;
/// Doubles a text until there is no memory for it, or to 256 MB.
const GREEDY: &str = "text=text; while [ ${#text} -lt 200000000 ]; do text=$text$text; done";

/// Each step is a command to the engine, and all that is to be told of the container then, `restarts` with any number.
#[test]
fn a_container_is_told_of_from_its_start_to_its_removal() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(engine) = Engine::start(folder.path()) else { return };
    engine.import_busybox(&["--change", HEALTH_CHECK]);
    let outpost = engine.outpost();
    let run =
        ["run", "-d", "--name", "life", "--net=none", "--restart=on-failure", "box", "/busybox", "sh", "-c", MORTAL];
    let memory = ["--memory=16m", "--memory-swap=16m"];
    let greedy =
        [&["run", "-d", "--name", "greedy", "--net=none"], &memory[..], &["box", "/busybox", "sh", "-c", GREEDY]]
            .concat();
    let looping =
        ["run", "-d", "--name", "loop", "--net=none", "--restart=always", "box", "/busybox", "sh", "-c", "exit 4"];
    let steps: [(&[&str], &str, &[&str]); 10] = [
        (&run, "life", &["health healthy", "oom_killed 0", "restarts 0", "state running"]),
        (&["pause", "life"], "life", &["oom_killed 0", "restarts 0", "state paused"]),
        (&["unpause", "life"], "life", &["health healthy", "oom_killed 0", "restarts 0", "state running"]),
        (
            &["exec", "life", "/busybox", "touch", "/ill"],
            "life",
            &["health unhealthy", "oom_killed 0", "restarts 0", "state running"],
        ),
        (
            &["exec", "life", "/busybox", "touch", "/end"],
            "life",
            &["health unhealthy", "oom_killed 0", "restarts 1", "state running"],
        ),
        (&["kill", "life"], "life", &["exit_code 137", "oom_killed 0", "restarts 1", "state exited"]),
        // Whoever starts it by hand begins to count anew.
        (&["start", "life"], "life", &["health unhealthy", "oom_killed 0", "restarts 0", "state running"]),
        (&["rm", "-f", "life"], "life", &[]),
        (&greedy, "greedy", &["exit_code 137", "oom_killed 1", "restarts 0", "state exited"]),
        (&looping, "loop", &["exit_code 4", "oom_killed 0", "restarts", "state restarting"]),
    ];
    let has_memory_limits = engine.docker(&["info", "--format", "{{.MemoryLimit}}"]) == "true";
    for (command, name, expected) in steps {
        if name == "greedy" && !has_memory_limits {
            skipped("a container without memory is not tested", "is the kernel's memory cgroup on?");
            continue;
        }
        engine.docker(command);
        eventually(PATIENCE, &format!("{command:?}"), || {
            let mut told = fetch_told(&outpost.address, name)?;
            if expected.contains(&"restarts") {
                told.iter_mut().filter(|told| told.starts_with("restarts ")).for_each(|told| told.truncate(8));
            }
            if told == expected { Ok(()) } else { Err(format!("{told:?} instead of {expected:?}")) }
        });
    }
    // What is gone has left nothing behind, and is no failure.
    for expr in [r#"absent({name="life"})"#, r#"up{job="docker"} == 1"#] {
        query_value(&outpost.address, expr).unwrap();
    }
}

/// What is told of a container's life at the moment.
fn fetch_told(address: &str, name: &str) -> Result<Vec<String>, String> {
    let names = "container_(exit_code|health_status|oom_killed|restarts_total|state)";
    let expr = format!(r#"{{__name__=~"{names}", name="{name}"}}"#);
    let answer = get_json(address, &format!("/api/v1/query?query={}", encode(&expr)))?;
    let series = answer["data"]["result"].as_array().ok_or_else(|| format!("no vector: {answer}"))?;
    let mut told: Vec<String> = series.iter().map(one_told).collect();
    told.sort();
    Ok(told)
}

fn one_told(series: &Value) -> String {
    let (labels, value) = (&series["metric"], series["value"][1].as_str().unwrap_or_default());
    let text = |key: &str| labels[key].as_str().unwrap_or_default().to_owned();
    match text("__name__").as_str() {
        "container_state" => format!("state {}", text("state")),
        "container_health_status" => format!("health {}", text("health")),
        other => format!("{} {value}", other.trim_start_matches("container_").trim_end_matches("_total")),
    }
}

struct Engine {
    process: Process,
    host: String,
}

/// Containers outlive their engine: they are ended first, also when the test has failed.
impl Drop for Engine {
    fn drop(&mut self) {
        let script = "docker -H \"$0\" ps -aq | xargs -r docker -H \"$0\" rm -f";
        let _ = Command::new("sh").args(["-c", script, &self.host]).output();
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
            skipped(WITHOUT_ENGINE, "dockerd is not installed");
            return None;
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
        if !is_up {
            skipped(WITHOUT_ENGINE, &process.output());
            return None;
        }
        Some(Self { process, host })
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.host]).args(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// An outpost that watches it, every second.
    fn outpost(&self) -> Outpost {
        let outpost = Outpost::start(&format!(
            "scrape_configs: [{{job_name: docker, collector: docker, scrape_interval: 1s, docker_host: '{}',\n\
             label_exclude: [secr*], size_interval: 1m}}]\n",
            self.host
        ));
        eventually(PATIENCE, "the engine is up", || query_value(&outpost.address, r#"up{job="docker"} == 1"#));
        outpost
    }

    /// An image that holds a static busybox and nothing else: nothing is pulled.
    fn import_busybox(&self, changes: &[&str]) {
        let script = "tar -C /bin --dereference -cf - busybox | docker -H \"$0\" import \"$@\" - box";
        let output = Command::new("sh").args(["-c", script, &self.host]).args(changes).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

const WITHOUT_ENGINE: &str = "containers are tested on recorded answers alone";

/// Says what is left out, and why.
fn skipped(what: &str, reason: &str) {
    eprintln!("SKIPPED: {what}: {reason}");
    assert!(std::env::var_os("CI").is_none(), "CI has all that is needed: {what}: {reason}");
}
