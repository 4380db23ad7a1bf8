//! From discovered groups to targets: labels, relabeling, address, slot within the interval.
//! Source of the rules: prometheus/scrape/target.go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{JobSettings, JobSource};
use crate::client::url::{encode_path, encode_query, split_host_port, without_password};
use crate::collect::probe::{DEFAULT_MODULE, ProbeTarget};
use crate::discovery::TargetGroup;
use crate::model::{Labels, LabelsBuilder, Timestamp, format_duration, parse_duration, relabel};

const ADDRESS: &str = "__address__";
const INSTANCE: &str = "instance";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const METRICS_PATH: &str = "__metrics_path__";
const SCHEME: &str = "__scheme__";
const PARAM_PREFIX: &str = "__param_";

/// One thing to scrape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    /// Labels before relabeling.
    pub(super) discovered: Labels,
    /// Labels that its samples get.
    pub(super) labels: Labels,
    /// What is fetched.
    pub(super) url: String,
    /// How often.
    pub(super) interval: Duration,
    /// How long it may take.
    pub(super) timeout: Duration,
    /// What is probed, if it is not fetched.
    pub(super) probe: Option<ProbeTarget>,
}

/// What became of one discovered target.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is to be scraped.
    Kept(Target),
    /// Relabeling dropped it; its discovered labels.
    Dropped(Labels),
}

/// A discovered target that cannot be scraped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("no address is left after relabeling")]
    NoAddress,
    #[error("{0:?} is not a host and port; the scheme belongs into __scheme__, the path into __metrics_path__")]
    Address(String),
    #[error("error parsing scrape {what}: {reason}")]
    Duration { what: &'static str, reason: String },
    #[error("scrape {0} cannot be 0")]
    Zero(&'static str),
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutTooLong { timeout: String, interval: String },
}

/// Makes a target of one entry of a group.
pub(super) fn make_target(job: &JobSettings, group: &TargetGroup, own: &Labels) -> Result<Outcome, TargetError> {
    let mut labels = discovered_labels(job, group, own);
    let discovered = labels.build();
    if !relabel(&mut labels, &job.relabel_rules) {
        return Ok(Outcome::Dropped(discovered));
    }
    let address = labels.get(ADDRESS).ok_or(TargetError::NoAddress)?.to_owned();
    let probe = matches!(job.source, JobSource::Probes { .. }).then(|| probe_target(&labels, &address));
    if address.contains('/') && probe.is_none() {
        return Err(TargetError::Address(address));
    }
    let interval = duration(&labels, INTERVAL, "interval")?;
    let timeout = duration(&labels, TIMEOUT, "timeout")?;
    if timeout > interval {
        let text = |name: &str| labels.get(name).unwrap_or("").to_owned();
        return Err(TargetError::TimeoutTooLong { timeout: text(TIMEOUT), interval: text(INTERVAL) });
    }
    if labels.get(INSTANCE).is_none() {
        labels.set(INSTANCE, address);
    }
    let url = probe.as_ref().map_or_else(|| target_url(job, &labels), probe_url);
    labels.retain(|name, _| !name.starts_with("__"));
    Ok(Outcome::Kept(Target { discovered, labels: labels.build(), url, interval, timeout, probe }))
}

/// Whether every target of a group could be scraped; else the first that could not, and why.
pub fn check_group(job: &JobSettings, group: &TargetGroup) -> Result<(), String> {
    for (index, own) in group.targets.iter().enumerate() {
        let outcome = make_target(job, group, own).map_err(|error| format!("target {index}: {error}"))?;
        if let (Outcome::Kept(Target { probe: Some(probe), .. }), JobSource::Probes { settings, .. }) =
            (outcome, &job.source)
            && !settings.modules.contains_key(&probe.module)
        {
            return Err(format!("target {index}: {}", settings.unknown_module(&probe.module)));
        }
    }
    Ok(())
}

/// As blackbox_exporter is told by its parameters; without them the address is the target.
fn probe_target(labels: &LabelsBuilder, address: &str) -> ProbeTarget {
    let param = |name| labels.get(name).filter(|text| !text.is_empty()).map(str::to_owned);
    ProbeTarget {
        module: param("__param_module").unwrap_or_else(|| DEFAULT_MODULE.to_owned()),
        target: param("__param_target").unwrap_or_else(|| address.to_owned()),
        hostname: param("__param_hostname"),
    }
}

fn probe_url(probe: &ProbeTarget) -> String {
    let hostname = probe.hostname.as_deref().map(|name| ("hostname", name));
    let target = without_password(&probe.target);
    let pairs = [("module", probe.module.as_str()), ("target", target.as_str())];
    format!("collector://probe?{}", encode_query(pairs.into_iter().chain(hostname)))
}

/// The one target of a built-in collector.
pub(super) fn collector_group(name: &str, host: &str) -> TargetGroup {
    TargetGroup {
        source: format!("collector/{name}"),
        targets: vec![Labels::from_pairs([(ADDRESS, host), (SCHEME, "collector"), (METRICS_PATH, name)])],
        labels: Labels::empty(),
    }
}

impl Target {
    /// What makes two targets of a job the same.
    pub(super) fn key(&self) -> u64 {
        let mut hash = Fnv1a::new();
        hash.update(format!("{:016}", self.labels.prometheus_hash()).as_bytes());
        hash.update(self.url.as_bytes());
        if let Some(probe) = &self.probe {
            // The password that the URL leaves out tells targets apart, too.
            hash.update(probe.target.as_bytes());
        }
        hash.0
    }

    /// How long to wait from `now` for the target's slot: slots are spread over the interval by hash, and stay where
    /// they are over restarts.
    pub(super) fn offset(&self, now: Timestamp, seed: u64) -> Duration {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let now = u64::try_from(now.0).unwrap_or(0).wrapping_mul(1_000_000);
        let base = interval - now % interval;
        let offset = (self.key() ^ seed) % interval;
        let next = base.saturating_add(offset);
        Duration::from_nanos(if next > interval { next - interval } else { next })
    }
}

/// The seed of [`Target::offset`]: two instances that scrape the same targets do it at different moments.
pub(super) fn offset_seed(host: &str, external_labels: &Labels) -> u64 {
    let mut hash = Fnv1a::new();
    hash.update(host.as_bytes());
    hash.update(external_labels.to_string().as_bytes());
    hash.0
}

/// The same address, with this host's name in place of a loopback address.
pub(super) fn global_url(url: &str, host: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match split_host_port(authority) {
        Some((name, port)) if matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1") => match port {
            Some(port) => format!("{scheme}://{host}:{port}{tail}"),
            None => format!("{scheme}://{host}{tail}"),
        },
        _ => url.to_owned(),
    }
}

fn discovered_labels(job: &JobSettings, group: &TargetGroup, own: &Labels) -> LabelsBuilder {
    let mut labels = group.labels.to_builder();
    for (name, value) in own {
        labels.set(name, value);
    }
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    default("job", &job.job_name);
    default(INTERVAL, &format_duration(job.scrape_interval));
    default(TIMEOUT, &format_duration(job.scrape_timeout));
    default(METRICS_PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    labels
}

fn duration(labels: &LabelsBuilder, label: &str, what: &'static str) -> Result<Duration, TargetError> {
    let parsed = parse_duration(labels.get(label).unwrap_or(""))
        .map_err(|error| TargetError::Duration { what, reason: error.to_string() })?;
    if parsed.is_zero() { Err(TargetError::Zero(what)) } else { Ok(parsed) }
}

fn target_url(job: &JobSettings, labels: &LabelsBuilder) -> String {
    let text = |name: &str| labels.get(name).unwrap_or("");
    if text(SCHEME) == "collector" {
        return format!("collector://{}", text(METRICS_PATH));
    }
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &job.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for (name, value) in labels.iter() {
        let Some(param) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(param).or_default();
        match values.first_mut() {
            Some(first) => *first = value,
            None => values.push(value),
        }
    }
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(|value| (*name, *value)));
    let query = encode_query(pairs);
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}://{}{}{mark}{query}", text(SCHEME), text(ADDRESS), encode_path(text(METRICS_PATH)))
}

/// The 64-bit FNV-1a hash, which Prometheus spreads its scrapes by.
struct Fnv1a(u64);

impl Fnv1a {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AnchoredRegex, RelabelAction, RelabelRule};

    fn replace(source: &str, target: &str, replacement: &str) -> RelabelRule {
        RelabelRule {
            source_labels: if source.is_empty() { vec![] } else { vec![source.to_owned()] },
            separator: ";".to_owned(),
            regex: AnchoredRegex::new("(.*)").expect("valid"),
            modulus: 0,
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action: RelabelAction::Replace,
        }
    }

    fn made(rules: Vec<RelabelRule>, own: &[(&str, &str)]) -> Result<Outcome, TargetError> {
        let job = JobSettings {
            job_name: "j".to_owned(),
            relabel_rules: rules,
            params: [("module".to_owned(), vec!["a b".to_owned(), "c".to_owned()])].into(),
            ..JobSettings::default()
        };
        let group = TargetGroup {
            source: "0".to_owned(),
            targets: vec![],
            labels: Labels::from_pairs([("site", "garage"), ("__meta_x", "1")]),
        };
        make_target(&job, &group, &Labels::from_pairs(own.iter().copied()))
    }

    #[test]
    fn labels_and_address() {
        type Case = (Vec<RelabelRule>, &'static [(&'static str, &'static str)], &'static str, &'static str);
        let cases: [Case; 5] = [
            (
                vec![],
                &[("__address__", "h:1")],
                r#"{instance="h:1", job="j", site="garage"}"#,
                "http://h:1/metrics?module=a+b&module=c",
            ),
            (
                vec![replace("__address__", "__param_module", "$1"), replace("", "__address__", "bb:9115")],
                &[("__address__", "x/y"), ("site", "own")],
                r#"{instance="bb:9115", job="j", site="own"}"#,
                "http://bb:9115/metrics?module=x%2Fy&module=c",
            ),
            (
                vec![replace("__meta_x", "x", "v$1"), replace("", "__scheme__", "https")],
                &[("__address__", "h"), ("instance", "i"), ("job", "k"), ("__metrics_path__", "/a?b")],
                r#"{instance="i", job="k", site="garage", x="v1"}"#,
                "https://h/a%3Fb?module=a+b&module=c",
            ),
            (vec![], &[], "no address is left after relabeling", ""),
            (
                vec![],
                &[("__address__", "http://h")],
                r#""http://h" is not a host and port; the scheme belongs into __scheme__, the path into __metrics_path__"#,
                "",
            ),
        ];
        for (rules, own, expected, url) in cases {
            match made(rules, own) {
                Ok(Outcome::Kept(target)) => {
                    assert_eq!((target.labels.to_string().as_str(), target.url.as_str()), (expected, url));
                }
                Ok(Outcome::Dropped(labels)) => panic!("{labels} should not be dropped"),
                Err(error) => assert_eq!(error.to_string(), expected),
            }
        }
    }

    #[test]
    fn intervals_of_their_own() {
        let cases = [
            ("30s", "5s", ""),
            ("30s", "31s", r#"scrape timeout cannot be greater than scrape interval ("31s" > "30s")"#),
            ("0", "5s", "scrape interval cannot be 0"),
            ("30s", "x", "error parsing scrape timeout"),
        ];
        for (interval, timeout, expected) in cases {
            let own = [("__address__", "h"), ("__scrape_interval__", interval), ("__scrape_timeout__", timeout)];
            let text = made(vec![], &own).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
        }
    }

    #[test]
    fn slots_stay_and_are_spread() {
        let target = |port: u32| Target {
            discovered: Labels::empty(),
            labels: Labels::from_pairs([("instance", format!("h:{port}"))]),
            url: format!("http://h:{port}/metrics"),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            probe: None,
        };
        let slot = |target: &Target, now: i64| {
            let at = now as u128 * 1_000_000 + target.offset(Timestamp(now), 7).as_nanos();
            at % target.interval.as_nanos()
        };
        let mut slots: Vec<u128> = Vec::new();
        for port in 0..100 {
            let target = target(port);
            assert_eq!(slot(&target, 1_700_000_000_123), slot(&target, 1_700_000_009_001));
            slots.push(slot(&target, 0) * 10 / target.interval.as_nanos());
        }
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 10, "every tenth of the interval has targets");
    }

    #[test]
    fn global_urls() {
        let cases = [
            ("http://localhost:9/x", "http://pi:9/x"),
            ("http://[::1]:9/x", "http://pi:9/x"),
            ("http://127.0.0.1/", "http://pi/"),
            ("http://other:9/x", "http://other:9/x"),
            ("collector://node", "collector://node"),
        ];
        for (url, expected) in cases {
            assert_eq!(global_url(url, "pi"), expected);
        }
    }
}
