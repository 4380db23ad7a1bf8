//! From a rule's result to the store: appends what was given, ends what is given no more.
//!
//! A series that a rule gave last time and does not give now gets a stale marker, so that it
//! vanishes at once instead of lingering for the lookback. The store's ids are kept between
//! evaluations, so that a steady rule costs no look-up. Samples that the store refuses are counted by
//! reason; they never stop the rest.

use std::collections::HashMap;
use std::fmt;

use crate::model::{Labels, Timestamp, stale_marker};
use crate::promql::Value;
use crate::store::{Append, Batch, GroupId, Rejection, SeriesId, StoreError};

/// The series that one rule gave last time.
#[derive(Clone, Debug, Default)]
pub struct RuleSeries(HashMap<Labels, SeriesId>);

impl RuleSeries {
    /// Series that the rule gave before a restart: they end unless it gives them again.
    pub fn resume(&mut self, store: &dyn Append, group: GroupId, series: impl IntoIterator<Item = Labels>) {
        for labels in series {
            if let Ok(id) = store.series(group, &labels) {
                self.0.insert(labels, id);
            }
        }
    }

    /// Takes the series out, to be ended elsewhere.
    pub fn into_labels(self) -> impl Iterator<Item = Labels> {
        self.0.into_keys()
    }
}

/// Samples that the store did not take.
#[derive(Debug, Default)]
pub struct WriteFailures {
    rejected: Vec<(Rejection, usize)>,
    refused: Option<StoreError>,
    histograms: usize,
}

impl WriteFailures {
    /// Whether all samples were taken.
    pub fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.refused.is_none() && self.histograms == 0
    }

    fn count(&mut self, rejection: Rejection) {
        match self.rejected.iter_mut().find(|(known, _)| *known == rejection) {
            Some((_, count)) => *count += 1,
            None => self.rejected.push((rejection, 1)),
        }
    }
}

impl fmt::Display for WriteFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.rejected.iter().map(|(rejection, count)| format!("{count} {}", describe(*rejection))).collect();
        if self.histograms > 0 {
            parts.push(format!("{} native histograms, which this store does not hold", self.histograms));
        }
        parts.extend(self.refused.as_ref().map(ToString::to_string));
        write!(f, "samples were not stored: {}", parts.join("; "))
    }
}

/// Writes the samples of one rule at `at` and ends those of `previous` that are not among them;
/// `previous` then holds what was taken.
pub fn write_rule(
    store: &dyn Append,
    group: GroupId,
    previous: &mut RuleSeries,
    at: Timestamp,
    samples: Vec<(Labels, Value)>,
) -> WriteFailures {
    let mut failures = WriteFailures::default();
    let mut gone = std::mem::take(&mut previous.0);
    let mut batch = Vec::with_capacity(samples.len());
    for (labels, value) in samples {
        let known = gone.remove(&labels);
        let id = match known.map_or_else(|| store.series(group, &labels), Ok) {
            Ok(id) => id,
            Err(error) => {
                failures.refused = Some(error);
                continue;
            }
        };
        match value {
            Value::Float(value) => batch.push((labels, id, value)),
            Value::Histogram(histogram) if store.append_native(&labels, at, &histogram) => {
                previous.0.insert(labels, id);
            }
            Value::Histogram(_) => failures.histograms += 1,
        }
    }
    // In one batch with the samples: a kill leaves an alert in one state, not in two.
    let ends: Vec<SeriesId> = gone.drain().map(|(_, id)| id).collect();
    let rejected = append(store, group, at, &mut batch, &ends);
    let mut refused = Vec::new();
    for (position, (labels, id, _)) in batch.into_iter().enumerate() {
        match rejected.get(&position) {
            None => drop(previous.0.insert(labels, id)),
            Some(rejection) => {
                failures.count(*rejection);
                // Its last sample is not of now, and no further one may come.
                refused.push(id);
            }
        }
    }
    end_series(store, group, at, refused.into_iter());
    failures
}

/// Ends series whose rule is gone.
pub fn end_labels(store: &dyn Append, group: GroupId, at: Timestamp, series: impl Iterator<Item = Labels>) {
    // A series that the store no longer takes has no need of an end.
    end_series(store, group, at, series.filter_map(|labels| store.series(group, &labels).ok()));
}

fn end_series(store: &dyn Append, group: GroupId, at: Timestamp, series: impl Iterator<Item = SeriesId>) {
    let samples: Vec<(SeriesId, f64)> = series.map(|id| (id, stale_marker())).collect();
    if !samples.is_empty() {
        // Rejections are expected where another rule gives the series meanwhile.
        store.append(&Batch { group, timestamp: at, samples, explicit: Vec::new() });
    }
}

/// Appends samples, and stale markers to the series of `ends`, and gives the rejected positions of the samples. A series
/// that the store has dropped since the last evaluation is asked for anew, once; its id in `samples` is then the new one.
fn append(
    store: &dyn Append,
    group: GroupId,
    at: Timestamp,
    samples: &mut [(Labels, SeriesId, f64)],
    ends: &[SeriesId],
) -> HashMap<usize, Rejection> {
    let batch_of = |samples: Vec<(SeriesId, f64)>| Batch { group, timestamp: at, samples, explicit: Vec::new() };
    let values = samples.iter().map(|(_, id, value)| (*id, *value));
    let report = store.append(&batch_of(values.chain(ends.iter().map(|id| (*id, stale_marker()))).collect()));
    // A refused marker is no matter: another rule gives the series meanwhile, or the store has dropped it.
    let of_samples = report.rejected.into_iter().filter(|(position, _)| *position < samples.len());
    let mut rejected: HashMap<usize, Rejection> = of_samples.collect();
    let mut forgotten: Vec<usize> = Vec::new();
    for (position, _) in rejected.iter().filter(|(_, rejection)| **rejection == Rejection::UnknownSeries) {
        if let Ok(id) = store.series(group, &samples[*position].0) {
            samples[*position].1 = id;
            forgotten.push(*position);
        }
    }
    if !forgotten.is_empty() {
        let values = forgotten.iter().map(|position| (samples[*position].1, samples[*position].2));
        let again = store.append(&batch_of(values.collect()));
        rejected.retain(|position, _| !forgotten.contains(position));
        rejected.extend(again.rejected.into_iter().map(|(index, rejection)| (forgotten[index], rejection)));
    }
    rejected
}

fn describe(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::OutOfOrder => "out of order",
        Rejection::DuplicateTimestamp => "with another value at the same time, given by another rule",
        Rejection::TooOld => "older than the retention",
        Rejection::TooFarAhead => "too far ahead of the clock",
        Rejection::UnknownSeries => "of series that the store dropped",
        Rejection::Full => "for which the store has no room",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TimeRange, is_stale_marker};
    use crate::store::{MemoryStore, ReadOptions, Samples, Select};

    fn series(name: &str) -> Labels {
        Labels::from_pairs([("__name__", "r"), ("s", name)])
    }

    fn write(store: &MemoryStore, previous: &mut RuleSeries, at: i64, samples: &[(&str, f64)]) -> WriteFailures {
        let group = store.group("f;g").expect("memory");
        let samples = samples.iter().map(|(name, value)| (series(name), Value::Float(*value))).collect();
        write_rule(store, group, previous, Timestamp(at), samples)
    }

    fn stored(store: &MemoryStore) -> Vec<(String, Vec<String>)> {
        let mut set = store.select(&[], &ReadOptions::over(TimeRange::ALL)).expect("memory");
        let mut samples = Samples::default();
        let mut all = Vec::new();
        while let Some(labels) = set.next(&mut samples).expect("memory") {
            let show = |value: &f64| if is_stale_marker(*value) { "stale".to_owned() } else { value.to_string() };
            all.push((labels.get("s").unwrap_or("").to_owned(), samples.values.iter().map(show).collect()));
        }
        all
    }

    #[test]
    fn what_is_given_no_more_ends() {
        let (store, mut previous) = (MemoryStore::new(), RuleSeries::default());
        assert!(write(&store, &mut previous, 1, &[("a", 1.0), ("b", 1.0)]).is_empty());
        assert!(write(&store, &mut previous, 2, &[("b", 2.0)]).is_empty());
        assert!(write(&store, &mut previous, 3, &[("a", 3.0), ("b", 3.0)]).is_empty());
        let expected = [("a", vec!["1", "stale", "3"]), ("b", vec!["1", "2", "3"])];
        let expected = expected.map(|(s, v)| (s.to_owned(), v.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(stored(&store), expected);
    }

    #[test]
    fn a_refused_sample_is_told_and_stops_nothing() {
        let (store, mut first, mut second) = (MemoryStore::new(), RuleSeries::default(), RuleSeries::default());
        assert!(write(&store, &mut first, 1, &[("a", 1.0)]).is_empty());
        let failures = write(&store, &mut second, 1, &[("a", 2.0), ("b", 2.0)]);
        assert_eq!(
            failures.to_string(),
            "samples were not stored: 1 with another value at the same time, given by another rule"
        );
        assert_eq!(second.into_labels().collect::<Vec<_>>(), [series("b")]);
    }
}
