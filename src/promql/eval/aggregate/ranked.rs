//! Aggregations that pick some of their operand's series at each step: `topk`, `bottomk`, `limitk` and
//! `limit_ratio`.

use super::super::column::{Scalar, Series, is_present};
use super::super::insertion::sort;
use super::super::{Annotation, Evaluator, Result, Sink, Span, execution_error, unwrap_parens};
use super::{Bounds, Groups, note_ignored_histogram, parameter};
use crate::promql::ast::{AggregateExpr, AggregateOp, Expr};

pub(super) fn stream(evaluator: &Evaluator<'_>, expr: &Expr, aggregate: &AggregateExpr, sink: Sink<'_>) -> Result<()> {
    let Some(scalar) = parameter(evaluator, aggregate)? else { return Ok(()) };
    let param_span = aggregate.param.as_ref().map_or(expr.span, |param| unwrap_parens(param).span);
    let mut vector = evaluator.vector(&aggregate.expr)?;
    if picks_nothing(evaluator, aggregate.op, &scalar, param_span) {
        return Ok(());
    }
    let mut picker = Picker::new(evaluator, aggregate, expr.span, &vector.series);
    let mut order = Vec::new();
    for index in 0..evaluator.steps.count {
        if index % 64 == 0 {
            evaluator.query.budget.check_time()?;
        }
        order = picker.pick(&vector.series, index, scalar.at(index))?;
        let mut is_picked = vec![false; vector.series.len()];
        order.iter().for_each(|position| is_picked[*position] = true);
        for (series, is_picked) in vector.series.iter_mut().zip(is_picked) {
            if !is_picked {
                series.column.clear(index);
            }
        }
    }
    // In an instant query the order of rank shows; a range's result is sorted by labels anyway.
    if evaluator.steps.count > 1 {
        order = (0..vector.series.len()).collect();
    }
    let mut series: Vec<Option<Series>> = vector.series.into_iter().map(Some).collect();
    for position in order {
        match series[position].take() {
            Some(series) if series.column.has_any() => sink(series)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether the parameter lets no series through at any step; odd ratios are pointed out.
fn picks_nothing(evaluator: &Evaluator<'_>, op: AggregateOp, scalar: &Scalar, span: Span) -> bool {
    let bounds = Bounds::of(scalar, evaluator.steps.count);
    if op != AggregateOp::LimitRatio {
        return bounds.most < 1.0;
    }
    if bounds.most > 1.0 {
        evaluator.query.annotate(Annotation::InvalidRatio { ratio: bounds.most, cap: 1.0 }, span);
    }
    if bounds.least < -1.0 {
        evaluator.query.annotate(Annotation::InvalidRatio { ratio: bounds.least, cap: -1.0 }, span);
    }
    bounds.most == 0.0 && bounds.least == 0.0
}

/// Picks series step by step.
struct Picker<'a, 'q> {
    evaluator: &'a Evaluator<'q>,
    op: AggregateOp,
    span: Span,
    /// The group of each series.
    group_of: Vec<usize>,
    /// What was picked per group at the present step.
    picked: Vec<Vec<usize>>,
    /// Where each series stands in the order that `limit_ratio` cuts, from 0 to 1.
    ratios: Vec<f64>,
}

impl<'a, 'q> Picker<'a, 'q> {
    fn new(evaluator: &'a Evaluator<'q>, aggregate: &AggregateExpr, span: Span, series: &[Series]) -> Self {
        let mut groups = Groups::new(aggregate);
        let group_of: Vec<usize> = series.iter().map(|series| groups.of(&series.labels)).collect();
        let picked = vec![Vec::new(); group_of.iter().max().map_or(0, |last| last + 1)];
        let ratios = match aggregate.op {
            AggregateOp::LimitRatio => {
                series.iter().map(|series| series.labels.prometheus_hash() as f64 / u64::MAX as f64).collect()
            }
            _ => Vec::new(),
        };
        Self { evaluator, op: aggregate.op, span, group_of, picked, ratios }
    }

    /// The positions of the series picked at a step, group by group, best first.
    fn pick(&mut self, series: &[Series], index: usize, parameter: f64) -> Result<Vec<usize>> {
        self.picked.iter_mut().for_each(Vec::clear);
        let present = |position: &usize| series[*position].column.has(index);
        let Some(first) = (0..series.len()).find(present) else { return Ok(Vec::new()) };
        if self.op == AggregateOp::LimitRatio {
            self.pick_ratio(first, series, index, parameter)?;
        } else {
            let limit = whole_number(parameter)?.min(series.len());
            if limit == 0 {
                return Ok(Vec::new());
            }
            for position in (first..series.len()).filter(present) {
                self.offer(position, series, index, limit);
            }
        }
        if self.op != AggregateOp::Limitk && self.op != AggregateOp::LimitRatio {
            let is_top = self.op == AggregateOp::Topk;
            for picked in &mut self.picked {
                let value = |position: &usize| series[*position].column.floats[index];
                // The worst are on top of the heap; NaN is worse than all others and than another NaN.
                sort(picked, &|a, b| {
                    let (a, b) = (value(a), value(b));
                    b.is_nan() || if is_top { b < a } else { b > a }
                });
            }
        }
        Ok(self.picked.concat())
    }

    fn pick_ratio(&mut self, first: usize, series: &[Series], index: usize, ratio: f64) -> Result<()> {
        if ratio.is_nan() {
            return Err(execution_error("Ratio value NaN is NaN"));
        }
        let ratio = ratio.clamp(-1.0, 1.0);
        for position in (first..series.len()).filter(|position| series[*position].column.has(index)) {
            let place = self.ratios[position];
            // A negative ratio gives what the positive rest to 1 leaves out.
            if (ratio >= 0.0 && place < ratio) || (ratio < 0.0 && place >= 1.0 + ratio) {
                let members = &mut self.picked[self.group_of[position]];
                Heap { members, series, index, is_top: true }.push(position);
            }
        }
        Ok(())
    }

    /// Takes a series into its group's pick if it belongs to the best so far.
    fn offer(&mut self, position: usize, series: &[Series], index: usize, limit: usize) {
        let picked = &mut self.picked[self.group_of[position]];
        if self.op == AggregateOp::Limitk {
            if picked.len() < limit {
                Heap { members: picked, series, index, is_top: true }.push(position);
            }
            return;
        }
        if !is_present(series[position].column.floats[index]) {
            note_ignored_histogram(self.evaluator.query, self.op, self.span);
            return;
        }
        let is_top = self.op == AggregateOp::Topk;
        let mut heap = Heap { members: picked, series, index, is_top };
        if heap.members.len() < limit {
            heap.push(position);
        } else {
            heap.replace_worst(position);
        }
    }
}

fn whole_number(parameter: f64) -> Result<usize> {
    if !(i64::MIN as f64..=i64::MAX as f64).contains(&parameter) {
        return Err(execution_error(format!("Scalar value {parameter} overflows int64")));
    }
    Ok(parameter.max(0.0) as usize)
}

/// A binary heap of positions with the worst on top. Written out because which of several equal
/// members is replaced depends on where exactly they stand in the heap, and shows in results.
struct Heap<'h, 's> {
    members: &'h mut Vec<usize>,
    series: &'s [Series],
    index: usize,
    is_top: bool,
}

impl Heap<'_, '_> {
    fn is_worse(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.value(a), self.value(b));
        a.is_nan() || if self.is_top { a < b } else { a > b }
    }

    fn value(&self, slot: usize) -> f64 {
        let value = self.series[self.members[slot]].column.floats[self.index];
        // A histogram, which only `limitk` and `limit_ratio` take, stands where 0 does.
        if is_present(value) { value } else { 0.0 }
    }

    fn push(&mut self, position: usize) {
        self.members.push(position);
        let mut slot = self.members.len() - 1;
        while slot > 0 && self.is_worse(slot, (slot - 1) / 2) {
            self.members.swap(slot, (slot - 1) / 2);
            slot = (slot - 1) / 2;
        }
    }

    fn replace_worst(&mut self, position: usize) {
        let (worst, value) = (self.value(0), self.series[position].column.floats[self.index]);
        let is_better = if self.is_top { value > worst } else { value < worst };
        if is_better || (worst.is_nan() && !value.is_nan()) {
            self.members[0] = position;
            self.sink_top();
        }
    }

    fn sink_top(&mut self) {
        let mut slot = 0;
        loop {
            let (left, right) = (2 * slot + 1, 2 * slot + 2);
            if left >= self.members.len() {
                return;
            }
            let child = if right < self.members.len() && self.is_worse(right, left) { right } else { left };
            if !self.is_worse(child, slot) {
                return;
            }
            self.members.swap(slot, child);
            slot = child;
        }
    }
}
