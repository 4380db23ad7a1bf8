//! The page that a puller reads, written while it reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::exposition::{PageWriter, ResponseFormat};
use crate::model::{Labels, MetadataLookup, MetricType, Timestamp};

use super::cursor::pair_bytes;

/// Roughly how much is written at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The label that says where a series comes from. Without it, the central would put the address of
/// this outpost there.
const INSTANCE: &str = "instance";

/// Series with their samples, on their way to a page.
pub struct FederationPage {
    content_type: String,
    /// Taken away by the last piece.
    writer: Option<PageWriter>,
    rows: std::iter::Peekable<std::vec::IntoIter<Row>>,
    external_labels: Vec<(String, String)>,
    family: Option<u32>,
    families: Vec<Family>,
    /// To be set once the reply has left.
    is_taken: Arc<AtomicBool>,
}

/// One series.
struct Row {
    family: u32,
    labels: Labels,
    samples: Vec<(Timestamp, f64)>,
}

struct Family {
    name: String,
    metric_type: MetricType,
}

impl FederationPage {
    /// Sorts series under their families, and families by name. Series without a name are left
    /// out: no format can carry them.
    pub(super) fn new(
        series: impl IntoIterator<Item = (Labels, Vec<(Timestamp, f64)>)>,
        metadata: &dyn MetadataLookup,
        format: ResponseFormat,
        external_labels: &Labels,
    ) -> Self {
        let mut families = Families { metadata, by_metric: HashMap::new(), by_name: HashMap::new(), list: Vec::new() };
        let mut rows: Vec<Row> = series
            .into_iter()
            .filter(|(labels, _)| !labels.metric_name().is_empty())
            .map(|(labels, samples)| Row { family: families.of(labels.metric_name()), labels, samples })
            .collect();
        let families = families.list;
        // A stable sort: within a metric, series stay in label order.
        rows.sort_by(|a, b| {
            let (family_a, family_b) = (&families[a.family as usize].name, &families[b.family as usize].name);
            family_a.cmp(family_b).then_with(|| a.labels.metric_name().cmp(b.labels.metric_name()))
        });
        Self {
            content_type: format.content_type(),
            writer: Some(PageWriter::new(format)),
            rows: rows.into_iter().peekable(),
            external_labels: with_instance(external_labels),
            family: None,
            families,
            is_taken: Arc::default(),
        }
    }

    /// The same page, whose [`Self::is_taken`] is this.
    pub(super) fn telling(self, is_taken: Arc<AtomicBool>) -> Self {
        Self { is_taken, ..self }
    }

    /// To be set once the last byte has left.
    pub fn is_taken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_taken)
    }

    /// The `Content-Type` header.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Appends the next piece to `out`; `false` if it was the last.
    pub fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(mut writer) = self.writer.take() else { return false };
        while writer.pending_bytes() < PIECE_BYTES {
            let Some(row) = self.rows.next() else {
                out.extend_from_slice(&writer.finish());
                return false;
            };
            self.write_row(&mut writer, &row);
        }
        out.extend_from_slice(&writer.take());
        self.writer = Some(writer);
        true
    }

    fn write_row(&mut self, writer: &mut PageWriter, row: &Row) {
        if self.family != Some(row.family) {
            let family = &self.families[row.family as usize];
            writer.family(&family.name, family.metric_type, None, "");
            self.family = Some(row.family);
        }
        let name = row.labels.metric_name();
        for (timestamp, value) in &row.samples {
            writer.sample(name, all_labels(&row.labels, &self.external_labels), *value, Some(*timestamp));
        }
    }
}

/// A series' own labels, then the external ones that it lacks.
fn all_labels<'a>(
    labels: &'a Labels,
    external: &'a [(String, String)],
) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
    let absent = external.iter().filter(|(name, _)| labels.get(name).is_none());
    labels.iter().chain(absent.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// At most so many bytes do external labels add to a sample.
pub(super) fn external_bytes(external_labels: &Labels) -> u64 {
    external_labels.iter().chain([(INSTANCE, "")]).map(pair_bytes).sum()
}

/// The external labels in name order, an empty `instance` among them unless they have one.
fn with_instance(external_labels: &Labels) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> =
        external_labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if external_labels.get(INSTANCE).is_none() {
        pairs.push((INSTANCE.to_owned(), String::new()));
        pairs.sort_unstable();
    }
    pairs
}

/// The families met so far.
struct Families<'m> {
    metadata: &'m dyn MetadataLookup,
    by_metric: HashMap<String, u32>,
    by_name: HashMap<String, u32>,
    list: Vec<Family>,
}

impl Families<'_> {
    /// The family of a metric: `x_bucket` belongs to histogram `x`, if its source said so.
    fn of(&mut self, metric: &str) -> u32 {
        if let Some(index) = self.by_metric.get(metric) {
            return *index;
        }
        let (metric_type, name) =
            self.metadata.metric_type(metric).unwrap_or_else(|| (MetricType::Unknown, metric.to_owned()));
        let index = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.list.push(Family { name: name.clone(), metric_type });
            u32::try_from(self.list.len() - 1).expect("there are fewer families than series")
        });
        self.by_metric.insert(metric.to_owned(), index);
        index
    }
}
