//! Whether echo requests may be sent, where a probe does.

use super::account::Account;
use super::host::Host;
use crate::collect::probe::ProberSettings;
use crate::commands::finding::Finding;
use crate::config::Config;
use crate::discovery::{DiscoverySettings, read_target_file};
use crate::glob::glob;
use crate::model::Labels;
use crate::scrape::{JobSettings, JobSource};

const SUBJECT: &str = "icmp";
/// The label that chooses a target's module.
const MODULE_LABEL: &str = "__param_module";

/// All findings; nothing where no target is probed by ICMP, as far as the configuration tells.
pub fn look(host: &Host, config: &Config) -> Option<Finding> {
    config.jobs.iter().any(sends_echoes).then(|| of_right(host))
}

fn sends_echoes(job: &JobSettings) -> bool {
    let JobSource::Probes { discovery, settings } = &job.source else { return false };
    let echoes =
        |name: &str| settings.modules.get(name).is_some_and(|module| matches!(module.prober, ProberSettings::Icmp(_)));
    let by_params = job.params.get("module").is_some_and(|names| names.iter().any(|name| echoes(name)));
    let by_rules = job.relabel_rules.iter().any(|rule| rule.target_label == MODULE_LABEL && echoes(&rule.replacement));
    by_params
        || by_rules
        || discovery.iter().flat_map(labels).any(|labels| labels.get(MODULE_LABEL).is_some_and(echoes))
}

/// The labels that are written beside targets.
fn labels(source: &DiscoverySettings) -> Vec<Labels> {
    match source {
        DiscoverySettings::Static(group) => vec![group.labels.clone()],
        DiscoverySettings::File(settings) => {
            let files = settings.files.iter().flat_map(|pattern| glob(pattern).unwrap_or_default());
            let groups = files.flat_map(|file| read_target_file(&file).unwrap_or_default());
            groups.map(|group| group.labels).collect()
        }
        _ => Vec::new(),
    }
}

fn of_right(host: &Host) -> Finding {
    let account = Account::of_reader(host);
    let who = if account.is_service { "the service" } else { "this user" };
    let range = host.proc("sys/net/ipv4/ping_group_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map_while(|end| end.parse::<u32>().ok());
    let in_range = ends.next().zip(ends.next()).is_some_and(|(low, high)| account.has_group_from(low, high));
    if in_range || account.is_capable_of("CAP_NET_RAW") {
        return Finding::good(SUBJECT, format!("{who} may send echo requests"));
    }
    Finding::problem(
        SUBJECT,
        format!("{who} may not send echo requests (net.ipv4.ping_group_range is {range:?})"),
        "targets that are probed by ICMP are down, whatever they answer",
        "echo 'net.ipv4.ping_group_range = 0 2147483647' | sudo tee /etc/sysctl.d/60-ping.conf && sudo sysctl --system",
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::host::tests::made;
    use super::*;
    use crate::commands::finding::Severity;

    #[test]
    fn only_jobs_that_send_echoes_count() {
        for (job, expected) in [
            ("static_configs: [{targets: [a]}]", false),
            ("params: {module: [icmp]}, static_configs: [{targets: [a]}]", true),
            ("params: {module: [http_2xx]}", false),
            ("static_configs: [{targets: [a], labels: {__param_module: icmp}}]", true),
            ("relabel_configs: [{target_label: __param_module, replacement: icmp}]", true),
            ("modules: {x: {prober: icmp}}", false),
            ("modules: {x: {prober: icmp}}, params: {module: [x]}", true),
        ] {
            let text = format!("scrape_configs: [{{job_name: a, collector: probe, {job}}}]\n");
            let config = Config::parse(&text, Path::new("x.yml")).unwrap();
            assert_eq!(sends_echoes(&config.jobs[0]), expected, "{job}");
        }
    }

    #[test]
    fn a_group_or_a_capability_is_needed() {
        let passwd = ("etc/passwd", "outpost:x:4000:4001::/:/bin/false\n");
        let group = ("etc/group", "ping:x:50:outpost\n");
        let unit = |text: &'static str| ("etc/systemd/system/outpost.service.d/x.conf", text);
        let drop_in = unit("[Service]\nPrivateUsers=no\nAmbientCapabilities=CAP_NET_RAW\n");
        // In users of its own it is a right over no socket of the machine's.
        let private = unit("[Service]\nAmbientCapabilities=CAP_NET_RAW\n");
        let range = |text: &'static str| ("proc/sys/net/ipv4/ping_group_range", text);
        let root = ("proc/self/status", "CapEff:\t000001ffffffffff\n");
        for (files, severity) in [
            (&[range("1\t0\n"), passwd, root][..], Severity::Problem),
            (&[range("0\t2147483647\n"), passwd], Severity::Good),
            (&[range("0\t4000\n"), passwd], Severity::Problem),
            (&[range("0\t4000\n"), passwd, group], Severity::Good),
            (&[range("1\t0\n"), passwd, drop_in], Severity::Good),
            (&[range("1\t0\n"), passwd, private], Severity::Problem),
            (&[range("1\t0\n"), root], Severity::Good),
            (&[range("1\t0\n")], Severity::Problem),
        ] {
            let (_folder, host) = made(files);
            assert_eq!(of_right(&host).severity, severity, "{files:?}");
        }
    }
}
