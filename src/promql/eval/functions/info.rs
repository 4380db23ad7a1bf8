//! `info`: adds labels of info metrics (such as `target_info`) to the series of the same target.
//! Source of the semantics: prometheus/promql/info.go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::column::{Column, Series, is_present};
use super::super::labels::Merger;
use super::super::selector;
use super::super::steps::Reference;
use super::super::{Evaluator, Result, Sink, execution_error, unwrap_parens};
use crate::model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};
use crate::promql::ast::{Call, Expr, Node, VectorSelector};

/// The labels that say which target a series belongs to.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];

/// The info metric if none is named.
const TARGET_INFO: &str = "target_info";

pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let base = evaluator.vector(&call.args[0])?;
    let choice = Choice::of(call.args.get(1));
    let (ignored, enriched): (Vec<Series>, Vec<Series>) =
        base.series.into_iter().partition(|series| choice.is_info_series(&series.labels));
    let mut merger = Merger::default();
    ignored.into_iter().try_for_each(|series| merger.push(series))?;
    let infos = Infos::fetch(evaluator, &choice, &call.args[0], &enriched)?;
    for series in enriched {
        evaluator.query.budget.check_time()?;
        infos.enrich(&choice, series)?.into_iter().try_for_each(|series| merger.push(series))?;
    }
    merger.into_series().into_iter().try_for_each(sink)
}

/// Which info metrics and which of their labels are wanted.
struct Choice<'a> {
    /// Conditions on the info metric's name.
    names: Vec<&'a Matcher>,
    /// Conditions on labels; only these labels are taken, if there is any.
    data: Vec<&'a Matcher>,
    /// Whether the second argument was left out.
    is_default: bool,
}

impl<'a> Choice<'a> {
    fn of(selector: Option<&'a Expr>) -> Self {
        let matchers = match selector.map(|expr| &unwrap_parens(expr).node) {
            Some(Node::VectorSelector(VectorSelector { matchers, .. })) => matchers.as_slice(),
            _ => &[],
        };
        let (names, data) = matchers.iter().partition(|matcher| matcher.name() == METRIC_NAME);
        Self { names, data, is_default: selector.is_none() }
    }

    /// Info series themselves are left as they are.
    fn is_info_series(&self, labels: &Labels) -> bool {
        let name = labels.metric_name();
        (self.is_default && name == TARGET_INFO) || self.names.iter().any(|matcher| matcher.matches(name))
    }

    fn wants(&self, label: &str) -> bool {
        label != METRIC_NAME && (self.data.is_empty() || self.data.iter().any(|matcher| matcher.name() == label))
    }

    /// Whether a series without any info is to go. Where no series names its target nothing is looked for, and
    /// conditions on the info metric's name count too, as in Prometheus.
    fn requires_info(&self, was_looked_for: bool) -> bool {
        let names = self.names.iter().filter(|_| !was_looked_for);
        self.data.iter().chain(names).any(|matcher| !matcher.matches_empty())
    }

    /// The conditions on info series that may belong to one of `series`; `None` if none can.
    fn matchers(&self, series: &[Series]) -> Result<Option<Vec<Matcher>>> {
        let mut matchers = Vec::new();
        for label in IDENTIFYING_LABELS {
            let values: BTreeSet<&str> = series.iter().filter_map(|series| series.labels.get(label)).collect();
            if !values.is_empty() {
                let pattern = values.into_iter().map(escaped).collect::<Vec<_>>().join("|");
                let matcher = Matcher::new(MatchOp::Regex, label, pattern);
                matchers.push(matcher.map_err(|error| execution_error(error.to_string()))?);
            }
        }
        if matchers.is_empty() {
            return Ok(None);
        }
        if self.names.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        }
        matchers.extend(self.names.iter().chain(&self.data).copied().cloned());
        Ok(Some(matchers))
    }
}

/// A value as a pattern that matches it alone.
fn escaped(value: &str) -> String {
    let mut pattern = String::with_capacity(value.len());
    for char in value.chars() {
        if char.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

/// The identifying labels of a series.
type Target = [String; IDENTIFYING_LABELS.len()];

fn target_of(labels: &Labels) -> Target {
    IDENTIFYING_LABELS.map(|label| labels.get(label).unwrap_or("").to_owned())
}

/// Info series by target and metric name, with the position in force at each step.
struct Infos {
    labels: Vec<Labels>,
    /// Per target, one entry per info metric: the newest info series' position per step.
    in_force: HashMap<Target, Vec<Vec<Option<usize>>>>,
    was_looked_for: bool,
}

impl Infos {
    fn fetch(evaluator: &Evaluator<'_>, choice: &Choice<'_>, base: &Expr, series: &[Series]) -> Result<Self> {
        let mut found: Vec<(Labels, Column)> = Vec::new();
        let matchers = choice.matchers(series)?;
        let was_looked_for = matchers.is_some();
        if let Some(matchers) = matchers {
            let bounds = read_bounds(evaluator, base)?;
            selector::stream_times_within(evaluator, &matchers, bounds, &mut |series| {
                found.push((series.labels, series.column));
                Ok(())
            })?;
        }
        let mut by_metric: BTreeMap<(Target, String), Vec<usize>> = BTreeMap::new();
        for (position, (labels, _)) in found.iter().enumerate() {
            let key = (target_of(labels), labels.metric_name().to_owned());
            by_metric.entry(key).or_default().push(position);
        }
        let mut in_force: HashMap<Target, Vec<Vec<Option<usize>>>> = HashMap::new();
        for ((target, name), positions) in by_metric {
            let newest = (0..evaluator.steps.count).map(|index| newest(&found, &positions, index, &name));
            in_force.entry(target).or_default().push(newest.collect::<Result<_>>()?);
        }
        Ok(Self { labels: found.into_iter().map(|(labels, _)| labels).collect(), in_force, was_looked_for })
    }

    /// The series with info labels; several series where the info changes over time.
    fn enrich(&self, choice: &Choice<'_>, series: Series) -> Result<Vec<Series>> {
        let no_metrics = Vec::new();
        let metrics = self.in_force.get(&target_of(&series.labels)).unwrap_or(&no_metrics);
        let mut parts: Vec<(Vec<Option<usize>>, Option<Series>)> = Vec::new();
        for index in 0..series.column.len() {
            let Some(value) = series.column.get(index) else { continue };
            let chosen: Vec<Option<usize>> = metrics.iter().map(|newest| newest[index]).collect();
            let position = match parts.iter().position(|(other, _)| *other == chosen) {
                Some(position) => position,
                None => {
                    let labels = self.combined(choice, &series.labels, &chosen)?;
                    let column = Column::absent(series.column.len());
                    parts.push((chosen, labels.map(|labels| Series { labels, column, drops_name: series.drops_name })));
                    parts.len() - 1
                }
            };
            if let Some(part) = &mut parts[position].1 {
                part.column.set(index, Some(value));
            }
        }
        Ok(parts.into_iter().filter_map(|(_, part)| part).collect())
    }

    /// The labels with those of the chosen info series; `None` if the series is to go.
    fn combined(&self, choice: &Choice<'_>, base: &Labels, chosen: &[Option<usize>]) -> Result<Option<Labels>> {
        let mut added = LabelsBuilder::default();
        for (name, value) in chosen.iter().flatten().flat_map(|position| self.labels[*position].iter()) {
            if !choice.wants(name) {
                continue;
            }
            if added.get(name).is_some_and(|known| known != value) {
                return Err(execution_error(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
        if added.iter().next().is_none() && choice.requires_info(self.was_looked_for) {
            return Ok(None);
        }
        let mut labels = base.to_builder();
        for (name, value) in added.iter() {
            labels.set(name, value);
        }
        Ok(Some(labels.build()))
    }
}

/// The info series with the newest sample at a step.
fn newest(found: &[(Labels, Column)], positions: &[usize], index: usize, name: &str) -> Result<Option<usize>> {
    let mut best: Option<(usize, f64)> = None;
    for position in positions {
        let time = found[*position].1.floats[index];
        match best {
            _ if !is_present(time) => {}
            Some((_, other)) if other > time => {}
            Some((_, other)) if other == time => {
                return Err(execution_error(format!("found duplicate series for info metric {name}")));
            }
            _ => best = Some((*position, time)),
        }
    }
    Ok(best.map(|(position, _)| position))
}

/// When info samples are looked for: around the time of the first selector in the argument.
fn read_bounds(evaluator: &Evaluator<'_>, base: &Expr) -> Result<(i64, i64)> {
    let reference = match first_selector(base) {
        Some(selector) => selector::reference(evaluator, selector)?,
        None => Reference { fixed: None, offset: 0 },
    };
    Ok(selector::read_bounds(evaluator, reference))
}

fn first_selector(expr: &Expr) -> Option<&VectorSelector> {
    match &expr.node {
        Node::Number(_) | Node::String(_) => None,
        Node::Paren(inner) | Node::Unary(_, inner) => first_selector(inner),
        Node::VectorSelector(selector) => Some(selector),
        Node::MatrixSelector(matrix) => Some(&matrix.selector),
        Node::Subquery(subquery) => first_selector(&subquery.expr),
        Node::Aggregate(aggregate) => first_selector(&aggregate.expr),
        Node::Binary(binary) => first_selector(&binary.lhs).or_else(|| first_selector(&binary.rhs)),
        Node::Call(call) => call.args.iter().find_map(first_selector),
    }
}
