//! The query engine: instant and range queries over a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ast::Expr;
use super::cache::{CacheKey, CacheStats, Entry, ResultCache, joined, reach_ahead};
use super::eval::{Evaluated, Query, Report, ResultSeries, Steps};
use super::memory::Memory;
use super::result::{MatrixSeries, QueryError, QueryResult, QueryValue, Value, VectorSample};
use super::{EngineSettings, MemoryBounds, QueryOptions};
use crate::model::{Labels, Timestamp};
use crate::store::{Select, StoreMark};

/// Evaluates expressions. Synchronous: called on blocking threads, from as many as wanted. Keeps nothing
/// between calls but the results of range queries, if it is given room for them.
#[derive(Debug)]
pub struct Engine {
    settings: EngineSettings,
    /// Overrides the settings: a reload may change it.
    default_step_ms: AtomicU64,
    memory: Memory,
    cache: ResultCache,
}

impl Engine {
    /// An engine with these settings, the default bounds on memory, and no cache.
    pub fn new(settings: EngineSettings) -> Self {
        let default_step_ms = AtomicU64::new(whole_ms(settings.default_step));
        Self { settings, default_step_ms, memory: Memory::default(), cache: ResultCache::default() }
    }

    /// The same with other bounds on memory.
    pub fn with_memory(self, bounds: MemoryBounds) -> Self {
        Self { memory: Memory::new(bounds), ..self }
    }

    /// The same with a cache of results of at most about this many bytes.
    pub fn with_cache(self, bytes_max: usize) -> Self {
        Self { cache: ResultCache::new(bytes_max), ..self }
    }

    /// From now on subqueries that name no step take this one.
    pub fn set_default_step(&self, step: Duration) {
        self.default_step_ms.store(whole_ms(step), Ordering::Relaxed);
    }

    /// What the engine was made with.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    fn present_settings(&self) -> EngineSettings {
        let default_step = Duration::from_millis(self.default_step_ms.load(Ordering::Relaxed));
        EngineSettings { default_step, ..self.settings.clone() }
    }

    /// How the cache is doing.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Bytes that running queries hold.
    pub fn memory_held(&self) -> u64 {
        self.memory.held()
    }

    /// Evaluates an expression at one instant.
    pub fn instant(
        &self,
        select: &dyn Select,
        expr: &Expr,
        at: Timestamp,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let settings = self.present_settings();
        let query = Query::new(select, &settings, &self.memory, options, (at.0, at.0, 0))?;
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
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step == 0 {
            return Err(QueryError::Execution("the step of a range query must be at least one millisecond".to_owned()));
        }
        let Some(steps) = Steps::between(start.0, end.0, step).filter(|_| end >= start) else {
            return match end < start {
                true => Ok(result(QueryValue::Matrix(Vec::new()), Report::default())),
                false => Err(QueryError::TooManySamples { max: self.settings.samples_max }),
            };
        };
        let settings = self.present_settings();
        let range = RangeQuery { engine: self, settings, select, expr, options, end: end.0 };
        match range.cacheable(steps) {
            Some(cacheable) => range.run_cached(steps, &cacheable),
            None => range.run(steps),
        }
    }
}

/// A range query under way.
struct RangeQuery<'a> {
    engine: &'a Engine,
    /// Those that hold for all of the query, whatever a reload does meanwhile.
    settings: EngineSettings,
    select: &'a dyn Select,
    expr: &'a Expr,
    options: &'a QueryOptions,
    /// What `end()` means; it need not be a step.
    end: i64,
}

/// What the cache must know of a query.
struct Cacheable {
    key: CacheKey,
    mark: StoreMark,
    /// How far behind its step the expression reads.
    ahead_ms: i64,
}

impl RangeQuery<'_> {
    /// Evaluates every step.
    fn run(&self, steps: Steps) -> Result<QueryResult, QueryError> {
        self.run_until(steps, self.end)
    }

    fn run_until(&self, steps: Steps, end: i64) -> Result<QueryResult, QueryError> {
        let memory = &self.engine.memory;
        let query = Query::new(self.select, &self.settings, memory, self.options, (steps.start, end, steps.step))?;
        let matrix = match query.evaluate(self.expr)? {
            Evaluated::Scalar(values) => {
                let points = values.into_iter().enumerate();
                let points = points.map(|(index, value)| (Timestamp(steps.at(index)), Value::Float(value))).collect();
                vec![MatrixSeries { labels: Labels::empty(), points }]
            }
            Evaluated::Vector(series) => sorted(series.into_iter().map(|series| {
                let points = series.points(steps);
                MatrixSeries { labels: series.labels, points }
            })),
            Evaluated::Text(_) => return Err(wrong_type("string")),
            Evaluated::Ranges(_) => return Err(wrong_type("range vector")),
        };
        Ok(result(QueryValue::Matrix(matrix), query.into_report(self.options.text.as_deref().unwrap_or(""))))
    }

    /// What the cache must know, if the query is one for it.
    fn cacheable(&self, steps: Steps) -> Option<Cacheable> {
        let (settings, cache) = (&self.settings, &self.engine.cache);
        let text = self.options.text.clone().filter(|_| cache.is_enabled() && steps.count > 1)?;
        if self.options.counts_samples {
            return None;
        }
        if settings.features.delayed_name_removal {
            return None;
        }
        let ahead_ms = reach_ahead(self.expr)?;
        // Before anything is read.
        let mark = self.select.mark()?;
        let lookback_ms = self.options.lookback.unwrap_or(settings.lookback).as_millis() as i64;
        let phase = steps.start.rem_euclid(steps.step);
        Some(Cacheable {
            key: CacheKey {
                store: mark.store,
                text,
                step: steps.step,
                phase,
                lookback_ms,
                default_step_ms: whole_ms(settings.default_step),
            },
            mark,
            ahead_ms,
        })
    }

    fn run_cached(&self, steps: Steps, cacheable: &Cacheable) -> Result<QueryResult, QueryError> {
        let cache = &self.engine.cache;
        let Some(entry) = cache.get(&cacheable.key) else {
            let result = self.run(steps)?;
            cache.count_steps(0, steps.count);
            self.keep(steps, cacheable, &result);
            return Ok(result);
        };
        let changed = self.select.changed_since(&entry.mark);
        let sound = entry.count_before(Timestamp(changed.0.saturating_sub(cacheable.ahead_ms)));
        // The steps of the query that the entry has: [from, to) by number.
        let number = |at: i64| (at - steps.start).div_euclid(steps.step);
        let from = number(entry.steps.start).clamp(0, steps.count as i64) as usize;
        let to = number(entry.steps.at(sound)).clamp(from as i64, steps.count as i64) as usize;
        if from == to {
            cache.remove(&cacheable.key);
            return self.run_cached(steps, cacheable);
        }
        let part = |from: usize, to: usize| match to - from {
            0 => Ok(result(QueryValue::Matrix(Vec::new()), Report::default())),
            count => {
                let part = Steps { start: steps.at(from), count, ..steps };
                self.run_until(part, part.end())
            }
        };
        let (before, behind) = (part(0, from)?, part(to, steps.count)?);
        cache.count_steps(to - from, steps.count - (to - from));
        let is_within = from == 0 && to == steps.count;
        let result = put_together(before, (&entry, (steps.at(from), steps.at(to - 1))), behind);
        if !is_within {
            self.keep(steps, cacheable, &result);
        }
        Ok(result)
    }

    /// Keeps the settled part of a result.
    fn keep(&self, steps: Steps, cacheable: &Cacheable, result: &QueryResult) {
        let QueryValue::Matrix(matrix) = &result.value else { return };
        let settled = cacheable.mark.settled.0.saturating_sub(cacheable.ahead_ms);
        let count = Steps::between(steps.start, settled, steps.step).map_or(0, |settled| settled.count);
        let is_plain = result.warnings.is_empty() && result.infos.is_empty();
        if count == 0 || !is_plain {
            return;
        }
        if let Some(entry) = Entry::of(cacheable.mark, steps, count.min(steps.count), matrix) {
            self.engine.cache.insert(cacheable.key.clone(), entry);
        }
    }
}

fn put_together(before: QueryResult, cached: (&Entry, (i64, i64)), behind: QueryResult) -> QueryResult {
    let (QueryValue::Matrix(first), QueryValue::Matrix(last)) = (before.value, behind.value) else {
        unreachable!("range queries give matrices");
    };
    let mut whole = QueryResult {
        value: QueryValue::Matrix(joined(first, cached, last)),
        warnings: before.warnings,
        infos: before.infos,
        samples_read: before.samples_read + behind.samples_read,
        peak_samples: before.peak_samples.max(behind.peak_samples),
    };
    for (texts, more) in [(&mut whole.warnings, behind.warnings), (&mut whole.infos, behind.infos)] {
        texts.extend(more);
        texts.sort_unstable();
        texts.dedup();
    }
    whole
}

fn instant_vector(series: Vec<ResultSeries>, at: Timestamp) -> Vec<VectorSample> {
    let samples = series.into_iter().filter_map(|series| {
        let value = series.value()?;
        Some(VectorSample { labels: series.labels, timestamp: at, value })
    });
    samples.collect()
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

fn whole_ms(step: Duration) -> u64 {
    u64::try_from(step.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
