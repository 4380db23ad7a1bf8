//! `query` and `query_range`: evaluation on a blocking thread, results written piece by piece.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::json::Json;
use crate::http::params::Params;
use crate::http::reply::{PIECE_BYTES, Pieces};
use crate::http::time::parse_length;
use crate::model::{FloatHistogram, Timestamp};
use crate::promql::ast::{Expr, Node, ValueType};
use crate::promql::{MatrixSeries, QueryError, QueryOptions, QueryResult, QueryValue, Value, VectorSample, parse};

use super::answer::{Answer, Notes};
use super::error::{ApiError, ErrorKind};
use super::gate::{Gate, Ticket};
use super::handles::Api;

/// The most points per series in one answer, as in Prometheus: enough for a week at a minute's
/// resolution.
const POINTS_MAX: i128 = 11_000;

/// `/api/v1/query`
pub(super) async fn instant(api: &Api, gate: &Gate, params: &Params) -> Result<Answer, ApiError> {
    let limit = params.limit()?;
    let at = params.time_or("time", api.clock.now())?;
    let request = Request::parse(api, params)?;
    let expr = query_expr(api, params)?;
    let (engine, store) = (Arc::clone(&api.engine), Arc::clone(&api.store));
    let evaluated = request.run(gate, move |options| engine.instant(store.as_ref(), &expr, at, options)).await?;
    Ok(answer(evaluated, limit, params))
}

/// `/api/v1/query_range`
pub(super) async fn range(api: &Api, gate: &Gate, params: &Params) -> Result<Answer, ApiError> {
    let limit = params.limit()?;
    let (start, end, step) = grid(params)?;
    let request = Request::parse(api, params)?;
    let expr = query_expr(api, params)?;
    check_range_type(&expr)?;
    let (engine, store) = (Arc::clone(&api.engine), Arc::clone(&api.store));
    let evaluated =
        request.run(gate, move |options| engine.range(store.as_ref(), &expr, start, end, step, options)).await?;
    Ok(answer(evaluated, limit, params))
}

/// Parses the expression in the parameter `query`.
pub(super) fn query_expr(api: &Api, params: &Params) -> Result<Expr, ApiError> {
    parse(params.get("query"), api.queries.features).map_err(|error| ApiError::invalid_parameter("query", error))
}

/// Start, end and step of a range query.
fn grid(params: &Params) -> Result<(Timestamp, Timestamp, Duration), ApiError> {
    let start = params.time("start")?;
    let end = params.time("end")?;
    if end < start {
        return Err(ApiError::invalid_parameter("end", "end timestamp must not be before start time"));
    }
    let step = positive(params.length("step")?).ok_or_else(|| {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        ApiError::invalid_parameter("step", reason)
    })?;
    let range_nanos = i128::from(end.since(start)) * 1_000_000;
    if range_nanos / step.as_nanos() as i128 > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    // Samples know no time below the millisecond.
    Ok((start, end, step.max(Duration::from_millis(1))))
}

fn check_range_type(expr: &Expr) -> Result<(), ApiError> {
    let type_name = match value_type(expr) {
        ValueType::Scalar | ValueType::InstantVector => return Ok(()),
        ValueType::RangeVector => "range vector",
        ValueType::String => "string",
    };
    let reason = format!("invalid expression type {type_name:?} for range query, must be Scalar or instant Vector");
    Err(ApiError::invalid_parameter("query", reason))
}

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

/// What a query may cost and how it looks back.
struct Request {
    text: String,
    time_max: Duration,
    lookback: Option<Duration>,
    counts_samples: bool,
}

impl Request {
    fn parse(api: &Api, params: &Params) -> Result<Self, ApiError> {
        let time_max = match params.get("timeout") {
            "" => api.queries.timeout,
            _ => match positive(params.length("timeout")?) {
                Some(timeout) => timeout.min(api.queries.timeout),
                None => return Err(ApiError::new(ErrorKind::Timeout, "query timed out: timeout must be above 0")),
            },
        };
        let lookback = match params.get("lookback_delta") {
            "" => None,
            text => positive(
                parse_length(text)
                    .map_err(|reason| ApiError::bad_data(format!("error parsing lookback delta duration: {reason}")))?,
            ),
        };
        let counts_samples = !params.get("stats").is_empty();
        Ok(Self { text: params.get("query").to_owned(), time_max, lookback, counts_samples })
    }

    async fn run(
        self,
        gate: &Gate,
        evaluate: impl FnOnce(&QueryOptions) -> Result<QueryResult, QueryError> + Send + 'static,
    ) -> Result<Evaluated, ApiError> {
        gate.run(self.time_max, move |ticket: &Ticket| {
            let options = QueryOptions {
                text: Some(self.text.into()),
                lookback: self.lookback,
                deadline: Some(ticket.deadline),
                cancelled: Some(Arc::clone(&ticket.cancelled)),
                counts_samples: self.counts_samples,
            };
            let started = Instant::now();
            let result = evaluate(&options)?;
            Ok(Evaluated { result, queued: ticket.queued, took: started.elapsed() })
        })
        .await
    }
}

fn positive(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// A result and how long it took.
struct Evaluated {
    result: QueryResult,
    queued: Duration,
    took: Duration,
}

fn answer(evaluated: Evaluated, limit: Option<usize>, params: &Params) -> Answer {
    let stats = (!params.get("stats").is_empty()).then(|| Stats::of(&evaluated));
    let QueryResult { mut value, warnings, infos, .. } = evaluated.result;
    let mut notes = Notes { warnings, infos };
    if truncate(&mut value, limit) {
        notes.warnings.extend(Notes::truncated().warnings);
    }
    Answer::pieces(Box::new(ResultPieces::new(value, stats))).with_notes(notes)
}

/// Cuts off series beyond `limit`, and says whether there were any.
fn truncate(value: &mut QueryValue, limit: Option<usize>) -> bool {
    let Some(limit) = limit else { return false };
    match value {
        QueryValue::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        QueryValue::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}

/// What `stats` asks for.
struct Stats {
    took: Duration,
    queued: Duration,
    samples_read: u64,
    peak_samples: u64,
}

impl Stats {
    fn of(evaluated: &Evaluated) -> Self {
        let QueryResult { samples_read, peak_samples, .. } = evaluated.result;
        Self { took: evaluated.took, queued: evaluated.queued, samples_read, peak_samples }
    }

    fn push(&self, json: &mut Json) {
        let (took, queued) = (self.took.as_secs_f64(), self.queued.as_secs_f64());
        json.key("stats").object(|json| {
            json.key("timings").object(|json| {
                json.key("evalTotalTime").float(took);
                json.key("resultSortTime").float(0.0);
                json.key("queryPreparationTime").float(0.0);
                json.key("innerEvalTime").float(took);
                json.key("execQueueTime").float(queued);
                json.key("execTotalTime").float(took + queued);
            });
            json.key("samples").object(|json| {
                json.key("totalQueryableSamples").integer(self.samples_read);
                json.key("peakSamples").integer(self.peak_samples);
            });
        });
    }
}

/// Writes a result, freeing each series once it is written.
struct ResultPieces {
    rest: Rest,
    stats: Option<Stats>,
    is_open: bool,
    needs_comma: bool,
}

enum Rest {
    Scalar(Timestamp, f64),
    String(Timestamp, String),
    Vector(std::vec::IntoIter<VectorSample>),
    Matrix(std::vec::IntoIter<MatrixSeries>),
}

impl ResultPieces {
    fn new(value: QueryValue, stats: Option<Stats>) -> Self {
        let rest = match value {
            QueryValue::Scalar(at, value) => Rest::Scalar(at, value),
            QueryValue::String(at, text) => Rest::String(at, text),
            QueryValue::Vector(samples) => Rest::Vector(samples.into_iter()),
            QueryValue::Matrix(series) => Rest::Matrix(series.into_iter()),
        };
        Self { rest, stats, is_open: false, needs_comma: false }
    }

    fn open(&mut self, json: &mut Json) {
        let (name, bracket) = match self.rest {
            Rest::Scalar(..) => ("scalar", ""),
            Rest::String(..) => ("string", ""),
            Rest::Vector(_) => ("vector", "["),
            Rest::Matrix(_) => ("matrix", "["),
        };
        json.punctuation("{", false).key("resultType").string(name);
        json.key("result").punctuation(bracket, false);
        self.is_open = true;
    }

    /// Writes one element; `false` if there is none left.
    fn push_next(&mut self, json: &mut Json) -> bool {
        match &mut self.rest {
            Rest::Vector(samples) => samples.next().map(|sample| push_sample(json, &sample)).is_some(),
            Rest::Matrix(series) => series.next().map(|series| push_series(json, &series)).is_some(),
            Rest::Scalar(at, value) => {
                // Unlike elsewhere, Prometheus writes a scalar without any exponent.
                let text = crate::model::format_float(*value);
                push_pair(json, *at, &text);
                false
            }
            Rest::String(at, text) => {
                push_pair(json, *at, text);
                false
            }
        }
    }

    fn close(&self, json: &mut Json) {
        if matches!(self.rest, Rest::Vector(_) | Rest::Matrix(_)) {
            json.punctuation("]", true);
        }
        if let Some(stats) = &self.stats {
            stats.push(json);
        }
        json.punctuation("}", true);
    }
}

impl Pieces for ResultPieces {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let mut json = Json::continuing(std::mem::take(out), self.needs_comma);
        if !self.is_open {
            self.open(&mut json);
        }
        let mut more = true;
        while more && json.len() < PIECE_BYTES {
            more = self.push_next(&mut json);
        }
        if !more {
            self.close(&mut json);
        }
        self.needs_comma = json.needs_comma();
        *out = json.into_bytes();
        more
    }
}

/// A scalar's or a string's time and text. The time is a float: 1.5, where samples have 1.500.
fn push_pair(json: &mut Json, at: Timestamp, text: &str) {
    json.array(|json| {
        json.float(at.seconds()).string(text);
    });
}

fn push_sample(json: &mut Json, sample: &VectorSample) {
    json.object(|json| {
        json.key("metric").labels(&sample.labels);
        json.key(match sample.value {
            Value::Float(_) => "value",
            Value::Histogram(_) => "histogram",
        });
        push_point(json, sample.timestamp, &sample.value);
    });
}

fn push_series(json: &mut Json, series: &MatrixSeries) {
    json.object(|json| {
        json.key("metric").labels(&series.labels);
        for (key, is_histogram) in [("values", false), ("histograms", true)] {
            let mut points = series
                .points
                .iter()
                .filter(|(_, value)| matches!(value, Value::Histogram(_)) == is_histogram)
                .peekable();
            if points.peek().is_some() {
                json.key(key).list(points, |json, (at, value)| push_point(json, *at, value));
            }
        }
    });
}

fn push_point(json: &mut Json, at: Timestamp, value: &Value) {
    json.array(|json| {
        json.sample_time(at);
        match value {
            Value::Float(value) => {
                json.quoted_float(*value);
            }
            Value::Histogram(histogram) => push_histogram(json, histogram),
        }
    });
}

/// `{"count":"4","sum":"2.5","buckets":[[3,"-0.001","0.001","1"],…]}`. The first number says which
/// bounds belong to the bucket: 0 the upper, 1 the lower, 2 none, 3 both. Empty buckets are left out.
fn push_histogram(json: &mut Json, histogram: &FloatHistogram) {
    let buckets: Vec<_> = histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0).collect();
    json.object(|json| {
        json.key("count").quoted_float(histogram.count);
        json.key("sum").quoted_float(histogram.sum);
        if buckets.is_empty() {
            return;
        }
        json.key("buckets").list(buckets, |json, bucket| {
            let boundaries = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            json.array(|json| {
                json.integer(boundaries);
                json.quoted_float(bucket.lower).quoted_float(bucket.upper).quoted_float(bucket.count);
            });
        });
    });
}
