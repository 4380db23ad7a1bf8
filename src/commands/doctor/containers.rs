//! Whether containers can be seen: the engine's socket, and the kernel's count of their memory.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::account::{Account, SERVICE_USER, group_name};
use super::host::Host;
use crate::collect::CollectorSettings;
use crate::commands::finding::Finding;
use crate::config::Config;
use crate::scrape::JobSource;

/// All findings; nothing where the configuration asks for no containers.
pub fn look(host: &Host, config: Option<&Config>) -> Vec<Finding> {
    let sockets = sockets(config);
    let is_asked = config.is_none_or(|config| config.jobs.iter().any(|job| is_docker(&job.source)));
    let mut findings: Vec<Finding> = sockets.iter().map(|socket| of_socket(host, Path::new(socket))).collect();
    if is_asked {
        findings.push(of_memory(host));
    }
    findings
}

fn is_docker(source: &JobSource) -> bool {
    matches!(source, JobSource::Collector(CollectorSettings::Docker(_)))
}

/// The local sockets that jobs read; without a configuration the usual one.
fn sockets(config: Option<&Config>) -> Vec<String> {
    let Some(config) = config else { return vec!["/var/run/docker.sock".to_owned()] };
    let hosts = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Collector(CollectorSettings::Docker(settings)) => settings.docker_host.strip_prefix("unix://"),
        _ => None,
    });
    hosts.map(str::to_owned).collect()
}

fn of_socket(host: &Host, path: &Path) -> Finding {
    const SUBJECT: &str = "engine";
    const WHY: &str = "the docker job is down: no containers are shown";
    let shown = path.display();
    let error = match UnixStream::connect(path) {
        Ok(_) => return of_service_user(host, path),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::NotFound => Finding::warning(
            SUBJECT,
            format!("no container engine listens at {shown}"),
            WHY,
            "start the engine (sudo systemctl start docker), set docker_host, or remove the docker job",
        ),
        ErrorKind::PermissionDenied => Finding::problem(
            SUBJECT,
            format!("this user may not talk to {shown}"),
            WHY,
            format!("{}; or look as root: sudo outpost doctor", allow(host, path)),
        ),
        _ => Finding::problem(
            SUBJECT,
            format!("{shown}: {error}"),
            WHY,
            "sudo systemctl status docker; sudo systemctl restart docker",
        ),
    }
}

/// The socket answers whoever asks now, who may be root: what counts is the account of the service.
fn of_service_user(host: &Host, path: &Path) -> Finding {
    const SUBJECT: &str = "engine";
    let good = Finding::good(SUBJECT, format!("{} answers", path.display()));
    let Ok(metadata) = std::fs::metadata(path) else { return good };
    let Some(user) = Account::of_service(host) else { return good };
    let is_owner = user.id == metadata.uid() && metadata.mode() & 0o200 != 0;
    let in_group = metadata.mode() & 0o020 != 0 && user.is_in(metadata.gid());
    if is_owner || in_group || metadata.mode() & 0o002 != 0 {
        return good;
    }
    Finding::problem(
        SUBJECT,
        format!("{} answers, but not the user {SERVICE_USER}", path.display()),
        "the service's docker job is down: no containers are shown. Whoever may talk to the engine can become root, which \
         is why the package does not allow it by itself",
        allow(host, path),
    )
}

fn allow(host: &Host, path: &Path) -> String {
    let group = std::fs::metadata(path).ok().and_then(|metadata| group_name(host, metadata.gid()));
    let group = group.filter(|group| group != "root").unwrap_or_else(|| "docker".to_owned());
    format!("sudo usermod -aG {group} {SERVICE_USER} && sudo systemctl restart outpost")
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
    let mend = match file {
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
