//! kill -9 in every state of an alert: the one who is told cannot see that there was a restart.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{AlertRecorder, Manner, Outpost, PATIENCE, PageServer, Told, eventually, get_json, milliseconds};

/// Evaluated twice a second, so that starts lie between whole seconds.
const RULES: &str = r#"
groups:
  - name: states
    interval: 500ms
    rules:
      - {alert: Now, expr: now == 1}
      - {alert: Waits, expr: waits == 1, for: 2s}
      - {alert: WaitsLong, expr: long == 1, for: 1h}
      - alert: Keeps
        expr: keeps == 1
        for: 1s
        keep_firing_for: 12s
        annotations: {value: '{{ $value }}'}
  - name: namesake
    interval: 500ms
    rules:
      - {alert: Now, expr: other == 1}
"#;
const SLOT_MS: i64 = 500;

/// The target's page: series by name and case.
struct Site {
    target: PageServer,
    series: Vec<(&'static str, &'static str)>,
}

impl Site {
    /// The series that are 1; all others are 0.
    fn set(&mut self, name: &'static str, case: &'static str, is_true: bool) {
        self.series.retain(|known| *known != (name, case));
        if is_true {
            self.series.push((name, case));
        }
        let line = |(name, case): &(&str, &str)| format!("{name}{{case=\"{case}\"}} 1\n");
        self.target.set(self.series.iter().map(line).collect::<String>());
    }
}

/// The alert as `/api/v1/alerts` shows it.
fn shown(outpost: &Outpost, name: &str, case: &str) -> Result<Value, String> {
    let all = get_json(&outpost.address, "/api/v1/alerts")?["data"]["alerts"].clone();
    let is_it = |alert: &&Value| alert["labels"]["alertname"] == name && alert["labels"]["case"] == case;
    all.as_array().unwrap().iter().find(is_it).cloned().ok_or_else(|| all.to_string())
}

fn wait_for_state(outpost: &Outpost, name: &str, case: &str, state: &str) -> Value {
    eventually(PATIENCE, &format!("{name} {case} is {state}"), || {
        let alert = shown(outpost, name, case)?;
        if alert["state"] == state { Ok(alert) } else { Err(alert.to_string()) }
    })
}

fn told(recorder: &AlertRecorder, name: &str, is_over: bool) -> Told {
    eventually(PATIENCE, &format!("{name} is told, over: {is_over}"), || {
        let story = recorder.story(name);
        story.iter().find(|told| told.ends_ms.is_some() == is_over).cloned().ok_or_else(|| format!("{story:?}"))
    })
}

#[test]
fn a_kill_in_any_state_goes_unnoticed() {
    let recorder = AlertRecorder::start();
    let mut site = Site { target: PageServer::start(""), series: Vec::new() };
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
    let config = format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms, external_labels: {{site: garage}}}}\n\
         rule_files: [rules.yml]\n\
         alerting: {{alertmanagers: [{{timeout: 2s, static_configs: [{{targets: ['{}']}}]}}]}}\n\
         scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{}']}}]}}]\n",
        recorder.address, site.target.address
    );
    let mut outpost = Outpost::start_in(folder, Some(&config), &[]);

    // Resolved and told.
    site.set("now", "over", true);
    told(&recorder, "Now over", false);
    site.set("now", "over", false);
    let over = told(&recorder, "Now over", true);
    // Firing, with and without a wait, and the alert of another rule of the same name.
    site.set("now", "fires", true);
    site.set("waits", "fires", true);
    site.set("other", "fires other", true);
    let firing = ["Now fires", "Waits fires", "Now fires other"].map(|name| told(&recorder, name, false));
    // Will be resolved while nobody takes it.
    site.set("now", "untold", true);
    let untold = told(&recorder, "Now untold", false);
    // Kept firing without its condition.
    site.set("keeps", "kept", true);
    let kept = told(&recorder, "Keeps kept", false);
    site.set("keeps", "kept", false);
    let kept_since = eventually(PATIENCE, "the condition is gone", || {
        let alert = shown(&outpost, "Keeps", "kept")?;
        alert["keepFiringSince"].as_str().map(milliseconds).ok_or_else(|| alert.to_string())
    });
    // Pending for long, pending since just now, and inactive.
    site.set("long", "pending", true);
    let long_since = wait_for_state(&outpost, "WaitsLong", "pending", "pending")["activeAt"].clone();
    recorder.set(Manner::Answers(500));
    site.set("now", "untold", false);
    let is_over = |told: &Told| told.name == "Now untold" && told.ends_ms.is_some();
    let untold_end = eventually(PATIENCE, "the end is refused", || {
        recorder.refused().into_iter().find(is_over).ok_or_else(|| "nothing yet".to_owned())
    });
    site.set("waits", "pending", true);
    let pending = wait_for_state(&outpost, "Waits", "pending", "pending");
    let pending_since = milliseconds(pending["activeAt"].as_str().unwrap());

    let mut down = Duration::ZERO;
    for kill in 0..2 {
        let killed = Instant::now();
        outpost.process.signal("KILL");
        outpost.process.wait();
        recorder.set(Manner::Takes);
        outpost.restart();
        wait_for_state(&outpost, "Now", "fires", "firing");
        down += killed.elapsed();
        let long = wait_for_state(&outpost, "WaitsLong", "pending", "pending");
        let waited_less = milliseconds(long["activeAt"].as_str().unwrap()) - milliseconds(long_since.as_str().unwrap());
        assert!(waited_less <= (down.as_millis() as i64), "kill {kill}: {long_since} {long} {down:?}");
    }

    let begins = told(&recorder, "Waits pending", false);
    let waited = begins.starts_ms - pending_since;
    let longest = 2000 + down.as_millis() as i64 + 3 * SLOT_MS;
    assert!((2000..=longest).contains(&waited), "waited {waited} ms, away for {down:?}");
    let kept_end = told(&recorder, "Keeps kept", true);
    let kept_for = kept_end.ends_ms.unwrap() - kept_since;
    assert!((12_000 - SLOT_MS..=12_000 + 2 * SLOT_MS).contains(&kept_for), "kept firing for {kept_for} ms");
    told(&recorder, "Now untold", true);

    for fires in firing {
        assert_eq!(recorder.story(&fires.name), [fires]);
    }
    assert_eq!(recorder.story("Waits pending"), [begins]);
    assert_eq!(recorder.story("Now over").last(), Some(&over));
    assert_eq!(recorder.story("Now over").len(), 2);
    assert_eq!(recorder.story("Keeps kept"), [kept, kept_end]);
    assert_eq!(recorder.story("Now untold"), [untold, untold_end], "the end that nobody took is the one told");
    assert_eq!(recorder.story("WaitsLong pending"), []);
    let value = shown(&outpost, "Now", "fires").unwrap()["value"].clone();
    assert_eq!(value, "1e+00");
    let names: std::collections::BTreeSet<String> = recorder.taken().into_iter().map(|told| told.name).collect();
    assert_eq!(names.len(), 7, "{names:?}");
}
