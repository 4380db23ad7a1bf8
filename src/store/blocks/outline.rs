//! What is known of a target's names without unpacking them: most reads are for a few of many targets.
//!
//! A site's targets differ by labels that all series of a target have (`job`, `instance`), and by their metrics. Both
//! are noted when names are unpacked for the first time.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use crate::model::{Labels, METRIC_NAME, MatchOp, Matcher};

/// What all outlines may take; beyond it they are noted anew. Those of 500 targets with 100 metrics each take half of it.
const BYTES_MAX: usize = 512 << 10;

/// What one list of names has.
#[derive(Debug)]
pub(super) struct Outline {
    /// The labels that all series have.
    common: Labels,
    /// Digests of the metrics' names, sorted. Two names with one digest cost a look at the names.
    metrics: Box<[u32]>,
}

/// An outline in the making.
#[derive(Default)]
pub(super) struct OutlineBuilder {
    /// `None` before the first series.
    common: Option<Vec<(String, String)>>,
    metrics: Vec<u32>,
}

/// Which names: the generation of the file, as [`super::Readers`] counts them, and their id in it.
pub(super) type NamesKey = (u64, i64);

/// The outlines of names.
#[derive(Default)]
pub(super) struct Outlines(Mutex<Known>);

#[derive(Default)]
struct Known {
    outlines: HashMap<NamesKey, Arc<Outline>, FixedState>,
    bytes: usize,
}

impl OutlineBuilder {
    /// Notes a series: its labels in name order.
    pub fn add(&mut self, pairs: &[(&str, &str)]) {
        match &mut self.common {
            None => {
                self.common = Some(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
            }
            Some(common) => common.retain(|(name, value)| pairs.contains(&(name, value))),
        }
        let metric = digest_of(pairs.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value));
        // Series of one metric stand side by side.
        if self.metrics.last() != Some(&metric) {
            self.metrics.push(metric);
        }
    }

    pub fn finish(mut self) -> Outline {
        self.metrics.sort_unstable();
        self.metrics.dedup();
        let common = self.common.unwrap_or_default();
        let common = Labels::from_sorted(common.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Outline { common, metrics: self.metrics.into_boxed_slice() }
    }
}

impl Outline {
    /// Whether a series may satisfy all matchers of at least one set; no set means all series.
    pub fn may_have(&self, sets: &[Vec<Matcher>]) -> bool {
        sets.is_empty() || sets.iter().any(|set| set.iter().all(|matcher| self.may_satisfy(matcher)))
    }

    fn may_satisfy(&self, matcher: &Matcher) -> bool {
        if let Some(value) = self.common.get(matcher.name()) {
            return matcher.matches(value);
        }
        let is_metric = matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal;
        !is_metric || self.metrics.binary_search(&digest_of(matcher.value())).is_ok()
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.common.as_bytes().len() + self.metrics.len() * 4 + 64
    }
}

impl Outlines {
    pub fn get(&self, names: NamesKey) -> Option<Arc<Outline>> {
        self.0.lock().expect("no holder of the lock panics").outlines.get(&names).cloned()
    }

    pub fn keep(&self, names: NamesKey, outline: Outline) {
        let mut known = self.0.lock().expect("no holder of the lock panics");
        let bytes = outline.memory();
        if known.bytes + bytes > BYTES_MAX {
            *known = Known::default();
        }
        if known.outlines.insert(names, Arc::new(outline)).is_none() {
            known.bytes += bytes;
        }
    }

    /// For when ids may come to mean other names, or all mean nothing.
    pub fn clear(&self) {
        *self.0.lock().expect("no holder of the lock panics") = Known::default();
    }
}

fn digest_of(metric: &str) -> u32 {
    FixedState::default().hash_one(metric) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline() -> Outline {
        let mut builder = OutlineBuilder::default();
        for (metric, mode) in [("cpu", "idle"), ("cpu", "user"), ("load", ""), ("up", "")] {
            builder.add(&[("__name__", metric), ("instance", "a:1"), ("job", "node"), ("mode", mode)]);
        }
        builder.finish()
    }

    #[test]
    fn what_a_target_cannot_have_is_told() {
        let outline = outline();
        for (name, op, value, expected) in [
            ("__name__", MatchOp::Equal, "cpu", true),
            ("__name__", MatchOp::Equal, "memory", false),
            ("__name__", MatchOp::Regex, "memory|disk", true),
            ("instance", MatchOp::Equal, "a:1", true),
            ("instance", MatchOp::Equal, "b:1", false),
            ("instance", MatchOp::NotEqual, "a:1", false),
            ("instance", MatchOp::Regex, "b.*|c.*", false),
            ("job", MatchOp::NotRegex, "node|up", false),
            ("mode", MatchOp::Equal, "user", true),
            ("mode", MatchOp::Equal, "nice", true),
            ("nowhere", MatchOp::Equal, "", true),
            ("nowhere", MatchOp::Equal, "x", true),
        ] {
            let matcher = Matcher::new(op, name, value).expect("valid");
            assert_eq!(outline.may_have(&[vec![matcher]]), expected, "{name} {op:?} {value}");
        }
        let sets = [
            vec![Matcher::equal("__name__", "memory"), Matcher::equal("job", "node")],
            vec![Matcher::equal("job", "node"), Matcher::equal("__name__", "up")],
        ];
        assert!(outline.may_have(&[]) && outline.may_have(&sets) && !outline.may_have(&sets[..1]));
    }

    #[test]
    fn memory_is_bounded() {
        let outlines = Outlines::default();
        for names in 0..100_000 {
            outlines.keep((0, names), outline());
            outlines.keep((0, names), outline());
            let known = outlines.0.lock().expect("no holder of the lock panics");
            let held: usize = known.outlines.values().map(|outline| outline.memory()).sum::<usize>();
            assert!(names % 1000 > 0 || (known.bytes == held && held <= BYTES_MAX), "{held}");
        }
        assert!(outlines.get((0, 99_999)).is_some() && outlines.get((0, 0)).is_none());
        outlines.clear();
        assert!(outlines.get((0, 99_999)).is_none());
    }
}
