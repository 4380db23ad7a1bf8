//! What `check config` looks at beyond the file itself: the files that it names, and whether the targets written in
//! it can be scraped. As promtool does, and with a warning where promtool is silent.

use std::path::{Path, PathBuf};

use super::Config;
use super::discovery::check_address;
use crate::client::{ClientSettings, SecretSource};
use crate::collect::probe::{Module, ProberSettings};
use crate::collect::{CollectorSettings, NodeCollectorSettings};
use crate::discovery::{DiscoverySettings, TargetGroup, read_target_file};
use crate::glob::glob;
use crate::model::{LabelsBuilder, RelabelRule, relabel};
use crate::notify::AlertmanagerSettings;
use crate::scrape::{JobSettings, JobSource, check_group};

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Mistakes: the check fails.
    pub problems: Vec<String>,
    /// What may be meant.
    pub warnings: Vec<String>,
    /// Files that are named and there, beside rule files: whoever runs the server reads them.
    pub files: Vec<PathBuf>,
}

impl Findings {
    /// Notes a file that is named; gives the reason if it is not there.
    fn absent(&mut self, path: &Path) -> Option<String> {
        match std::fs::metadata(path) {
            Ok(_) => {
                self.files.push(path.to_owned());
                None
            }
            Err(error) => Some(format!("{}: {error}", path.display())),
        }
    }

    fn missing(&mut self, source: Option<&SecretSource>) -> Option<String> {
        match source {
            Some(SecretSource::File(path)) => self.absent(path),
            _ => None,
        }
    }
}

impl Config {
    /// Checks the files that the configuration names and the targets in it. Rule files are only looked for: what is
    /// in them is for [`crate::rules`] to say.
    pub fn check_files(&self) -> Findings {
        let mut findings = Findings::default();
        self.check_rule_patterns(&mut findings);
        for job in &self.jobs {
            check_job(job, &mut findings);
        }
        for (index, alertmanager) in self.notify.alertmanagers.iter().enumerate() {
            check_alertmanager(alertmanager, &format!("alerting.alertmanagers[{index}]"), &mut findings);
        }
        findings
    }

    fn check_rule_patterns(&self, findings: &mut Findings) {
        for pattern in &self.rule_patterns {
            let is_pattern = pattern.to_string_lossy().contains('*');
            if !is_pattern && glob(pattern).is_ok_and(|found| found.is_empty()) {
                findings.problems.push(format!("rule_files: {} does not exist", pattern.display()));
            }
        }
    }
}

fn check_job(job: &JobSettings, findings: &mut Findings) {
    let place = format!("job {:?}", job.job_name);
    let discovery = match &job.source {
        JobSource::Http { discovery, client } => {
            check_client(client, &place, findings);
            discovery
        }
        JobSource::Probes { discovery, settings } => {
            for (name, module) in &settings.modules {
                check_module(module, &format!("{place}: module {name:?}"), findings);
            }
            discovery
        }
        JobSource::Collector(CollectorSettings::Node(node)) => return check_folders(node, &place, findings),
        JobSource::Collector(_) => return,
    };
    for source in discovery {
        check_discovery(source, &place, findings, |group| check_group(job, group));
    }
}

/// Folders may come later, with a mount or a container's volumes: that one is not there is told.
fn check_folders(node: &NodeCollectorSettings, place: &str, findings: &mut Findings) {
    let text_folders =
        node.flags.text_folders().map(|folder| ("flags: --collector.textfile.directory", Path::new(folder)));
    let roots = [("procfs", &*node.procfs), ("sysfs", &*node.sysfs), ("rootfs", &*node.rootfs)];
    for (key, folder) in roots.into_iter().chain(text_folders) {
        let found = glob(folder).unwrap_or_default();
        if !folder.is_dir() && !found.iter().any(|found| found.is_dir()) {
            findings.warnings.push(format!("{place}: {key}: there is no folder {}", folder.display()));
        }
    }
}

fn check_module(module: &Module, place: &str, findings: &mut Findings) {
    let tls = match &module.prober {
        ProberSettings::Http(http) => {
            if let Some(reason) = http.body_file.as_deref().and_then(|path| findings.absent(path)) {
                findings.problems.push(format!("{place}: body_file: {reason}"));
            }
            return check_client(&http.client, place, findings);
        }
        ProberSettings::Tcp(tcp) => &tcp.tls_config,
        ProberSettings::Dns(dns) => &dns.tls_config,
        ProberSettings::Icmp(_) => return,
    };
    check_client(&ClientSettings { tls: tls.clone(), ..ClientSettings::default() }, place, findings);
}

fn check_alertmanager(settings: &AlertmanagerSettings, place: &str, findings: &mut Findings) {
    check_optional_files(&settings.client, place, findings);
    let base = vec![
        ("__scheme__".to_owned(), settings.scheme.clone()),
        ("__alerts_path__".to_owned(), format!("{}/api/v2/alerts", settings.path_prefix)),
    ];
    for source in &settings.discovery {
        check_discovery(source, place, findings, |group| check_targets(group, &base, &settings.relabel_rules));
    }
}

/// Files without which nothing can be scraped must be there; of others, which may come later, their absence is told.
fn check_client(client: &ClientSettings, place: &str, findings: &mut Findings) {
    let credentials = client.authorization.as_ref().and_then(|it| it.credentials.as_ref());
    for (key, source) in [
        ("authorization.credentials_file", credentials),
        ("tls_config.cert_file", client.tls.cert.as_ref()),
        ("tls_config.key_file", client.tls.key.as_ref()),
    ] {
        if let Some(reason) = findings.missing(source) {
            findings.problems.push(format!("{place}: {key}: {reason}"));
        }
    }
    check_optional_files(client, place, findings);
}

fn check_optional_files(client: &ClientSettings, place: &str, findings: &mut Findings) {
    let basic = client.basic_auth.as_ref();
    let oauth2 = client.oauth2.as_ref();
    let named = [
        ("tls_config.ca_file", client.tls.ca.as_ref()),
        ("basic_auth.username_file", basic.map(|it| &it.username)),
        ("basic_auth.password_file", basic.map(|it| &it.password)),
        ("oauth2.client_secret_file", oauth2.and_then(|it| it.client_secret.as_ref())),
    ];
    for (key, source) in named {
        if let Some(reason) = findings.missing(source) {
            findings.warnings.push(format!("{place}: {key}: {reason}"));
        }
    }
    for path in client.headers.values().flat_map(|values| &values.files) {
        if let Some(reason) = findings.absent(path) {
            findings.warnings.push(format!("{place}: http_headers: {reason}"));
        }
    }
}

fn check_discovery(
    source: &DiscoverySettings,
    place: &str,
    findings: &mut Findings,
    check: impl Fn(&TargetGroup) -> Result<(), String>,
) {
    match source {
        DiscoverySettings::Static(group) => {
            if let Err(message) = check(group) {
                findings.problems.push(format!("{place}: static_configs[{}]: {message}", group.source));
            }
        }
        DiscoverySettings::File(file) => {
            for pattern in &file.files {
                check_target_files(pattern, place, findings, &check);
            }
        }
        _ => {}
    }
}

fn check_target_files(
    pattern: &Path,
    place: &str,
    findings: &mut Findings,
    check: &impl Fn(&TargetGroup) -> Result<(), String>,
) {
    let files = match glob(pattern) {
        Ok(files) => files,
        Err(error) => return findings.problems.push(format!("{place}: file_sd_configs: {error}")),
    };
    if files.is_empty() {
        findings.warnings.push(format!("{place}: file_sd_configs: {} does not exist", pattern.display()));
    }
    for file in files {
        findings.files.push(file.clone());
        match read_target_file(&file) {
            Ok(groups) => {
                for message in groups.iter().filter_map(|group| check(group).err()) {
                    findings.problems.push(format!("{place}: {}: {message}", file.display()));
                }
            }
            Err(error) => findings.problems.extend(error.to_string().lines().map(str::to_owned)),
        }
    }
}

/// Whether every target that relabeling keeps has an address.
fn check_targets(group: &TargetGroup, base: &[(String, String)], rules: &[RelabelRule]) -> Result<(), String> {
    for (index, target) in group.targets.iter().enumerate() {
        let mut labels = LabelsBuilder::default();
        let own = group.labels.iter().chain(target.iter()).map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in base.iter().cloned().chain(own) {
            labels.set(name, value);
        }
        if !relabel(&mut labels, rules) {
            continue;
        }
        let address = labels.get("__address__").unwrap_or_default();
        if address.is_empty() {
            return Err(format!("target {index} has no __address__ after relabeling"));
        }
        check_address(address).map_err(|message| format!("target {index}: {message}"))?;
    }
    Ok(())
}
