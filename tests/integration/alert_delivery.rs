//! Alertmanagers that fail in every way, and a real one behind a link that is cut: nothing is lost, nothing is told twice.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::{
    AlertRecorder, Manner, Outpost, PATIENCE, PageServer, Process, Told, WebhookServer, alertmanager_within,
    eventually, metric, milliseconds, query_value,
};

const RULES: &str = "groups: [{name: all, interval: 500ms, rules: [{alert: Bad, expr: bad == 1}]}]\n";

/// All that may be bad. Series stay on the page: one that vanishes while outpost is away lingers for the lookback.
const CASES: [&str; 9] = ["a", "b", "stays", "ends", "ends late", "short", "new", "newer", "last"];

/// The page on which these cases are bad.
fn page(bad: &[&str]) -> String {
    CASES.iter().map(|case| format!("bad{{case=\"{case}\"}} {}\n", u8::from(bad.contains(case)))).collect()
}

/// An outpost whose alerts go to all these addresses.
fn outpost(target: &PageServer, alertmanagers: &[&str]) -> Outpost {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
         rule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{timeout: 1s, static_configs: [{{targets: {alertmanagers:?}}}]}}]}}\n\
         scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{}']}}]}}]\n",
        target.address
    );
    Outpost::start_in(folder, Some(&config), &[])
}

#[test]
fn whatever_an_alertmanager_does_nothing_is_lost_or_told_twice() {
    let elsewhere = AlertRecorder::start();
    let redirected = |status| Manner::Redirects(status, format!("http://{}/api/v2/alerts", elsewhere.address));
    // The last ones send alerts on to one that takes them, as a proxy does that wants TLS.
    let manners = [
        Manner::Answers(500),
        Manner::Answers(404),
        Manner::Hangs,
        Manner::Resets,
        redirected(303),
        redirected(302),
        redirected(308),
    ];
    let recorders: Vec<AlertRecorder> = manners.iter().map(|_| AlertRecorder::start()).collect();
    for (recorder, manner) in recorders.iter().zip(&manners) {
        recorder.set(manner.clone());
    }
    let target = PageServer::start(&page(&["a", "b"]));
    let addresses: Vec<&str> = recorders.iter().map(|recorder| recorder.address.as_str()).collect();
    let outpost = outpost(&target, &addresses);
    let (failing, on) = recorders.split_at(5);

    let begun = |told: &Told| told.ends_ms.is_none();
    for recorder in &recorders {
        eventually(PATIENCE, "each is asked, the failing ones again", || {
            let (refused, enough) =
                (recorder.refused(), if on.iter().any(|on| on.address == recorder.address) { 1 } else { 3 });
            if refused.iter().filter(|told| begun(told)).count() >= enough {
                Ok(())
            } else {
                Err(format!("{refused:?}"))
            }
        });
    }
    target.set(page(&["b"]));
    let ended = |told: &Told| told.name == "Bad a" && told.ends_ms.is_some();
    let end = eventually(PATIENCE, "the end arrives where it is sent on", || {
        elsewhere.taken().into_iter().find(ended).ok_or_else(|| "not yet".to_owned())
    });
    for recorder in failing {
        eventually(PATIENCE, "the end is refused", || {
            recorder.refused().into_iter().find(ended).ok_or_else(|| "not yet".to_owned())
        });
        recorder.set(Manner::Takes);
    }
    for recorder in failing {
        eventually(PATIENCE, "all is told in the end", || {
            let taken = recorder.taken();
            if taken.len() == 2 { Ok(()) } else { Err(format!("{taken:?}")) }
        });
        let taken = recorder.taken();
        assert!(taken.contains(&end), "the true times of what ended meanwhile: {taken:?} {end:?}");
        assert!(taken.iter().any(|told| told.name == "Bad b" && told.ends_ms.is_none()), "{taken:?}");
    }
    let story = |name| elsewhere.story(name).len();
    assert_eq!((story("Bad a"), story("Bad b")), (2, 1), "each once, from two that send on");
    assert_eq!(elsewhere.taken().len(), 6, "{:?}", elsewhere.taken());
    assert_eq!(metric(&outpost.address, "outpost_notifications_dropped_total"), Ok(0.0));
}

/// A network namespace that is joined to this one by two links, one of which can be cut.
struct Namespace {
    name: String,
}

/// Addresses of the range for benchmarks, which no network uses: the cut link's far end, then the other one's two ends.
const ALERTMANAGER: &str = "198.18.77.2";
const RECEIVER: [&str; 2] = ["198.18.77.5", "198.18.77.6"];

impl Namespace {
    fn new() -> Option<Self> {
        let name = format!("outpost-{}", std::process::id());
        if let Err(reason) = ip(&format!("netns add {name}")) {
            assert!(std::env::var_os("CI").is_none(), "no network namespace: {reason}");
            eprintln!("SKIPPED: no network namespace: {reason}");
            return None;
        }
        let namespace = Self { name };
        let near = "198.18.77.1";
        for (link, here, there) in [("c", near, ALERTMANAGER), ("r", RECEIVER[0], RECEIVER[1])] {
            let [outer, inner] = ["o", "i"].map(|end| format!("{end}{link}{}", std::process::id()));
            for command in [
                format!("link add {outer} type veth peer name {inner} netns {}", namespace.name),
                format!("addr add {here}/30 dev {outer}"),
                format!("link set {outer} up"),
                format!("-n {} addr add {there}/30 dev {inner}", namespace.name),
                format!("-n {} link set {inner} up", namespace.name),
            ] {
                ip(&command).unwrap();
            }
        }
        ip(&format!("-n {} link set lo up", namespace.name)).unwrap();
        Some(namespace)
    }

    /// Cuts the link to the Alertmanager or joins it again, at its far end: near ones would change the way out.
    fn set_link(&self, state: &str) {
        ip(&format!("-n {} link set ic{} {state}", self.name, std::process::id())).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for link in ["c", "r"] {
            // A half-made one may lack it; the namespace alone would take its time to let go of it.
            drop(ip(&format!("link del o{link}{}", std::process::id())));
        }
        drop(ip(&format!("netns del {}", self.name)));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("ip {arguments}: {complaint}")) }
}

/// A real Alertmanager beyond the link, and who it tells.
struct Beyond {
    _alertmanager: Process,
    address: String,
    webhook: WebhookServer,
}

impl Beyond {
    fn start(namespace: &Namespace, folder: &Path) -> Self {
        let webhook = WebhookServer::start_at(&format!("{}:0", RECEIVER[0]));
        let config = format!(
            "route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}\n\
             receivers:\n  - name: hook\n    webhook_configs: [{{url: 'http://{}/', send_resolved: true}}]\n",
            webhook.address
        );
        let listen = format!("{ALERTMANAGER}:9093");
        let (alertmanager, address) = alertmanager_within(&namespace.name, folder, &config, &listen);
        Self { _alertmanager: alertmanager, address, webhook }
    }

    /// What the receiver was told, in order: case, firing or resolved, start and end.
    fn told(&self) -> Vec<(String, String, i64, i64)> {
        let bodies = self.webhook.bodies();
        let alerts = bodies.iter().flat_map(|body| body["alerts"].as_array().unwrap());
        let text = |alert: &Value, name: &str| alert[name].as_str().unwrap_or("").to_owned();
        let told = |alert: &Value| {
            let [start, end] = ["startsAt", "endsAt"].map(|name| milliseconds(&text(alert, name)));
            (text(&alert["labels"], "case"), text(alert, "status"), start, end)
        };
        alerts.map(told).collect()
    }

    fn wait_for(&self, case: &str, status: &str) -> (String, String, i64, i64) {
        eventually(PATIENCE, &format!("{case} is {status}"), || {
            let told = self.told();
            let found = told.iter().find(|told| (told.0.as_str(), told.1.as_str()) == (case, status)).cloned();
            found.ok_or_else(|| format!("{told:?}"))
        })
    }
}

fn is_firing(outpost: &Outpost, case: &str) -> Result<f64, String> {
    query_value(&outpost.address, &format!("ALERTS{{alertstate='firing',case='{case}'}}"))
}

fn wait_until_over(outpost: &Outpost, case: &str) -> i64 {
    eventually(PATIENCE, &format!("{case} is over"), || match is_firing(outpost, case) {
        Ok(_) => Err("still firing".to_owned()),
        Err(_) => Ok(now(outpost)),
    })
}

/// Milliseconds since the epoch.
fn now(outpost: &Outpost) -> i64 {
    (query_value(&outpost.address, "vector(time())").unwrap() * 1000.0) as i64
}

#[test]
fn a_link_that_is_cut_delays_alerts_and_loses_none() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let beyond = Beyond::start(&namespace, folder.path());
    let target = PageServer::start(&page(&["stays", "ends", "ends late"]));
    let mut outpost = outpost(&target, &[&beyond.address]);
    for case in ["stays", "ends", "ends late"] {
        beyond.wait_for(case, "firing");
    }

    namespace.set_link("down");
    let cut_at = now(&outpost);
    // This one is under way on a connection that still looks alive.
    target.set(page(&["stays", "ends", "ends late", "short", "new"]));
    for case in ["short", "new"] {
        eventually(PATIENCE, "it fires", || is_firing(&outpost, case));
    }
    eventually(PATIENCE, "sending fails", || {
        let output = outpost.process.output();
        if output.contains("sending alerts failed") { Ok(()) } else { Err(output) }
    });
    target.set(page(&["stays", "ends late", "new"]));
    let over_at = ["ends", "short"].map(|case| wait_until_over(&outpost, case))[0];
    outpost.process.signal("KILL");
    outpost.process.wait();
    outpost.restart();
    eventually(PATIENCE, "it still fires", || is_firing(&outpost, "stays"));
    target.set(page(&["stays", "new", "newer"]));
    eventually(PATIENCE, "it fires", || is_firing(&outpost, "newer"));
    let late_over_at = wait_until_over(&outpost, "ends late");
    assert_eq!(beyond.told().len(), 3, "the link is cut: {:?}", beyond.told());

    namespace.set_link("up");
    let joined_at = now(&outpost);
    let ends = [beyond.wait_for("ends", "resolved"), beyond.wait_for("ends late", "resolved")];
    let begins = [beyond.wait_for("new", "firing"), beyond.wait_for("newer", "firing")];
    for ((_, _, start, end), over_at) in ends.iter().zip([over_at, late_over_at]) {
        assert!(*start < cut_at && cut_at < *end, "{ends:?} {cut_at}");
        assert!((over_at - 2000..=over_at).contains(end), "{ends:?} {over_at}");
    }
    for (_, _, start, _) in &begins {
        assert!((cut_at..joined_at).contains(start), "{begins:?}, cut from {cut_at} to {joined_at}");
    }
    // What is told after all of that comes last.
    target.set(page(&["new", "newer", "last"]));
    beyond.wait_for("last", "firing");
    beyond.wait_for("stays", "resolved");
    let mut told: Vec<String> =
        beyond.told().into_iter().map(|(case, status, ..)| format!("{case}: {status}")).collect();
    told.sort();
    let expected = [
        "ends late: firing",
        "ends late: resolved",
        "ends: firing",
        "ends: resolved",
        "last: firing",
        "new: firing",
        "newer: firing",
        "stays: firing",
        "stays: resolved",
    ];
    assert_eq!(told, expected, "each once; what came and went during the cut wakes nobody");
}
