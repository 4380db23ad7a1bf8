//! Which series the head knows: ids for label sets, in little memory.
//!
//! Strings are interned as symbols, name and value together as pairs, and a series is a run of pair
//! ids in one arena: 4 bytes a label, and 4 more in the postings. Series ids only go up; a series that
//! has ended is dropped by rebuilding the whole ([`Dictionary::retain`]), which also frees its strings.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::{GroupId, SeriesId};
use crate::model::Labels;

/// A column that has not been given yet.
pub(super) const NO_COLUMN: u32 = u32::MAX;

/// What the head knows of a series besides its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Its id.
    pub id: SeriesId,
    /// The group that stores it.
    pub group: GroupId,
    /// Its column in the group's present layout, or [`NO_COLUMN`].
    pub column: u32,
    /// Where its pair ids begin in the arena. They end where those of the next record begin.
    pairs_at: u32,
}

/// Strings, pairs and series.
#[derive(Default)]
pub(super) struct Dictionary {
    symbols: Symbols,
    pairs: Vec<Pair>,
    pair_table: HashTable<u32>,
    /// Per name symbol, the pairs with that name. Symbols that are only values have an empty list.
    by_name: Vec<(u32, Vec<u32>)>,
    arena: Vec<u32>,
    /// In id order.
    records: Vec<Record>,
    series_table: HashTable<u32>,
    next_id: u32,
    hasher: FixedState,
}

struct Pair {
    name: u32,
    value: u32,
    postings: Postings,
}

/// The series that carry a pair, in id order. Most pairs have one series: no allocation for those.
enum Postings {
    One(SeriesId),
    Many(Vec<SeriesId>),
}

impl Postings {
    fn as_slice(&self) -> &[SeriesId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: SeriesId) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, id]),
            Self::Many(ids) => push_tight(ids, id),
        }
    }
}

/// Tells whether series have come or gone: ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    next_id: u32,
    series: usize,
}

impl Dictionary {
    /// An empty dictionary whose first series gets the id `next_id`.
    pub fn starting_at(next_id: u32) -> Self {
        Self { next_id, ..Self::default() }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many distinct name and value pairs there are.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// Changes when a series comes or goes.
    pub fn census(&self) -> Census {
        Census { next_id: self.next_id, series: self.records.len() }
    }

    /// The id that the next new series gets.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Moves when series are dropped: pairs then have other numbers.
    pub fn generation(&self) -> u32 {
        // Ids are never used again.
        self.next_id - self.records.len() as u32
    }

    /// All series in id order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<SeriesId> {
        let pairs = labels.iter().map(|(name, value)| self.find_pair(name, value)).collect::<Option<Vec<u32>>>()?;
        self.find_pairs(&pairs)
    }

    /// The series with these labels, made in `group` if it is new.
    pub fn insert(&mut self, group: GroupId, labels: &Labels) -> SeriesId {
        self.find(labels).unwrap_or_else(|| {
            let id = SeriesId(self.next_id);
            self.push(id, group, labels.iter());
            id
        })
    }

    /// What is known of a series.
    pub fn record(&self, id: SeriesId) -> Option<&Record> {
        self.position(id).map(|position| &self.records[position])
    }

    /// The same, to give it its column.
    pub fn record_mut(&mut self, id: SeriesId) -> Option<&mut Record> {
        self.position(id).map(|position| &mut self.records[position])
    }

    /// Takes all columns away, before they are given anew.
    pub fn clear_columns(&mut self) {
        self.records.iter_mut().for_each(|record| record.column = NO_COLUMN);
    }

    /// The labels of a series in name order.
    pub fn pairs_of<'a>(&'a self, record: &Record) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.pair_ids(record).iter().map(|pair| self.pair_text(*pair))
    }

    /// The labels of a series.
    pub fn labels(&self, record: &Record) -> Labels {
        self.labels_in(record, &mut Vec::with_capacity(128))
    }

    /// The same, put together in a buffer that serves for many.
    pub fn labels_in(&self, record: &Record, buffer: &mut Vec<u8>) -> Labels {
        Labels::from_sorted_in(self.pairs_of(record), buffer)
    }

    /// The number of a text that is used, as a label's name or as a value.
    pub fn symbol(&self, text: &str) -> Option<u32> {
        self.symbols.find(text)
    }

    /// The number of a pair's name.
    pub fn name_of(&self, pair: u32) -> u32 {
        self.pairs[pair as usize].name
    }

    /// Whether any series has a label of that name.
    pub fn has_name(&self, name: &str) -> bool {
        self.name_position(name).is_some()
    }

    /// The labels of a series in name order, as numbers: the same for the same pair until series are dropped.
    pub fn pair_ids(&self, record: &Record) -> &[u32] {
        self.position(record.id).map_or(&[], |position| slice_of(&self.arena, &self.records, position))
    }

    /// The label names in use, with the values of each and the series of each value.
    pub fn names(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, &[SeriesId])>)> {
        self.by_name.iter().map(|(name, pairs)| {
            let values = pairs.iter().map(|pair| {
                let pair = &self.pairs[*pair as usize];
                (self.symbols.text(pair.value), pair.postings.as_slice())
            });
            (self.symbols.text(*name), values)
        })
    }

    /// The values of one label, with the series of each.
    pub fn values(&self, name: &str) -> impl Iterator<Item = (&str, &[SeriesId])> {
        let listed = self.name_position(name).map_or(&[][..], |position| &self.by_name[position].1);
        listed.iter().map(|pair| {
            let pair = &self.pairs[*pair as usize];
            (self.symbols.text(pair.value), pair.postings.as_slice())
        })
    }

    /// The series that carry one exact pair, in id order.
    pub fn series_with(&self, name: &str, value: &str) -> &[SeriesId] {
        self.find_pair(name, value).map_or(&[], |pair| self.pairs[pair as usize].postings.as_slice())
    }

    /// Drops all series for which `keep` does not hold, and the strings that only they used.
    pub fn retain(&mut self, keep: impl Fn(SeriesId) -> bool) {
        let mut kept = Self::starting_at(0);
        for record in self.records.iter().filter(|record| keep(record.id)) {
            kept.push(record.id, record.group, self.pairs_of(record));
            kept.records.last_mut().expect("just pushed").column = record.column;
        }
        kept.next_id = self.next_id;
        *self = kept;
    }

    /// Bytes of memory, estimated from the capacities.
    pub fn memory(&self) -> usize {
        let postings: usize = self
            .pairs
            .iter()
            .map(|pair| match &pair.postings {
                Postings::One(_) => 0,
                Postings::Many(ids) => ids.capacity() * size_of::<SeriesId>(),
            })
            .sum();
        let names: usize = self.by_name.iter().map(|(_, pairs)| pairs.capacity() * 4 + 32).sum();
        let tables = (self.pair_table.capacity() + self.series_table.capacity() + self.symbols.table.capacity()) * 6;
        postings
            + names
            + tables
            + self.symbols.text.capacity()
            + self.symbols.ends.capacity() * 4
            + self.pairs.capacity() * size_of::<Pair>()
            + self.arena.capacity() * 4
            + self.records.capacity() * size_of::<Record>()
    }

    fn push<'a>(&mut self, id: SeriesId, group: GroupId, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        debug_assert!(self.records.last().is_none_or(|last| last.id < id), "ids rise");
        let pairs_at = self.arena.len();
        for (name, value) in labels {
            let pair = self.intern_pair(name, value, id);
            push_tight(&mut self.arena, pair);
        }
        let record = Record { id, group, column: NO_COLUMN, pairs_at: pairs_at as u32 };
        push_tight(&mut self.records, record);
        self.next_id = id.0 + 1;
        let Self { arena, records, series_table, hasher, .. } = self;
        let hash_at = |position: u32| hasher.hash_one(slice_of(arena, records, position as usize));
        let position = (records.len() - 1) as u32;
        series_table.insert_unique(hash_at(position), position, |position| hash_at(*position));
    }

    fn find_pairs(&self, pairs: &[u32]) -> Option<SeriesId> {
        let hash = self.hasher.hash_one(pairs);
        let is_same = |position: &u32| slice_of(&self.arena, &self.records, *position as usize) == pairs;
        self.series_table.find(hash, is_same).map(|position| self.records[*position as usize].id)
    }

    fn intern_pair(&mut self, name: &str, value: &str, id: SeriesId) -> u32 {
        if let Some(pair) = self.find_pair(name, value) {
            self.pairs[pair as usize].postings.push(id);
            return pair;
        }
        let (name, value) = (self.symbols.intern(name), self.symbols.intern(value));
        let pair = self.pairs.len() as u32;
        push_tight(&mut self.pairs, Pair { name, value, postings: Postings::One(id) });
        let Self { pairs, pair_table, by_name, hasher, .. } = self;
        let hash_of = |pair: u32| hasher.hash_one((pairs[pair as usize].name, pairs[pair as usize].value));
        pair_table.insert_unique(hash_of(pair), pair, |pair| hash_of(*pair));
        // Few label names exist (tens), so a scan does.
        match by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, listed)) => push_tight(listed, pair),
            None => by_name.push((name, vec![pair])),
        }
        pair
    }

    fn find_pair(&self, name: &str, value: &str) -> Option<u32> {
        let (name, value) = (self.symbols.find(name)?, self.symbols.find(value)?);
        let is_same = |pair: &u32| (self.pairs[*pair as usize].name, self.pairs[*pair as usize].value) == (name, value);
        self.pair_table.find(self.hasher.hash_one((name, value)), is_same).copied()
    }

    fn name_position(&self, name: &str) -> Option<usize> {
        let symbol = self.symbols.find(name)?;
        self.by_name.iter().position(|(known, _)| *known == symbol)
    }

    /// The name and the value of a pair.
    pub fn pair_text(&self, pair: u32) -> (&str, &str) {
        let pair = &self.pairs[pair as usize];
        (self.symbols.text(pair.name), self.symbols.text(pair.value))
    }

    fn position(&self, id: SeriesId) -> Option<usize> {
        // Ids are dense until something was dropped: look where it would be then.
        let first = self.records.first()?.id.0;
        let guess = id.0.checked_sub(first)? as usize;
        if self.records.get(guess).is_some_and(|record| record.id == id) {
            return Some(guess);
        }
        self.records.binary_search_by_key(&id, |record| record.id).ok()
    }
}

/// Appends with room for an eighth more at most: doubling would leave a quarter of all this unused.
pub(super) fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 4);
    }
    list.push(item);
}

fn slice_of<'a>(arena: &'a [u32], records: &[Record], position: usize) -> &'a [u32] {
    let end = records.get(position + 1).map_or(arena.len(), |next| next.pairs_at as usize);
    &arena[records[position].pairs_at as usize..end]
}

/// Interned strings: all text in one buffer.
#[derive(Default)]
struct Symbols {
    text: String,
    /// Where each symbol ends; it begins where the one before ends.
    ends: Vec<u32>,
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Symbols {
    fn text(&self, symbol: u32) -> &str {
        text_of(&self.text, &self.ends, symbol)
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.table.find(self.hasher.hash_one(text), |symbol| self.text(*symbol) == text).copied()
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let symbol = self.ends.len() as u32;
        if self.text.capacity() - self.text.len() < text.len() {
            self.text.reserve_exact(text.len() + self.text.len() / 8);
        }
        self.text.push_str(text);
        // Bodies and label lengths are bounded far below: 4 GiB of label text cannot come together.
        push_tight(&mut self.ends, u32::try_from(self.text.len()).expect("label text stays below 4 GiB"));
        let Self { text: all, ends, table, hasher } = self;
        let hash_of = |symbol: &u32| hasher.hash_one(text_of(all, ends, *symbol));
        table.insert_unique(hash_of(&symbol), symbol, hash_of);
        symbol
    }
}

fn text_of<'a>(text: &'a str, ends: &[u32], symbol: u32) -> &'a str {
    let start = if symbol == 0 { 0 } else { ends[symbol as usize - 1] };
    &text[start as usize..ends[symbol as usize] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, job: &str) -> Labels {
        Labels::from_pairs([("__name__", name), ("job", job)])
    }

    #[test]
    fn same_labels_same_id_and_text_comes_back() {
        let mut dictionary = Dictionary::default();
        let a = dictionary.insert(GroupId(0), &labels("up", "node"));
        let b = dictionary.insert(GroupId(1), &labels("node", "up"));
        assert_ne!(a, b);
        assert_eq!(dictionary.insert(GroupId(7), &labels("up", "node")), a);
        let record = dictionary.record(b).expect("just inserted");
        assert_eq!((dictionary.labels(record), record.group), (labels("node", "up"), GroupId(1)));
        assert_eq!(dictionary.find(&labels("up", "other")), None);
    }

    #[test]
    fn dropped_series_are_gone_and_ids_are_not_reused() {
        let mut dictionary = Dictionary::default();
        let ids: Vec<SeriesId> =
            (0..100).map(|index| dictionary.insert(GroupId(0), &labels(&format!("m{index}"), "x"))).collect();
        dictionary.retain(|id| id.0 % 10 == 3);
        assert_eq!(dictionary.len(), 10);
        assert_eq!(dictionary.pair_count(), 11);
        assert!(dictionary.record(ids[4]).is_none());
        let kept = dictionary.record(ids[43]).expect("kept");
        assert_eq!(dictionary.labels(kept), labels("m43", "x"));
        assert_eq!(dictionary.series_with("job", "x").len(), 10);
        assert_eq!(dictionary.insert(GroupId(0), &labels("m4", "x")), SeriesId(100));
    }
}
