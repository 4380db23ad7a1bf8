//! What inspecting a container told, kept for as long as the list gives no reason to ask again.
//!
//! The list tells state and health, and in words since when: "Up 3 hours (healthy)", "Exited (1) 5 minutes ago". A start, an end and a
//! restart since the last look show in these words, as they begin again at seconds. What they do not show is asked for by age.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::api::{Inspected, Listed};

/// What the list never shows is at most this old, give or take a collection: changed limits, and that the kernel has killed a
/// process of a container that goes on.
const AGE_MAX: Duration = Duration::from_secs(120);
/// Words may tell of another start than at a look this long ago.
const GAP_MAX: Duration = Duration::from_secs(60);
/// Words for times that no container reaches between two looks. Seconds and "a minute" are not among them.
const LONG_TIMES: [&str; 6] = ["minutes", "hour", "day", "week", "month", "year"];

/// What is kept of the containers in the list.
#[derive(Default)]
pub struct Inspections(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    looked: Option<Instant>,
    by_id: BTreeMap<String, Inspection>,
}

struct Inspection {
    /// The list's words when it was made.
    status: String,
    made: Instant,
    inspected: Arc<Inspected>,
}

impl Inspections {
    /// What is still true of each container in a list that is asked for at `now`; the others are to be inspected. So are those
    /// whose inspection is the oldest, as many as have to be for each to have its turn in time.
    pub fn recall(&self, listed: &[Listed], now: Instant) -> Vec<Option<Arc<Inspected>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = kept.looked.replace(now).map_or(GAP_MAX, |looked| now - looked);
        // What is to be asked for is forgotten first: a scrape's time may end before the answer.
        let mut before = std::mem::take(&mut kept.by_id);
        if gap < GAP_MAX {
            let still =
                listed.iter().filter_map(|entry| before.remove_entry(&entry.id).filter(|(_, was)| was.holds(entry)));
            kept.by_id = still.collect();
            let turns = (listed.len() as f64 * gap.as_secs_f64() / AGE_MAX.as_secs_f64()).ceil() as usize;
            let mut by_age: Vec<(Instant, &String)> = kept.by_id.iter().map(|(id, was)| (was.made, id)).collect();
            crate::model::sort_by(&mut by_age, |left, right| left.cmp(right));
            let oldest: Vec<String> = by_age.into_iter().take(turns).map(|(_, id)| id.clone()).collect();
            oldest.iter().for_each(|id| drop(kept.by_id.remove(id)));
        }
        listed.iter().map(|entry| kept.by_id.get(&entry.id).map(|was| Arc::clone(&was.inspected))).collect()
    }

    /// Keeps an answer, if the list will show when it is no longer true.
    pub fn note(&self, listed: &Listed, inspected: &Arc<Inspected>, now: Instant) {
        let Some(status) = listed.status.as_deref().filter(|status| tells_changes(status, listed, inspected)) else {
            return;
        };
        let inspection = Inspection { status: status.to_owned(), made: now, inspected: Arc::clone(inspected) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_id.insert(listed.id.clone(), inspection);
    }
}

impl Inspection {
    /// Looked at more often than once in [`GAP_MAX`]: what has lasted for longer has not begun since.
    fn holds(&self, listed: &Listed) -> bool {
        listed.status.as_deref().is_some_and(|status| is_steady(status) && words(status).eq(words(&self.status)))
    }
}

/// Whether the state has lasted for longer than from one look to the next.
fn is_steady(status: &str) -> bool {
    status == "Created" || LONG_TIMES.iter().any(|word| status.contains(word))
}

/// The list's words without those for the time.
fn words(status: &str) -> impl Iterator<Item = &str> {
    let is_of_time = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_digit())
            || matches!(word, "About" | "a" | "an" | "ago")
            || LONG_TIMES.iter().any(|time| word.starts_with(time))
    };
    status.split_ascii_whitespace().filter(move |word| !is_of_time(word))
}

/// Whether the list's words would be others after a change: they tell of a time that cannot come again soon, and say the same as
/// the inspection. Podman's words lack the health.
fn tells_changes(status: &str, listed: &Listed, inspected: &Inspected) -> bool {
    let Some(state) = &inspected.state else { return false };
    let health = state.health.as_ref().map(|health| health.status.as_str());
    let shows_health = match health {
        None | Some("" | "none") => true,
        Some("starting") => status.ends_with("(health: starting)"),
        Some(health) => status.ends_with(&format!("({health})")),
    };
    is_steady(status) && state.status == listed.state && (shows_health || listed.state.as_deref() != Some("running"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, status: &str, state: &str) -> Listed {
        let text = serde_json::json!({"Id": id, "Status": status, "State": state});
        serde_json::from_value(text).expect("valid")
    }

    fn inspected(state: &str, health: &str) -> Arc<Inspected> {
        let text = serde_json::json!({"State": {"Status": state, "Health": {"Status": health}}});
        Arc::new(serde_json::from_value(text).expect("valid"))
    }

    /// The others have their turn first.
    fn with_others(entry: Listed) -> Vec<Listed> {
        let others = (0..10).map(|number| self::entry(&format!("a{number}"), "Up 3 days", "running"));
        others.chain([entry]).collect()
    }

    /// What the list and the inspection say at first, what the list says so many seconds later, and whether that is enough.
    #[test]
    fn an_inspection_holds_while_the_list_shows_no_change() {
        let running = |health: &'static str| ("running", health);
        for (status, inspection, next, seconds, holds) in [
            ("Up 3 hours", running("none"), "Up 3 hours", 15, true),
            ("Up 3 hours", running("none"), "Up 4 hours", 15, true),
            ("Up 59 minutes", running("none"), "Up About an hour", 15, true),
            ("Up 6 days (healthy)", running("healthy"), "Up About an hour (healthy)", 15, true),
            ("Up 6 days (healthy)", running("healthy"), "Up 6 days (Paused)", 15, false),
            ("Up 6 days (Paused)", ("paused", "healthy"), "Up 6 days (healthy)", 15, false),
            ("Exited (1) 5 minutes ago", ("exited", "none"), "Exited (1) 6 minutes ago", 15, true),
            ("Exited (1) 5 minutes ago", ("exited", "none"), "Up 5 minutes", 15, false),
            ("Created", ("created", "none"), "Up 5 minutes", 15, false),
            ("Up 3 hours", running("none"), "Up 3 seconds", 15, false),
            ("Up 3 hours", running("none"), "Up 3 hours", 59, true),
            // Another three hours may have begun.
            ("Up 3 hours", running("none"), "Up 3 hours", 60, false),
            ("Up 2 minutes", running(""), "Up 2 minutes", 15, true),
            // Words that a restart would bring again.
            ("Up About a minute", running(""), "Up About a minute", 15, false),
            ("Up 30 seconds", running(""), "Up 30 seconds", 15, false),
            ("Up Less than a second", running(""), "Up Less than a second", 1, false),
            ("Up", running(""), "Up", 15, false),
            ("running", running(""), "running", 15, false),
            ("", running(""), "", 15, false),
            ("Up 2 weeks (healthy)", running("healthy"), "Up 2 weeks (healthy)", 15, true),
            ("Up 2 weeks (healthy)", running("healthy"), "Up 2 weeks (unhealthy)", 15, false),
            ("Up 2 weeks (unhealthy)", running("unhealthy"), "Up 2 weeks (unhealthy)", 15, true),
            ("Up 2 minutes (health: starting)", running("starting"), "Up 2 minutes (health: starting)", 15, true),
            // It changed between the two requests, and may have changed back.
            ("Up 2 weeks (healthy)", running("unhealthy"), "Up 2 weeks (healthy)", 15, false),
            ("Up 2 weeks (unhealthy)", running("healthy"), "Up 2 weeks (unhealthy)", 15, false),
            ("Up 2 weeks", ("exited", "none"), "Up 2 weeks", 15, false),
            // Podman's words.
            ("Up 2 weeks", running("healthy"), "Up 2 weeks", 15, false),
            ("Up 2 weeks (Paused)", ("paused", "healthy"), "Up 2 weeks (Paused)", 15, true),
            ("Created", ("created", ""), "Created", 15, true),
            ("Exited (1) 5 months ago", ("exited", "unhealthy"), "Exited (1) 5 months ago", 15, true),
            ("Exited (1) 5 months ago", ("exited", "unhealthy"), "Exited (0) 5 months ago", 15, false),
            ("Restarting (1) 2 seconds ago", ("restarting", ""), "Restarting (1) 2 seconds ago", 15, false),
        ] {
            let inspections = Inspections::default();
            let start = Instant::now();
            let state = if inspection.0 == "exited" && status.starts_with("Up") { "running" } else { inspection.0 };
            let listed = with_others(entry("b", status, state));
            assert!(inspections.recall(&listed, start).iter().all(Option::is_none));
            for entry in &listed[..10] {
                inspections.note(entry, &inspected("running", "none"), start);
            }
            inspections.note(&listed[10], &inspected(inspection.0, inspection.1), start);
            let later = start + Duration::from_secs(seconds);
            let known = inspections.recall(&with_others(entry("b", next, state)), later);
            assert_eq!(known[10].is_some(), holds, "{status:?} {inspection:?}, {next:?} after {seconds} s");
            // Whoever was asked about and did not answer is asked about again.
            let known = inspections.recall(&with_others(entry("b", status, state)), later);
            assert_eq!(known[10].is_some(), holds, "{status:?} {inspection:?}, again");
        }
    }

    /// Collections at an interval, of containers whose words stay the same: how many are asked about each time, and how old what
    /// is known of any of them becomes.
    #[test]
    fn each_container_has_its_turn() {
        for (count, interval, turns_max, age_max) in
            [(50, 15, 7, 120), (50, 1, 1, 120), (500, 15, 63, 120), (3, 30, 1, 120), (50, 60, 50, 60)]
        {
            let inspections = Inspections::default();
            let listed: Vec<Listed> =
                (0..count).map(|number| entry(&number.to_string(), "Up 3 days", "running")).collect();
            let mut now = Instant::now();
            let mut asked = vec![now; count];
            for round in 0..500 {
                let known = inspections.recall(&listed, now);
                let unknown: Vec<usize> = (0..count).filter(|index| known[*index].is_none()).collect();
                assert!(round == 0 || unknown.len() <= turns_max, "{count} at {interval} s: {}", unknown.len());
                for index in unknown {
                    inspections.note(&listed[index], &inspected("running", "none"), now);
                    asked[index] = now;
                }
                let age = asked.iter().map(|asked| now - *asked).max();
                assert!(age <= Some(Duration::from_secs(age_max)), "{count} at {interval} s: {age:?}");
                now += Duration::from_secs(interval);
            }
            // What has left the list is forgotten.
            inspections.recall(&listed[..1], now);
            assert!(inspections.0.lock().expect("not poisoned").by_id.len() <= 1);
        }
    }
}
