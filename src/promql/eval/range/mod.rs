//! Functions of ranges: a window slides over each series' samples, and the function is computed for
//! every step before the next series is read.

mod moments;
mod pairs;
mod rate;
mod regression;
mod source;
mod sums;
mod window;

use super::column::{ABSENT, Column, Scalar, Series, is_present};
use super::invariance::argument_span;
use super::labels::NameDropper;
use super::steps::Reference;
use super::together::Kept;
use super::{Annotation, Evaluator, Query, RawSeries, Result, Sink, Span, execution_error, unwrap_parens};
use crate::model::{Labels, METRIC_NAME, Matcher};
use crate::promql::Value;
use crate::promql::ast::{Call, Expr, Node};

use source::RangeSource;
use sums::WindowSums;
use window::{RangeSamples, Window, Windows};

/// The functions that take a range of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Changes,
    Resets,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    AvgOverTime,
    SumOverTime,
    MinOverTime,
    MaxOverTime,
    CountOverTime,
    LastOverTime,
    FirstOverTime,
    PresentOverTime,
    AbsentOverTime,
    QuantileOverTime,
    StddevOverTime,
    StdvarOverTime,
    MadOverTime,
    TsOfLastOverTime,
    TsOfFirstOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
}

impl RangeFunction {
    /// The function of that name, if it takes a range.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "increase" => Self::Increase,
            "delta" => Self::Delta,
            "irate" => Self::Irate,
            "idelta" => Self::Idelta,
            "changes" => Self::Changes,
            "resets" => Self::Resets,
            "deriv" => Self::Deriv,
            "predict_linear" => Self::PredictLinear,
            "double_exponential_smoothing" => Self::DoubleExponentialSmoothing,
            "avg_over_time" => Self::AvgOverTime,
            "sum_over_time" => Self::SumOverTime,
            "min_over_time" => Self::MinOverTime,
            "max_over_time" => Self::MaxOverTime,
            "count_over_time" => Self::CountOverTime,
            "last_over_time" => Self::LastOverTime,
            "first_over_time" => Self::FirstOverTime,
            "present_over_time" => Self::PresentOverTime,
            "absent_over_time" => Self::AbsentOverTime,
            "quantile_over_time" => Self::QuantileOverTime,
            "stddev_over_time" => Self::StddevOverTime,
            "stdvar_over_time" => Self::StdvarOverTime,
            "mad_over_time" => Self::MadOverTime,
            "ts_of_last_over_time" => Self::TsOfLastOverTime,
            "ts_of_first_over_time" => Self::TsOfFirstOverTime,
            "ts_of_max_over_time" => Self::TsOfMaxOverTime,
            "ts_of_min_over_time" => Self::TsOfMinOverTime,
            _ => return None,
        })
    }

    fn keeps_name(self) -> bool {
        matches!(self, Self::LastOverTime | Self::FirstOverTime)
    }

    fn expects_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// Samples in windows between two looks at the clock: some milliseconds of the slowest function. One
/// series alone can be hours of work.
const CHECK_SAMPLES: u64 = 1 << 18;

/// A call under way: the arguments besides the range, and where they stand.
struct RangeCall<'a> {
    query: &'a Query<'a>,
    function: RangeFunction,
    /// The range in milliseconds.
    range_ms: i64,
    /// The scalar arguments in order.
    scalars: Vec<Scalar>,
    /// Where the first argument stands: annotations point there.
    span: Span,
}

impl RangeCall<'_> {
    fn annotate(&self, annotation: Annotation<'_>) {
        self.query.annotate(annotation, self.span);
    }
}

/// Streams the result of a range function.
pub(super) fn stream(evaluator: &Evaluator<'_>, function: RangeFunction, call: &Call, sink: Sink<'_>) -> Result<()> {
    if function == RangeFunction::AbsentOverTime {
        return stream_absent(evaluator, call, sink);
    }
    let mut names = NameDropper::refusing(evaluator);
    each_column(evaluator, function, call, &mut |mut series| {
        if evaluator.labels.is_some() && series.labels.get(METRIC_NAME).is_none() {
            // One metric's series, read without its name: they are as distinct as they were.
            series.drops_name = !function.keeps_name();
        } else if !function.keeps_name() {
            names.drop_name(&mut series)?;
        }
        sink(series)
    })
}

/// One series of ones where no series of the range has a sample.
fn stream_absent(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let mut column = Column { floats: vec![1.0; evaluator.steps.count], histograms: Vec::new() };
    each_column(evaluator, RangeFunction::PresentOverTime, call, &mut |series| {
        for (slot, found) in column.floats.iter_mut().zip(&series.column.floats) {
            if is_present(*found) {
                *slot = ABSENT;
            }
        }
        Ok(())
    })?;
    if column.has_any() {
        let labels = super::functions::labels_of_absent(&call.args[0]);
        sink(Series { labels, drops_name: true, column })?;
    }
    Ok(())
}

/// The samples of an expression of type range vector, at one instant.
pub(super) fn evaluate_raw(evaluator: &Evaluator<'_>, expr: &Expr) -> Result<Vec<RawSeries>> {
    let source = RangeSource::of(evaluator, expr)?;
    let mut found = Vec::new();
    let mut reservation = evaluator.query.budget.reserve(0)?;
    source.each_series(evaluator, &mut |series, samples| {
        let samples = RangeSamples::new(samples);
        let range = source.window_bounds(evaluator.steps.start);
        let points = samples.window(range, evaluator.steps.start).to_points();
        reservation.grow(points.len() as u64)?;
        evaluator.count_read(points.len() as u64);
        if !points.is_empty() {
            let labels =
                if series.drops_name { super::labels::without_metadata(&series.labels) } else { series.labels };
            found.push((labels, points));
        }
        Ok(())
    })?;
    Ok(found)
}

fn each_column(evaluator: &Evaluator<'_>, function: RangeFunction, call: &Call, sink: Sink<'_>) -> Result<()> {
    let together = &evaluator.query.together;
    if let Some(kept) = together.take(evaluator, call) {
        evaluator.query.budget.give_back(kept.weight);
        evaluator.count_read(kept.samples_read);
        return kept.series.into_iter().try_for_each(sink);
    }
    let reader = RangeReader::of(evaluator, function, call)?;
    if let Some(partner) = together.partner(evaluator, call) {
        return each_column_of_both(evaluator, call, &reader, &partner, sink);
    }
    reader.source.each_series(evaluator, &mut |series, samples| {
        let (series, read) = reader.column_of(evaluator, series, &RangeSamples::new(samples))?;
        evaluator.count_read(read);
        series.map_or(Ok(()), &mut *sink)
    })
}

/// The same in one read with another function's series, whose columns are kept.
fn each_column_of_both(
    evaluator: &Evaluator<'_>,
    call: &Call,
    reader: &RangeReader<'_>,
    partner: &Call,
    sink: Sink<'_>,
) -> Result<()> {
    let function = RangeFunction::named(partner.function.name).ok_or_else(|| execution_error("expected a range"))?;
    let other = RangeReader::of(evaluator, function, partner)?;
    let sets = [reader.source.matchers().to_vec(), other.source.matchers().to_vec()];
    let is_of = |set: usize, labels: &Labels| sets[set].iter().all(|matcher| matcher.matches_labels(labels));
    let mut kept = Some(Kept::default());
    let outcome = evaluator.each_series_of_any(&sets, reader.source.read_bounds(evaluator), |labels, samples| {
        let samples = RangeSamples::new(samples);
        let series = |labels| Series { labels, drops_name: false, column: Column::default() };
        if is_of(1, &labels)
            && let Some(ahead) = &mut kept
            && other.keep(evaluator, series(labels.clone()), &samples, ahead).is_err()
        {
            // Whatever is wrong with it is told when its turn comes.
            kept.take().into_iter().for_each(|kept| evaluator.query.budget.give_back(kept.weight));
        }
        if !is_of(0, &labels) {
            return Ok(());
        }
        let (series, read) = reader.column_of(evaluator, series(labels), &samples)?;
        evaluator.count_read(read);
        series.map_or(Ok(()), &mut *sink)
    });
    if let Some(kept) = kept {
        evaluator.query.together.keep(evaluator, call, kept);
    }
    outcome
}

/// Whether two calls read the samples of plain selectors over the same time, and have no further arguments that are
/// to be evaluated.
pub(super) fn reads_like(evaluator: &Evaluator<'_>, one: &Call, other: &Call) -> Result<bool> {
    if !is_plain(one) || !is_plain(other) {
        return Ok(false);
    }
    let (one, other) = (source_of(evaluator, one)?, source_of(evaluator, other)?);
    Ok(!one.is_fixed() && !other.is_fixed() && one.read_bounds(evaluator) == other.read_bounds(evaluator))
}

/// What the plain selector is that a range function reads, if it gives one series for each of its and has no further
/// arguments that are to be evaluated; and whether these keep their names.
pub(super) fn plain_range(call: &Call) -> Option<(&[Matcher], bool)> {
    let function = RangeFunction::named(call.function.name).filter(|_| is_plain(call))?;
    let matchers = call.args.iter().find_map(|arg| match &unwrap_parens(arg).node {
        Node::MatrixSelector(matrix) => Some(&matrix.selector.matchers[..]),
        _ => None,
    });
    matchers.map(|matchers| (matchers, function.keeps_name()))
}

fn is_plain(call: &Call) -> bool {
    let is_read = |arg: &Expr| matches!(unwrap_parens(arg).node, Node::Number(_) | Node::MatrixSelector(_));
    call.function.name != "absent_over_time" && call.args.iter().all(is_read)
}

fn is_range(arg: &&Expr) -> bool {
    super::value_type(arg) == crate::promql::ast::ValueType::RangeVector
}

fn source_of<'e>(evaluator: &Evaluator<'_>, call: &'e Call) -> Result<RangeSource<'e>> {
    let range_arg = call.args.iter().find(is_range).ok_or_else(|| execution_error("expected a range vector"))?;
    RangeSource::of(evaluator, range_arg)
}

/// A function, and what it reads.
struct RangeReader<'a> {
    call: RangeCall<'a>,
    source: RangeSource<'a>,
}

impl<'a> RangeReader<'a> {
    fn of(evaluator: &Evaluator<'a>, function: RangeFunction, call: &'a Call) -> Result<Self> {
        let source = source_of(evaluator, call)?;
        let scalars = call.args.iter().filter(|arg| !is_range(arg)).map(|arg| evaluator.scalar(arg));
        let is_first = is_range(&&call.args[0]);
        let call = RangeCall {
            query: evaluator.query,
            function,
            range_ms: source.range_ms,
            scalars: scalars.collect::<Result<_>>()?,
            // Upstream forgets where a subquery stands.
            span: if source.is_subquery() && is_first { Span::default() } else { argument_span(call, 0) },
        };
        Ok(Self { call, source })
    }

    /// The series with its column, if that has any value, and how many samples were looked at.
    fn column_of(
        &self,
        evaluator: &Evaluator<'_>,
        mut series: Series,
        samples: &RangeSamples<'_>,
    ) -> Result<(Option<Series>, u64)> {
        let read;
        let metric = self.source.metric_name().unwrap_or_else(|| series.labels.metric_name());
        (series.column, read) = self.call.column(evaluator, &self.source, samples, metric)?;
        if !series.column.has_any() {
            return Ok((None, read));
        }
        self.call.check_counter_name(metric, &series.column);
        Ok((Some(series), read))
    }

    /// Adds a series to what is kept of this function; fails where that is more than may be kept.
    fn keep(
        &self,
        evaluator: &Evaluator<'_>,
        series: Series,
        samples: &RangeSamples<'_>,
        kept: &mut Kept,
    ) -> Result<()> {
        let (series, read) = self.column_of(evaluator, series, samples)?;
        kept.samples_read += read;
        let Some(series) = series else { return Ok(()) };
        let weight = series.column.weight();
        evaluator.query.budget.keep(weight)?;
        kept.weight += weight;
        kept.series.push(series);
        if kept.is_too_much() { Err(execution_error("too much to keep")) } else { Ok(()) }
    }
}

impl RangeCall<'_> {
    fn column(
        &self,
        evaluator: &Evaluator<'_>,
        source: &RangeSource<'_>,
        samples: &RangeSamples<'_>,
        metric: &str,
    ) -> Result<(Column, u64)> {
        let mut column = Column::absent(evaluator.steps.count);
        let mut windows = Windows::over(samples);
        let (mut read, mut checked) = (0, 0);
        let rate = rate::CounterRate::of(self, samples);
        let mut sums = WindowSums::of(self, samples, evaluator.steps.step);
        for index in 0..evaluator.steps.count {
            let at = evaluator.steps.at(index);
            let window = windows.slide(source.window_bounds(at), at);
            if window.is_empty() {
                continue;
            }
            read += window.len() as u64;
            if read - checked >= CHECK_SAMPLES {
                self.query.budget.check_time()?;
                checked = read;
            }
            if let Some(rate) = &rate {
                column.floats[index] = rate.over(&window).unwrap_or(ABSENT);
            } else if let Some(sums) = &mut sums {
                sums.push(index, &window, &mut column.floats);
            } else {
                match self.value(&window, index, metric)? {
                    Some(Value::Float(value)) => column.floats[index] = value,
                    value => column.set(index, value),
                }
            }
        }
        if let Some(mut sums) = sums {
            sums.finish(&mut column.floats);
        }
        Ok((column, read))
    }

    /// The function's value over one window that is not empty.
    fn value(&self, window: &Window<'_>, index: usize, metric: &str) -> Result<Option<Value>> {
        use RangeFunction as F;
        let context = WindowContext { call: self, index, metric };
        Ok(match self.function {
            F::Rate | F::Increase | F::Delta => rate::extrapolated(&context, window),
            F::Irate | F::Idelta => pairs::instant_value(&context, window),
            F::Changes => Some(Value::Float(pairs::changes(window))),
            F::Resets => Some(Value::Float(pairs::resets(window))),
            F::CountOverTime => Some(Value::Float(window.len() as f64)),
            F::PresentOverTime | F::AbsentOverTime => Some(Value::Float(1.0)),
            F::LastOverTime => window.last(),
            F::FirstOverTime => window.first(),
            F::TsOfLastOverTime => window.last_time().map(|time| Value::Float(time.seconds())),
            F::TsOfFirstOverTime => window.first_time().map(|time| Value::Float(time.seconds())),
            F::SumOverTime => moments::sum(&context, window),
            F::AvgOverTime => moments::avg(&context, window),
            F::Deriv | F::PredictLinear => regression::linear(&context, window),
            F::DoubleExponentialSmoothing => regression::smoothed(&context, window)?,
            _ => moments::of_floats(&context, window),
        })
    }

    fn check_counter_name(&self, name: &str, column: &Column) {
        const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];
        if self.function.expects_counter()
            && !name.is_empty()
            && !COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            && column.floats.iter().any(|value| is_present(*value))
        {
            self.annotate(Annotation::PossibleNonCounter { metric: name });
        }
    }
}

/// Where a window stands: for scalar arguments and annotations.
struct WindowContext<'a> {
    call: &'a RangeCall<'a>,
    /// The step.
    index: usize,
    /// The series' metric name.
    metric: &'a str,
}

impl WindowContext<'_> {
    fn scalar(&self, position: usize) -> f64 {
        self.call.scalars.get(position).map_or(f64::NAN, |scalar| scalar.at(self.index))
    }

    fn annotate(&self, annotation: Annotation<'_>) {
        self.call.annotate(annotation);
    }

    /// Says that histograms of the window were left out, if there are any.
    fn note_ignored_histograms(&self, window: &Window<'_>) {
        if !window.histograms.is_empty() {
            self.annotate(Annotation::HistogramIgnoredInMixedRange { metric: self.metric });
        }
    }
}
