//! Alerts that wait for one Alertmanager: bounded, in order, one state per alert.
//!
//! Pure. A later state of an alert takes the place of the earlier one, so that an Alertmanager that
//! was away learns how things are, not how they went. When there are too many, the oldest resolved
//! alert goes first, then the oldest of all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Alert, Labels, Timestamp};

/// For how long a resolution that nobody has taken is worth telling.
const RESOLVED_DUE: Duration = Duration::from_secs(7 * 24 * 3600);
/// For how long an Alertmanager that has just been found is told of a resolution; as long as rules repeat it.
const RESOLVED_RECENT: Duration = Duration::from_secs(15 * 60);

/// Whether an Alertmanager should still hear of this alert. A firing alert is to be believed until
/// its end time; after that nobody knows whether it still fires.
pub fn is_due(alert: &Alert, now: Timestamp) -> bool {
    let until = if alert.resolved { alert.ends_at + RESOLVED_DUE } else { alert.ends_at };
    now < until
}

/// Whether an Alertmanager that has just been found should hear of this alert, which others may have taken.
pub fn is_recent(alert: &Alert, now: Timestamp) -> bool {
    is_due(alert, now) && (!alert.resolved || now < alert.ends_at + RESOLVED_RECENT)
}

/// The queue.
#[derive(Debug)]
pub struct AlertQueue {
    capacity: usize,
    next_number: u64,
    waiting: BTreeMap<u64, Arc<Alert>>,
    resolved: BTreeSet<u64>,
    numbers: HashMap<Labels, u64>,
}

/// Some alerts from the front of a queue, which stay there until they are delivered.
#[derive(Debug)]
pub struct TakenBatch {
    taken: Vec<(u64, Arc<Alert>)>,
}

impl TakenBatch {
    /// The alerts.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.taken.iter().map(|(_, alert)| &**alert)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.taken.len()
    }
}

impl AlertQueue {
    /// An empty queue for so many alerts.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, next_number: 0, waiting: BTreeMap::new(), resolved: BTreeSet::new(), numbers: HashMap::new() }
    }

    /// How many alerts wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds an alert, or replaces its earlier state. Gives how many alerts had to go for it.
    pub fn push(&mut self, alert: Arc<Alert>) -> u64 {
        let number = match self.numbers.get(&alert.labels) {
            Some(number) => *number,
            None => {
                self.next_number += 1;
                self.numbers.insert(alert.labels.clone(), self.next_number);
                self.next_number
            }
        };
        if alert.resolved {
            self.resolved.insert(number);
        } else {
            self.resolved.remove(&number);
        }
        self.waiting.insert(number, alert);
        let mut dropped = 0;
        while self.waiting.len() > self.capacity {
            let oldest = self.resolved.first().or_else(|| self.waiting.keys().next()).copied();
            oldest.into_iter().for_each(|number| self.remove(number));
            dropped += 1;
        }
        dropped
    }

    /// Up to `max` alerts from the front. What is no longer due goes; gives how many that were.
    pub fn take(&mut self, max: usize, now: Timestamp) -> (TakenBatch, u64) {
        let mut taken = Vec::new();
        let mut outdated = Vec::new();
        for (number, alert) in &self.waiting {
            if taken.len() == max {
                break;
            }
            if is_due(alert, now) {
                taken.push((*number, Arc::clone(alert)));
            } else {
                outdated.push(*number);
            }
        }
        outdated.iter().for_each(|number| self.remove(*number));
        (TakenBatch { taken }, outdated.len() as u64)
    }

    /// Removes what was taken, save alerts that have got a later state meanwhile.
    pub fn finish(&mut self, batch: &TakenBatch) {
        for (number, alert) in &batch.taken {
            if self.waiting.get(number).is_some_and(|waiting| Arc::ptr_eq(waiting, alert)) {
                self.remove(*number);
            }
        }
    }

    /// Keeps the alerts for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(&Alert) -> bool) {
        let gone: Vec<u64> = self.waiting.iter().filter(|(_, alert)| !keep(alert)).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| self.remove(number));
    }

    /// All alerts that wait, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.waiting.values()
    }

    fn remove(&mut self, number: u64) {
        self.resolved.remove(&number);
        if let Some(alert) = self.waiting.remove(&number) {
            self.numbers.remove(&alert.labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn firing(name: &str) -> Arc<Alert> {
        alert(name, false, 60)
    }

    fn alert(name: &str, resolved: bool, ends_in_seconds: i64) -> Arc<Alert> {
        Arc::new(Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Labels::empty(),
            starts_at: NOW,
            ends_at: Timestamp(NOW.0 + ends_in_seconds * 1000),
            resolved,
            generator_url: String::new(),
        })
    }

    fn names<'a>(alerts: impl Iterator<Item = &'a Alert>) -> String {
        let names: Vec<&str> = alerts.map(|alert| alert.labels.get("alertname").unwrap_or("")).collect();
        names.join(" ")
    }

    #[test]
    fn a_later_state_takes_the_place() {
        let mut queue = AlertQueue::new(10);
        for name in ["a", "b", "c"] {
            queue.push(firing(name));
        }
        queue.push(alert("a", true, 0));
        let (batch, _) = queue.take(2, NOW);
        assert_eq!(names(batch.alerts()), "a b");
        assert!(batch.alerts().next().is_some_and(|alert| alert.resolved));
        queue.push(firing("b"));
        queue.finish(&batch);
        assert_eq!(names(queue.take(9, NOW).0.alerts()), "b c", "b changed while it was under way");
    }

    #[test]
    fn too_many_alerts_lose_the_resolved_first() {
        let mut queue = AlertQueue::new(3);
        queue.push(firing("a"));
        queue.push(alert("b", true, 0));
        queue.push(firing("c"));
        assert_eq!(queue.push(firing("d")), 1);
        assert_eq!(names(queue.take(9, NOW).0.alerts()), "a c d");
        assert_eq!(queue.push(firing("e")), 1);
        assert_eq!(names(queue.take(9, NOW).0.alerts()), "c d e");
    }

    #[test]
    fn what_is_no_longer_due_goes() {
        let mut queue = AlertQueue::new(10);
        queue.push(alert("over", false, -1));
        queue.push(alert("told too late", true, -7 * 24 * 3600));
        queue.push(alert("resolved", true, 1 - 7 * 24 * 3600));
        queue.push(firing("firing"));
        let (batch, outdated) = queue.take(9, NOW);
        assert_eq!((names(batch.alerts()).as_str(), outdated), ("resolved firing", 2));
        assert_eq!(queue.len(), 2);
        let recent = [alert("", true, -899), alert("", true, -900), alert("", false, 1), alert("", false, 0)];
        assert_eq!(recent.map(|alert| is_recent(&alert, NOW)), [true, false, true, false]);
    }
}
