//! Whether containers can be seen: the engine's socket, and the kernel's count of their memory.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::account::{Account, SERVICE_USER, group_name, user_name};
use super::host::Host;
use super::unit::drop_in;
use super::within;
use crate::clock::Clock;
use crate::collect::{CollectError, CollectorSettings, DockerCollector, DockerCollectorSettings};
use crate::commands::finding::{Finding, quoted};
use crate::config::Config;
use crate::scrape::JobSource;

const SUBJECT: &str = "engine";
const WHY: &str = "the docker job is down: no containers are shown";
/// An engine in the local network that takes longer does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// All findings; nothing where the configuration asks for no containers.
pub fn look(host: &Host, config: Option<&Config>) -> Vec<Finding> {
    let engines = engines(config);
    let mut findings: Vec<Finding> = engines.iter().map(|settings| of_engine(host, settings)).collect();
    if !engines.is_empty() {
        findings.push(of_memory(host));
    }
    findings
}

/// The engines that jobs read; without a configuration the usual one.
fn engines(config: Option<&Config>) -> Vec<DockerCollectorSettings> {
    let Some(config) = config else { return vec![DockerCollectorSettings::default()] };
    let settings = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Collector(CollectorSettings::Docker(settings)) => Some((**settings).clone()),
        _ => None,
    });
    settings.collect()
}

fn of_engine(host: &Host, settings: &DockerCollectorSettings) -> Finding {
    match settings.docker_host.strip_prefix("unix://") {
        Some(path) => of_socket(host, Path::new(path)),
        None => of_address(settings),
    }
}

/// An engine, or a proxy before one, that is spoken to over the network: asked as the job does.
fn of_address(settings: &DockerCollectorSettings) -> Finding {
    let collector = DockerCollector::new(settings, Clock::system());
    let asked = within(ANSWER_TIMEOUT, collector.count())
        .unwrap_or_else(|reason| Err(CollectError::Engine { host: settings.docker_host.clone(), reason }));
    match asked {
        Ok(count) => Finding::good(SUBJECT, format!("{} answers, with {count} containers", settings.docker_host)),
        Err(error) => {
            let url = settings.docker_host.replacen("tcp://", "http://", 1);
            let mend = format!(
                "curl {}/containers/json asks it by hand; a proxy has to allow GET of /containers and /images; TLS wants \
                 https:// and tls_config in the job",
                url.trim_end_matches('/')
            );
            Finding::problem(SUBJECT, error.to_string(), WHY, mend)
        }
    }
}

fn of_socket(host: &Host, path: &Path) -> Finding {
    let shown = path.display();
    let connected = UnixStream::connect(path).map(drop).map_err(|error| error.kind());
    match connected {
        // Whoever asks may be root or anybody: what counts is the account of the service, if there is one.
        Ok(()) | Err(ErrorKind::PermissionDenied) => match Account::of_service(host) {
            Some(account) => of_service_user(host, path, &account),
            None if connected.is_ok() => Finding::good(SUBJECT, format!("{shown} answers")),
            None => Finding::problem(
                SUBJECT,
                format!("this user may not talk to {shown}"),
                WHY,
                "run outpost as a user of the socket's group; or look as root: sudo outpost doctor",
            ),
        },
        Err(ErrorKind::NotFound) => Finding::warning(
            SUBJECT,
            format!("no container engine listens at {shown}"),
            WHY,
            "start the engine (sudo systemctl start docker), set docker_host, or remove the docker job",
        ),
        Err(kind) => Finding::problem(
            SUBJECT,
            format!("{shown}: {kind}"),
            WHY,
            "sudo systemctl status docker; sudo systemctl restart docker",
        ),
    }
}

fn of_service_user(host: &Host, path: &Path, account: &Account) -> Finding {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if account.is_kept_from_writing(&real).is_none() {
        return Finding::good(SUBJECT, format!("{} is open to the service's user", path.display()));
    }
    Finding::problem(
        SUBJECT,
        format!("{} does not answer the service's user", path.display()),
        "the service's docker job is down: no containers are shown. Whoever may talk to the engine can become root, which \
         is why the package does not allow it by itself",
        allow(host, &real),
    )
}

/// What lets the service's user talk to a socket, by whose it is.
fn allow(host: &Host, path: &Path) -> String {
    const RESTART: &str = "sudo systemctl restart outpost";
    const SOCKET_DROP_INS: &str = "/etc/systemd/system/podman.socket.d";
    let shown = quoted(path);
    let facts = std::fs::metadata(path).ok();
    let group = facts.as_ref().and_then(|facts| group_name(host, facts.gid()));
    let owner = facts.as_ref().and_then(|facts| user_name(host, facts.uid())).filter(|owner| owner != "root");
    match (group, owner) {
        // An engine without root keeps its socket in a folder that its own user alone may enter.
        (_, Some(owner)) if path.starts_with("/run/user") => {
            format!("outpost may run as the user of that engine: {}", drop_in("engine", &format!("User={owner}\\n")))
        }
        // Now and, by the drop-ins, after the next start. Containers run on.
        _ if path.to_string_lossy().contains("podman") => format!(
            "sudo mkdir -p {SOCKET_DROP_INS} && printf '[Socket]\\nSocketGroup={SERVICE_USER}\\n' | sudo tee \
             {SOCKET_DROP_INS}/outpost.conf && echo 'z /run/podman 0711' | sudo tee /etc/tmpfiles.d/podman-outpost.conf && \
             sudo systemctl daemon-reload && sudo systemd-tmpfiles --create podman-outpost.conf && sudo chgrp {SERVICE_USER} \
             {shown} && {RESTART}"
        ),
        (Some(group), _) if group != "root" => format!("sudo usermod -aG {group} {SERVICE_USER} && {RESTART}"),
        _ => format!(
            "sudo groupadd -f docker && sudo chgrp docker {shown} && sudo usermod -aG docker {SERVICE_USER} && {RESTART}"
        ),
    }
}

/// Raspberry Pi OS starts its kernel with the memory controller off, and engines then report 0 for every container.
fn of_memory(host: &Host) -> Finding {
    const SUBJECT: &str = "cgroup";
    let version_2 = host.sys("fs/cgroup/cgroup.controllers");
    let is_on = match &version_2 {
        Some(controllers) => Some(controllers.split_whitespace().any(|name| name == "memory")),
        // `memory 0 90 1`: name, hierarchy, groups, enabled.
        None => host.proc("cgroups").and_then(|text| {
            let mut fields = text
                .lines()
                .find(|line| line.starts_with("memory\t") || line.starts_with("memory "))?
                .split_whitespace();
            Some(fields.next_back()? == "1")
        }),
    };
    let file = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"].into_iter().find(|path| host.has(path));
    let is_written = |file: &str| host.root(file).is_some_and(|text| text.contains("cgroup_enable=memory"));
    let mend = match file {
        Some(file) if is_written(file) => {
            format!("{file} asks for it already, which counts from the next start: sudo reboot")
        }
        Some(file) => format!("sudo sed -i '1s/$/ cgroup_enable=memory cgroup_memory=1/' {file} && sudo reboot"),
        None => {
            "add cgroup_enable=memory to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo \
                 update-grub) and restart"
                .to_owned()
        }
    };
    match is_on {
        Some(true) => Finding::good(SUBJECT, "the kernel counts memory per container"),
        Some(false) => Finding::problem(
            SUBJECT,
            "the kernel does not count memory per container",
            "container_memory_* are missing or 0, limits of containers do nothing, and MemoryMax= of services neither",
            mend,
        ),
        None => Finding::warning(
            SUBJECT,
            "no control groups can be seen",
            "containers' memory may not be counted",
            "mount /sys of the host, or look outside of the container",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::super::host::tests::made;
    use super::*;
    use crate::commands::finding::Severity;

    #[test]
    fn memory_that_is_not_counted_is_a_problem_with_its_way_out() {
        let on = made(&[("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")]);
        assert_eq!(of_memory(&on.1).severity, Severity::Good);
        let pi = made(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
            ("boot/firmware/cmdline.txt", "console=tty1\n"),
        ]);
        let found = of_memory(&pi.1);
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.mend.contains("cgroup_enable=memory") && found.mend.contains("/boot/firmware/cmdline.txt"));
        let written = made(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
            ("boot/firmware/cmdline.txt", "console=tty1 cgroup_enable=memory cgroup_memory=1\n"),
        ]);
        assert!(of_memory(&written.1).mend.ends_with("sudo reboot") && !of_memory(&written.1).mend.contains("sed"));
        let header = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
        let version_1 = |enabled| format!("{header}cpu\t2\t64\t1\nmemory\t0\t90\t{enabled}\n");
        for (enabled, severity) in [("0", Severity::Problem), ("1", Severity::Good)] {
            let (_folder, host) = made(&[("proc/cgroups", &version_1(enabled))]);
            assert_eq!(of_memory(&host).severity, severity, "enabled {enabled}");
        }
        assert_eq!(of_memory(&made(&[("proc/stat", "")]).1).severity, Severity::Warning);
    }

    #[test]
    fn the_service_s_user_must_be_in_the_socket_s_group() {
        let sockets = tempfile::tempdir().unwrap();
        std::fs::set_permissions(sockets.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = sockets.path().join("docker.sock");
        let _engine = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
        let gid = std::fs::metadata(&path).unwrap().gid();
        let group = |members: &str| format!("other:x:4242:\nengine:x:{gid}:{members}\n");
        let passwd =
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\noutpost:x:4000:4001::/var/lib/outpost:/usr/sbin/nologin\n");
        let with = |files: &[(&str, &str)]| {
            let (_folder, host) = made(files);
            of_socket(&host, &path)
        };
        assert_eq!(with(&[]).severity, Severity::Good, "no such account: whoever runs doctor counts");
        let found = with(&[passwd, ("etc/group", &group("alice"))]);
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.mend.starts_with("sudo usermod -aG engine outpost"), "{}", found.mend);
        assert_eq!(with(&[passwd, ("etc/group", &group("alice,outpost"))]).severity, Severity::Good);
        let drop_in =
            ("etc/systemd/system/outpost.service.d/override.conf", "[Service]\nSupplementaryGroups=engine video\n");
        assert_eq!(with(&[passwd, ("etc/group", &group("")), drop_in]).severity, Severity::Good);
        // A folder that its owner alone may enter is in the way whatever the socket says.
        std::fs::set_permissions(sockets.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        assert_eq!(with(&[passwd, ("etc/group", &group(""))]).severity, Severity::Problem);
    }

    #[test]
    fn the_way_to_a_socket_goes_by_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let gid = std::fs::metadata(folder.path()).unwrap().gid();
        let group = |name: &str| format!("{name}:x:{gid}:\n");
        for (path, group, mend) in [
            (
                socket("docker.sock"),
                group("engine"),
                "sudo usermod -aG engine outpost && sudo systemctl restart outpost",
            ),
            (socket("docker.sock"), group("root"), "sudo groupadd -f docker && "),
            (socket("podman.sock"), group("root"), "sudo mkdir -p /etc/systemd/system/podman.socket.d && "),
        ] {
            let (_folder, host) = made(&[("etc/group", &group)]);
            let said = allow(&host, &path);
            assert!(said.starts_with(mend), "{said}");
        }
    }

    #[test]
    fn an_engine_at_an_address_is_asked() {
        let server = |status: &'static str, body: &'static str| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let length = body.len();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                assert!(
                    lines
                        .by_ref()
                        .take_while(|line| !line.is_empty())
                        .any(|line| line.starts_with("GET /containers/json"))
                );
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            });
            address.to_string()
        };
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (_folder, host) = made(&[]);
        for (address, severity, what) in [
            (server("200 OK", r#"[{"Id":"a"},{"Id":"b"}]"#), Severity::Good, "answers, with 2 containers"),
            (
                server("403 Forbidden", "not allowed"),
                Severity::Problem,
                "/containers/json?all=1 gave 403 Forbidden: not allowed",
            ),
            (server("200 OK", "<html>"), Severity::Problem, "/containers/json?all=1 is not understood"),
            (closed, Severity::Problem, "refused"),
        ] {
            let settings = DockerCollectorSettings { docker_host: format!("tcp://{address}/"), ..Default::default() };
            let found = of_engine(&host, &settings);
            assert!(found.severity == severity && found.what.contains(what), "{found:?}");
            let mend = format!("curl http://{address}/containers/json ");
            assert_eq!(found.mend.starts_with(&mend), severity == Severity::Problem, "{found:?}");
        }
    }

    #[test]
    fn an_engine_that_is_not_there_is_told() {
        let (folder, host) = made(&[("proc/stat", "")]);
        let path = folder.path().join("docker.sock");
        assert_eq!(of_socket(&host, &path).severity, Severity::Warning);
        drop(UnixListener::bind(&path).unwrap());
        let found = of_socket(&host, &path);
        assert!(found.severity == Severity::Problem && found.mend.contains("systemctl"), "{found:?}");
    }
}
