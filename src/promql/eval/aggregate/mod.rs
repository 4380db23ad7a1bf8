//! Aggregations. Those that need one number per group and step fold series as they stream by; those
//! that pick series or count values hold all of them.

mod count_values;
mod fold;
mod ranked;

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::column::{Scalar, Series};
use super::extreme::{larger, smaller};
use super::labels::METADATA_LABELS;
use super::quantile::check_quantile;
use super::range::plain_range;
use super::{Annotation, Evaluator, Result, Sink, Span, unwrap_parens};
use crate::model::{Labels, METRIC_NAME, metric_name_of};
use crate::promql::ast::{AggregateExpr, AggregateOp, Expr, Node};
use crate::store::ChosenLabels;

use fold::{Accumulator, FoldContext};

/// Whether the aggregation gives some of its operand's series rather than one per group.
pub(super) fn keeps_members(op: AggregateOp) -> bool {
    matches!(op, AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio)
}

/// Streams the result of an aggregation.
pub(super) fn stream(evaluator: &Evaluator<'_>, expr: &Expr, aggregate: &AggregateExpr, sink: Sink<'_>) -> Result<()> {
    match aggregate.op {
        AggregateOp::CountValues => count_values::stream(evaluator, aggregate, sink),
        op if keeps_members(op) => ranked::stream(evaluator, expr, aggregate, sink),
        _ => stream_folded(evaluator, aggregate, sink),
    }
}

fn stream_folded(evaluator: &Evaluator<'_>, aggregate: &AggregateExpr, sink: Sink<'_>) -> Result<()> {
    let parameter = parameter(evaluator, aggregate)?;
    let context = FoldContext {
        query: evaluator.query,
        op: aggregate.op,
        quantile: parameter.unwrap_or(Scalar::Constant(f64::NAN)),
        span: aggregate.expr.span,
    };
    let mut groups = Groups::new(aggregate);
    let mut folds: Vec<(Labels, bool, Accumulator)> = Vec::new();
    let mut reservation = evaluator.query.budget.reserve(0)?;
    let selection = Selection::of(&aggregate.expr);
    let labels = selection.as_ref().and_then(|selection| selection.chosen_labels(evaluator, aggregate));
    let metric = selection.filter(|selection| selection.keeps_name).and_then(|selection| selection.metric_name);
    let operand = Evaluator { labels: labels.as_ref(), ..*evaluator };
    operand.stream(&aggregate.expr, &mut |series| {
        let group = groups.of(&series.labels);
        if group == folds.len() {
            let accumulator = Accumulator::new(aggregate.op, evaluator.steps.count);
            reservation.grow(evaluator.steps.count as u64)?;
            folds.push((groups.labels_of(&series.labels), series.drops_name, accumulator));
        }
        let fold = &mut folds[group].2;
        if fold.holds_members() {
            reservation.grow(series.column.weight())?;
        }
        fold.add(&context, series.column, metric.unwrap_or_else(|| series.labels.metric_name()));
        Ok(())
    })?;
    // Behind what the operand has to say: of the same words at two places the last are told.
    if aggregate.op == AggregateOp::Quantile
        && let Some(param) = &aggregate.param
    {
        point_out_quantiles(evaluator, &context.quantile, unwrap_parens(param).span);
    }
    for (labels, drops_name, accumulator) in folds {
        let column = accumulator.finish(&context);
        if column.has_any() {
            sink(Series { labels, drops_name, column })?;
        }
    }
    Ok(())
}

/// An operand that is a selector, or a function of its ranges.
struct Selection<'a> {
    /// The metric's name, where the selector has but one.
    metric_name: Option<&'a str>,
    keeps_name: bool,
}

impl<'a> Selection<'a> {
    fn of(operand: &'a Expr) -> Option<Self> {
        let (matchers, keeps_name) = match &unwrap_parens(operand).node {
            Node::VectorSelector(selector) => (&selector.matchers[..], true),
            Node::Call(call) => plain_range(call)?,
            _ => return None,
        };
        Some(Self { metric_name: metric_name_of(matchers), keeps_name })
    }

    /// All labels that the aggregation looks at, where series without the others are as good. Where names go, series of
    /// several metrics would no longer be told apart.
    fn chosen_labels(&self, evaluator: &Evaluator<'_>, aggregate: &AggregateExpr) -> Option<ChosenLabels> {
        let is_looked_at = |label: &String| METADATA_LABELS.contains(&label.as_str());
        let is_whole = evaluator.query.delays_name_removal()
            || aggregate.labels.iter().any(is_looked_at)
            || !(self.metric_name.is_some() || self.keeps_name);
        (!is_whole).then(|| ChosenLabels {
            names: aggregate.labels.as_slice().into(),
            is_without: aggregate.without,
            has_metric_name: self.metric_name.is_none(),
            unless: &METADATA_LABELS[1..],
        })
    }
}

/// The parameter at every step, where it is a number.
fn parameter(evaluator: &Evaluator<'_>, aggregate: &AggregateExpr) -> Result<Option<Scalar>> {
    aggregate.param.as_ref().map(|param| evaluator.scalar(unwrap_parens(param))).transpose()
}

/// Points out-of-range quantiles out.
fn point_out_quantiles(evaluator: &Evaluator<'_>, quantile: &Scalar, span: Span) {
    let bounds = Bounds::of(quantile, evaluator.steps.count);
    let named = [(bounds.has_nan, f64::NAN), (bounds.most > 1.0, bounds.most), (bounds.least < 0.0, bounds.least)];
    for (_, value) in named.into_iter().filter(|(applies, _)| *applies) {
        check_quantile(value, |annotation| evaluator.query.annotate(annotation, span));
    }
}

/// The extreme values of a parameter over all steps; NaN at any step hides those that are finite.
struct Bounds {
    least: f64,
    most: f64,
    has_nan: bool,
}

impl Bounds {
    fn of(scalar: &Scalar, count: usize) -> Self {
        let mut bounds = Self { least: f64::INFINITY, most: f64::NEG_INFINITY, has_nan: false };
        for index in 0..count {
            let value = scalar.at(index);
            bounds.least = smaller(bounds.least, value);
            bounds.most = larger(bounds.most, value);
            bounds.has_nan |= value.is_nan();
        }
        bounds
    }
}

/// Assigns series to groups by some of their labels.
struct Groups<'a> {
    labels: &'a [String],
    without: bool,
    /// By the encoded form of the group's labels.
    positions: HashMap<Box<[u8]>, usize, RandomState>,
    key: Vec<u8>,
}

impl<'a> Groups<'a> {
    fn new(aggregate: &'a AggregateExpr) -> Self {
        Self { labels: &aggregate.labels, without: aggregate.without, positions: HashMap::default(), key: Vec::new() }
    }

    /// The number of the group, counted in the order in which groups are first seen.
    fn of(&mut self, labels: &Labels) -> usize {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        labels.filter_to(|name| self.keeps(name), &mut key);
        let position = match self.positions.get(&*key) {
            Some(position) => *position,
            None => {
                let next = self.positions.len();
                self.positions.insert(key.as_slice().into(), next);
                next
            }
        };
        self.key = key;
        position
    }

    /// The labels of the group.
    fn labels_of(&self, labels: &Labels) -> Labels {
        labels.filtered(|name| self.keeps(name))
    }

    fn keeps(&self, name: &str) -> bool {
        let is_listed = self.labels.iter().any(|label| label == name);
        if self.without { name != METRIC_NAME && !is_listed } else { is_listed }
    }
}

/// Says that a histogram was left out.
fn note_ignored_histogram(evaluator: &super::Query<'_>, op: AggregateOp, span: Span) {
    let operator = match op {
        AggregateOp::Min => "min",
        AggregateOp::Max => "max",
        AggregateOp::Stddev => "stddev",
        AggregateOp::Stdvar => "stdvar",
        AggregateOp::Quantile => "quantile",
        AggregateOp::Topk => "topk",
        _ => "bottomk",
    };
    evaluator.annotate(Annotation::HistogramIgnoredInAggregation { operator }, span);
}
