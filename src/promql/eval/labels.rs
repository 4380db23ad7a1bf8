//! Label sets of results: dropping names, finding duplicates, grouping and matching.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::column::Series;
use super::{Evaluator, Result, execution_error, unwrap_parens};
use crate::model::{Labels, METRIC_NAME, metric_name_of};
use crate::promql::QueryError;
use crate::promql::ast::{Expr, Node};

/// Labels that tell what a metric is and that go when its values are no longer that metric's.
pub(super) const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// The labels without the metric's name, type and unit.
pub(super) fn without_metadata(labels: &Labels) -> Labels {
    labels.filtered(|name| !METADATA_LABELS.contains(&name))
}

/// Whether a text in a query can name a label. Names are UTF-8; the parser marks what was not.
pub(super) fn is_label_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)
}

/// Two series of a result have the same labels.
pub(super) fn duplicate_labels() -> QueryError {
    execution_error("vector cannot contain metrics with the same labelset")
}

/// Takes the names off series that were computed from others, one by one, and refuses duplicates that
/// come of it. With delayed name removal it only marks them.
pub(super) struct NameDropper {
    is_delayed: bool,
    /// Keyed digests of 128 bits: the label sets themselves would be most of what a query over many series holds.
    seen: HashSet<u128, RandomState>,
    key: u64,
}

impl NameDropper {
    pub fn refusing(evaluator: &Evaluator<'_>) -> Self {
        let seen = HashSet::<u128, RandomState>::default();
        let key = seen.hasher().hash_one(0);
        Self { is_delayed: evaluator.query.delays_name_removal(), seen, key }
    }

    /// Takes the name off, or marks the series.
    pub fn drop_name(&mut self, series: &mut Series) -> Result<()> {
        series.drops_name = true;
        if self.is_delayed {
            return Ok(());
        }
        series.labels = without_metadata(&series.labels);
        let digest = xxh3_128_with_seed(series.labels.as_bytes(), self.key);
        if self.seen.insert(digest) { Ok(()) } else { Err(duplicate_labels()) }
    }
}

/// Puts fragments of series with the same labels together; where they overlap, they are duplicates.
#[derive(Default)]
pub(super) struct Merger {
    positions: HashMap<Labels, usize, RandomState>,
    series: Vec<Series>,
}

impl Merger {
    /// Adds a series or a fragment of one.
    pub fn push(&mut self, series: Series) -> Result<()> {
        if let Some(position) = self.positions.get(&series.labels) {
            let is_apart = self.series[*position].column.absorb(&series.column);
            return if is_apart { Ok(()) } else { Err(duplicate_labels()) };
        }
        self.positions.insert(series.labels.clone(), self.series.len());
        self.series.push(series);
        Ok(())
    }

    /// The whole series, in the order of their first fragments.
    pub fn into_series(self) -> Vec<Series> {
        self.series
    }
}

/// Whether no two series of the expression differ in metadata labels only, as far as the expression
/// itself tells.
pub(super) fn has_one_name(expr: &Expr) -> bool {
    match &expr.node {
        Node::Paren(inner) | Node::Unary(_, inner) => has_one_name(inner),
        Node::VectorSelector(selector) => metric_name_of(&selector.matchers).is_some(),
        Node::Aggregate(aggregate) => {
            let takes_members = super::aggregate::keeps_members(aggregate.op);
            // The label that `count_values` makes is its parameter.
            let made = match aggregate.param.as_ref().map(|param| &unwrap_parens(param).node) {
                Some(Node::String(label)) => Some(label),
                _ => None,
            };
            let mentions = aggregate.labels.iter().chain(made).any(|label| METADATA_LABELS.contains(&label.as_str()));
            if takes_members { has_one_name(&aggregate.expr) } else { !aggregate.without && !mentions }
        }
        _ => false,
    }
}

/// Takes the names off that were marked to go at the end of the query.
pub(super) fn remove_delayed_names(mut series: Vec<Series>) -> Result<Vec<Series>> {
    for each in series.iter_mut().filter(|each| each.drops_name) {
        each.labels = without_metadata(&each.labels);
    }
    let mut seen: HashSet<&Labels, RandomState> =
        HashSet::with_capacity_and_hasher(series.len(), RandomState::default());
    if !series.iter().all(|each| seen.insert(&each.labels)) {
        return Err(duplicate_labels());
    }
    Ok(series)
}
