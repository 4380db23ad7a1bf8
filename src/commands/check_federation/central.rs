//! A central's settings: what of them costs samples, and what to set instead.

use std::time::Duration;

use super::{Finding, configuration, data};
use crate::client::ClientSettings;
use crate::config::parse_size;
use crate::federation::{RESYNC_AGE_MAX, RESYNC_BYTES_MAX, RESYNC_SAMPLES_MAX, ResyncRequest};
use crate::model::{format_duration, parse_duration};
use crate::yaml::{Field, Report, parse_first};

/// Connections that idle longer are closed by either side, and then nothing proves that a reply was read.
const INTERVAL_MAX: Duration = Duration::from_secs(4 * 60);

/// A timeout that a backlog needs on a slow link.
const TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// How far back a Prometheus takes samples without an out-of-order window.
const REACH: Duration = Duration::from_secs(3600);

/// Asks a central and looks at its answers.
pub fn look(url: &str, settings: &ClientSettings) -> Result<Vec<Finding>, String> {
    let build = data(url, "/api/v1/status/buildinfo", settings)?;
    let version = build["version"].as_str().unwrap_or("unknown").to_owned();
    let mut findings = vec![of_version(&version)];
    findings.extend(of_configuration(&configuration(url, settings)?)?);
    Ok(findings)
}

/// A job that pulls with `resync`.
struct Job {
    name: String,
    /// `resync` and what goes with it.
    puller: String,
    order: String,
    age_max: String,
    receipt: String,
    selectors: Vec<String>,
    targets: Vec<String>,
    path: String,
    honor_labels: bool,
    honor_timestamps: bool,
    tracks_staleness: bool,
    sample_limit: u64,
    /// As written; empty if there is none.
    body_size_limit: String,
    interval: Duration,
    timeout: Duration,
}

fn of_version(version: &str) -> Finding {
    let numbers: Vec<u32> = version.split(['.', '+', '-']).map_while(|part| part.parse().ok()).collect();
    let is_broken = match numbers.as_slice() {
        [2, 52, ..] => true,
        [2, 53, patch, ..] => *patch <= 2,
        [2, 54, patch, ..] => *patch == 0,
        _ => false,
    };
    match is_broken {
        false => Finding::good("version", format!("Prometheus {version}")),
        true => Finding::problem(
            "version",
            format!("Prometheus {version}"),
            "2.52.0 to 2.53.2 and 2.54.0 take one sample per series and scrape, and drop the others",
            "2.53.3, 2.54.1 or anything newer",
        ),
    }
}

fn of_configuration(text: &str) -> Result<Vec<Finding>, String> {
    let node = parse_first(text).map_err(|error| format!("the central's configuration: {error}"))?;
    let report = Report::new("configuration");
    let root = report.root(&node).section();
    let global = root.get("global").map(|global| global.section());
    let global_of = |key: &'static str| global.as_ref().and_then(|global| global.duration(key));
    let defaults = Defaults {
        interval: global_of("scrape_interval").unwrap_or(Duration::from_secs(60)),
        timeout: global_of("scrape_timeout").unwrap_or(Duration::from_secs(10)),
        sample_limit: global.as_ref().and_then(|global| global.unsigned("sample_limit")).unwrap_or(0),
        body_size_limit: global.as_ref().and_then(|global| global.text("body_size_limit")).unwrap_or_default(),
    };
    let jobs: Vec<Job> = root.items("scrape_configs").iter().filter_map(|job| read_job(job, &defaults)).collect();
    let tsdb = root.get("storage").and_then(|storage| storage.section().get("tsdb"));
    let window = tsdb.and_then(|tsdb| tsdb.section().duration("out_of_order_time_window")).unwrap_or_default();
    if jobs.is_empty() {
        return Ok(vec![Finding::problem(
            "jobs",
            "no job has the parameter resync",
            "after an outage of the link the hole at the central stays",
            "params: {'match[]': […], resync: [NAME]} in the job that pulls the site",
        )]);
    }
    let mut findings: Vec<Finding> = jobs.iter().flat_map(|job| of_job(job, window)).collect();
    findings.extend(of_shared_names(&jobs));
    Ok(findings)
}

/// What holds for jobs that say nothing else.
struct Defaults {
    interval: Duration,
    timeout: Duration,
    sample_limit: u64,
    body_size_limit: String,
}

fn read_job(job: &Field<'_>, defaults: &Defaults) -> Option<Job> {
    let section = job.section();
    let params: Vec<(String, Field<'_>)> = section.get("params").map(|params| params.pairs()).unwrap_or_default();
    let param = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, values)| values.texts());
    let first = |name: &str| param(name).and_then(|values| values.into_iter().next()).unwrap_or_default();
    let groups = section.items("static_configs");
    let targets =
        groups.iter().flat_map(|group| group.section().get("targets").map(|field| field.texts()).unwrap_or_default());
    Some(Job {
        name: section.text("job_name").unwrap_or_default(),
        puller: param("resync")?.into_iter().next().unwrap_or_default(),
        order: first("resync_order"),
        age_max: first("resync_max_age"),
        receipt: first("resync_receipt"),
        selectors: param("match[]").unwrap_or_default(),
        targets: targets.collect(),
        path: section.text("metrics_path").unwrap_or_default(),
        honor_labels: section.boolean("honor_labels").unwrap_or(false),
        honor_timestamps: section.boolean("honor_timestamps").unwrap_or(true),
        tracks_staleness: section.boolean("track_timestamps_staleness").unwrap_or(false),
        sample_limit: section.unsigned("sample_limit").filter(|limit| *limit > 0).unwrap_or(defaults.sample_limit),
        body_size_limit: size_of(section.text("body_size_limit"), &defaults.body_size_limit),
        interval: section.duration("scrape_interval").unwrap_or(defaults.interval),
        timeout: section.duration("scrape_timeout").unwrap_or(defaults.timeout),
    })
}

/// A job's own limit, else the global one: 0 is none said.
fn size_of(own: Option<String>, global: &str) -> String {
    own.filter(|text| parse_size(text).is_ok_and(|size| size > 0)).unwrap_or_else(|| global.to_owned())
}

/// What is to be said of a job; that all is well if nothing is.
fn of_job(job: &Job, window: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut problem = |what: String, why: &str, mend: &str| {
        found.push(Finding::problem("job", format!("{}: {what}", job.name), why, mend));
    };
    if let Err(error) = ResyncRequest::parse(&job.puller, &job.order, &job.age_max, &job.receipt) {
        problem(error.to_string(), "the site answers 400", "what the message says");
    }
    if !job.path.ends_with("/federate") {
        problem(format!("metrics_path is {:?}", job.path), "only /federate knows resync", "metrics_path: /federate");
    }
    if job.selectors.is_empty() {
        problem(
            "no match[]".to_owned(),
            "nothing is selected, so nothing is given",
            "match[]: ['{__name__=~\"job:.*\"}', up]",
        );
    }
    if !job.honor_labels {
        let why = "the site's job and instance become exported_job and exported_instance";
        problem("honor_labels is off".to_owned(), why, "honor_labels: true");
    }
    if !job.honor_timestamps {
        let why = "all samples of a reply would bear the time of the scrape: of each series one is kept";
        problem("honor_timestamps is off".to_owned(), why, "honor_timestamps: true");
    }
    if job.tracks_staleness {
        let why = "a series without a sample in one reply is ended at the time of the scrape, and its next samples are too old";
        problem("track_timestamps_staleness is on".to_owned(), why, "track_timestamps_staleness: false");
    }
    if (1..=RESYNC_SAMPLES_MAX as u64).contains(&job.sample_limit) {
        let what = format!("sample_limit is {}, a reply has up to {RESYNC_SAMPLES_MAX} samples", job.sample_limit);
        let why = "a reply that the central reads and then refuses counts as received: its samples are a hole";
        problem(what, why, &format!("sample_limit: {}, or none", RESYNC_SAMPLES_MAX + 1));
    }
    if parse_size(&job.body_size_limit).is_ok_and(|size| (1..RESYNC_BYTES_MAX).contains(&size)) {
        let mebibytes = RESYNC_BYTES_MAX >> 20;
        let what = format!("body_size_limit is {}, a reply has up to {mebibytes} MiB", job.body_size_limit);
        let why = "a reply that the central reads and then refuses counts as received: its samples are a hole";
        problem(what, why, &format!("body_size_limit: {mebibytes}MB, or none"));
    }
    if job.interval > INTERVAL_MAX {
        let what = format!("scrape_interval is {}", format_duration(job.interval));
        let why = "connections idle at most 5m; on a new one nothing proves that the reply before was read, and it comes again";
        problem(what, why, "scrape_interval: 1m");
    }
    if job.timeout < TIMEOUT_MIN && job.timeout < job.interval {
        let what = format!("{}: scrape_timeout is {}", job.name, format_duration(job.timeout));
        let why = "half of it is what the site has to make a reply: a backlog comes in small pieces";
        found.push(Finding::warning("job", what, why, "scrape_timeout: as long as scrape_interval"));
    }
    found.extend(of_window(job, window));
    if found.is_empty() {
        let sort = if job.order == "newest" { "newest" } else { "oldest" };
        found.push(Finding::good("job", format!("{}: resync={}, {sort} first", job.name, job.puller)));
    }
    found
}

fn of_window(job: &Job, window: Duration) -> Option<Finding> {
    let age_max = parse_duration(&job.age_max).unwrap_or(RESYNC_AGE_MAX);
    if window >= age_max {
        return None;
    }
    let mend = format!("storage: {{tsdb: {{out_of_order_time_window: {}}}}}", format_duration(age_max));
    let shown = if window.is_zero() {
        "no out_of_order_time_window".to_owned()
    } else {
        format!("out_of_order_time_window is {}", format_duration(window))
    };
    let what = format!("{}: {shown}, samples come up to {} late", job.name, format_duration(age_max));
    if job.order == "newest" && window < REACH {
        let why = "with resync_order=newest all that comes behind the newest samples is refused";
        return Some(Finding::problem("job", what, why, mend));
    }
    let why = "what is older than that, and than about an hour, is refused: it stays a hole";
    Some(Finding::warning("job", what, why, mend))
}

/// Jobs that would share a cursor: each would get a part.
fn of_shared_names(jobs: &[Job]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        for other in &jobs[..index] {
            let is_one_cursor = other.puller == job.puller && sorted(&other.selectors) == sorted(&job.selectors);
            // Who is found otherwise than by static_configs may be anyone.
            let may_be_one_site = other.targets.is_empty()
                || job.targets.is_empty()
                || job.targets.iter().any(|target| other.targets.contains(target));
            if is_one_cursor && may_be_one_site {
                let what = format!("{} and {}: the same resync={} and match[]", other.name, job.name, job.puller);
                let why = "where both pull one site they share a cursor: each gets what the other one did not";
                found.push(Finding::problem("jobs", what, why, "another name in one of them"));
            }
        }
    }
    found
}

fn sorted(texts: &[String]) -> Vec<&String> {
    let mut texts: Vec<&String> = texts.iter().collect();
    texts.sort_unstable();
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::finding::Severity;

    const GOOD: &str =
        "job_name: garage, honor_labels: true, metrics_path: /federate, static_configs: [{targets: [a]}]";
    const PARAMS: &str = "'match[]': [up], resync: [home]";
    const WINDOW: &str = "storage: {tsdb: {out_of_order_time_window: 1d}}";

    /// Jobs without their braces, what else stands in the file, and what is found: how bad, and words of it.
    #[track_caller]
    fn check(jobs: &[&str], rest: &str, expected: &[(Severity, &str)]) {
        let jobs: Vec<String> = jobs.iter().map(|job| format!("  - {{{job}}}\n")).collect();
        let findings = of_configuration(&format!("{rest}\nscrape_configs:\n{}", jobs.concat())).unwrap();
        let shown: Vec<String> = findings.iter().map(|found| format!("{} {}", found.what, found.mend)).collect();
        assert_eq!(findings.len(), expected.len(), "{shown:?}");
        for ((found, shown), (severity, words)) in findings.iter().zip(&shown).zip(expected) {
            assert_eq!(found.severity, *severity, "{shown}");
            assert!(shown.contains(words), "{shown}: {words}");
        }
    }

    #[test]
    fn settings() {
        use Severity::{Good, Problem, Warning};
        let with = |more: &str| format!("{GOOD}, params: {{{PARAMS}}}, {more}");
        check(&[&with("scrape_interval: 15s")], WINDOW, &[(Good, "garage: resync=home, oldest first")]);
        check(&["job_name: node"], "", &[(Problem, "no job has the parameter resync")]);
        for (more, rest, severity, words) in [
            ("honor_timestamps: false", WINDOW, Problem, "honor_timestamps is off"),
            ("track_timestamps_staleness: true", WINDOW, Problem, "track_timestamps_staleness is on"),
            ("sample_limit: 200000", WINDOW, Problem, "sample_limit: 200001"),
            ("sample_limit: 200001", WINDOW, Good, "garage"),
            ("body_size_limit: 10MB", WINDOW, Problem, "body_size_limit: 32MB"),
            ("body_size_limit: 32MB", WINDOW, Good, "garage"),
            (
                "body_size_limit: 0",
                "global: {body_size_limit: 1MB}\nstorage: {tsdb: {out_of_order_time_window: 1d}}",
                Problem,
                "body_size_limit is 1MB",
            ),
            (
                "sample_limit: 0",
                "global: {sample_limit: 5000}\nstorage: {tsdb: {out_of_order_time_window: 1d}}",
                Problem,
                "sample_limit is 5000",
            ),
            ("scrape_interval: 5m", WINDOW, Problem, "scrape_interval is 5m"),
            ("scrape_timeout: 1s", WINDOW, Warning, "scrape_timeout is 1s"),
            ("scrape_interval: 1s, scrape_timeout: 1s", WINDOW, Good, "garage"),
            ("scrape_interval: 15s", "", Warning, "no out_of_order_time_window"),
            ("scrape_interval: 15s", "storage: {tsdb: {out_of_order_time_window: 6h}}", Warning, "window is 6h"),
        ] {
            check(&[&with(more)], rest, &[(severity, words)]);
        }
        let no_such = "resync_receipt: [hoped]";
        let receipt = format!("{GOOD}, params: {{{PARAMS}, {no_such}}}");
        check(&[&receipt], WINDOW, &[(Problem, "resync_receipt=\"hoped\"")]);
        let newest = format!("{GOOD}, params: {{{PARAMS}, resync_order: [newest]}}");
        check(&[&newest], "", &[(Problem, "no out_of_order_time_window")]);
        check(&[&newest], WINDOW, &[(Good, "newest first")]);
        let wrong = "job_name: x, params: {resync: ['a b']}";
        let expected =
            [(Problem, "is not a name"), (Problem, "metrics_path"), (Problem, "no match[]"), (Problem, "honor_labels")];
        check(&[wrong], WINDOW, &expected);
    }

    #[test]
    fn shared_cursors() {
        let one = format!("{GOOD}, params: {{{PARAMS}}}");
        let other = one.replace("garage", "shed");
        let good = |name| (Severity::Good, name);
        let shared = (Severity::Problem, "garage and shed: the same resync=home");
        check(&[&one, &other], WINDOW, &[good("garage"), good("shed"), shared]);
        check(&[&one, &other.replace("[a]", "[b]")], WINDOW, &[good("garage"), good("shed")]);
        check(&[&one, &other.replace("[up]", "[ALERTS]")], WINDOW, &[good("garage"), good("shed")]);
    }

    #[test]
    fn versions() {
        for (version, is_good) in [
            ("2.42.0+ds", true),
            ("2.51.2", true),
            ("2.52.0", false),
            ("2.53.2", false),
            ("2.53.3", true),
            ("2.54.0", false),
            ("2.54.1", true),
            ("3.5.3+ds1", true),
            ("unknown", true),
        ] {
            assert_eq!(of_version(version).severity == Severity::Good, is_good, "{version}");
        }
    }
}
