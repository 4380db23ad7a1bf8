//! Arithmetic and comparison between two vectors. Which series belong together is found once, from
//! their labels; whether a step has too many of them is decided by who is present at that step.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::super::column::{Column, Series, is_present};
use super::super::labels::{duplicate_labels, without_metadata};
use super::super::{Annotation, Result, Sink, execution_error};
use super::{Operation, is_comparison};
use crate::model::{Labels, METRIC_NAME};
use crate::promql::ast::{BinaryExpr, Cardinality, Fill, VectorMatching};
use crate::promql::{QueryError, Value};

/// What of their labels two series must have in common.
pub(super) struct Signature<'a> {
    labels: &'a [String],
    on: bool,
}

impl<'a> Signature<'a> {
    pub fn of(binary: &'a BinaryExpr) -> Self {
        let matching = binary.matching.as_ref();
        Self {
            labels: matching.map_or(&[], |matching| &matching.labels),
            on: matching.is_some_and(|matching| matching.on),
        }
    }

    /// The labels that count.
    pub fn labels(&self, labels: &Labels) -> Labels {
        let is_listed = |name: &str| self.labels.iter().any(|label| label == name);
        labels.filtered(|name| if self.on { is_listed(name) } else { name != METRIC_NAME && !is_listed(name) })
    }
}

pub(super) fn stream(operation: &Operation<'_, '_>, binary: &BinaryExpr, sink: Sink<'_>) -> Result<()> {
    let evaluator = operation.evaluator;
    let default_matching = one_to_one();
    let matching = binary.matching.as_ref().unwrap_or(&default_matching);
    if matching.fill != Fill::default() {
        return Err(execution_error("fill modifiers cannot be evaluated"));
    }
    let is_swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if is_swapped { (&binary.rhs, &binary.lhs) } else { (&binary.lhs, &binary.rhs) };
    let many = evaluator.vector(many)?;
    let one = evaluator.vector(one)?;
    let signature = Signature::of(binary);
    let mut join = Join {
        operation,
        matching,
        is_swapped,
        // Where a side has no series at all, there is nothing to match, and nothing to complain about.
        both_present: both_present(&many.series, &one.series, evaluator.steps.count),
        results: Results::default(),
        incompatible: BTreeMap::new(),
        reservation: evaluator.query.budget.reserve(0)?,
    };
    let groups = groups(&signature, many.series, one.series);
    join.check_partners(&groups)?;
    for (number, group) in groups.iter().enumerate() {
        evaluator.query.budget.check_time_before(evaluator.steps.count as u64)?;
        join.add_group(number, group)?;
    }
    join.incompatible.values().for_each(|(_, annotation)| operation.annotate(*annotation));
    join.results
        .series
        .into_iter()
        .filter(|(series, _)| series.column.has_any())
        .try_for_each(|(series, _)| sink(series))
}

fn one_to_one() -> VectorMatching {
    VectorMatching {
        cardinality: Cardinality::OneToOne,
        on: false,
        is_explicit: false,
        labels: Vec::new(),
        include: Vec::new(),
        fill: Fill::default(),
    }
}

/// The series of either side with the same signature.
#[derive(Default)]
struct Group {
    signature: Labels,
    /// With their places in the "many" side.
    many: Vec<(usize, Series)>,
    one: Vec<Series>,
}

/// Groups in the order of the "many" side, which is the order of the result.
fn groups(signature: &Signature<'_>, many: Vec<Series>, one: Vec<Series>) -> Vec<Group> {
    let mut positions: HashMap<Labels, usize, RandomState> = HashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    let many = many.into_iter().enumerate().map(|(place, each)| (each, Some(place)));
    for (series, place) in many.chain(one.into_iter().map(|each| (each, None))) {
        let labels = signature.labels(&series.labels);
        let position = *positions.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group { signature: labels.clone(), ..Group::default() });
            groups.len() - 1
        });
        match place {
            Some(place) => groups[position].many.push((place, series)),
            None => groups[position].one.push(series),
        }
    }
    groups
}

fn both_present(many: &[Series], one: &[Series], steps: usize) -> Vec<bool> {
    let is_present = |side: &[Series], index: usize| side.iter().any(|series| series.column.has(index));
    (0..steps).map(|index| is_present(many, index) && is_present(one, index)).collect()
}

/// A join under way.
struct Join<'a, 'q> {
    operation: &'a Operation<'a, 'q>,
    matching: &'a VectorMatching,
    /// Whether the "many" side is the right one.
    is_swapped: bool,
    /// The steps at which both vectors have any series.
    both_present: Vec<bool>,
    results: Results,
    /// Of the pairs that do not fit at a step the last one, by its place in the "many" side: upstream tells no other.
    incompatible: BTreeMap<usize, (usize, Annotation<'static>)>,
    reservation: super::super::Reservation<'q>,
}

impl Join<'_, '_> {
    fn add_group(&mut self, number: usize, group: &Group) -> Result<()> {
        let partners = self.partners(group);
        // For each step, whether a result of this group has been given there.
        let mut is_taken = vec![false; self.both_present.len()];
        for (place, many) in &group.many {
            // Where the results for each partner go; partners rarely change from step to step.
            let mut positions: Vec<Option<usize>> = vec![None; group.one.len()];
            for (index, partner) in partners.iter().enumerate() {
                let Some(partner) = partner.map(|partner| partner as usize) else { continue };
                let one = &group.one[partner];
                let Some(value) = self.value((*place, &many.column), &one.column, index) else { continue };
                if self.matching.cardinality == Cardinality::OneToOne && std::mem::replace(&mut is_taken[index], true) {
                    return Err(execution_error(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                    ));
                }
                let position = match positions[partner] {
                    Some(position) => position,
                    None => *positions[partner].insert(self.result_position(many, one)?),
                };
                self.results.set(position, index, value, number)?;
            }
        }
        Ok(())
    }

    /// Fails where two series of the "one" side with the same signature are present at a step.
    fn check_partners(&self, groups: &[Group]) -> Result<()> {
        let doubtful: Vec<&Group> = groups.iter().filter(|group| group.one.len() > 1).collect();
        for index in (0..self.both_present.len()).filter(|index| self.both_present[*index]) {
            for group in &doubtful {
                let mut present = group.one.iter().filter(|series| series.column.has(index));
                if let (Some(first), Some(second)) = (present.next(), present.next()) {
                    return Err(self.duplicate_partner(group, second, first));
                }
            }
        }
        Ok(())
    }

    /// The series of the "one" side present at each step.
    fn partners(&self, group: &Group) -> Vec<Option<u32>> {
        let mut partners: Vec<Option<u32>> = vec![None; self.both_present.len()];
        for (number, series) in (0u32..).zip(&group.one) {
            for (index, partner) in partners.iter_mut().enumerate() {
                if self.both_present[index] && series.column.has(index) {
                    *partner = Some(number);
                }
            }
        }
        partners
    }

    fn duplicate_partner(&self, group: &Group, found: &Series, other: &Series) -> QueryError {
        let side = if self.is_swapped { "left" } else { "right" };
        execution_error(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            group.signature, found.labels, other.labels,
        ))
    }

    #[inline]
    fn value(&mut self, (place, many): (usize, &Column), one: &Column, index: usize) -> Option<Value> {
        let (lhs, rhs) = if self.is_swapped { (one, many) } else { (many, one) };
        let (left, right) = (lhs.floats[index], rhs.floats[index]);
        if is_present(left) && is_present(right) {
            return self.operation.combine_floats(left, right).map(Value::Float);
        }
        self.operation.combine(lhs.get(index)?, rhs.get(index)?).unwrap_or_else(|annotation| {
            let last = self.incompatible.entry(index).or_insert((place, annotation));
            if place >= last.0 {
                *last = (place, annotation);
            }
            None
        })
    }

    fn result_position(&mut self, many: &Series, one: &Series) -> Result<usize> {
        let steps = self.both_present.len();
        let labels = self.result_labels(&many.labels, &one.labels);
        let before = self.results.series.len();
        let position = self.results.position(labels, self.operation.returns_bool, steps);
        if self.results.series.len() > before {
            self.reservation.grow(steps as u64)?;
        }
        Ok(position)
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let mut labels = if is_comparison(self.operation.op) { many.clone() } else { without_metadata(many) };
        if self.matching.cardinality == Cardinality::OneToOne {
            let is_listed = |name: &str| self.matching.labels.iter().any(|label| label == name);
            labels = labels.filtered(|name| is_listed(name) == self.matching.on);
        }
        if !self.matching.include.is_empty() {
            let mut builder = labels.to_builder();
            for name in &self.matching.include {
                builder.set(name, one.get(name).unwrap_or(""));
            }
            labels = builder.build();
        }
        if self.operation.returns_bool && !self.operation.evaluator.query.delays_name_removal() {
            labels = without_metadata(&labels);
        }
        labels
    }
}

/// Result series, and the match group that each was last written from.
#[derive(Default)]
struct Results {
    positions: HashMap<Labels, usize, RandomState>,
    series: Vec<(Series, usize)>,
}

impl Results {
    fn position(&mut self, labels: Labels, drops_name: bool, steps: usize) -> usize {
        let next = self.series.len();
        let position = *self.positions.entry(labels.clone()).or_insert(next);
        if position == next {
            self.series.push((Series { labels, drops_name, column: Column::absent(steps) }, 0));
        }
        position
    }

    fn set(&mut self, position: usize, index: usize, value: Value, group: usize) -> Result<()> {
        let (series, last_group) = &mut self.series[position];
        if series.column.has(index) {
            return Err(if *last_group == group {
                execution_error("multiple matches for labels: grouping labels must ensure unique matches")
            } else {
                duplicate_labels()
            });
        }
        *last_group = group;
        match value {
            Value::Float(value) => series.column.floats[index] = value,
            value => series.column.set(index, Some(value)),
        }
        Ok(())
    }
}
