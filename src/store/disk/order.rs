//! Label order: series of memory are sorted by the numbers of their label pairs, so that texts are compared where two
//! series first differ and nowhere else.
//!
//! Where there are many, texts are compared once per pair and not once per comparison: then series compare by the ranks of
//! their pairs, and are sorted once the head's lock is given back. For that the pairs' texts are copied under the lock.

use std::cmp::Ordering;

use crate::store::dictionary::Dictionary;
use crate::store::{ReadOptions, StoreError};

/// From how many series on ranks are worth their making, if they have a fair part of all pairs: making them passes over
/// the numbers of all.
const MANY: usize = 256;
/// The part of all pairs that is.
const RANKED_SHARE: usize = 16;

/// The numbers of the pairs of some series.
#[derive(Default)]
pub(super) struct LabelOrder {
    pairs: Vec<u32>,
    /// Where those of each series end; they begin where the ones before end.
    ends: Vec<usize>,
}

/// What is known of the order when the lock is given back.
pub(super) enum Settled {
    /// The series' positions, in order.
    Sorted(Vec<u32>),
    /// Their pairs, and the texts of these.
    Texts(LabelOrder, PairTexts),
}

/// The texts of pairs, one behind the other.
#[derive(Default)]
pub(super) struct PairTexts {
    text: String,
    /// Pair, where its name begins, where its value begins, where that ends.
    places: Vec<(u32, usize, usize, usize)>,
}

impl LabelOrder {
    /// Notes the next series.
    pub fn push(&mut self, pairs: &[u32]) {
        self.pairs.extend_from_slice(pairs);
        self.ends.push(self.pairs.len());
    }

    /// Does what needs the dictionary.
    pub fn settle(self, dictionary: &Dictionary) -> Settled {
        if self.ends.len() >= MANY.max(dictionary.pair_count() / RANKED_SHARE) {
            let texts = self.texts(dictionary);
            return Settled::Texts(self, texts);
        }
        Settled::Sorted(self.sorted(|a, b| {
            let (a, b) = (self.pairs_of(a), self.pairs_of(b));
            match a.iter().zip(b).find(|(a, b)| a != b) {
                Some((a, b)) => dictionary.pair_text(*a).cmp(&dictionary.pair_text(*b)),
                None => a.len().cmp(&b.len()),
            }
        }))
    }

    fn sorted(&self, compare: impl Fn(usize, usize) -> Ordering) -> Vec<u32> {
        let mut order: Vec<u32> = (0..).take(self.ends.len()).collect();
        order.sort_unstable_by(|a, b| compare(*a as usize, *b as usize));
        order
    }

    fn texts(&self, dictionary: &Dictionary) -> PairTexts {
        let mut is_noted = vec![false; dictionary.pair_count()];
        let mut texts = PairTexts::default();
        for pair in &self.pairs {
            if !std::mem::replace(&mut is_noted[*pair as usize], true) {
                texts.push(*pair, dictionary.pair_text(*pair));
            }
        }
        texts
    }

    fn pairs_of(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pairs[start..self.ends[index]]
    }
}

impl PairTexts {
    fn push(&mut self, pair: u32, (name, value): (&str, &str)) {
        let start = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.places.push((pair, start, middle, self.text.len()));
    }

    /// By pair, its place among all.
    fn ranks(mut self) -> Vec<u32> {
        let text = self.text.as_bytes();
        let of = |&(_, start, middle, end): &(u32, usize, usize, usize)| (&text[start..middle], &text[middle..end]);
        crate::model::sort_by(&mut self.places, |a, b| of(a).cmp(&of(b)));
        let pairs = self.places.iter().map(|place| place.0);
        let mut ranks = vec![0u32; pairs.clone().max().map_or(0, |most| most as usize + 1)];
        (1..).zip(pairs).for_each(|(rank, pair)| ranks[pair as usize] = rank);
        ranks
    }
}

impl Settled {
    /// Sorts the series that were noted.
    ///
    /// # Errors
    ///
    /// Where the read is given up: looked at before the pairs are sorted, and before the series are.
    pub fn sort<T>(self, series: Vec<T>, options: &ReadOptions) -> Result<Vec<T>, StoreError> {
        options.check()?;
        let order = match self {
            Self::Sorted(order) => order,
            Self::Texts(mut series, texts) => {
                let ranks = texts.ranks();
                series.pairs.iter_mut().for_each(|pair| *pair = ranks[*pair as usize]);
                options.check()?;
                series.sorted(|a, b| series.pairs_of(a).cmp(series.pairs_of(b)))
            }
        };
        let mut series: Vec<Option<T>> = series.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|index| series[index as usize].take()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, TimeRange};
    use crate::store::GroupId;

    /// Series with odd texts, and what is noted of them; the dictionary has so many further pairs.
    fn example(count: usize, further: usize) -> (Dictionary, LabelOrder, Vec<Labels>) {
        let texts = ["", "a", "a\0", "aa", "b", "up", "é", "__name__"];
        let mut dictionary = Dictionary::default();
        let mut order = LabelOrder::default();
        let mut series: Vec<Labels> = Vec::new();
        for number in 0..count {
            let text = |digit: u32| texts[(number * 37 / 8usize.pow(digit)) % 8];
            let pairs = [("__name__", text(0)), ("a", text(1)), ("b", text(2))];
            let labels = Labels::from_pairs(pairs.into_iter().skip(number % 3));
            let id = dictionary.insert(GroupId(0), &labels);
            if !series.contains(&labels) {
                order.push(dictionary.pair_ids(dictionary.record(id).expect("just inserted")));
                series.push(labels);
            }
        }
        for number in 0..further {
            dictionary.insert(GroupId(0), &Labels::from_pairs([("further", number.to_string())]));
        }
        (dictionary, order, series)
    }

    #[test]
    fn the_order_is_that_of_labels() {
        for (count, further, is_ranked) in
            [(0, 9, false), (1, 9, false), (90, 9, false), (900, 9, true), (900, 99_999, false)]
        {
            let (dictionary, order, series) = example(count, further);
            let mut expected = series.clone();
            expected.sort();
            let settled = order.settle(&dictionary);
            assert_eq!(matches!(settled, Settled::Texts(..)), is_ranked, "{count} series, {further} further pairs");
            assert_eq!(settled.sort(series, &ReadOptions::over(TimeRange::ALL)).expect("no deadline"), expected);
        }
    }

    #[test]
    fn a_deadline_is_kept() {
        let late = ReadOptions { deadline: Some(std::time::Instant::now()), ..ReadOptions::over(TimeRange::ALL) };
        for count in [1, 900] {
            let (dictionary, order, series) = example(count, 9);
            assert!(matches!(order.settle(&dictionary).sort(series, &late), Err(StoreError::DeadlineExceeded)));
        }
    }
}
