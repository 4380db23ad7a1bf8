//! Label sets: one immutable, shared allocation per set, sorted by name.
//!
//! Layout of the buffer, per label in name order: name length (LEB128), name bytes, value length
//! (LEB128), value bytes. A 5,000-series site keeps its label sets in symbols inside the store; this
//! type is what crosses module borders.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::quote_to;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable label set, sorted by label name. Only annotations have empty values. Cloning shares the buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Builds a set from pairs in any order. Empty values are left out, since Prometheus treats an
    /// empty value as an absent label; of two pairs with the same name the later one wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// Texts by name, empty ones too, as annotations may have: nothing is left out. Of two pairs with the same name the
    /// later one wins.
    pub fn of_texts<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let texts: BTreeMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self::from_sorted(texts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Encodes pairs that are already sorted by name, unique, and without empty values.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_sorted_in(pairs, &mut Vec::with_capacity(128))
    }

    /// The same, put together in a buffer that serves for many sets.
    pub fn from_sorted_in<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        for (name, value) in pairs {
            push_part(buffer, name);
            push_part(buffer, value);
        }
        Self(Arc::from(&buffer[..]))
    }

    /// The value of `name`, if the label is present.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Sorted, but sets are small: a scan that stops early beats any index.
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let (candidate, value) = (take_bytes(&mut rest), take_bytes(&mut rest));
            match candidate.cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Some(as_text(value)),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric's name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// The pairs in name order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// How many labels the set has.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// The set without the metric's name.
    pub fn without_metric_name(&self) -> Self {
        self.filtered(|name| name != METRIC_NAME)
    }

    /// The labels whose name satisfies `keep`.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut buffer = Vec::with_capacity(self.0.len());
        self.filter_to(keep, &mut buffer);
        if buffer.len() == self.0.len() { self.clone() } else { Self(buffer.into()) }
    }

    /// Appends the encoded form of the labels whose name satisfies `keep`: [`Self::as_bytes`] of
    /// [`Self::filtered`], for looking up keys.
    pub fn filter_to(&self, keep: impl Fn(&str) -> bool, buffer: &mut Vec<u8>) {
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let pair = rest;
            let name = take_bytes(&mut rest);
            take_bytes(&mut rest);
            if keep(as_text(name)) {
                buffer.extend_from_slice(&pair[..pair.len() - rest.len()]);
            }
        }
    }

    /// Prometheus's own hash of a label set: rule slots, scrape offsets and `limit_ratio` depend on its
    /// exact value. It is xxHash64 over the labels as Prometheus's released builds (`stringlabels`)
    /// hold them, which is this type's own layout.
    pub fn prometheus_hash(&self) -> u64 {
        xxhash_rust::xxh64::xxh64(&self.0, 0)
    }

    /// The encoded form, equal for equal sets: a map key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Label by label, name before value, a prefix before its extension: Prometheus's order.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        // The bytes of texts stand in the order of the texts.
        let (mut rest, mut other) = (&self.0[..], &other.0[..]);
        while !rest.is_empty() && !other.is_empty() {
            match take_bytes(&mut rest).cmp(take_bytes(&mut other)) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        rest.len().cmp(&other.len())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Prometheus's notation without the name in front: `{a="b", c="d"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from("{");
        for (index, (name, value)) in self.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            match is_legacy_label_name(name) {
                true => text.push_str(name),
                false => quote_to(&mut text, name),
            }
            text.push('=');
            quote_to(&mut text, value);
        }
        text.push('}');
        f.write_str(&text)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The pairs of a [`Labels`] in name order.
#[derive(Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let name = take_part(&mut self.rest);
        let value = take_part(&mut self.rest);
        Some((name, value))
    }
}

/// A label set under construction: pairs sorted by name, empty values allowed until [`build`].
///
/// [`build`]: LabelsBuilder::build
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets or replaces a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.position(&name) {
            Ok(index) if value.is_empty() => drop(self.pairs.remove(index)),
            Ok(index) => self.pairs[index].1 = value,
            Err(_) if value.is_empty() => {}
            Err(index) => self.pairs.insert(index, (name, value)),
        }
        self
    }

    /// Removes a label if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(index) = self.position(name) {
            self.pairs.remove(index);
        }
        self
    }

    /// Keeps the labels for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(name, value)| keep(name, value));
        self
    }

    /// The value of `name`, if set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|index| self.pairs[index].1.as_str())
    }

    /// The pairs in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name))
    }
}

/// Whether `name` needs no quotes as a label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy_name(name, |byte| byte == b'_')
}

/// Whether `name` needs no quotes as a metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_legacy_name(name, |byte| byte == b'_' || byte == b':')
}

fn is_legacy_name(name: &str, is_extra: impl Fn(u8) -> bool) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || is_extra(first))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || is_extra(byte))
}

fn push_part(buffer: &mut Vec<u8>, part: &str) {
    let mut rest = part.len();
    while rest >= 0x80 {
        buffer.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    buffer.push(rest as u8);
    buffer.extend_from_slice(part.as_bytes());
}

fn take_part<'a>(rest: &mut &'a [u8]) -> &'a str {
    as_text(take_bytes(rest))
}

#[inline]
fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (&first, after) = rest.split_first().expect("names and values alternate");
    let (mut len, mut after) = (usize::from(first & 0x7f), after);
    if first >= 0x80 {
        len |= take_long_len(&mut after);
    }
    let (part, after) = after.split_at(len);
    *rest = after;
    part
}

/// The digits of a length behind its first byte.
#[cold]
fn take_long_len(rest: &mut &[u8]) -> usize {
    let (mut len, mut shift) = (0, 7);
    loop {
        let byte = rest[0];
        *rest = &rest[1..];
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return len;
        }
    }
}

fn as_text(part: &[u8]) -> &str {
    std::str::from_utf8(part).expect("only whole strings are ever encoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_drops_empty_values_and_lets_the_later_pair_win() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("bb"), None);
    }

    #[test]
    fn long_values_round_trip() {
        let long = "x".repeat(70_000);
        let labels = Labels::from_pairs([("a", long.as_str()), ("z", "1")]);
        assert_eq!(labels.get("a"), Some(long.as_str()));
        assert_eq!(labels.get("z"), Some("1"));
        assert_eq!(labels.filtered(|name| name == "z"), Labels::from_pairs([("z", "1")]));
        assert_eq!(labels.filtered(|_| true), labels);
    }

    #[test]
    fn hash_is_that_of_prometheus() {
        // Where `limit_ratio` of Prometheus 3.5.3 has these series.
        let of =
            |mode: &str| Labels::from_pairs([("__name__", "cpu_seconds_total"), ("instance", "a"), ("mode", mode)]);
        let share = |mode: &str| of(mode).prometheus_hash() as f64 / u64::MAX as f64;
        assert_eq!(Labels::empty().prometheus_hash(), 0xef46_db37_51d8_e999);
        assert_eq!((share("sys") * 1000.0).round(), 56.0);
        assert_eq!((share("idle") * 1000.0).round(), 221.0);
    }

    #[test]
    fn order_is_label_wise() {
        let of = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        assert!(of(&[("a", "1")]) < of(&[("a", "1"), ("b", "1")]));
        assert!(of(&[("a", "10")]) < of(&[("a", "9")]));
        assert!(of(&[("a", "zz")]) < of(&[("b", "a")]));
        assert!(Labels::empty() < of(&[("a", "1")]));
        assert_eq!(of(&[("a", "1"), ("b", "2")]).cmp(&of(&[("b", "2"), ("a", "1")])), Ordering::Equal);
    }
}
