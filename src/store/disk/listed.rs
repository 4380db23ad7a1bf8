//! Which series a set of selectors names, in label order: kept from pull to pull.
//!
//! A puller asks for the same every few seconds, and series come and go now and then. While none has, finding them, putting
//! their labels together and ordering them gives what it gave before.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use crate::model::{Labels, Matcher};
use crate::store::SeriesId;
use crate::store::dictionary::Census;

/// What all lists hold together, selectors included. A list that is longer than this alone is not kept.
const BYTES_MAX: usize = 4 << 20;

/// What a series takes beside its labels' bytes: a place in the list, and what allocating costs.
const SERIES_BYTES: usize = 64;

/// The list of selectors that are longer as text is not kept.
const KEY_BYTES_MAX: usize = 4 * 1024;

/// Lists of few series or none.
const LISTS_MAX: usize = 32;

/// The series of some selectors.
pub(super) type List = Arc<[(Labels, SeriesId)]>;

/// The lists, the one used last at the end.
#[derive(Default)]
pub(super) struct Listed(Mutex<Vec<Entry>>);

struct Entry {
    key: String,
    census: Census,
    series: List,
    bytes: usize,
}

impl Listed {
    /// The list of these selectors, if no series has come or gone since it was made.
    pub fn find(&self, sets: &[Vec<Matcher>], census: Census) -> Option<List> {
        let key = key_of(sets)?;
        let mut entries = self.0.lock().expect("no holder of the lock panics");
        let position = entries.iter().position(|entry| entry.key == key)?;
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
        series: impl ExactSizeIterator<Item = (Labels, SeriesId)> + Clone,
    ) {
        let Some(key) = key_of(sets) else { return };
        let bytes_of = |(labels, _): (Labels, SeriesId)| labels.as_bytes().len() + SERIES_BYTES;
        let bytes = key.len() + series.clone().map(bytes_of).sum::<usize>();
        if bytes > BYTES_MAX {
            return;
        }
        let mut entries = self.0.lock().expect("no holder of the lock panics");
        entries.retain(|entry| entry.key != key);
        let mut held = entries.iter().map(|entry| entry.bytes).sum::<usize>() + bytes;
        while held > BYTES_MAX || entries.len() >= LISTS_MAX {
            held -= entries.remove(0).bytes;
        }
        entries.push(Entry { key, census, series: series.collect(), bytes });
    }
}

/// The selectors as text, the same for the same ones; `None` for those that are too long. Compiled, a short regular expression
/// can take as much as all lists.
fn key_of(sets: &[Vec<Matcher>]) -> Option<String> {
    let mut key = String::new();
    for set in sets {
        for matcher in set {
            write!(key, "{matcher},").expect("writing into memory does not fail");
        }
        key.push('\n');
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::GroupId;
    use crate::store::dictionary::Dictionary;

    fn list(count: usize) -> impl ExactSizeIterator<Item = (Labels, SeriesId)> + Clone {
        (0..count).map(|id| (Labels::empty(), SeriesId(id as u32)))
    }

    /// Half of the room, the selectors of one name included.
    const HALF: usize = BYTES_MAX / 2 / SERIES_BYTES - 1;

    #[test]
    fn lists_are_bounded_and_the_least_used_goes() {
        let (listed, census) = (Listed::default(), Dictionary::default().census());
        let sets = |name: &str| [vec![Matcher::equal("__name__", name)]];
        let is_there = |name: &str| listed.find(&sets(name), census).is_some();
        listed.keep(&sets("a"), census, list(HALF));
        listed.keep(&sets("b"), census, list(HALF));
        assert!(is_there("b") && is_there("a"));
        listed.keep(&sets("c"), census, list(2));
        assert_eq!(["a", "b", "c"].map(is_there), [true, false, true]);
        let long = "x".repeat(BYTES_MAX);
        listed.keep(&sets("d"), census, list(BYTES_MAX / SERIES_BYTES));
        listed.keep(&sets("e"), census, [(Labels::from_pairs([("a", &long)]), SeriesId(0))].into_iter());
        listed.keep(&sets(&long[..KEY_BYTES_MAX]), census, list(0));
        assert!(!is_there("d") && !is_there("e") && !is_there(&long[..KEY_BYTES_MAX]) && is_there("a"));
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
