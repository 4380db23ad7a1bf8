//! Files that must be read and files that must not: `tests/config/`.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::client::SecretSource;
use crate::collect::CollectorSettings;
use crate::collect::probe::ProberSettings;
use crate::discovery::DiscoverySettings;
use crate::model::{RelabelAction, Secret};
use crate::scrape::{JobSource, NameEscaping, ScrapeProtocol};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config")).join(name)
}

fn good(name: &str) -> Config {
    Config::load(&folder("good").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn embedded_configuration_has_its_three_jobs() {
    let config = Config::default_embedded();
    let names: Vec<&str> = config.jobs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["node", "docker", "outpost"]);
    assert!(config.jobs.iter().all(|job| job.scrape_interval == Duration::from_secs(15)));
    assert!(matches!(&config.jobs[1].source, JobSource::Collector(CollectorSettings::Docker(_))));
    assert_eq!(config.warnings, []);
}

#[test]
fn empty_texts_are_prometheus_defaults() {
    for text in ["", "global:\n", "scrape_configs: []\nalerting:\noutpost:\n"] {
        let config = Config::parse(text, Path::new("p.yml")).expect(text);
        assert_eq!(config.global, GlobalSettings::default(), "{text}");
        assert_eq!(config.outpost, OutpostSettings::default(), "{text}");
        assert_eq!(config.global.evaluation_interval, Duration::from_secs(60));
    }
}

#[test]
fn bad_files_are_refused_with_their_message() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder("bad")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "yml") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).expect("a file");
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# error: ")).collect();
        assert!(!expected.is_empty(), "{} must begin with `# error: `", path.display());
        let message = Config::load(&path).expect_err(&path.display().to_string()).to_string();
        for words in &expected {
            assert!(message.contains(words), "{}:\n{message}", path.display());
        }
        assert_eq!(message.lines().count(), expected.len(), "{}:\n{message}", path.display());
    }
    assert!(count > 25, "only {count} files");
}

#[test]
fn everything_is_read() {
    let config = good("everything.yml");
    assert_eq!(config.warnings, []);
    assert_eq!(config.global.external_labels.to_string(), r#"{"7"="on", site="garage"}"#);
    assert_eq!(config.rule_files, [folder("good/rules-a.yml")]);
    let names: Vec<&str> = config.jobs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["node", "docker", "probes", "own", "disks", "raid", "ups", "測試", "more"]);

    let inherits = &config.jobs[0];
    assert_eq!((inherits.scrape_interval.as_secs(), inherits.scrape_timeout.as_secs()), (15, 10));
    assert_eq!((inherits.limits.body_size_bytes, inherits.limits.samples), (15 << 20, 1500));
    assert!(inherits.always_scrape_classic_histograms);

    let full = &config.jobs[7];
    assert_eq!(full.scrape_protocols, [ScrapeProtocol::PrometheusProto, ScrapeProtocol::PrometheusText004]);
    assert!(full.legacy_names_only && full.name_escaping == NameEscaping::Dots);
    assert_eq!(full.params["match[]"], [r#"{a="b"}"#, "up"]);
    assert_eq!(full.relabel_rules.len(), 7);
    assert_eq!(full.relabel_rules[1].regex.as_str(), "");
    assert_eq!(full.relabel_rules[2].action, RelabelAction::HashMod);
    let JobSource::Http { discovery, client } = &full.source else { panic!("{full:?}") };
    assert_eq!(discovery.len(), 8);
    let DiscoverySettings::Static(group) = &discovery[0] else { panic!("{discovery:?}") };
    assert_eq!(group.labels.to_string(), r#"{heated="no", room="1"}"#);
    assert_eq!(client.headers["X-B"].files, [folder("good/e")]);
    let oauth2 = client.oauth2.as_ref().expect("oauth2");
    assert_eq!(oauth2.client_secret, Some(SecretSource::Inline(Secret::new("s"))));
    assert_eq!(config.outpost.allowed_hosts, ["pi.example", "nas"]);
}

#[test]
fn modules_are_read() {
    let config = good("everything.yml");
    let JobSource::Probes { discovery, settings } = &config.jobs[2].source else { panic!("{:?}", config.jobs[2]) };
    assert_eq!(discovery.len(), 1);
    assert_eq!(settings.modules.keys().collect::<Vec<_>>(), ["mail", "names", "ping", "web"]);
    let ProberSettings::Tcp(mail) = &settings.modules["mail"].prober else { panic!("{settings:?}") };
    assert_eq!(mail.steps[1].expect_bytes, [0xff]);
    assert_eq!(mail.steps[2].send, [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
    let ProberSettings::Http(web) = &settings.modules["web"].prober else { panic!("{settings:?}") };
    assert!(!web.client.follow_redirects && web.client.proxy.url.is_some() && web.body_size_limit == Some(1 << 20));
    // What is printed is what is in force, but for secrets.
    let again = Config::parse(&config.to_yaml(), Path::new("again.yml")).expect("valid");
    let JobSource::Probes { settings: again, .. } = &again.jobs[2].source else { panic!("{again:?}") };
    for name in ["names", "ping"] {
        assert_eq!(again.modules[name], settings.modules[name]);
    }
    // Logins stand in what is sent.
    let mut hidden = settings.modules["mail"].clone();
    let ProberSettings::Tcp(mail) = &mut hidden.prober else { panic!("{hidden:?}") };
    for step in mail.steps.iter_mut().filter(|step| !step.send.is_empty()) {
        step.send = b"<secret>".to_vec();
    }
    assert_eq!(again.modules["mail"], hidden);
    assert_eq!(again.allowed_networks, settings.allowed_networks);
}

#[test]
fn built_in_modules_serve_where_none_are_written() {
    let text = "scrape_configs: [{job_name: p, collector: probe, params: {module: [icmp], debug: [yes]}}]";
    let config = Config::parse(text, Path::new("p.yml")).expect("valid");
    let JobSource::Probes { settings, .. } = &config.jobs[0].source else { panic!("{config:?}") };
    let names = ["dns_tcp", "dns_udp", "http_2xx", "http_post_2xx", "icmp", "ssh_banner", "tcp_connect", "tls_connect"];
    assert_eq!(settings.modules.keys().collect::<Vec<_>>(), names);
    let warnings: Vec<String> = config.warnings.iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(warnings, ["\"debug\" is ignored; a probe takes module, target, hostname"]);
}

/// Modules are shared with blackbox_exporter: what one of them wants costs that one alone.
#[test]
fn what_is_not_supported_costs_its_module_alone() {
    for (module, reason) in [
        ("{prober: grpc, grpc: {service: x}}", "the prober grpc is not supported; supported are http, tcp, icmp, dns"),
        ("{prober: websocket}", "the prober websocket is not supported"),
        ("{prober: http, http: {enable_http3: true}}", "HTTP/3 is not supported"),
        ("{prober: http, http: {compression: br}}", "compression: br is not supported"),
        ("{prober: http, timeout: 5s, http: {fail_if_body_json_matches_cel: 'body.a == 1'}}", "CEL is not supported"),
        ("{prober: http, http: {fail_if_body_json_not_matches_cel: a}}", "CEL is not supported"),
    ] {
        let text = format!(
            "scrape_configs:\n- job_name: p\n  collector: probe\n  modules:\n    good: {{prober: icmp}}\n    odd: {module}\n"
        );
        let config = Config::parse(&text, Path::new("x.yml")).expect(module);
        let [warning] = &config.warnings[..] else { panic!("{module}: {:?}", config.warnings) };
        assert_eq!(warning.path, "scrape_configs[0].modules.odd", "{module}");
        assert!(warning.message.contains(reason), "{module}: {}", warning.message);
        for config in [&config, &Config::parse(&config.to_yaml(), Path::new("again.yml")).expect(module)] {
            let JobSource::Probes { settings, .. } = &config.jobs[0].source else { panic!("{config:?}") };
            assert_eq!(settings.modules.keys().collect::<Vec<_>>(), ["good"], "{module}");
            let told = settings.unknown_module("odd").to_string();
            assert!(told.starts_with(&format!("the module \"odd\" cannot be used: {reason}")), "{module}: {told}");
        }
        // A target that is written beside it is left without data.
        let target = format!("{text}  params: {{module: [odd]}}\n  static_configs: [{{targets: [a]}}]\n");
        let checked = Config::parse(&target, Path::new("x.yml")).expect(module).check_files();
        assert!(checked.problems.iter().any(|problem| problem.contains(reason)), "{module}: {checked:?}");
    }
}

#[test]
fn what_is_ignored_is_told() {
    let told: Vec<String> = good("empty_foreign.yml").warnings.iter().map(|it| it.path.clone()).collect();
    let job = |key: &str| format!("scrape_configs[0].{key}");
    assert_eq!(told, [job("sample_limit"), job("native_histogram_min_bucket_factor"), job("proxy_url")]);
    let told: Vec<String> = good("tunes_prometheus_only.yml").warnings.iter().map(|it| it.path.clone()).collect();
    let expected = [
        "global.query_log_file",
        "global.convert_classic_histograms_to_nhcb",
        "runtime.gogc",
        "storage.tsdb.out_of_order_time_window",
        "remote_write[0]",
        "scrape_configs[0].native_histogram_bucket_limit",
        "scrape_configs[0].proxy_url",
        "scrape_configs[2].body_size_limit",
        "scrape_configs[2].sample_limit",
        "scrape_configs[2].target_limit",
        "scrape_configs[2].label_limit",
        "scrape_configs[2].label_name_length_limit",
        "scrape_configs[2].label_value_length_limit",
        "scrape_configs[2].keep_dropped_targets",
        "scrape_configs[2].tls_config.min_version",
        "scrape_configs[3].tls_config.max_version",
        "scrape_configs[4].tls_config.max_version",
    ];
    assert_eq!(told, expected);
}

#[test]
fn yaml_hides_secrets_and_reads_back() {
    let config = good("everything.yml");
    let yaml = config.to_yaml();
    for secret in ["password: p", "a: b", "EHLO", "client_secret: s", "word@", "- d\n", "credentials: abc", "hidden-"] {
        assert!(!yaml.contains(secret), "{secret} is shown:\n{yaml}");
    }
    // Paths in it are seen from the working directory, and what was hidden stays hidden.
    let again = Config::parse(&yaml, Path::new("again.yml")).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    assert_eq!(again.to_yaml(), yaml);
    assert_eq!(again.global, config.global);
    assert_eq!(again.jobs.len(), config.jobs.len());
    assert_eq!(again.jobs[7].relabel_rules, config.jobs[7].relabel_rules);
    let embedded = Config::default_embedded();
    let again = Config::parse(&embedded.to_yaml(), Path::new("again.yml")).expect("valid");
    assert_eq!(again, embedded);
}
