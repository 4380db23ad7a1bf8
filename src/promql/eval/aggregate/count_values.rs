//! `count_values`: how many series have each value.

use std::collections::HashMap;

use super::super::column::{Column, Series, is_present};
use super::super::labels::is_label_name;
use super::super::{Evaluator, Result, Sink, execution_error, string_argument};
use super::Groups;
use crate::model::{Labels, format_float};
use crate::promql::Value;
use crate::promql::ast::AggregateExpr;

pub(super) fn stream(evaluator: &Evaluator<'_>, aggregate: &AggregateExpr, sink: Sink<'_>) -> Result<()> {
    let label = aggregate.param.as_ref().map_or(Ok(""), string_argument)?;
    if !is_label_name(label) {
        return Err(execution_error(format!("invalid label name {label:?}")));
    }
    // The value's label belongs to the group, whatever the grouping says.
    let mut aggregate = AggregateExpr { labels: aggregate.labels.clone(), ..aggregate.clone() };
    if !aggregate.without {
        aggregate.labels.push(label.to_owned());
    }
    let mut counter = Counter { label, groups: Groups::new(&aggregate), counts: Vec::new() };
    let mut reservation = evaluator.query.budget.reserve(0)?;
    evaluator.stream(&aggregate.expr, &mut |series| {
        let before = counter.counts.len();
        counter.add(&series);
        reservation.grow(((counter.counts.len() - before) * evaluator.steps.count) as u64)
    })?;
    for (labels, column) in counter.counts {
        sink(Series { labels, drops_name: false, column })?;
    }
    Ok(())
}

struct Counter<'a> {
    label: &'a str,
    groups: Groups<'a>,
    counts: Vec<(Labels, Column)>,
}

impl Counter<'_> {
    fn add(&mut self, series: &Series) {
        // Values repeat from step to step, and labels are costly to build.
        let mut known: HashMap<String, usize> = HashMap::new();
        for index in 0..series.column.len() {
            let text = match series.column.get(index) {
                None => continue,
                Some(Value::Float(value)) => format_float(value),
                Some(Value::Histogram(histogram)) => histogram.to_string(),
            };
            let group = match known.get(&text) {
                Some(group) => *group,
                None => {
                    let group = self.group(series, &text);
                    known.insert(text, group);
                    group
                }
            };
            let count = &mut self.counts[group].1.floats[index];
            *count = if is_present(*count) { *count + 1.0 } else { 1.0 };
        }
    }

    fn group(&mut self, series: &Series, text: &str) -> usize {
        let labels = series.labels.to_builder().set(self.label, text).build();
        let group = self.groups.of(&labels);
        if group == self.counts.len() {
            self.counts.push((self.groups.labels_of(&labels), Column::absent(series.column.len())));
        }
        group
    }
}
