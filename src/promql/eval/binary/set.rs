//! `and`, `or` and `unless`: which series are present decides, not their values.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::column::Series;
use super::super::labels::Merger;
use super::super::{Evaluator, Result, Sink};
use super::matching::Signature;
use crate::model::Labels;
use crate::promql::ast::{BinaryExpr, BinaryOp};

pub(super) fn stream(evaluator: &Evaluator<'_>, binary: &BinaryExpr, sink: Sink<'_>) -> Result<()> {
    let signature = Signature::of(binary);
    let left = evaluator.vector(&binary.lhs)?;
    if binary.op == BinaryOp::Or {
        let mut merger = Merger::default();
        let masks = Masks::of(&left.series, &signature);
        left.series.into_iter().try_for_each(|series| merger.push(series))?;
        evaluator.stream(&binary.rhs, &mut |mut series| {
            masks.keep(&mut series, &signature, false);
            if series.column.has_any() { merger.push(series) } else { Ok(()) }
        })?;
        return merger.into_series().into_iter().try_for_each(sink);
    }
    let mut masks = Masks::default();
    evaluator.stream(&binary.rhs, &mut |series| {
        masks.add(&series, &signature);
        Ok(())
    })?;
    for mut series in left.series {
        masks.keep(&mut series, &signature, binary.op == BinaryOp::And);
        if series.column.has_any() {
            sink(series)?;
        }
    }
    Ok(())
}

/// At which steps any series of a match group is present.
#[derive(Default)]
struct Masks(HashMap<Labels, Vec<bool>, RandomState>);

impl Masks {
    fn of(series: &[Series], signature: &Signature<'_>) -> Self {
        let mut masks = Self::default();
        series.iter().for_each(|series| masks.add(series, signature));
        masks
    }

    fn add(&mut self, series: &Series, signature: &Signature<'_>) {
        let mask = self.0.entry(signature.labels(&series.labels)).or_default();
        mask.resize(series.column.len(), false);
        for (index, is_present) in mask.iter_mut().enumerate() {
            *is_present |= series.column.has(index);
        }
    }

    /// Keeps the values at steps where the group is present, or those where it is not.
    fn keep(&self, series: &mut Series, signature: &Signature<'_>, where_present: bool) {
        let mask = self.0.get(&signature.labels(&series.labels));
        for index in 0..series.column.len() {
            if mask.is_some_and(|mask| mask[index]) != where_present {
                series.column.clear(index);
            }
        }
    }
}
