//! Where ranges of samples come from: a selector of stored series, or a subquery, whose inner
//! expression is evaluated at steps of its own.

use std::sync::Arc;

use super::super::column::{Column, Series};
use super::super::steps::Steps;
use super::super::{Evaluator, Result, unexpected_type, unwrap_parens};
use super::Reference;
use crate::model::{CounterResetHint, FloatHistogram, Matcher, Timestamp};
use crate::promql::ast::{Expr, MatrixSelector, Node, Subquery};
use crate::store::Samples;

/// A range of samples per series.
pub(super) struct RangeSource<'e> {
    kind: Kind<'e>,
    reference: Reference,
    /// How far back the range reaches.
    pub range_ms: i64,
}

enum Kind<'e> {
    Selector(&'e MatrixSelector),
    Subquery(&'e Subquery),
}

impl<'e> RangeSource<'e> {
    /// What an expression of type range vector reads.
    pub fn of(evaluator: &Evaluator<'_>, expr: &'e Expr) -> Result<Self> {
        let query = evaluator.query;
        match &unwrap_parens(expr).node {
            Node::MatrixSelector(matrix) => Ok(Self {
                kind: Kind::Selector(matrix),
                reference: super::super::selector::reference(evaluator, &matrix.selector)?,
                range_ms: query.length_ms(&matrix.range)?,
            }),
            Node::Subquery(subquery) => Ok(Self {
                kind: Kind::Subquery(subquery),
                reference: Reference {
                    fixed: query.fixed_time(subquery.at),
                    offset: query.offset_ms(&subquery.offset)?,
                },
                range_ms: query.length_ms(&subquery.range)?,
            }),
            _ => Err(unexpected_type(expr, "range vector")),
        }
    }

    pub fn is_subquery(&self) -> bool {
        matches!(self.kind, Kind::Subquery(_))
    }

    /// Whether it looks at one time for all steps.
    pub fn is_fixed(&self) -> bool {
        self.reference.fixed.is_some()
    }

    /// What the series of a selector satisfy; nothing for a subquery.
    pub fn matchers(&self) -> &'e [Matcher] {
        match self.kind {
            Kind::Selector(matrix) => &matrix.selector.matchers,
            Kind::Subquery(_) => &[],
        }
    }

    /// The metric's name, where the selector has but one.
    pub fn metric_name(&self) -> Option<&'e str> {
        crate::model::metric_name_of(self.matchers())
    }

    /// The first and the last instant that is read for any step.
    pub fn read_bounds(&self, evaluator: &Evaluator<'_>) -> (i64, i64) {
        let (first, last) = self.reference.bounds(evaluator.steps);
        (first.saturating_sub(self.range_ms).saturating_add(1), last)
    }

    /// The bounds of the range at a step: open on the left, closed on the right.
    #[inline]
    pub fn window_bounds(&self, at: i64) -> (i64, i64) {
        let until = self.reference.at(at);
        (until.saturating_sub(self.range_ms), until)
    }

    /// Visits each series with its samples over all steps' ranges.
    pub fn each_series(
        &self,
        evaluator: &Evaluator<'_>,
        visit: &mut dyn FnMut(Series, &mut Samples) -> Result<()>,
    ) -> Result<()> {
        let (from, last) = self.read_bounds(evaluator);
        match self.kind {
            Kind::Selector(matrix) => {
                evaluator.each_series(&matrix.selector.matchers, (from, last), |labels, samples| {
                    visit(Series { labels, drops_name: false, column: Column::default() }, samples)
                })
            }
            Kind::Subquery(subquery) => {
                each_subquery_series(evaluator, subquery, (from.saturating_sub(1), last), visit)
            }
        }
    }
}

fn each_subquery_series(
    evaluator: &Evaluator<'_>,
    subquery: &Subquery,
    (after, last): (i64, i64),
    visit: &mut dyn FnMut(Series, &mut Samples) -> Result<()>,
) -> Result<()> {
    let step = match &subquery.step {
        Some(step) => evaluator.query.length_ms(step)?,
        None => i64::try_from(evaluator.query.settings.default_step.as_millis()).unwrap_or(i64::MAX).max(1),
    };
    // Steps are multiples of their distance, whatever the time of the query.
    let start = after.div_euclid(step).saturating_add(1).saturating_mul(step);
    let Some(steps) = Steps::between(start, last, step) else { return Ok(()) };
    let mut samples = Samples::default();
    let inner = Evaluator { reads: 0, labels: None, ..evaluator.over(steps)? };
    inner.stream(&subquery.expr, &mut |mut series| {
        let column = std::mem::take(&mut series.column);
        let _samples = evaluator.query.budget.reserve(column.weight())?;
        fill(&mut samples, &column, steps);
        visit(series, &mut samples)
    })
}

fn fill(samples: &mut Samples, column: &Column, steps: Steps) {
    samples.clear();
    for index in 0..column.len() {
        let at = Timestamp(steps.at(index));
        match column.histogram(index) {
            Some(histogram) => samples.push_histogram(at, without_reset_hint(histogram)),
            None if super::is_present(column.floats[index]) => samples.push(at, column.floats[index]),
            None => {}
        }
    }
}

/// The steps of a subquery skip or repeat samples, so what a sample says about the one before it no
/// longer holds.
fn without_reset_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => Arc::clone(histogram),
        CounterResetHint::CounterReset | CounterResetHint::NotCounterReset => {
            Arc::new(FloatHistogram { counter_reset_hint: CounterResetHint::Unknown, ..(**histogram).clone() })
        }
    }
}
