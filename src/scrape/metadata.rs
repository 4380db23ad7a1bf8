//! What targets said of their metric families. Targets of a job that say the same share one table.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::bounds::{FAMILIES_PER_TARGET_MAX, HELP_BYTES_MAX};
use crate::exposition::{Entry, Format, Parser};
use crate::model::{Metadata, MetricType};

/// The families of a page, sorted by name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MetadataTable(Vec<(Box<str>, Metadata)>);

/// What tells one page's TYPE, HELP and UNIT lines from another's.
pub(super) type Digest = u128;

/// Tables in use, by digest. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables(Arc<Mutex<HashMap<Digest, Weak<MetadataTable>>>>);

impl Tables {
    /// The table of a page with this digest: one that is in use already, or one made from the page.
    pub(super) fn table(&self, digest: Digest, format: Format, page: &[u8]) -> Arc<MetadataTable> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&digest).and_then(Weak::upgrade) {
            return table;
        }
        tables.retain(|_, table| table.strong_count() > 0);
        let table = Arc::new(MetadataTable::read(format, page));
        tables.insert(digest, Arc::downgrade(&table));
        table
    }
}

impl MetadataTable {
    /// All families, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.0.iter().map(|(name, metadata)| (name.as_ref(), metadata))
    }

    /// The type of the family that a series belongs to, and the family's name.
    pub(super) fn metric_type(&self, metric_name: &str) -> Option<(MetricType, &str)> {
        const SUFFIXES: [&str; 8] = ["_total", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info", "_created"];
        if let Some(found) = self.typed(metric_name) {
            return Some(found);
        }
        SUFFIXES
            .iter()
            .filter_map(|suffix| Some((*suffix, metric_name.strip_suffix(suffix)?)))
            .find_map(|(suffix, family)| self.typed(family).filter(|(metric_type, _)| may_have(*metric_type, suffix)))
    }

    fn typed(&self, family: &str) -> Option<(MetricType, &str)> {
        let at = self.0.binary_search_by(|(name, _)| name.as_ref().cmp(family)).ok()?;
        let (name, metadata) = &self.0[at];
        (metadata.metric_type != MetricType::Unknown).then_some((metadata.metric_type, name.as_ref()))
    }

    fn read(format: Format, page: &[u8]) -> Self {
        let mut families: BTreeMap<Box<str>, Metadata> = BTreeMap::new();
        let mut parser = Parser::new(format, page);
        while let Ok(Some(entry)) = parser.next_entry() {
            let name = match &entry {
                Entry::Type { name, .. } | Entry::Help { name, .. } | Entry::Unit { name, .. } => name,
                _ => continue,
            };
            if families.len() >= FAMILIES_PER_TARGET_MAX && !families.contains_key(name.as_ref()) {
                continue;
            }
            let metadata = families.entry(name.as_ref().into()).or_default();
            match entry {
                Entry::Type { metric_type, .. } => metadata.metric_type = metric_type,
                Entry::Help { help, .. } => metadata.help = beginning(&help).to_owned(),
                Entry::Unit { unit, .. } => metadata.unit = beginning(&unit).to_owned(),
                _ => {}
            }
        }
        Self(families.into_iter().collect())
    }
}

/// Adds an entry to a page's digest.
pub(super) fn digest_entry(hasher: &mut Xxh3, entry: &Entry<'_>) {
    let mut add = |kind: u8, name: &str, text: &[u8]| {
        hasher.update(&[kind]);
        hasher.update(name.as_bytes());
        hasher.update(&[0xff]);
        hasher.update(text);
        hasher.update(&[0xff]);
    };
    match entry {
        Entry::Type { name, metric_type } => add(1, name, metric_type.as_str().as_bytes()),
        Entry::Help { name, help } => add(2, name, help.as_bytes()),
        Entry::Unit { name, unit } => add(3, name, unit.as_bytes()),
        _ => {}
    }
}

/// The digest of a page that says nothing.
pub(super) fn empty_digest() -> Digest {
    xxh3_128(b"")
}

fn may_have(metric_type: MetricType, suffix: &str) -> bool {
    match metric_type {
        MetricType::Counter => matches!(suffix, "_total" | "_created"),
        MetricType::Histogram => matches!(suffix, "_bucket" | "_sum" | "_count" | "_created"),
        MetricType::GaugeHistogram => matches!(suffix, "_bucket" | "_gsum" | "_gcount"),
        MetricType::Summary => matches!(suffix, "_sum" | "_count" | "_created"),
        MetricType::Info => suffix == "_info",
        _ => false,
    }
}

fn beginning(text: &str) -> &str {
    let mut end = text.len().min(HELP_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &[u8] = b"# TYPE h histogram\n# HELP h Help.\nh_bucket{le=\"1\"} 1\n# TYPE c counter\nc_total 1\n\
        # TYPE sum_count gauge\n";

    #[test]
    fn types_of_series() {
        let table = MetadataTable::read(Format::PrometheusText004, PAGE);
        let cases = [
            ("h_bucket", Some((MetricType::Histogram, "h"))),
            ("h", Some((MetricType::Histogram, "h"))),
            ("h_total", None),
            ("c_total", Some((MetricType::Counter, "c"))),
            ("sum_count", Some((MetricType::Gauge, "sum_count"))),
            ("sum_count_sum", None),
            ("none", None),
        ];
        for (name, expected) in cases {
            assert_eq!(table.metric_type(name), expected, "{name}");
        }
        let helps: Vec<(&str, &str)> = table.iter().map(|(name, metadata)| (name, metadata.help.as_str())).collect();
        assert_eq!(helps, [("c", ""), ("h", "Help."), ("sum_count", "")]);
    }

    #[test]
    fn equal_pages_share_a_table() {
        let tables = Tables::default();
        let first = tables.table(1, Format::PrometheusText004, PAGE);
        assert!(Arc::ptr_eq(&first, &tables.table(1, Format::PrometheusText004, b"")));
        drop(first);
        assert_eq!(*tables.table(1, Format::PrometheusText004, b""), MetadataTable::default());
    }
}
