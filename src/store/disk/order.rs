//! Label order: series of memory compare by the ranks of their label pairs, so that no text is looked at.
//!
//! The ranks of all pairs are kept between reads, four bytes each. Pairs that have come since are sorted in, under the head's
//! lock: with 60,000 pairs that takes half a millisecond, and all of them anew, once series were dropped, 35 ms.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

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
    /// Bits that the rank of any pair has, and one more number for "no further pair".
    rank_bits: u32,
    /// By their first pairs, as many as fit: mostly all. Then the number of the series.
    keys: Vec<(u128, u32)>,
    /// The ranks of the pairs that did not fit, by series.
    further: HashMap<u32, Box<[u32]>, FixedState>,
}

impl LabelOrder {
    /// For series whose pairs have these ranks.
    pub fn by(ranks: Arc<[u32]>) -> Self {
        let rank_bits = u32::BITS - (ranks.len() as u32).leading_zeros();
        Self { ranks, rank_bits: rank_bits.max(1), keys: Vec::new(), further: HashMap::default() }
    }

    /// Notes the next series.
    pub fn push(&mut self, pairs: &[u32]) {
        let (number, fitting) = (self.keys.len() as u32, (u128::BITS / self.rank_bits) as usize);
        let (first, further) = pairs.split_at(pairs.len().min(fitting));
        let mut key = 0;
        for place in 0..fitting {
            let rank = first.get(place).map_or(0, |pair| self.ranks[*pair as usize] + 1);
            key = key << self.rank_bits | u128::from(rank);
        }
        self.keys.push((key, number));
        if !further.is_empty() {
            self.further.insert(number, further.iter().map(|pair| self.ranks[*pair as usize]).collect());
        }
    }

    /// Sorts the series that were noted.
    ///
    /// # Errors
    ///
    /// Where the read was given up before.
    pub fn sort<T>(mut self, series: &mut [T], options: &ReadOptions) -> Result<(), StoreError> {
        options.check()?;
        let further = |number: u32| self.further.get(&number);
        self.keys.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| further(a.1).cmp(&further(b.1))));
        // Along each cycle, every series moves to its place.
        for start in 0..self.keys.len() {
            let mut place = start;
            loop {
                let from = std::mem::replace(&mut self.keys[place].1, place as u32) as usize;
                if from == start {
                    break;
                }
                series.swap(place, from);
                place = from;
            }
        }
        Ok(())
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
        let mut sorted = series.to_vec();
        order.sort(&mut sorted, &ReadOptions::over(TimeRange::ALL)).expect("no deadline");
        sorted
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
    fn series_of_many_labels_are_told_apart_by_the_last() {
        let names: Vec<String> = (0..60).map(|number| format!("l{number:02}")).collect();
        let series = |count: usize, last: &str| {
            let values = (0..count).map(|number| if number + 1 < count { "same" } else { last });
            Labels::from_pairs(names.iter().map(String::as_str).zip(values))
        };
        // 18 of them are in the key, with the 63 to 127 pairs that there are.
        let series = [
            (60, "b"),
            (59, "same"),
            (60, "a"),
            (2, "z"),
            (18, "same"),
            (60, "same"),
            (19, "same"),
            (17, "same"),
            (58, "c"),
        ]
        .map(|(count, last)| series(count, last));
        let mut dictionary = Dictionary::default();
        for labels in &series {
            dictionary.insert(GroupId(0), labels);
        }
        assert!((63..127).contains(&dictionary.pair_count()), "{}", dictionary.pair_count());
        let mut expected = series.to_vec();
        expected.sort();
        assert_eq!(sorted(&PairRanks::default(), &dictionary, &series), expected);
    }

    #[test]
    fn a_deadline_is_kept() {
        let late = ReadOptions { deadline: Some(std::time::Instant::now()), ..ReadOptions::over(TimeRange::ALL) };
        assert!(matches!(LabelOrder::by(Arc::default()).sort(&mut [()], &late), Err(StoreError::DeadlineExceeded)));
    }
}
