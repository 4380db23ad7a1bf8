//! Label order: series of memory are sorted once the head's lock is given back.
//!
//! Where there are many, texts are compared once per pair and not once per series: then series compare by the ranks of
//! their pairs. For that the pairs' numbers are noted under the lock.

use std::cmp::Ordering;

use crate::model::Labels;
use crate::store::{ReadOptions, StoreError};

/// From how many series on ranks are worth their making, if they have a fair part of all pairs: making them passes over
/// the numbers of all.
const MANY: usize = 256;
/// The part of all pairs that is.
const RANKED_SHARE: usize = 16;

/// The numbers of the pairs of some series.
pub(super) struct LabelOrder {
    is_ranked: bool,
    pairs: Vec<u32>,
    /// Where those of each series end; they begin where the ones before end.
    ends: Vec<usize>,
}

impl LabelOrder {
    /// For at most so many series of a dictionary of so many pairs.
    pub fn of(series_max: usize, pair_count: usize) -> Self {
        let is_ranked = series_max >= MANY.max(pair_count / RANKED_SHARE);
        Self { is_ranked, pairs: Vec::new(), ends: Vec::new() }
    }

    /// Notes the next series; its pairs are asked for only if they count.
    pub fn push<'p>(&mut self, pairs: impl FnOnce() -> &'p [u32]) {
        if self.is_ranked {
            self.pairs.extend_from_slice(pairs());
            self.ends.push(self.pairs.len());
        }
    }

    /// Sorts the series that were noted by their labels.
    ///
    /// # Errors
    ///
    /// Where the read is given up: looked at before the pairs are sorted, and before the series are.
    pub fn sort<T>(
        mut self,
        mut series: Vec<(Labels, T)>,
        options: &ReadOptions,
    ) -> Result<Vec<(Labels, T)>, StoreError> {
        options.check()?;
        if !self.is_ranked {
            series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            return Ok(series);
        }
        self.rank(&series);
        options.check()?;
        let mut order: Vec<u32> = (0..).take(series.len()).collect();
        order.sort_unstable_by(|a, b| self.compare(*a as usize, *b as usize));
        let mut series: Vec<Option<(Labels, T)>> = series.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|index| series[index as usize].take()).collect())
    }

    /// Puts ranks in the place of numbers.
    fn rank<T>(&mut self, series: &[(Labels, T)]) {
        let mut ranks = vec![0u32; self.pairs.iter().max().map_or(0, |most| *most as usize + 1)];
        let mut used = Vec::new();
        let texts = series.iter().flat_map(|(labels, _)| labels.iter());
        for (pair, text) in self.pairs.iter().zip(texts) {
            if std::mem::replace(&mut ranks[*pair as usize], 1) == 0 {
                used.push((text, *pair));
            }
        }
        crate::model::sort_by(&mut used, |a, b| a.0.cmp(&b.0));
        (1..).zip(used).for_each(|(rank, (_, pair))| ranks[pair as usize] = rank);
        self.pairs.iter_mut().for_each(|pair| *pair = ranks[*pair as usize]);
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let ranks = |index: usize| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.pairs[start..self.ends[index]]
        };
        ranks(a).cmp(ranks(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;
    use crate::store::GroupId;
    use crate::store::dictionary::Dictionary;

    /// Series with odd texts, and what is noted of them.
    fn example(count: usize, pair_count: usize) -> (LabelOrder, Vec<(Labels, usize)>) {
        let texts = ["", "a", "a\0", "aa", "b", "up", "é", "__name__"];
        let mut dictionary = Dictionary::default();
        let mut series: Vec<(Labels, usize)> = Vec::new();
        let mut order = LabelOrder::of(count, pair_count);
        for number in 0..count {
            let text = |digit: u32| texts[(number * 37 / 8usize.pow(digit)) % 8];
            let pairs = [("__name__", text(0)), ("a", text(1)), ("b", text(2))];
            let labels = Labels::from_pairs(pairs.into_iter().skip(number % 3));
            let id = dictionary.insert(GroupId(0), &labels);
            if series.iter().all(|(known, _)| *known != labels) {
                order.push(|| dictionary.pair_ids(dictionary.record(id).expect("just inserted")));
                series.push((labels, number));
            }
        }
        (order, series)
    }

    #[test]
    fn the_order_is_that_of_labels() {
        let few_pairs = [(0, 9, false), (1, 9, false), (MANY - 1, 9, false), (MANY, 9, true), (512, 9, true)];
        for (count, pairs, is_ranked) in few_pairs.into_iter().chain([(512, 100_000, false)]) {
            let (order, series) = example(count, pairs);
            assert_eq!((order.is_ranked, order.ends.len()), (is_ranked, if is_ranked { series.len() } else { 0 }));
            let mut expected = series.clone();
            expected.sort();
            assert_eq!(order.sort(series, &ReadOptions::over(TimeRange::ALL)).expect("no deadline"), expected);
        }
    }

    #[test]
    fn a_deadline_is_kept() {
        let late = ReadOptions { deadline: Some(std::time::Instant::now()), ..ReadOptions::over(TimeRange::ALL) };
        for count in [1, 512] {
            let (order, series) = example(count, 9);
            assert!(matches!(order.sort(series, &late), Err(StoreError::DeadlineExceeded)));
        }
    }
}
