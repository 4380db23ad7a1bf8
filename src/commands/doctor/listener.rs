//! The address that outpost listens on: whether it is free, what a running outpost says there, and who may come in.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::super::ask;
use super::super::check_federation::of_pullers;
use super::account::Account;
use super::host::Host;
use super::rights;
use super::service::SETTING_FLAGS;
use crate::cli::RunOptions;
use crate::client::Url;
use crate::commands::finding::Finding;
use crate::config::read_web_file;
use crate::http::{WebSettings, check_web_settings, is_local_host};

/// A server that takes longer to say that it is healthy is not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// All findings.
pub fn look(host: &Host, options: &RunOptions) -> Vec<Finding> {
    let web = match options.web_config_file.as_deref().map(read_web).transpose() {
        Ok(web) => web,
        Err(finding) => return vec![*finding],
    };
    let is_tls = web.as_ref().is_some_and(|web| web.tls.is_some());
    let mut findings: Vec<Finding> =
        options.listen_addresses.iter().flat_map(|address| of_port(host, address, options, is_tls)).collect();
    findings.push(of_access(options, web.as_ref(), host.is_in_another_network()));
    let web_files = web.iter().flat_map(WebSettings::files).cloned();
    findings.extend(rights::look(host, "access", options.web_config_file.iter().cloned().chain(web_files)));
    findings
}

fn read_web(path: &Path) -> Result<WebSettings, Box<Finding>> {
    let read = read_web_file(path).map_err(|error| error.to_string());
    let checked = read.and_then(|web| check_web_settings(&web.settings).map(|()| web.settings));
    checked.map_err(|reason| {
        Box::new(Finding::problem(
            "access",
            format!("{}: {reason}", path.display()),
            "outpost does not start with it, and a running one keeps the old one",
            format!("outpost check web-config {}", path.display()),
        ))
    })
}

fn of_port(host: &Host, address: &str, options: &RunOptions, is_tls: bool) -> Vec<Finding> {
    const SUBJECT: &str = "port";
    const WHY: &str = "outpost does not start there";
    let error = match bind(address) {
        // Root may, and the service's account may not.
        Ok(()) if is_reserved(host, address) => ErrorKind::PermissionDenied.into(),
        Ok(()) => return vec![Finding::good(SUBJECT, format!("{address} is free"))],
        Err(error) => error,
    };
    let elsewhere = |address: &str| format!("--web.listen-address={address} ({SETTING_FLAGS})");
    let (what, mend) = match error.kind() {
        ErrorKind::AddrInUse => match running(address, options, is_tls) {
            Some(found) => {
                let good = Finding::good(SUBJECT, format!("outpost runs at {address}"));
                return [good].into_iter().chain(found).collect();
            }
            None => (
                format!("{address} is taken, and what listens there does not answer as outpost"),
                format!(
                    "sudo ss -ltnp 'sport = :{}' shows which; stop that (cockpit.socket and Prometheus have 9090 too), or take \
                     another one: {}",
                    port_of(address),
                    elsewhere(":9091")
                ),
            ),
        },
        ErrorKind::PermissionDenied => (
            format!("outpost's user may not listen on {address}"),
            format!(
                "ports below 1024 are root's: take one from there on, {}; or echo 'net.ipv4.ip_unprivileged_port_start = {port}' \
                 | sudo tee /etc/sysctl.d/60-ports.conf && sudo sysctl --system",
                elsewhere(":9090"),
                port = port_of(address)
            ),
        ),
        _ => (
            format!("{address}: {error}"),
            format!("ip addr shows this machine's addresses; all of them: {}", elsewhere(":9090")),
        ),
    };
    vec![Finding::problem(SUBJECT, what, WHY, mend)]
}

/// Whether the service's account is kept from a port that is free.
fn is_reserved(host: &Host, address: &str) -> bool {
    let first = host.proc("sys/net/ipv4/ip_unprivileged_port_start").and_then(|text| text.parse().ok()).unwrap_or(1024);
    let is_low = port_of(address).parse().is_ok_and(|port: u16| port > 0 && port < first);
    is_low && Account::of_service(host).is_some_and(|account| !account.is_capable_of("CAP_NET_BIND_SERVICE"))
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

/// Listens for a moment; `:9090` means all addresses, as for the server.
fn bind(address: &str) -> std::io::Result<()> {
    let address = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    let addresses: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    TcpListener::bind(&addresses[..]).map(drop)
}

/// What a running outpost says that does not work, and how far pullers are; `None` if it is none that answers.
fn running(address: &str, options: &RunOptions, is_tls: bool) -> Option<Vec<Finding>> {
    let mut settings = ask::client_settings(None).ok()?;
    // Only whether it is outpost is asked, and the certificate is made out to another name than the loopback's.
    settings.tls.insecure_skip_verify = true;
    let scheme = if is_tls { "https" } else { "http" };
    let server = format!("{scheme}://{}{}", reached_at(address), options.route_prefix.trim_end_matches('/'));
    let reply = ask::get_within(&server, "/-/healthy", &settings, ANSWER_TIMEOUT).ok()?;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.status == 401 {
        return Some(Vec::new());
    }
    let rest = text.strip_prefix("outpost is Healthy.")?;
    let problems = rest.lines().filter_map(|line| line.strip_prefix("But: ")).map(of_problem);
    Some(problems.chain(of_pullers(&server, &settings)).collect())
}

/// Where this machine reaches what listens at an address: by the loopback where that is all of them.
fn reached_at(address: &str) -> String {
    let host = host_of(address);
    let is_all = host.is_empty() || host.parse().is_ok_and(|address: IpAddr| address.is_unspecified());
    if is_all { format!("127.0.0.1:{}", port_of(address)) } else { address.to_owned() }
}

fn of_problem(problem: &str) -> Finding {
    // systemd keeps a service's mounts as they were when it was started.
    let mend = if problem.contains("Read-only file system") {
        "where \"storage\" tells of no read-only disk any more: sudo systemctl restart outpost; a service that was started while \
         the disk was read-only sees it so until then"
    } else {
        "journalctl -u outpost -n 50"
    };
    Finding::problem(
        "health",
        format!("the running outpost says: {problem}"),
        "it goes on, but not with everything",
        mend,
    )
}

/// The listener itself refuses what comes from beyond the local network unless there are TLS and users.
fn of_access(options: &RunOptions, web: Option<&WebSettings>, is_in_another_network: bool) -> Finding {
    const SUBJECT: &str = "access";
    let users =
        "name users and a certificate in --web.config.file: see outpost check web-config and the page on access";
    let has_tls = web.is_some_and(|web| web.tls.is_some());
    let has_users = web.is_some_and(|web| !web.users.is_empty());
    let outside = options.external_url.as_deref().and_then(|url| Url::parse(url).ok()).map(|url| url.host);
    if let Some(host) = outside.filter(|host| !has_users && !is_local_host(host)) {
        return Finding::warning(
            SUBJECT,
            format!("{host} is reached from beyond the local network, and outpost knows no users"),
            "whoever comes through a proxy looks local to outpost: if the proxy does not ask who they are, everybody may \
             read this site",
            format!("let the proxy ask for a password, or {users}"),
        );
    }
    if options.listen_addresses.iter().all(|address| is_loopback(address)) {
        return Finding::good(SUBJECT, "open to this machine alone");
    }
    if is_in_another_network && !has_users && !web.is_some_and(WebSettings::identifies_clients) {
        return Finding::warning(
            SUBJECT,
            "outpost has a network of its own, as a container has: whoever comes through a published port looks local",
            "whoever reaches that port may read this site, from beyond the local network too",
            format!("network_mode: host (packaging/docker/compose.yml); or publish it on 127.0.0.1 alone; or {users}"),
        );
    }
    if has_users && !has_tls {
        let why = "anybody between a client and outpost can read passwords, and requests from beyond the local network stay \
                   refused";
        return Finding::warning(
            SUBJECT,
            "there are users but no TLS: passwords go over the network as they are",
            why,
            users,
        );
    }
    Finding::good(SUBJECT, if has_users { "users and TLS" } else { "open to the local network, closed to all others" })
}

/// Whether a listen address takes what this machine itself sends alone.
fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::host::tests::made;
    use super::*;
    use crate::cli::{Command, parse};
    use crate::commands::finding::Severity;

    fn options(line: &str) -> RunOptions {
        match parse(["outpost"].into_iter().chain(line.split_whitespace()).map(Into::into)) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_port_that_somebody_has_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        // It takes connections and closes them: nobody that says it were healthy.
        std::thread::spawn(move || taken.incoming().for_each(drop));
        let found = of_port(&made(&[]).1, &address, &options(""), false).remove(0);
        assert_eq!(found.severity, Severity::Problem);
        assert!(found.mend.contains("ss -ltnp") && found.mend.contains("OUTPOST_OPTS"), "{}", found.mend);
        assert_eq!(of_port(&made(&[]).1, "127.0.0.1:0", &options(""), false)[0].severity, Severity::Good);
        assert_eq!(of_port(&made(&[]).1, "192.0.2.1:9", &options(""), false)[0].severity, Severity::Problem);
    }

    #[test]
    fn low_ports_are_not_the_service_s() {
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let first = ("proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
        for (files, address, expected) in [
            (&[passwd][..], ":80", true),
            (&[passwd], "[::]:1023", true),
            (&[passwd], ":1024", false),
            (&[passwd], "127.0.0.1:0", false),
            (&[passwd, first], ":80", false),
            (&[passwd, first], ":79", true),
            (&[], ":80", false),
        ] {
            assert_eq!(is_reserved(&made(files).1, address), expected, "{address}");
        }
    }

    #[test]
    fn a_running_outpost_is_asked_where_it_listens() {
        for (address, expected) in [
            (":9090", "127.0.0.1:9090"),
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "127.0.0.1:9090"),
            ("[::1]:9090", "[::1]:9090"),
            ("192.168.1.2:9091", "192.168.1.2:9091"),
            ("localhost:9090", "localhost:9090"),
        ] {
            assert_eq!(reached_at(address), expected);
        }
        // An address of the loopback's that is not the first one.
        let taken = TcpListener::bind("127.0.0.2:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in taken.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).unwrap();
                let body = match request[..read].starts_with(b"GET /-/healthy ") {
                    true => "outpost is Healthy.\nBut: the disk is full\n",
                    false => {
                        r#"{"status":"success","data":{"pullers":[{"name":"home","lagSeconds":5000,"receipt":"proved"}]}}"#
                    }
                };
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                    .unwrap();
            }
        });
        let found = of_port(&made(&[]).1, &address, &options(""), false);
        let told: Vec<_> = found.iter().map(|finding| (finding.severity, finding.what.as_str())).collect();
        let expected = [
            (Severity::Good, format!("outpost runs at {address}")),
            (Severity::Problem, "the running outpost says: the disk is full".to_owned()),
            (Severity::Warning, "home: asked 5000 s ago, 0 s behind, receipt proved".to_owned()),
        ];
        assert_eq!(told, expected.each_ref().map(|(severity, what)| (*severity, what.as_str())));
    }

    #[test]
    fn a_disk_that_was_read_only_at_the_start_wants_a_restart() {
        for (problem, mend) in [
            (
                "the store cannot write its log: cannot create a: Read-only file system (os error 30)",
                "systemctl restart",
            ),
            ("the disk is full", "journalctl"),
        ] {
            assert!(of_problem(problem).mend.contains(mend), "{problem}");
        }
    }

    #[test]
    fn who_may_come_in_is_judged() {
        let users = WebSettings {
            users: [("alice".to_owned(), crate::model::Secret::new("$2y$10$x"))].into_iter().collect(),
            ..WebSettings::default()
        };
        let judge = |line: &str, web: Option<&WebSettings>| of_access(&options(line), web, false).severity;
        assert_eq!(judge("", None), Severity::Good);
        assert_eq!(judge("--web.external-url=http://pi.local:9090/", None), Severity::Good);
        assert_eq!(judge("--web.external-url=http://192.168.1.2:9090/", None), Severity::Good);
        assert_eq!(judge("--web.external-url=https://outpost.example.org/", None), Severity::Warning);
        assert_eq!(judge("", Some(&users)), Severity::Warning);
        for (line, web, expected) in [
            ("", None, "outpost has a network of its own"),
            ("", Some(&users), "there are users but no TLS"),
            ("--web.listen-address=127.0.0.1:9090", None, "open to this machine alone"),
        ] {
            let what = of_access(&options(line), web, true).what;
            assert!(what.starts_with(expected), "{line}: {what}");
        }
        for (line, expected) in [
            ("--web.listen-address=127.0.0.1:9090", true),
            ("--web.listen-address=[::1]:9090 --web.listen-address=localhost:9090", true),
            ("--web.listen-address=127.0.0.1:9090 --web.listen-address=192.168.1.2:9090", false),
            ("--web.listen-address=:9090", false),
            ("--web.listen-address=0.0.0.0:9090", false),
        ] {
            let what = of_access(&options(line), None, false).what;
            assert_eq!(what == "open to this machine alone", expected, "{line}: {what}");
        }
    }

    #[test]
    fn a_web_configuration_that_is_wrong_is_a_problem() {
        let found = look(&made(&[]).1, &options("--web.config.file=/nonexistent.yml"));
        assert!(found.len() == 1 && found[0].severity == Severity::Problem, "{found:?}");
    }
}
