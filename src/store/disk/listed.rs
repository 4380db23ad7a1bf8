//! Which series a set of selectors names, in label order: kept from pull to pull.
//!
//! A puller asks for the same every few seconds, and series come and go now and then. While none has, finding them, putting
//! their labels together and ordering them gives what it gave before.

use std::sync::{Arc, Mutex};

use crate::model::{Labels, Matcher};
use crate::store::SeriesId;
use crate::store::dictionary::Census;

/// Series in all lists together: about 4 MiB, of which the labels are most. A longer list is not kept.
const SERIES_MAX: usize = 32 * 1024;

/// Lists of few series or none.
const LISTS_MAX: usize = 32;

/// The series of some selectors.
pub(super) type List = Arc<[(Labels, SeriesId)]>;

/// The lists, the one used last at the end.
#[derive(Default)]
pub(super) struct Listed(Mutex<Vec<Entry>>);

struct Entry {
    sets: Vec<Vec<Matcher>>,
    census: Census,
    series: List,
}

impl Listed {
    /// The list of these selectors, if no series has come or gone since it was made.
    pub fn find(&self, sets: &[Vec<Matcher>], census: Census) -> Option<List> {
        let mut entries = self.0.lock().expect("no holder of the lock panics");
        let position = entries.iter().position(|entry| entry.sets == sets)?;
        let entry = entries.remove(position);
        if entry.census != census {
            return None;
        }
        let series = Arc::clone(&entry.series);
        entries.push(entry);
        Some(series)
    }

    /// Keeps a list; those that were not used for longest make room.
    pub fn keep(
        &self,
        sets: &[Vec<Matcher>],
        census: Census,
        series: impl ExactSizeIterator<Item = (Labels, SeriesId)>,
    ) {
        if series.len() > SERIES_MAX {
            return;
        }
        let mut entries = self.0.lock().expect("no holder of the lock panics");
        entries.retain(|entry| entry.sets != sets);
        let mut held = entries.iter().map(|entry| entry.series.len()).sum::<usize>() + series.len();
        while held > SERIES_MAX || entries.len() >= LISTS_MAX {
            held -= entries.remove(0).series.len();
        }
        entries.push(Entry { sets: sets.to_vec(), census, series: series.collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::GroupId;
    use crate::store::dictionary::Dictionary;

    fn list(count: usize) -> impl ExactSizeIterator<Item = (Labels, SeriesId)> {
        (0..count).map(|id| (Labels::empty(), SeriesId(id as u32)))
    }

    #[test]
    fn lists_are_bounded_and_the_least_used_goes() {
        let (listed, census) = (Listed::default(), Dictionary::default().census());
        let sets = |name: &str| [vec![Matcher::equal("__name__", name)]];
        let is_there = |name: &str| listed.find(&sets(name), census).is_some();
        listed.keep(&sets("a"), census, list(SERIES_MAX / 2));
        listed.keep(&sets("b"), census, list(SERIES_MAX / 2));
        assert!(is_there("b") && is_there("a"));
        listed.keep(&sets("c"), census, list(1));
        assert_eq!(["a", "b", "c"].map(is_there), [true, false, true]);
        listed.keep(&sets("d"), census, list(SERIES_MAX + 1));
        assert!(!is_there("d") && is_there("a"));
        for number in 0..LISTS_MAX {
            listed.keep(&sets(&number.to_string()), census, list(0));
        }
        assert!(!is_there("a") && is_there("0"));
    }

    #[test]
    fn a_list_ends_when_a_series_comes_or_goes() {
        let (listed, sets) = (Listed::default(), [vec![Matcher::equal("a", "b")]]);
        let mut dictionary = Dictionary::default();
        let labels = |value: &str| Labels::from_pairs([("a", value)]);
        let mut last = None;
        for step in 0..4 {
            match step {
                0 => {}
                1 | 3 => drop(dictionary.insert(GroupId(0), &labels("b"))),
                _ => dictionary.retain(|_| false),
            }
            assert!(last.replace(dictionary.census()) != Some(dictionary.census()), "{step}");
            assert!(listed.find(&sets, dictionary.census()).is_none(), "{step}");
            listed.keep(&sets, dictionary.census(), list(step));
            assert_eq!(listed.find(&sets, dictionary.census()).map(|list| list.len()), Some(step));
        }
    }
}
