//! `histogram_quantile` and `histogram_fraction`: classic histograms, whose buckets are series with an
//! `le` label, and native ones side by side.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::super::column::{Column, Scalar, Series, is_present};
use super::super::histogram::{native_fraction, native_quantile};
use super::super::invariance::argument_span;
use super::super::labels::has_one_name;
use super::super::quantile::check_quantile;
use super::super::{Annotation, Evaluator, Result, Sink, Span, unwrap_parens};
use super::stream_renamed;
use crate::model::{FloatHistogram, Labels, parse_float};
use crate::promql::ast::Call;

/// The label that holds a bucket's upper bound.
const BUCKET_LABEL: &str = "le";

/// Relative differences between neighbouring buckets below this come of rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

pub(super) fn stream(evaluator: &Evaluator<'_>, call: &Call, sink: Sink<'_>) -> Result<()> {
    let (scalars, argument) = call.args.split_at(call.args.len() - 1);
    let argument = unwrap_parens(&argument[0]);
    let function = Function {
        evaluator,
        scalars: scalars.iter().map(|scalar| evaluator.scalar(scalar)).collect::<Result<_>>()?,
        is_quantile: call.function.name == "histogram_quantile",
        span: argument_span(call, 0),
        argument_span: argument_span(call, call.args.len() - 1),
    };
    let mut histograms = Histograms::default();
    let mut reservation = evaluator.query.budget.reserve(0)?;
    evaluator.stream(argument, &mut |series| {
        reservation.grow(series.column.weight())?;
        histograms.add(&function, series);
        Ok(())
    })?;
    // Behind what the argument has to say: of the same words at two places the last are told.
    function.check_quantiles();
    stream_renamed(evaluator, has_one_name(argument), sink, |sink| {
        for histogram in histograms.found {
            evaluator.query.budget.check_time()?;
            let column = function.column(&histogram);
            if column.has_any() {
                sink(Series { labels: histogram.labels, drops_name: false, column })?;
            }
        }
        Ok(())
    })
}

/// One of the two functions, with its arguments.
struct Function<'a, 'q> {
    evaluator: &'a Evaluator<'q>,
    /// The quantile, or the lower and the upper bound.
    scalars: Vec<Scalar>,
    is_quantile: bool,
    span: Span,
    argument_span: Span,
}

/// All histograms of the argument.
#[derive(Default)]
struct Histograms {
    positions: HashMap<Labels, usize, RandomState>,
    found: Vec<Histogram>,
}

/// The series of one histogram.
struct Histogram {
    labels: Labels,
    /// Classic buckets: upper bounds and counts, sorted by bound.
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
}

impl Histograms {
    fn add(&mut self, function: &Function<'_, '_>, mut series: Series) {
        let has_floats = series.column.floats.iter().any(|value| is_present(*value));
        let has_histograms = !series.column.histograms.is_empty();
        if has_floats {
            let bound = series.labels.get(BUCKET_LABEL).unwrap_or("");
            match parse_float(bound) {
                Some(bound) => {
                    let floats = if has_histograms {
                        series.column.floats.clone()
                    } else {
                        std::mem::take(&mut series.column.floats)
                    };
                    let labels = series.labels.filtered(|name| name != BUCKET_LABEL);
                    let buckets = &mut self.at(labels).buckets;
                    let place = buckets.partition_point(|(other, _)| *other <= bound);
                    buckets.insert(place, (bound, Column { floats, histograms: Vec::new() }));
                }
                None => {
                    let metric = series.labels.metric_name();
                    function.annotate(Annotation::BadBucketLabel { metric, label: bound }, function.argument_span);
                }
            }
        }
        if has_histograms {
            let labels = series.labels.clone();
            self.at(labels).native = Some(series.column);
        }
    }

    fn at(&mut self, labels: Labels) -> &mut Histogram {
        let position = *self.positions.entry(labels.clone()).or_insert_with(|| {
            self.found.push(Histogram { labels, buckets: Vec::new(), native: None });
            self.found.len() - 1
        });
        &mut self.found[position]
    }
}

impl Function<'_, '_> {
    fn annotate(&self, annotation: Annotation<'_>, span: Span) {
        self.evaluator.query.annotate(annotation, span);
    }

    fn check_quantiles(&self) {
        if !self.is_quantile {
            return;
        }
        let count = if let Scalar::Constant(_) = self.scalars[0] { 1 } else { self.evaluator.steps.count };
        for index in 0..count {
            check_quantile(self.scalars[0].at(index), |annotation| self.annotate(annotation, self.span));
        }
    }

    fn column(&self, histogram: &Histogram) -> Column {
        let mut column = Column::absent(self.evaluator.steps.count);
        // Upstream drops the name with the first result, and no longer knows it for later annotations.
        let keeps_name = self.evaluator.query.delays_name_removal();
        let mut classic_metric = histogram.labels.metric_name();
        let mut buckets = Vec::with_capacity(histogram.buckets.len());
        for index in 0..column.len() {
            buckets.clear();
            let counts = histogram.buckets.iter().map(|(bound, counts)| (*bound, counts.floats[index]));
            buckets.extend(counts.filter(|(_, count)| is_present(*count)));
            let native = histogram.native.as_ref().and_then(|native| native.histogram(index));
            let metric = histogram.labels.metric_name();
            column.floats[index] = match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    self.annotate(Annotation::MixedClassicNative { metric }, self.argument_span);
                    continue;
                }
                (Some(native), true) => self.of_native(native, index, metric),
                (None, false) => {
                    let metric = std::mem::take(&mut classic_metric);
                    if keeps_name {
                        classic_metric = metric;
                    }
                    self.of_classic(&mut buckets, index, metric)
                }
                (None, true) => continue,
            };
        }
        column
    }

    fn of_native(&self, histogram: &FloatHistogram, index: usize, metric: &str) -> f64 {
        let annotate = |annotation: Annotation<'_>| self.annotate(annotation, self.span);
        // Upstream names the metric only where names are dropped at the end.
        let metric = if self.evaluator.query.delays_name_removal() { metric } else { "" };
        if self.is_quantile {
            native_quantile(self.scalars[0].at(index), histogram, metric, annotate)
        } else {
            native_fraction(self.scalars[0].at(index), self.scalars[1].at(index), histogram, metric, annotate)
        }
    }

    fn of_classic(&self, buckets: &mut Vec<(f64, f64)>, index: usize, metric: &str) -> f64 {
        if !self.is_quantile {
            return fraction(self.scalars[0].at(index), self.scalars[1].at(index), buckets);
        }
        let (value, was_forced) = quantile(self.scalars[0].at(index), buckets);
        if was_forced {
            self.annotate(Annotation::ForcedMonotonicity { metric }, self.argument_span);
        }
        value
    }
}

/// The quantile of a classic histogram, given as upper bounds and cumulative counts in order of the
/// bounds, and whether the counts had to be made monotonic.
fn quantile(q: f64, buckets: &mut Vec<(f64, f64)>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    let Some((f64::INFINITY, _)) = buckets.last() else { return (f64::NAN, false) };
    coalesce(buckets);
    let was_forced = make_monotonic(buckets);
    let [.., (last_bound, _), (_, observations)] = buckets[..] else { return (f64::NAN, false) };
    if observations == 0.0 {
        return (f64::NAN, false);
    }
    let rank = q * observations;
    let found = first_reaching(rank, &buckets[..buckets.len() - 1]);
    if found == buckets.len() - 1 {
        return (last_bound, was_forced);
    }
    let (upper, count) = buckets[found];
    if found == 0 && upper <= 0.0 {
        return (upper, was_forced);
    }
    let (lower, below) = if found == 0 { (0.0, 0.0) } else { buckets[found - 1] };
    (lower + (upper - lower) * ((rank - below) / (count - below)), was_forced)
}

/// The first bucket whose count reaches a rank, or how many there are. Counts that are NaN (a rate over an
/// infinite sample) have no order: which bucket is found then depends on how it is searched for, so the
/// search halves exactly as upstream's does.
fn first_reaching(rank: f64, buckets: &[(f64, f64)]) -> usize {
    let (mut from, mut to) = (0, buckets.len());
    while from < to {
        let middle = (from + to) / 2;
        if buckets[middle].1 >= rank {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// The share of observations between two values in a classic histogram.
fn fraction(lower: f64, upper: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    let Some((f64::INFINITY, _)) = buckets.last() else { return f64::NAN };
    coalesce(buckets);
    let total = buckets[buckets.len() - 1].1;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    // A rank that is no number (in a bucket that begins at -Inf) is left as it is.
    let rank_of = |value| rank_below(buckets, value).map_or(total, |rank| if rank > total { total } else { rank });
    (rank_of(upper) - rank_of(lower)) / total
}

/// How many observations are below a value; `None` if all buckets are.
fn rank_below(buckets: &[(f64, f64)], value: f64) -> Option<f64> {
    let (mut rank, mut lower) = (0.0, f64::NEG_INFINITY);
    for (upper, count) in buckets.iter().copied() {
        if lower >= value {
            return Some(rank);
        }
        if upper > value {
            return Some(rank + (count - rank) * (value - lower) / (upper - lower));
        }
        (rank, lower) = (count, upper);
    }
    None
}

/// Adds up buckets with the same bound.
fn coalesce(buckets: &mut Vec<(f64, f64)>) {
    buckets.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
}

/// Raises counts that are lower than the one before; `true` if any was lower by more than rounding.
fn make_monotonic(buckets: &mut [(f64, f64)]) -> bool {
    let mut was_forced = false;
    let mut highest = buckets[0].1;
    for (_, count) in &mut buckets[1..] {
        if *count == highest {
            continue;
        }
        if is_almost_equal(highest, *count) {
            *count = highest;
        } else if *count < highest {
            *count = highest;
            was_forced = true;
        } else {
            highest = *count;
        }
    }
    was_forced
}

fn is_almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DIFFERENCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DIFFERENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_of_classic_buckets() {
        type Buckets = &'static [(f64, f64)];
        let cases: [(f64, Buckets, f64, bool); 9] = [
            (0.5, &[(1.0, 5.0), (2.0, 10.0), (INF, 10.0)], 1.0, false),
            (0.75, &[(1.0, 5.0), (2.0, 10.0), (INF, 10.0)], 1.5, false),
            (1.0, &[(1.0, 5.0), (INF, 10.0)], 1.0, false),
            (0.1, &[(-1.0, 5.0), (INF, 10.0)], -1.0, false),
            (0.5, &[(1.0, 5.0), (2.0, 4.0), (INF, 10.0)], 1.0, true),
            (0.5, &[(1.0, 2.0), (1.0, 3.0), (INF, 10.0)], 1.0, false),
            (-1.0, &[(INF, 10.0)], f64::NEG_INFINITY, false),
            (2.0, &[(INF, 10.0)], INF, false),
            // The search looks at the middle first, and goes up from what is no number.
            (0.5, &[(1.0, 10.0), (2.0, f64::NAN), (3.0, f64::NAN), (INF, 20.0)], 3.0, false),
        ];
        for (q, buckets, expected, was_forced) in cases {
            assert_eq!(quantile(q, &mut buckets.to_vec()), (expected, was_forced), "{q} of {buckets:?}");
        }
        for buckets in [&[(1.0, 5.0)][..], &[(INF, 5.0)], &[(1.0, 0.0), (INF, 0.0)]] {
            assert!(quantile(0.5, &mut buckets.to_vec()).0.is_nan(), "{buckets:?}");
        }
    }

    #[test]
    fn fractions_of_classic_buckets() {
        let buckets = vec![(1.0, 5.0), (2.0, 10.0), (INF, 20.0)];
        let cases = [(1.0, 2.0, 0.25), (f64::NEG_INFINITY, INF, 1.0), (1.5, 2.0, 0.125), (2.0, 1.0, 0.0)];
        for (lower, upper, expected) in cases {
            assert_eq!(fraction(lower, upper, &mut buckets.clone()), expected, "{lower} to {upper}");
        }
    }
}
