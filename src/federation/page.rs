//! The page that a puller reads, written piece by piece.

use std::collections::HashMap;
use std::ops::Range;
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
    rows: std::vec::IntoIter<Row>,
    /// Of all rows: one allocation for each would take as much again.
    samples: Vec<(Timestamp, f64)>,
    external_labels: Vec<(String, String)>,
    family: Option<u32>,
    families: Vec<Family>,
    metrics: Vec<Metric>,
    /// To be set once the reply has left.
    taken_flag: Arc<AtomicBool>,
}

/// One series.
struct Row {
    metric: u32,
    labels: Labels,
    samples: Range<usize>,
}

struct Family {
    name: String,
    metric_type: MetricType,
}

impl FederationPage {
    /// Sorts series under their families, and families by name. Series without a name are left
    /// out: no format can carry them.
    pub(super) fn new(
        series: impl IntoIterator<Item = (Labels, impl IntoIterator<Item = (Timestamp, f64)>)>,
        metadata: &dyn MetadataLookup,
        format: ResponseFormat,
        external_labels: &Labels,
    ) -> Self {
        let mut families = Families::new(metadata);
        let (mut rows, mut samples): (Vec<Row>, Vec<(Timestamp, f64)>) = (Vec::new(), Vec::new());
        for (labels, given) in series {
            if let Some(metric) = families.metric(labels.metric_name()) {
                let start = samples.len();
                samples.extend(given);
                rows.push(Row { metric, labels, samples: start..samples.len() });
            }
        }
        let Families { list: families, metrics, .. } = families;
        // Texts are compared once per metric and not once per series.
        let key = |metric: u32| {
            let Metric { family, name } = &metrics[metric as usize];
            (&families[*family as usize].name, name)
        };
        let mut order: Vec<u32> = (0..).take(metrics.len()).collect();
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        let mut ranks = vec![0; metrics.len()];
        (0u32..).zip(order).for_each(|(rank, metric)| ranks[metric as usize] = rank);
        // A stable sort: within a metric, series stay in label order.
        rows.sort_by_key(|row| ranks[row.metric as usize]);
        Self {
            content_type: format.content_type(),
            writer: Some(PageWriter::new(format)),
            rows: rows.into_iter(),
            samples,
            external_labels: with_instance(external_labels),
            family: None,
            families,
            metrics,
            taken_flag: Arc::default(),
        }
    }

    /// The same page, whose [`Self::taken_flag`] is this.
    pub(super) fn telling(self, taken_flag: Arc<AtomicBool>) -> Self {
        Self { taken_flag, ..self }
    }

    /// To be set once the last byte has left.
    pub fn taken_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.taken_flag)
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
        let Metric { family, name } = &self.metrics[row.metric as usize];
        if self.family != Some(*family) {
            self.family = Some(*family);
            let family = &self.families[*family as usize];
            writer.family(&family.name, family.metric_type, None, "");
        }
        let samples = self.samples[row.samples.clone()].iter().map(|(timestamp, value)| (Some(*timestamp), *value));
        writer.samples(name, all_labels(&row.labels, &self.external_labels), samples);
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

struct Metric {
    family: u32,
    name: String,
}

/// The families and metrics met so far.
struct Families<'m> {
    metadata: &'m dyn MetadataLookup,
    by_metric: HashMap<String, u32>,
    by_name: HashMap<String, u32>,
    list: Vec<Family>,
    metrics: Vec<Metric>,
    /// That of the series before: mostly the next one's too.
    last: u32,
}

impl<'m> Families<'m> {
    fn new(metadata: &'m dyn MetadataLookup) -> Self {
        let (list, metrics) = (Vec::new(), Vec::new());
        Self { metadata, by_metric: HashMap::new(), by_name: HashMap::new(), list, metrics, last: 0 }
    }

    /// A metric by its name; `None` without one.
    fn metric(&mut self, name: &str) -> Option<u32> {
        if self.metrics.get(self.last as usize).is_none_or(|last| last.name != name) {
            self.last = match self.by_metric.get(name) {
                Some(known) => *known,
                None if name.is_empty() => return None,
                None => self.add(name),
            };
        }
        Some(self.last)
    }

    /// Adds a metric to its family: `x_bucket` belongs to histogram `x`, if its source said so.
    fn add(&mut self, metric: &str) -> u32 {
        let (metric_type, name) =
            self.metadata.metric_type(metric).unwrap_or_else(|| (MetricType::Unknown, metric.to_owned()));
        let family = *self.by_name.entry(name).or_insert_with_key(|name| {
            self.list.push(Family { name: name.clone(), metric_type });
            u32::try_from(self.list.len() - 1).expect("there are fewer families than series")
        });
        let index = u32::try_from(self.metrics.len()).expect("there are fewer metrics than series");
        self.metrics.push(Metric { family, name: metric.to_owned() });
        self.by_metric.insert(metric.to_owned(), index);
        index
    }
}
