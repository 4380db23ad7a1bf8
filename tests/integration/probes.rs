//! Probes beside a live blackbox_exporter: the same modules and targets, the same verdicts and series.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::support::{
    Answer, Ask, Outpost, PATIENCE, Process, blackbox_exporter, encode, eventually, exchange, fixture, get, get_json,
    query_value,
};
use servers::Services;

/// What is probed.
mod servers;

const MODULES: &str = include_str!("probes/modules.yml");
/// The scrape's timeout; the slowest probe ends half a second before it.
const TIMEOUT: &str = "2s";

/// Families that hold times of the probe itself.
const TIMES: [&str; 5] = [
    "probe_duration_seconds",
    "probe_dns_lookup_time_seconds",
    "probe_http_duration_seconds",
    "probe_icmp_duration_seconds",
    "probe_dns_duration_seconds",
];

/// Case, the family that differs there, and the reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("tls_self_signed_not_checked", "probe_tls_cipher_info", "a server that lets the client choose: rustls and Go"),
    ("tls_self_signed_trusted", "probe_tls_cipher_info", "prefer different ciphers"),
];

/// Name and labels without those of the target, as `name{a="b"}`.
type Values = BTreeMap<String, f64>;

/// A case's name, module, target, and whether the probe succeeds.
type Case = (&'static str, &'static str, String, bool);

fn cases(services: &Services) -> Vec<Case> {
    let http = |path: &str| format!("http://{}{path}", services.http);
    let tls = |address: &str| format!("https://{address}/good");
    let local = |address: &str| address.replace("127.0.0.1", "localhost");
    let mut cases = vec![
        ("good", "http_2xx", services.http.clone(), true),
        ("good_with_scheme", "http_2xx", http("/good?x=1"), false),
        ("refused", "http_2xx", services.refusing.clone(), false),
        ("no_such_name", "http_2xx", "http://no-such-host.invalid/".to_owned(), false),
        ("not_a_url", "http_2xx", "http://a b/".to_owned(), false),
        ("only_ip6", "http_ip6", http("/good"), false),
        ("http_on_a_tls_port", "http_2xx", format!("http://{}/", services.good_tls), false),
        ("tls_on_an_http_port", "http_2xx", format!("https://{}/", services.http), false),
        ("tls_good", "http_ca", tls(&services.good_tls), true),
        ("tls_good_by_name", "http_ca", tls(&local(&services.good_tls)), true),
        ("tls_expired", "http_ca", tls(&services.expired_tls), false),
        ("tls_expired_not_checked", "http_any_certificate", tls(&services.expired_tls), true),
        ("tls_self_signed", "http_ca", tls(&services.self_signed_tls), false),
        ("tls_self_signed_not_checked", "http_any_certificate", tls(&services.self_signed_tls), true),
        ("tls_self_signed_trusted", "http_self_signed", tls(&services.self_signed_tls), true),
        ("tls_unknown_authority", "http_2xx", tls(&services.good_tls), false),
        ("tls_other_name", "http_other_name", tls(&services.good_tls), false),
        ("tls_12", "http_tls12", tls(&services.good_tls), true),
        ("tls_unwanted", "http_not_ssl", tls(&services.good_tls), false),
        ("http2", "http2", format!("https://{}/", local(&services.http2)), true),
        ("proxy", "http_proxy", "http://behind.invalid/x".to_owned(), true),
        ("tcp", "tcp_connect", services.mute.clone(), true),
        ("tcp_by_name", "tcp_ip4", local(&services.mute), true),
        ("tcp_refused", "tcp_connect", services.refusing.clone(), false),
        ("tcp_without_port", "tcp_connect", "127.0.0.1".to_owned(), false),
        ("tcp_banner", "tcp_banner", services.banner.clone(), true),
        ("tcp_no_banner", "tcp_banner", services.mute.clone(), false),
        ("tcp_other_banner", "tcp_banner", services.bytes.clone(), false),
        ("tcp_bytes", "tcp_bytes", services.bytes.clone(), true),
        ("tcp_starttls", "tcp_starttls", services.starttls.clone(), true),
        ("tcp_tls", "tcp_tls", services.good_tls.clone(), true),
        ("tcp_tls_expired", "tcp_tls", services.expired_tls.clone(), false),
        ("tcp_tls_expired_not_checked", "tcp_tls_any", services.expired_tls.clone(), true),
        ("tcp_tls_without_tls", "tcp_tls", services.banner.clone(), false),
        ("icmp", "icmp", "127.0.0.1".to_owned(), true),
        ("icmp_large", "icmp_large", "127.0.0.1".to_owned(), true),
        ("icmp_no_such_name", "icmp", "no-such-host.invalid".to_owned(), false),
    ];
    let paths = [
        ("not_found", "http_2xx", "/nothing", false),
        ("wrong_status", "http_2xx", "/broken", false),
        ("other_status", "http_status", "/broken", true),
        ("redirect", "http_2xx", "/redirect", true),
        ("redirect_absolute", "http_2xx", "/redirect_absolute", true),
        ("redirect_loop", "http_2xx", "/redirect_loop", false),
        ("redirect_nowhere", "http_2xx", "/redirect_nowhere", false),
        ("redirect_scheme", "http_2xx", "/redirect_scheme", false),
        ("redirect_unwanted", "http_no_redirects", "/redirect", true),
        ("redirect_of_a_post", "http_post", "/redirect_post", true),
        ("cookies", "http_2xx", "/login", true),
        ("slow", "http_fast", "/slow", false),
        ("slow_body", "http_fast", "/slow_body", false),
        ("post", "http_post", "/post", true),
        ("user", "http_user", "/user", true),
        ("no_user", "http_2xx", "/user", false),
        ("token", "http_token", "/token", true),
        ("host", "http_host", "/host", true),
        ("no_tls", "http_ssl", "/good", false),
        ("body", "http_body", "/good", true),
        ("wrong_body", "http_body", "/error", false),
        ("body_of_a_redirect", "http_body", "/redirect", true),
        ("header", "http_header", "/good_state", true),
        ("wrong_header", "http_header", "/bad_state", false),
        ("missing_header", "http_header", "/good", false),
        ("wrong_version", "http_version_2", "/good", false),
        ("gzip", "http_gzip", "/gzip", true),
        ("gzip_that_is_none", "http_gzip", "/no_gzip", false),
        ("gzip_cut_short", "http_gzip", "/half_gzip", false),
        ("gzip_as_it_is", "http_2xx", "/gzip", true),
        ("deflate", "http_deflate", "/deflate", true),
        ("gzip_that_says_deflate", "http_deflate", "/gzip_as_deflate", false),
        ("body_too_large", "http_small", "/good", false),
        ("chunked", "http_2xx", "/chunked", true),
        ("no_content", "http_2xx", "/no_content", true),
        ("until_the_end", "http_2xx", "/until_the_end", true),
        ("cut_short", "http_2xx", "/cut_short", false),
        ("not_http", "http_2xx", "/not_http", false),
        ("closes", "http_2xx", "/closes", false),
    ];
    cases.extend(paths.map(|(name, module, path, expected)| (name, module, http(path), expected)));
    let questions = [
        ("dns_a", true),
        ("dns_tcp", true),
        ("dns_missing", false),
        ("dns_missing_is_right", true),
        ("dns_refused", false),
        ("dns_soa", true),
        ("dns_silent", false),
        ("dns_garbage", false),
        ("dns_records", true),
        ("dns_wrong_records", false),
        ("dns_no_records", false),
        ("dns_all_records", false),
    ];
    cases.extend(questions.map(|(name, expected)| (name, name, services.dns.clone(), expected)));
    cases.push(("dns_tls", "dns_tls", services.dns_tls.clone(), true));
    cases.push(("dns_nobody", "dns_a", services.refusing.clone(), false));
    if Path::new("/proc/net/if_inet6").exists() {
        cases.push(("icmp_ip6", "icmp_ip6", "::1".to_owned(), true));
    }
    cases
}

#[test]
fn a_live_blackbox_exporter_says_the_same() {
    let services = Services::start();
    let folder = tempfile::TempDir::new().unwrap();
    let tls = fixture("ca.pem").parent().unwrap().display().to_string();
    let modules = MODULES.replace("TLS/", &format!("{tls}/")).replace("PROXY", &services.proxy);
    std::fs::write(folder.path().join("modules.yml"), &modules).unwrap();
    let (_exporter, exporter) = blackbox_exporter(folder.path(), "modules.yml");

    let cases = cases(&services);
    let mut config = format!(
        "scrape_configs:\n  - job_name: probes\n    collector: probe\n    modules_file: modules.yml\n    \
         scrape_interval: {TIMEOUT}\n    scrape_timeout: {TIMEOUT}\n    static_configs:\n"
    );
    for (name, module, target, _) in &cases {
        config.push_str(&format!(
            "      - {{targets: [{target:?}], labels: {{case: {name}, __param_module: {module}}}}}\n"
        ));
    }
    let outpost = Outpost::start_in(folder, Some(&config), &[]);
    let mut wrong = Vec::new();
    for (name, module, target, expected) in &cases {
        let theirs = ask_exporter(&exporter, module, target);
        let ours = eventually(PATIENCE, name, || stored(&outpost.address, name));
        let differs = |family: &str| DIFFERENCES.iter().any(|(case, f, _)| case == name && *f == family);
        if ours.get("up") != Some(&1.0) {
            wrong.push(format!("{name}: up {:?}", ours.get("up")));
        }
        let verdict = f64::from(u8::from(*expected));
        if ours.get("probe_success") != Some(&verdict) || theirs.get("probe_success") != Some(&verdict) {
            let found = (ours.get("probe_success"), theirs.get("probe_success"));
            wrong.push(format!("{name}: ours and theirs {found:?}, not {verdict}"));
        }
        let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).filter(|it| it.starts_with("probe_")).collect();
        for series in all {
            let family = series.split('{').next().unwrap();
            match (ours.get(series), theirs.get(series)) {
                _ if differs(family) => {}
                (Some(own), Some(_)) if TIMES.contains(&family) => assert!((0.0..3.0).contains(own), "{series} {own}"),
                (Some(own), Some(other)) if own == other => {}
                (own, other) => wrong.push(format!("{name}: {series}: {own:?}, theirs {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), outpost.process.output());
    check_metadata(&outpost.address, &exporter, &cases);
}

/// Names, types and help of all families.
fn check_metadata(outpost: &str, exporter: &str, cases: &[Case]) {
    let found = get_json(outpost, "/api/v1/metadata").unwrap();
    let mut seen = BTreeSet::new();
    for (_, module, target, _) in cases.iter().filter(|(.., succeeds)| *succeeds) {
        let page = exporter_page(exporter, module, target).text();
        for line in page.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            let (name, help) = line.split_once(' ').unwrap();
            assert_eq!(found["data"][name][0]["help"], help, "{name}");
            assert_eq!(found["data"][name][0]["type"], "gauge", "{name}");
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
}

/// The exporter's idiom and the short form name the same targets; built-in modules serve where none are written.
#[test]
fn jobs_of_an_exporter_need_no_other_words() {
    let services = Services::start();
    let target = format!("http://{}/good", services.http);
    let outpost = Outpost::start(&format!(
        "global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: idiom
    collector: probe
    metrics_path: /probe
    params: {{module: [http_2xx]}}
    static_configs: [{{targets: ['{target}']}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: __param_target}}
      - {{source_labels: [__param_target], target_label: instance}}
      - {{target_label: __address__, replacement: 'blackbox-exporter:9115'}}
  - job_name: short
    collector: probe
    static_configs:
      - targets: ['{target}']
      - {{targets: ['{}', localhost:1], labels: {{__param_module: tcp_connect}}}}
      - {{targets: ['{}'], labels: {{__param_module: dns_udp}}}}
      - {{targets: ['{target}'], labels: {{__param_module: no_such_module, case: module}}}}
      - {{targets: ['169.254.169.254'], labels: {{case: metadata}}}}
      - {{targets: ['http://{}/redirect_metadata'], labels: {{case: redirect}}}}
",
        services.mute, services.dns, services.http
    ));
    let success = |job: &str, instance: &str| format!("probe_success{{job={job:?},instance={instance:?}}}");
    let expected = [
        (success("idiom", &target), 1.0),
        (success("short", &target), 1.0),
        (success("short", &services.mute), 1.0),
        (success("short", "localhost:1"), 0.0),
        (success("short", &services.dns), 1.0),
        (success("short", "169.254.169.254"), 0.0),
        ("probe_http_redirects{case=\"redirect\"}".to_owned(), 1.0),
        ("up{case=\"module\"}".to_owned(), 0.0),
    ];
    for (query, expected) in expected {
        eventually(PATIENCE, &query, || match query_value(&outpost.address, &query)? {
            value if value == expected => Ok(()),
            value => Err(format!("{value}")),
        });
    }
    let output = outpost.process.output();
    // Nobody is asked there: by address or by a redirect.
    let refused = output.lines().filter(|line| line.contains("only if allowed_networks lists"));
    assert_eq!(refused.count(), 2, "{output}");
    let targets = get(&outpost.address, "/api/v1/targets").unwrap().body;
    assert!(targets.contains("there is no module \\\"no_such_module\\\"; known are dns_tcp, dns_udp, "), "{targets}");
    let url = format!("collector://probe?module=http_2xx\\u0026target={}", encode(&target));
    assert!(targets.contains(&url) || targets.contains(&url.replace("\\u0026", "&")), "{targets}");
}

fn exporter_page(address: &str, module: &str, target: &str) -> Answer {
    let seconds = TIMEOUT.trim_end_matches('s');
    let ask = Ask {
        method: "GET".to_owned(),
        target: format!("/probe?module={module}&target={}", encode(target)),
        headers: vec![("X-Prometheus-Scrape-Timeout-Seconds".to_owned(), seconds.to_owned())],
        body: None,
    };
    exchange(address, &ask).unwrap()
}

fn ask_exporter(address: &str, module: &str, target: &str) -> Values {
    let page = exporter_page(address, module, target);
    assert_eq!(page.status, 200, "{module} {target}: {}", page.text());
    let text = page.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (normal(series), value.parse().unwrap())
    });
    values.collect()
}

/// Labels without those that are empty, which do not exist once they are stored.
fn normal(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels = labels.trim_end_matches('}').split("\",").map(|label| label.trim_end_matches('"'));
    let mut labels: Vec<String> = labels.filter(|label| !label.ends_with("=\"")).map(|it| format!("{it}\"")).collect();
    labels.sort();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

/// The newest samples of a case.
fn stored(address: &str, case: &str) -> Result<Values, String> {
    let found = get_json(address, &format!("/api/v1/query?query={}", encode(&format!("{{case={case:?}}}"))))?;
    let entries = found["data"]["result"].as_array().unwrap();
    let mut values = Values::new();
    for entry in entries {
        let labels = entry["metric"].as_object().unwrap();
        let name = labels["__name__"].as_str().unwrap();
        let own =
            labels.iter().filter(|(label, _)| !matches!(label.as_str(), "__name__" | "job" | "instance" | "case"));
        let mut own: Vec<String> = own.map(|(label, value)| format!("{label}={value}")).collect();
        own.sort();
        let series = if own.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", own.join(",")) };
        values.insert(series, entry["value"][1].as_str().unwrap().parse().unwrap());
    }
    if values.contains_key("up") { Ok(values) } else { Err("not probed yet".to_owned()) }
}

/// Echo requests by the kernel's sockets for everybody, and no right to any. Each in a network namespace, whose setting
/// it is, and without the capability for raw sockets.
#[test]
fn echo_requests_need_a_right() {
    let forbidden = "this process may not send ICMP echo requests: widen net.ipv4.ping_group_range";
    for (range, expected, error) in [("0 0", 1.0, ""), ("1 0", 0.0, forbidden)] {
        let config = "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: p, collector: probe, \
                      params: {module: [icmp]}, static_configs: [{targets: [127.0.0.1, '127.0.0.2']}]}]\n";
        let range = format!("echo {range} >/proc/sys/net/ipv4/ping_group_range");
        let Some(site) = Namespaced::start(&range, config, "127.0.0.1:9090") else { return };
        for (family, value) in [("up", expected), ("probe_success", expected)] {
            let query = format!("min({family}) or vector(0)");
            eventually(PATIENCE, &query, || {
                let found = site.ask(&["query", "instant", &site.url(), &query]);
                // Both targets must have been probed before their values count.
                let count = site.ask(&["query", "instant", &site.url(), "count(up) == 2"]);
                let is_there = found.contains(&format!("=> {value} @")) && count.contains("=> 2 @");
                if is_there { Ok(()) } else { Err(format!("{found} {count}")) }
            });
        }
        assert!(error.is_empty() || site.process.output().contains(error), "{}", site.process.output());
    }
}

/// A link-local address means something together with an interface alone, which every prober is told.
#[test]
fn link_local_addresses_come_with_their_interface() {
    let config = "
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: p
    collector: probe
    allowed_networks: ['fe80::/10']
    static_configs:
      - targets: ['http://[fe80::1%25here]:9090/-/healthy', 'http://[fe80::1%here]:9090/-/healthy']
      - {targets: ['[fe80::1%here]:9090'], labels: {__param_module: tcp_connect}}
      - {targets: ['fe80::1%here'], labels: {__param_module: icmp}}
";
    let preparation = "echo 0 0 >/proc/sys/net/ipv4/ping_group_range && ip link add here type veth peer name there && \
                       ip link set here up && ip link set there up && ip addr add fe80::1/64 dev here nodad";
    if !Path::new("/proc/net/if_inet6").exists() {
        assert!(std::env::var_os("CI").is_none(), "no IPv6");
        eprintln!("SKIPPED: no IPv6");
        return;
    }
    let Some(site) = Namespaced::start(preparation, config, "[::]:9090") else { return };
    eventually(PATIENCE, "all succeed", || {
        let found = site.ask(&["query", "instant", &site.url(), "sum(probe_success)"]);
        if found.contains("=> 4 @") { Ok(()) } else { Err(format!("{found}\n{}", site.process.output())) }
    });
}

/// An outpost in a network namespace of its own that probes it.
struct Namespaced {
    process: Process,
    _folder: tempfile::TempDir,
}

impl Namespaced {
    fn start(preparation: &str, config: &str, listen_address: &str) -> Option<Self> {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("outpost.yml"), config).unwrap();
        let set_up = format!(
            "ip link set lo up && {preparation} && exec setpriv \
             --bounding-set=-net_raw --inh-caps=-net_raw {} --config.file=outpost.yml --storage.path=data \
             --web.listen-address={listen_address} --log.level=debug",
            env!("CARGO_BIN_EXE_outpost")
        );
        let trial = "unshare -n sh -c 'echo 1 0 >/proc/sys/net/ipv4/ping_group_range'";
        if !Command::new("sh").args(["-c", trial]).status().is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "no network namespace whose settings may be changed");
            eprintln!("SKIPPED: no network namespace whose settings may be changed");
            return None;
        }
        let mut command = Command::new("unshare");
        command.current_dir(folder.path()).args(["-n", "sh", "-c", &set_up]);
        let mut process = Process::start("outpost", &mut command);
        process.wait_for_field("listening", "address=");
        Some(Self { process, _folder: folder })
    }

    fn url(&self) -> String {
        "http://127.0.0.1:9090".to_owned()
    }

    /// What a command of outpost says in there.
    fn ask(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.process.id().to_string(), "-n", env!("CARGO_BIN_EXE_outpost")]).args(arguments);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}
