//! What a target's series were called last time: 16 bytes per series, no text.
//!
//! A page names its series in the same order as the one before, nearly always. So the cache is a list in page order:
//! the next line's keyed hash is compared with the next entry, then with a few behind it, and only then looked up in
//! an index that is built for the occasion and thrown away after the page. The key keeps a target from choosing
//! names that collide.
//!
//! The list also says how long each spelling is: where the next bytes of the page hash to the expected entry, they need
//! not be read as a name and labels once more.
//!
//! A pass over a page changes nothing that outlives it until it is committed: a page that turns out to be bad
//! leaves the cache as it was.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::store::SeriesId;

/// How far behind the expected entry is looked before the index is built: a few series come and go.
const WINDOW: usize = 16;

/// One spelling of a series.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    id: SeriesId,
    /// The pass that last saw it, and its flags.
    state: u16,
    /// Bytes of the spelling; 0 if it is too long for the number.
    len: u16,
}

/// Relabeling dropped it: there is no id.
const DROPPED: u16 = 1;
/// It had a sample in the last good scrape, and is to be ended when it vanishes.
const LIVE: u16 = 2;
/// As `LIVE`, of the pass that is going on.
const TRACKED: u16 = 4;
const FLAGS: u16 = DROPPED | LIVE | TRACKED;
const PASS: u16 = FLAGS + 1;

/// The spellings of one target.
#[derive(Debug)]
pub(super) struct SeriesCache {
    entries: Vec<Entry>,
    /// Series that a predecessor left, to be ended unless they come again.
    inherited: Vec<SeriesId>,
    key: u64,
    /// Never 0: an entry with 0 was seen long ago.
    pass: u16,
}

/// What a line's series is known as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has an id.
    Known(SeriesId),
    /// Relabeling drops it.
    Dropped,
    /// It was on this page already; its id, if it was stored before.
    Again(Option<SeriesId>, Place),
    /// It is new.
    New(u64),
}

/// Where a series is noted during a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the cache.
    Entry(u32),
    /// Among the new ones.
    Fresh(u32),
}

/// A new spelling of this pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    hash: u64,
    len: u16,
    /// Its id once it has one; `None` if it is dropped, or not stored.
    pub(super) id: Option<SeriesId>,
    /// Whether relabeling drops it.
    pub(super) dropped: bool,
    tracked: bool,
}

/// The state of one pass; its buffers may be used again.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The expected entry.
    cursor: usize,
    /// What was seen last: some pages repeat a series with other timestamps.
    last: Option<(u64, Place)>,
    /// Whether the order has changed; then `order` holds what follows the first `prefix` entries.
    prefix: Option<usize>,
    order: Vec<Place>,
    index: Option<HashMap<u64, u32, foldhash::fast::FixedState>>,
    /// The new spellings.
    pub(super) fresh: Vec<Fresh>,
    fresh_index: HashMap<u64, u32, foldhash::fast::FixedState>,
}

impl Pass {
    /// Forgets everything and keeps moderate memory.
    pub(super) fn clear(&mut self) {
        const KEPT: usize = 1024;
        self.cursor = 0;
        self.last = None;
        self.prefix = None;
        self.order.clear();
        self.order.shrink_to(KEPT);
        self.index = None;
        self.fresh.clear();
        self.fresh.shrink_to(KEPT);
        self.fresh_index.clear();
        self.fresh_index.shrink_to(KEPT);
    }
}

impl SeriesCache {
    /// An empty cache; `key` should be random.
    pub(super) fn new(key: u64) -> Self {
        Self { entries: Vec::new(), inherited: Vec::new(), key, pass: 0 }
    }

    /// Forgets the spellings, since they would lead to other series now, but not what is to be ended.
    pub(super) fn forget_spellings(&mut self) {
        let live = self.live();
        self.entries = Vec::new();
        self.inherited = live;
    }

    /// Starts a pass over a page.
    pub(super) fn begin(&mut self, pass: &mut Pass) {
        pass.clear();
        self.pass = self.pass.wrapping_add(PASS) & !FLAGS;
        if self.pass == 0 {
            self.entries.iter_mut().for_each(|entry| entry.state &= FLAGS);
            self.pass = PASS;
        }
    }

    /// The length of the spelling that is expected next; 0 if none is.
    #[inline]
    pub(super) fn expected_len(&self, pass: &Pass) -> usize {
        self.entries.get(pass.cursor).map_or(0, |entry| usize::from(entry.len))
    }

    /// Whether these bytes, [`Self::expected_len`] many, are the expected spelling.
    #[inline]
    pub(super) fn is_expected(&self, pass: &Pass, raw: &[u8]) -> bool {
        self.entries.get(pass.cursor).is_some_and(|entry| entry.hash == xxh3_64_with_seed(raw, self.key))
    }

    /// The series of the page's next line, which is the expected one.
    #[inline]
    pub(super) fn take_expected(&mut self, pass: &mut Pass, tracked: bool) -> Found {
        let at = pass.cursor;
        self.found(pass, at, self.entries[at].hash, tracked)
    }

    /// Looks up the series of the page's next line. `tracked` says whether its end is to be noticed.
    #[inline]
    pub(super) fn find(&mut self, pass: &mut Pass, raw: &[u8], tracked: bool) -> Found {
        let hash = xxh3_64_with_seed(raw, self.key);
        match self.entries.get(pass.cursor) {
            Some(entry) if entry.hash == hash => self.found(pass, pass.cursor, hash, tracked),
            _ => self.find_elsewhere(pass, hash, tracked),
        }
    }

    /// Notes a new series that [`Self::find`] did not know.
    pub(super) fn add(&mut self, pass: &mut Pass, hash: u64, raw: &[u8], dropped: bool, tracked: bool) -> Place {
        let at = u32::try_from(pass.fresh.len()).expect("samples of a page are bounded");
        let len = u16::try_from(raw.len()).unwrap_or(0);
        pass.fresh.push(Fresh { hash, len, id: None, dropped, tracked });
        pass.fresh_index.insert(hash, at);
        let place = Place::Fresh(at);
        self.deviate(pass);
        pass.order.push(place);
        pass.last = Some((hash, place));
        place
    }

    /// Makes the pass's findings the cache's, and appends the series that have ended to `ended`.
    pub(super) fn commit(&mut self, pass: &mut Pass, ended: &mut Vec<SeriesId>) {
        ended.append(&mut self.inherited);
        let current = self.pass;
        let mut all_seen = true;
        for entry in &mut self.entries {
            let seen = entry.state & !FLAGS == current;
            let tracked = seen && entry.state & TRACKED != 0;
            all_seen &= seen;
            if entry.state & LIVE != 0 && !tracked {
                ended.push(entry.id);
            }
            let live = if tracked { LIVE } else { 0 };
            entry.state = (entry.state & !(LIVE | TRACKED)) | live;
        }
        if pass.prefix.is_some() || !all_seen {
            self.reorder(pass);
        }
        self.without_current(ended);
    }

    /// Ends everything: the scrape failed. The spellings stay known.
    pub(super) fn fail(&mut self, ended: &mut Vec<SeriesId>) {
        ended.extend(self.live());
        self.inherited = Vec::new();
        for entry in &mut self.entries {
            entry.state &= !(LIVE | TRACKED);
        }
        ended.sort_unstable();
        ended.dedup();
    }

    /// Forgets spellings whose series the store has dropped.
    pub(super) fn forget(&mut self, gone: &[SeriesId]) {
        self.entries.retain(|entry| entry.state & DROPPED != 0 || !gone.contains(&entry.id));
    }

    fn live(&self) -> Vec<SeriesId> {
        let live = self.entries.iter().filter(|entry| entry.state & LIVE != 0).map(|entry| entry.id);
        self.inherited.iter().copied().chain(live).collect()
    }

    #[inline]
    fn found(&mut self, pass: &mut Pass, at: usize, hash: u64, tracked: bool) -> Found {
        let current = self.pass;
        let entry = &mut self.entries[at];
        let place = Place::Entry(at as u32);
        let dropped = entry.state & DROPPED != 0;
        let again = entry.state & !FLAGS == current;
        let tracking = if tracked && !dropped { TRACKED } else { 0 };
        let kept = if again { entry.state & FLAGS } else { entry.state & (DROPPED | LIVE) };
        entry.state = current | kept | tracking;
        let id = entry.id;
        pass.last = Some((hash, place));
        if again {
            return if dropped { Found::Dropped } else { Found::Again(Some(id), place) };
        }
        if pass.prefix.is_some() {
            pass.order.push(place);
        }
        pass.cursor = at + 1;
        if dropped { Found::Dropped } else { Found::Known(id) }
    }

    #[cold]
    fn find_elsewhere(&mut self, pass: &mut Pass, hash: u64, tracked: bool) -> Found {
        match pass.last {
            Some((last, Place::Entry(at))) if last == hash => return self.found(pass, at as usize, hash, tracked),
            Some((last, Place::Fresh(at))) if last == hash => return fresh_again(pass, at, tracked),
            _ => {}
        }
        if let Some(at) = self.position(pass, hash) {
            if self.entries[at].state & !FLAGS != self.pass {
                self.deviate(pass);
            }
            return self.found(pass, at, hash, tracked);
        }
        match pass.fresh_index.get(&hash) {
            Some(at) => fresh_again(pass, *at, tracked),
            None => Found::New(hash),
        }
    }

    fn position(&self, pass: &mut Pass, hash: u64) -> Option<usize> {
        let near = self.entries.iter().enumerate().skip(pass.cursor + 1).take(WINDOW);
        if let Some((at, _)) = near.into_iter().find(|(_, entry)| entry.hash == hash) {
            return Some(at);
        }
        let index = pass.index.get_or_insert_with(|| {
            let pairs = self.entries.iter().enumerate();
            pairs.map(|(at, entry)| (entry.hash, at as u32)).collect()
        });
        index.get(&hash).map(|at| *at as usize)
    }

    /// From here on the page's order is not the cache's.
    fn deviate(&self, pass: &mut Pass) {
        if pass.prefix.is_none() {
            pass.prefix = Some(pass.cursor);
        }
    }

    fn reorder(&mut self, pass: &Pass) {
        let current = self.pass;
        let prefix = pass.prefix.unwrap_or(self.entries.len());
        let mut entries = Vec::with_capacity(prefix + pass.order.len());
        let seen = |entry: &&Entry| entry.state & !FLAGS == current;
        entries.extend(self.entries[..prefix].iter().filter(seen).copied());
        for place in &pass.order {
            match place {
                Place::Entry(at) => entries.push(self.entries[*at as usize]),
                Place::Fresh(at) => entries.extend(pass.fresh[*at as usize].entry(current)),
            }
        }
        self.entries = entries;
    }

    /// Two spellings may mean one series: it has not ended while one of them is there.
    fn without_current(&self, ended: &mut Vec<SeriesId>) {
        if ended.is_empty() {
            return;
        }
        ended.sort_unstable();
        ended.dedup();
        let is_current = |entry: &&Entry| entry.state & LIVE != 0;
        let mut current: Vec<SeriesId> = self.entries.iter().filter(is_current).map(|entry| entry.id).collect();
        current.sort_unstable();
        ended.retain(|id| current.binary_search(id).is_err());
    }
}

impl Fresh {
    fn entry(&self, pass: u16) -> Option<Entry> {
        let (hash, len, live) = (self.hash, self.len, if self.tracked { LIVE } else { 0 });
        match self.id {
            Some(id) => Some(Entry { hash, id, state: pass | live, len }),
            None if self.dropped => Some(Entry { hash, id: SeriesId(u32::MAX), state: pass | DROPPED, len }),
            // The store had no room for it: it is offered again next time.
            None => None,
        }
    }
}

fn fresh_again(pass: &mut Pass, at: u32, tracked: bool) -> Found {
    let fresh = &mut pass.fresh[at as usize];
    fresh.tracked |= tracked;
    pass.last = Some((fresh.hash, Place::Fresh(at)));
    if fresh.dropped { Found::Dropped } else { Found::Again(None, Place::Fresh(at)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a page of one-letter series: a capital is dropped, `!` in front breaks the page off. Ids are letters.
    fn play(cache: &mut SeriesCache, page: &str) -> (String, String) {
        let mut pass = Pass::default();
        cache.begin(&mut pass);
        let mut seen = String::new();
        for letter in page.bytes().filter(|letter| *letter != b'!') {
            let found = match cache.expected_len(&pass) == 1 && cache.is_expected(&pass, &[letter]) {
                true => cache.take_expected(&mut pass, letter != b'x'),
                false => cache.find(&mut pass, &[letter], letter != b'x'),
            };
            seen.push(match found {
                Found::Known(id) => {
                    assert_eq!(id, SeriesId(letter.into()));
                    '.'
                }
                Found::Dropped => '-',
                Found::Again(..) => '2',
                Found::New(hash) => {
                    let dropped = letter.is_ascii_uppercase();
                    cache.add(&mut pass, hash, &[letter], dropped, letter != b'x');
                    let id = (!dropped).then_some(SeriesId(letter.into()));
                    pass.fresh.last_mut().expect("just added").id = id;
                    '+'
                }
            });
        }
        let mut ended = Vec::new();
        match page.starts_with('!') {
            true => cache.fail(&mut ended),
            false => cache.commit(&mut pass, &mut ended),
        }
        (seen, ended.iter().map(|id| char::from_u32(id.0).expect("a letter")).collect())
    }

    #[test]
    fn pages_in_a_row() {
        let cases: [&[(&str, &str, &str)]; 8] = [
            &[("abc", "+++", ""), ("abc", "...", ""), ("abc", "...", "")],
            &[("abc", "+++", ""), ("bc", "..", "a"), ("abc", "+..", ""), ("ab", "..", "c"), ("", "", "ab")],
            &[("abcdef", "++++++", ""), ("fedcba", "......", ""), ("afbxcd", "...+..", "e"), ("afbcd", ".....", "")],
            &[("abab", "++22", ""), ("aabb", ".2.2", ""), ("ba", "..", ""), ("bab", "..2", "")],
            &[("aXb", "+++", ""), ("aXXb", ".--.", ""), ("b", ".", "a"), ("Xb", "+.", "")],
            &[("abc", "+++", ""), ("!ab", "..", "abc"), ("abc", "...", ""), ("!", "", "abc"), ("!", "", "")],
            // Explicit timestamps: the end is not noticed.
            &[("ax", "++", ""), ("a", ".", ""), ("", "", "a")],
            &[("abcd", "++++", ""), ("adcbe", "....+", ""), ("adcbe", ".....", "")],
        ];
        for pages in cases {
            let mut cache = SeriesCache::new(42);
            for (page, seen, ended) in pages {
                assert_eq!(play(&mut cache, page), (seen.to_string(), ended.to_string()), "{page} of {pages:?}");
            }
        }
    }

    #[test]
    fn far_moves_use_the_index() {
        let mut cache = SeriesCache::new(1);
        let letters: String = (b'a'..=b'w').chain(b'0'..=b'9').map(char::from).collect();
        let reversed: String = letters.chars().rev().collect();
        play(&mut cache, &letters);
        for page in [&reversed, &letters, &letters] {
            assert_eq!(play(&mut cache, page), (".".repeat(33), String::new()));
        }
        assert_eq!(cache.entries.len(), 33);
    }

    #[test]
    fn passes_without_end() {
        let mut cache = SeriesCache::new(1);
        play(&mut cache, "ab");
        let passes = u16::MAX / PASS + 2;
        // A bad page leaves `b` with the pass that last saw it; when the count comes round, it is not taken for seen.
        for _ in 0..passes {
            assert_eq!(play(&mut cache, "!a").0, ".");
        }
        for _ in 0..passes {
            assert_eq!(play(&mut cache, "ab"), ("..".to_owned(), String::new()));
        }
    }

    #[test]
    fn heirs_end_what_does_not_come_again() {
        let mut cache = SeriesCache::new(1);
        play(&mut cache, "abc");
        cache.forget_spellings();
        assert_eq!(play(&mut cache, "bd"), ("++".to_owned(), "ac".to_owned()));
        assert_eq!(play(&mut cache, "bd"), ("..".to_owned(), String::new()));
    }
}
