//! Label order: series of memory compare by the ranks of their label pairs, so that no text is looked at.
//!
//! The ranks of all pairs are kept between reads, four bytes each. Pairs that have come since are sorted in, under the head's
//! lock: with 60,000 pairs that takes half a millisecond, and all of them anew, once series were dropped, 35 ms.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex};

use crate::store::dictionary::Dictionary;
use crate::store::{ReadOptions, StoreError};

/// The place of each pair of a dictionary among all of them, name before value, by the pair's number.
#[derive(Default)]
pub(super) struct PairRanks(Mutex<Ranked>);

#[derive(Default)]
struct Ranked {
    /// Whose numbers these are.
    generation: u32,
    ranks: Arc<[u32]>,
}

impl PairRanks {
    /// The ranks of all pairs there are.
    pub fn of(&self, dictionary: &Dictionary) -> Arc<[u32]> {
        let mut ranked = self.0.lock().expect("no holder of the lock panics");
        if ranked.generation != dictionary.generation() {
            *ranked = Ranked { generation: dictionary.generation(), ranks: Arc::default() };
        }
        if ranked.ranks.len() < dictionary.pair_count() {
            ranked.ranks = with_new_pairs(&ranked.ranks, dictionary);
        }
        Arc::clone(&ranked.ranks)
    }
}

fn with_new_pairs(ranks: &[u32], dictionary: &Dictionary) -> Arc<[u32]> {
    let compare = |a: u32, b: u32| dictionary.pair_text(a).cmp(&dictionary.pair_text(b));
    let mut known = vec![0; ranks.len()];
    (0..).zip(ranks).for_each(|(pair, rank)| known[*rank as usize] = pair);
    let mut new: Vec<u32> = (ranks.len() as u32..dictionary.pair_count() as u32).collect();
    new.sort_unstable_by(|a, b| compare(*a, *b));
    let mut ranks = vec![0; dictionary.pair_count()];
    let (mut known, mut next) = (&known[..], 0u32);
    let mut place = |pair: u32| {
        ranks[pair as usize] = next;
        next += 1;
    };
    for pair in new {
        let (before, behind) = known.split_at(known.partition_point(|other| compare(*other, pair) == Ordering::Less));
        before.iter().for_each(|before| place(*before));
        place(pair);
        known = behind;
    }
    known.iter().for_each(|pair| place(*pair));
    ranks.into()
}

/// The order of some series, which are noted under the lock of their dictionary and sorted without it.
pub(super) struct LabelOrder {
    ranks: Arc<[u32]>,
    /// The ranks of the series' pairs.
    pairs: Vec<u32>,
    /// Where those of each series end; they begin where the ones before end.
    ends: Vec<usize>,
}

impl LabelOrder {
    /// For series whose pairs have these ranks.
    pub fn by(ranks: Arc<[u32]>) -> Self {
        Self { ranks, pairs: Vec::new(), ends: Vec::new() }
    }

    /// Notes the next series.
    pub fn push(&mut self, pairs: &[u32]) {
        self.pairs.extend(pairs.iter().map(|pair| self.ranks[*pair as usize]));
        self.ends.push(self.pairs.len());
    }

    /// Sorts the series that were noted.
    ///
    /// # Errors
    ///
    /// Where the read was given up before.
    pub fn sort<T>(self, series: Vec<T>, options: &ReadOptions) -> Result<Vec<T>, StoreError> {
        options.check()?;
        let mut order: Vec<u32> = (0..).take(self.ends.len()).collect();
        order.sort_unstable_by(|a, b| self.ranks_of(*a).cmp(self.ranks_of(*b)));
        let mut series: Vec<Option<T>> = series.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|index| series[index as usize].take()).collect())
    }

    fn ranks_of(&self, index: u32) -> &[u32] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pairs[start..self.ends[index]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, TimeRange};
    use crate::store::GroupId;

    /// Series with odd texts, each once.
    fn series(numbers: std::ops::Range<usize>) -> Vec<Labels> {
        let texts = ["", "a", "a\0", "aa", "b", "up", "é", "__name__"];
        let labels = |number: usize| {
            let text = |digit: u32| texts[(number * 37 / 8usize.pow(digit)) % 8];
            let pairs = [("__name__", text(0)), ("a", text(1)), ("b", text(2))];
            Labels::from_pairs(pairs.into_iter().skip(number % 3))
        };
        let mut all: Vec<Labels> = numbers.map(labels).collect();
        all.sort_by_key(Labels::prometheus_hash);
        all.dedup();
        all
    }

    fn sorted(ranks: &PairRanks, dictionary: &Dictionary, series: &[Labels]) -> Vec<Labels> {
        let mut order = LabelOrder::by(ranks.of(dictionary));
        for labels in series {
            let id = dictionary.find(labels).expect("inserted");
            order.push(dictionary.pair_ids(dictionary.record(id).expect("found")));
        }
        order.sort(series.to_vec(), &ReadOptions::over(TimeRange::ALL)).expect("no deadline")
    }

    #[test]
    fn the_order_is_that_of_labels_whatever_comes_and_goes() {
        let (ranks, mut dictionary) = (PairRanks::default(), Dictionary::default());
        for numbers in [0..0, 0..1, 5..60, 0..900] {
            let series = series(numbers);
            for labels in &series {
                dictionary.insert(GroupId(0), labels);
            }
            let mut expected = series.clone();
            expected.sort();
            assert_eq!(sorted(&ranks, &dictionary, &series), expected);
        }
        dictionary.retain(|id| id.0 % 3 != 0);
        let (further, kept) = (Labels::from_pairs([("a", "0"), ("z", "z")]), dictionary.records().to_vec());
        dictionary.insert(GroupId(0), &further);
        let mut expected: Vec<Labels> = kept.iter().map(|record| dictionary.labels(record)).chain([further]).collect();
        let found = sorted(&ranks, &dictionary, &expected);
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_deadline_is_kept() {
        let late = ReadOptions { deadline: Some(std::time::Instant::now()), ..ReadOptions::over(TimeRange::ALL) };
        assert!(matches!(LabelOrder::by(Arc::default()).sort(vec![()], &late), Err(StoreError::DeadlineExceeded)));
    }
}
