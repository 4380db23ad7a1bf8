//! The query engine: instant and range queries over a store.

use std::time::Duration;

use super::ast::Expr;
use super::eval::{Evaluated, Query, Report, SlotSeries, Steps};
use super::result::{MatrixSeries, QueryError, QueryResult, QueryValue, Value, VectorSample};
use super::{EngineSettings, QueryOptions};
use crate::model::{Labels, Timestamp};
use crate::store::Select;

/// Evaluates expressions. Synchronous and stateless: called on blocking threads, from as many as wanted.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: EngineSettings,
}

impl Engine {
    /// An engine with these settings.
    pub fn new(settings: EngineSettings) -> Self {
        Self { settings }
    }

    /// What the engine was made with.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Evaluates an expression at one instant.
    pub fn instant(
        &self,
        select: &dyn Select,
        expr: &Expr,
        at: Timestamp,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let query = Query::new(select, &self.settings, options, Steps::single(at.0), true);
        let value = match query.evaluate(expr)? {
            Evaluated::Scalar(values) => QueryValue::Scalar(at, values.first().copied().unwrap_or(f64::NAN)),
            Evaluated::Text(text) => QueryValue::String(at, text),
            Evaluated::Vector(series) => QueryValue::Vector(instant_vector(series, at)),
            Evaluated::Ranges(series) => {
                QueryValue::Matrix(sorted(series.into_iter().map(|(labels, points)| MatrixSeries { labels, points })))
            }
        };
        Ok(result(value, query.into_report(options.text.as_deref().unwrap_or(""))))
    }

    /// Evaluates an expression of type scalar or instant vector from `start` to `end` in steps.
    pub fn range(
        &self,
        select: &dyn Select,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let steps = self.range_steps(start, end, step)?;
        let Some(steps) = steps else {
            return Ok(result(QueryValue::Matrix(Vec::new()), Report::default()));
        };
        let query = Query::new(select, &self.settings, options, steps, false);
        let series = match query.evaluate(expr)? {
            Evaluated::Scalar(values) => {
                vec![(Labels::empty(), values.into_iter().map(|v| Some(Value::Float(v))).collect())]
            }
            Evaluated::Vector(series) => series,
            Evaluated::Text(_) => return Err(wrong_type("string")),
            Evaluated::Ranges(_) => return Err(wrong_type("range vector")),
        };
        let matrix = series.into_iter().map(|(labels, slots)| MatrixSeries { labels, points: points(slots, steps) });
        let value = QueryValue::Matrix(sorted(matrix));
        Ok(result(value, query.into_report(options.text.as_deref().unwrap_or(""))))
    }

    fn range_steps(&self, start: Timestamp, end: Timestamp, step: Duration) -> Result<Option<Steps>, QueryError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(QueryError::Execution("the step of a range query must be at least one millisecond".to_owned()));
        }
        if end < start {
            return Ok(None);
        }
        let max = self.settings.samples_max;
        let steps = Steps::between(start.0, end.0, step).filter(|steps| steps.count as u64 <= max);
        steps.map(Some).ok_or(QueryError::TooManySamples { max })
    }
}

fn instant_vector(series: Vec<SlotSeries>, at: Timestamp) -> Vec<VectorSample> {
    let samples = series.into_iter().filter_map(|(labels, mut slots)| {
        let value = slots.pop().flatten()?;
        Some(VectorSample { labels, timestamp: at, value })
    });
    samples.collect()
}

fn points(slots: Vec<Option<Value>>, steps: Steps) -> Vec<(Timestamp, Value)> {
    let slots = slots.into_iter().enumerate();
    slots.filter_map(|(index, value)| Some((Timestamp(steps.at(index)), value?))).collect()
}

fn sorted(series: impl Iterator<Item = MatrixSeries>) -> Vec<MatrixSeries> {
    let mut series: Vec<MatrixSeries> = series.collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

fn result(value: QueryValue, report: Report) -> QueryResult {
    let Report { warnings, infos, samples_read, peak_samples } = report;
    QueryResult { value, warnings, infos, samples_read, peak_samples }
}

fn wrong_type(found: &str) -> QueryError {
    let message = format!("invalid expression type \"{found}\" for range query, must be Scalar or instant Vector");
    QueryError::Execution(message)
}
