//! Evaluation of an expression over equally spaced steps; an instant query has one step.
//!
//! Work goes series by series, not step by step. A selector reads each series once, through
//! [`crate::store::Select`], into one reused buffer; a range function slides its window over that
//! buffer and leaves a dense [`Column`] with one slot per step. Columns are pushed from the leaves
//! towards the root: every expression that gives a vector *streams* its series into a sink. An
//! aggregation folds each column into its groups as it comes by, so that `sum by (x) (rate(y[5m]))`
//! holds one series' samples and the groups' columns, however many series there are. Binary operators
//! and functions that need all series at once collect the stream first.
//!
//! Guarantees of a stream: labels are unique, and every column has a value somewhere.
//!
//! Fails as the language does (matching errors, duplicate label sets), by the query's bounds
//! ([`budget`]), or with the store. Source of the semantics: prometheus/promql (3.5).

mod aggregate;
mod annotations;
mod binary;
mod budget;
mod column;
mod extent;
mod extreme;
mod functions;
mod histogram;
mod insertion;
mod invariance;
mod kahan;
mod labels;
mod logarithm;
mod quantile;
mod range;
mod selector;
mod steps;
mod together;

use std::sync::Arc;

use annotations::{Annotation, Annotations};
use budget::{Budget, Reservation};
use column::{Column, Scalar, Series};
use together::Together;

pub(super) use steps::Steps;

use super::ast::{AtModifier, Expr, Node, Span, UnaryOp, ValueType};
use super::memory::Memory;
use super::{EngineSettings, QueryError, QueryOptions, Value};
use crate::model::{Labels, Matcher, TimeRange, Timestamp};
use crate::store::{ChosenLabels, ReadOptions, Samples, Select, StoreError};

type Result<T> = std::result::Result<T, QueryError>;

/// Takes one series after the other.
type Sink<'s> = &'s mut dyn FnMut(Series) -> Result<()>;

/// What holds for a query as a whole.
pub(super) struct Query<'q> {
    select: &'q dyn Select,
    settings: &'q EngineSettings,
    lookback_ms: i64,
    /// The query's own steps.
    steps: Steps,
    /// What `start()` and `end()` mean. The end need not be a step.
    bounds: (i64, i64),
    /// What `step()` means: milliseconds, 0 for an instant query.
    step_ms: i64,
    budget: Budget,
    annotations: Annotations,
    together: Together,
}

/// A series of the result.
pub(super) struct ResultSeries {
    pub labels: Labels,
    column: Column,
}

impl ResultSeries {
    /// Its value at the only step of an instant query.
    pub fn value(&self) -> Option<Value> {
        self.column.get(0)
    }

    /// Its values, with their times.
    pub fn points(&self, steps: Steps) -> Vec<(Timestamp, Value)> {
        let mut points = Vec::with_capacity(self.column.present_len());
        points.extend(
            (0..self.column.len()).filter_map(|index| Some((Timestamp(steps.at(index)), self.column.get(index)?))),
        );
        points
    }
}

/// A series with its samples.
pub(super) type RawSeries = (Labels, Vec<(Timestamp, Value)>);

/// The outcome of an evaluation.
pub(super) enum Evaluated {
    Scalar(Vec<f64>),
    Text(String),
    /// In the order of evaluation.
    Vector(Vec<ResultSeries>),
    Ranges(Vec<RawSeries>),
}

/// What a query cost, and what there is to say about it.
#[derive(Default)]
pub(super) struct Report {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub samples_read: u64,
    pub peak_samples: u64,
}

impl<'q> Query<'q> {
    /// A query from a first to a last instant in steps, all in milliseconds; the step of an instant query
    /// is 0.
    pub fn new(
        select: &'q dyn Select,
        settings: &'q EngineSettings,
        memory: &Memory,
        options: &QueryOptions,
        (start, end, step): (i64, i64, i64),
    ) -> Result<Self> {
        let lookback = options.lookback.unwrap_or(settings.lookback);
        let max = settings.samples_max;
        let steps = Steps::between(start, end, step.max(1)).filter(|steps| steps.count as u64 <= max);
        Ok(Self {
            select,
            settings,
            lookback_ms: i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX),
            steps: steps.ok_or(QueryError::TooManySamples { max })?,
            bounds: (start, end),
            step_ms: step,
            budget: Budget::new(settings.samples_max, memory.clone(), options.deadline, options.cancelled.clone()),
            annotations: Annotations::default(),
            together: Together::default(),
        })
    }

    /// Evaluates an expression of any type.
    pub fn evaluate(&self, expr: &Expr) -> Result<Evaluated> {
        let outcome = self.evaluate_once(expr);
        // What was kept ahead of its turn is no reason to refuse a query: read apart, it may fit.
        if outcome.as_ref().is_err_and(QueryError::is_too_large) && self.together.read_apart() {
            self.budget.restart();
            return self.evaluate_once(expr);
        }
        outcome
    }

    fn evaluate_once(&self, expr: &Expr) -> Result<Evaluated> {
        let evaluator = Evaluator { query: self, steps: self.steps, reads: 1, labels: None };
        match value_type(expr) {
            ValueType::Scalar => {
                let scalar = evaluator.scalar(expr)?;
                Ok(Evaluated::Scalar((0..self.steps.count).map(|index| scalar.at(index)).collect()))
            }
            ValueType::String => Ok(Evaluated::Text(string_argument(expr)?.to_owned())),
            ValueType::RangeVector => range::evaluate_raw(&evaluator, expr).map(Evaluated::Ranges),
            ValueType::InstantVector => {
                let series = labels::remove_delayed_names(evaluator.vector(expr)?.series)?;
                let series = series.into_iter().map(|Series { labels, column, .. }| ResultSeries { labels, column });
                Ok(Evaluated::Vector(series.collect()))
            }
        }
    }

    /// What the query cost; `text` is what the expression was parsed from.
    pub fn into_report(self, text: &str) -> Report {
        let (samples_read, peak_samples) = (self.budget.samples_read(), self.budget.peak_samples());
        let (warnings, infos) = self.annotations.into_texts(text);
        Report { warnings, infos, samples_read, peak_samples }
    }

    fn annotate(&self, annotation: Annotation<'_>, span: Span) {
        self.annotations.add(annotation, span);
    }

    fn delays_name_removal(&self) -> bool {
        self.settings.features.delayed_name_removal
    }

    fn fixed_time(&self, at: Option<AtModifier>) -> Option<i64> {
        at.map(|at| match at {
            AtModifier::At(timestamp) => timestamp.0,
            AtModifier::Start => self.bounds.0,
            AtModifier::End => self.bounds.1,
        })
    }

    fn read_options(&self, range: TimeRange) -> ReadOptions {
        let (deadline, cancelled) = (self.budget.deadline, self.budget.cancelled.clone());
        ReadOptions { deadline, cancelled, ..ReadOptions::over(range) }
    }
}

/// All series of a vector, and the claim on the query's budget that goes with them.
struct Vector<'q> {
    series: Vec<Series>,
    _reservation: Reservation<'q>,
}

/// Evaluates expressions over given steps. Subqueries have an evaluator of their own.
#[derive(Clone, Copy)]
struct Evaluator<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    /// How often a sample read here counts as read: for every step that one evaluation stands for, and
    /// not at all within a subquery, whose result is counted instead.
    reads: u64,
    /// Of series that are read, all that is looked at. Given to an aggregation's operand alone.
    labels: Option<&'q ChosenLabels>,
}

impl<'q> Evaluator<'q> {
    /// An evaluator of the same query over other steps.
    fn over(&self, steps: Steps) -> Result<Self> {
        if steps.count as u64 > self.query.settings.samples_max {
            return Err(QueryError::TooManySamples { max: self.query.settings.samples_max });
        }
        Ok(Self { steps, ..*self })
    }

    /// An evaluator of the first step alone, for what is the same at every step.
    fn at_first_step(&self) -> Self {
        Self { steps: Steps::single(self.steps.start), reads: self.reads * self.steps.count as u64, ..*self }
    }

    /// Counts samples as looked at.
    fn count_read(&self, samples: u64) {
        self.query.budget.count_read(samples.saturating_mul(self.reads));
    }

    /// Evaluates an expression of type scalar.
    fn scalar(&self, expr: &Expr) -> Result<Scalar> {
        if self.steps.count > 1 && invariance::is_step_invariant(expr) {
            return Ok(Scalar::Constant(self.at_first_step().scalar(expr)?.at(0)));
        }
        match &expr.node {
            Node::Number(literal) => Ok(Scalar::Constant(literal.value)),
            Node::Paren(inner) | Node::Unary(UnaryOp::Plus, inner) => self.scalar(inner),
            Node::Unary(UnaryOp::Minus, inner) => Ok(self.scalar(inner)?.map(|value| -value)),
            Node::Binary(binary) => binary::scalars(self, binary),
            Node::Call(call) => functions::scalar(self, call),
            _ => Err(unexpected_type(expr, "scalar")),
        }
    }

    /// Evaluates an expression of type instant vector and hands its series to `sink`.
    fn stream(&self, expr: &Expr, sink: Sink<'_>) -> Result<()> {
        self.query.budget.check_time()?;
        if self.steps.count > 1 && invariance::is_step_invariant(expr) {
            return self.stream_invariant(expr, sink);
        }
        match &expr.node {
            Node::VectorSelector(vector_selector) => selector::stream(self, vector_selector, sink),
            Node::Paren(inner) | Node::Unary(UnaryOp::Plus, inner) => self.stream(inner, sink),
            Node::Unary(UnaryOp::Minus, inner) => self.stream_negated(inner, sink),
            Node::Aggregate(aggregate) => aggregate::stream(self, expr, aggregate, sink),
            Node::Binary(binary) => binary::stream(self, expr, binary, sink),
            Node::Call(call) => functions::stream(self, call, sink),
            _ => Err(unexpected_type(expr, "instant vector")),
        }
    }

    /// All series of an expression of type instant vector.
    fn vector(&self, expr: &Expr) -> Result<Vector<'q>> {
        let mut series = Vec::new();
        let mut reservation = self.query.budget.reserve(0)?;
        self.stream(expr, &mut |each| {
            reservation.grow(each.column.weight())?;
            series.push(each);
            Ok(())
        })?;
        Ok(Vector { series, _reservation: reservation })
    }

    /// Evaluates what is the same at every step once.
    fn stream_invariant(&self, expr: &Expr, sink: Sink<'_>) -> Result<()> {
        let count = self.steps.count;
        self.at_first_step().stream(expr, &mut |mut series| {
            let _slots = self.query.budget.reserve(count as u64)?;
            series.column.floats.resize(count, series.column.floats[0]);
            if let Some(Some(histogram)) = series.column.histograms.first() {
                let histogram = Arc::clone(histogram);
                series.column.histograms.resize(count, Some(histogram));
            }
            sink(series)
        })
    }

    fn stream_negated(&self, operand: &Expr, sink: Sink<'_>) -> Result<()> {
        let mut names = labels::NameDropper::refusing(self);
        self.stream(operand, &mut |mut series| {
            series.column.map_floats(|_, value| -value);
            for histogram in series.column.histograms.iter_mut().flatten() {
                Arc::make_mut(histogram).scale(-1.0);
            }
            names.drop_name(&mut series)?;
            sink(series)
        })
    }

    /// Reads the series of a selector, one at a time, between two instants (both included), with the chosen labels.
    fn each_series(
        &self,
        matchers: &[Matcher],
        bounds: (i64, i64),
        visit: impl FnMut(Labels, &mut Samples) -> Result<()>,
    ) -> Result<()> {
        let options = ReadOptions { labels: self.labels.cloned(), ..self.read_options(bounds) };
        self.read(&[matchers.to_vec()], &options, visit)
    }

    /// The same for the series of several selectors, each series once, with all labels.
    fn each_series_of_any(
        &self,
        sets: &[Vec<Matcher>],
        bounds: (i64, i64),
        visit: impl FnMut(Labels, &mut Samples) -> Result<()>,
    ) -> Result<()> {
        self.read(sets, &self.read_options(bounds), visit)
    }

    fn read_options(&self, (from, to): (i64, i64)) -> ReadOptions {
        self.query.read_options(TimeRange { start: Timestamp(from), end: Timestamp(to) })
    }

    fn read(
        &self,
        sets: &[Vec<Matcher>],
        options: &ReadOptions,
        mut visit: impl FnMut(Labels, &mut Samples) -> Result<()>,
    ) -> Result<()> {
        let mut set = self.query.select.select_any(sets, options).map_err(store_failure)?;
        let mut samples = Samples::default();
        let mut reservation = self.query.budget.reserve(0)?;
        while let Some(labels) = set.next(&mut samples).map_err(store_failure)? {
            self.query.budget.check_time_before((samples.len() + self.steps.count) as u64)?;
            reservation.resize(samples.len() as u64)?;
            visit(labels, &mut samples)?;
        }
        Ok(())
    }
}

/// The type of an expression that the parser has checked.
fn value_type(expr: &Expr) -> ValueType {
    match &expr.node {
        Node::Number(_) => ValueType::Scalar,
        Node::String(_) => ValueType::String,
        Node::Paren(inner) | Node::Unary(_, inner) => value_type(inner),
        Node::Binary(binary) => match (value_type(&binary.lhs), value_type(&binary.rhs)) {
            (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
            _ => ValueType::InstantVector,
        },
        Node::Aggregate(_) | Node::VectorSelector(_) => ValueType::InstantVector,
        Node::Call(call) => call.function.returns,
        Node::MatrixSelector(_) | Node::Subquery(_) => ValueType::RangeVector,
    }
}

/// The expression within any parentheses.
fn unwrap_parens(mut expr: &Expr) -> &Expr {
    while let Node::Paren(inner) = &expr.node {
        expr = inner;
    }
    expr
}

/// The text that an argument of type string stands for.
fn string_argument(expr: &Expr) -> Result<&str> {
    match &unwrap_parens(expr).node {
        Node::String(text) => Ok(text),
        _ => Err(unexpected_type(expr, "string")),
    }
}

fn store_failure(error: StoreError) -> QueryError {
    match error {
        StoreError::DeadlineExceeded => QueryError::Timeout,
        StoreError::Cancelled => QueryError::Cancelled,
        other => QueryError::Storage(other),
    }
}

fn execution_error(message: impl Into<String>) -> QueryError {
    QueryError::Execution(message.into())
}

/// The parser lets no such tree through; one that was built otherwise must not panic.
fn unexpected_type(expr: &Expr, wanted: &str) -> QueryError {
    execution_error(format!("expected type {wanted} at byte {}", expr.span.start))
}
