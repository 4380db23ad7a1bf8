//! Queries as a whole: their results, errors, annotations, and what they cost.

use super::*;
use crate::promql::series_notation::{SequenceValue, parse_series_values};
use crate::promql::{Features, parse, parse_series_description};
use crate::store::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

const STEP: Duration = Duration::from_secs(60);

/// A store with series whose samples are a minute apart, from time 0.
fn store(series: &[(&str, &str)]) -> MemoryStore {
    let store = MemoryStore::new();
    for (series, values) in series {
        let labels = parse_series_description(series).expect("a series");
        for (index, value) in (0..).zip(parse_series_values(values).expect("values")) {
            let at = Timestamp(index * 60_000);
            match value {
                SequenceValue::Float(value) => store.append_float(&labels, at, value).expect("in order"),
                SequenceValue::Stale => {
                    store.append_float(&labels, at, crate::model::stale_marker()).expect("in order")
                }
                SequenceValue::Histogram(histogram) => store.append_histogram(&labels, at, (*histogram).clone()),
                SequenceValue::Omitted => {}
            }
        }
    }
    store
}

fn example() -> MemoryStore {
    store(&[
        ("c_total{i=\"1\"}", "0+60x9"),
        ("c_total{i=\"2\"}", "0 60 0 60 120 stale _ _ 0 60"),
        ("g{i=\"1\", room=\"a\"}", "1 2 3 4 5 6 7 8 9 10"),
        ("g{i=\"2\", room=\"a\"}", "5 5 5 stale _ _ 5 5 5 5"),
        ("h{i=\"1\"}", "_ _ _ 4 4 4 stale"),
        ("h{i=\"2\"}", "1 1 1 1 1 1 1 1 1 1"),
    ])
}

fn engine() -> Engine {
    let features = Features { experimental_functions: true, ..Features::default() };
    let settings =
        EngineSettings { lookback: Duration::from_secs(120), samples_max: 1_000, default_step: STEP, features };
    Engine::new(settings)
}

fn range(store: &MemoryStore, query: &str, options: &QueryOptions) -> Result<QueryResult, QueryError> {
    let engine = engine();
    let expr = parse(query, engine.settings().features).expect(query);
    engine.range(store, &expr, Timestamp(0), Timestamp(9 * 60_000), STEP, options)
}

/// One line per series: labels, then a word per minute, `_` where there is no point.
fn shown(value: &QueryValue) -> String {
    let QueryValue::Matrix(matrix) = value else { panic!("{value:?} is no matrix") };
    let lines = matrix.iter().map(|series| {
        let mut words = vec!["_".to_owned(); 10];
        for (at, value) in &series.points {
            words[at.0 as usize / 60_000] = match value {
                Value::Float(value) => crate::model::format_general((value * 1000.0).round() / 1000.0),
                Value::Histogram(histogram) => histogram.to_string(),
            };
        }
        format!("{} {}", series.labels, words.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn range_queries() {
    let cases = [
        ("h", "{__name__=\"h\", i=\"1\"} _ _ _ 4 4 4 _ _ _ _\n{__name__=\"h\", i=\"2\"} 1 1 1 1 1 1 1 1 1 1"),
        (
            "g offset 2m",
            "{__name__=\"g\", i=\"1\", room=\"a\"} _ _ 1 2 3 4 5 6 7 8\n\
                         {__name__=\"g\", i=\"2\", room=\"a\"} _ _ 5 5 5 _ _ _ 5 5",
        ),
        ("g{i=\"1\"} @ 120 + time() / 60", "{i=\"1\", room=\"a\"} 3 4 5 6 7 8 9 10 11 12"),
        ("rate(c_total[2m])", "{i=\"1\"} _ 0.5 1 1 1 1 1 1 1 1\n{i=\"2\"} _ 0.5 0 0.5 1 _ _ _ _ 0.5"),
        ("sum(rate(c_total[2m]))", "{} _ 1 1 1.5 2 1 1 1 1 1.5"),
        ("sum by (room) (g)", "{room=\"a\"} 6 7 8 4 5 6 12 13 14 15"),
        ("count(h) or vector(0)", "{} 1 1 1 2 2 2 1 1 1 1"),
        (
            "topk(1, g)",
            "{__name__=\"g\", i=\"1\", room=\"a\"} _ _ _ 4 5 6 7 8 9 10\n\
                        {__name__=\"g\", i=\"2\", room=\"a\"} 5 5 5 _ _ _ _ _ _ _",
        ),
        (
            "g > 4 < 7",
            "{__name__=\"g\", i=\"1\", room=\"a\"} _ _ _ _ 5 6 _ _ _ _\n\
                       {__name__=\"g\", i=\"2\", room=\"a\"} 5 5 5 _ _ _ 5 5 5 5",
        ),
        (
            "g * on (i) group_left h",
            "{i=\"1\", room=\"a\"} _ _ _ 16 20 24 _ _ _ _\n\
                                     {i=\"2\", room=\"a\"} 5 5 5 _ _ _ 5 5 5 5",
        ),
        ("h{i=\"2\"} unless on () h{i=\"1\"}", "{__name__=\"h\", i=\"2\"} 1 1 1 _ _ _ 1 1 1 1"),
        (
            "h{i=\"1\"} or on () h{i=\"2\"}",
            "{__name__=\"h\", i=\"1\"} _ _ _ 4 4 4 _ _ _ _\n\
                                           {__name__=\"h\", i=\"2\"} 1 1 1 _ _ _ 1 1 1 1",
        ),
        ("absent(h{i=\"1\"})", "{i=\"1\"} 1 1 1 _ _ _ 1 1 1 1"),
        ("max_over_time(sum(g)[3m:1m])", "{} 6 7 8 8 8 6 12 13 14 15"),
        ("count_values(\"v\", h)", "{v=\"1\"} 1 1 1 1 1 1 1 1 1 1\n{v=\"4\"} _ _ _ 1 1 1 _ _ _ _"),
        ("1 + 2", "{} 3 3 3 3 3 3 3 3 3 3"),
    ];
    let store = example();
    for (query, expected) in cases {
        let result = range(&store, query, &QueryOptions::default()).expect(query);
        assert_eq!(shown(&result.value), expected, "{query}");
    }
}

#[test]
fn instant_queries_in_the_order_of_their_answers() {
    let store = store(&[
        ("s{i=\"1\"}", "1"),
        ("s{i=\"2\"}", "1e100"),
        ("s{i=\"3\"}", "1"),
        ("s{i=\"4\"}", "-1e100"),
        ("v{i=\"1\"}", "3"),
        ("v{i=\"2\"}", "1"),
        ("v{i=\"3\"}", "2"),
        ("v{i=\"4\"}", "NaN"),
        ("b_bucket{le=\"1\"}", "10"),
        ("b_bucket{le=\"2\"}", "NaN"),
        ("b_bucket{le=\"3\"}", "NaN"),
        ("b_bucket{le=\"+Inf\"}", "20"),
    ]);
    let cases = [
        // What rounding loses is kept, in the order of labels.
        ("sum(s)", "{} 2"),
        ("avg(s)", "{} 0.5"),
        // NaN is the lowest value.
        ("quantile(0, v)", "{} NaN"),
        ("quantile(1, v)", "{} 3"),
        ("topk(4, v)", "{i=\"1\"} 3 {i=\"3\"} 2 {i=\"2\"} 1 {i=\"4\"} NaN"),
        // The first ones, as a heap has them.
        ("limitk(3, v)", "{i=\"2\"} 1 {i=\"1\"} 3 {i=\"3\"} 2"),
        ("limitk(2, v)", "{i=\"2\"} 1 {i=\"1\"} 3"),
        ("histogram_quantile(0.5, b_bucket)", "{} 3"),
    ];
    let engine = engine();
    for (query, expected) in cases {
        let expr = parse(query, engine.settings().features).expect(query);
        let answer = engine.instant(&store, &expr, Timestamp(0), &QueryOptions::default()).expect(query);
        let QueryValue::Vector(samples) = answer.value else { panic!("{query}: {:?}", answer.value) };
        let shown = samples.iter().map(|sample| match &sample.value {
            Value::Float(value) => {
                format!("{} {}", sample.labels.without_metric_name(), crate::model::format_float(*value))
            }
            Value::Histogram(histogram) => histogram.to_string(),
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{query}");
    }
}

/// Series that differ in their names only are one series where they take turns.
#[test]
fn fragments_are_joined_and_duplicates_refused() {
    let store = store(&[("a{x=\"1\"}", "1 1 stale"), ("b{x=\"1\"}", "_ _ 2 2"), ("d{x=\"1\"}", "1 1 1 1")]);
    for (query, expected) in [
        ("abs({__name__=~\"a|b\"})", "{x=\"1\"} 1 1 2 2 2 _ _ _ _ _"),
        ("count_values(\"__name__\", {__name__=~\"a|b\"}) + 1", "{} 2 2 2 2 2 _ _ _ _ _"),
    ] {
        let joined = range(&store, query, &QueryOptions::default()).expect(query);
        assert_eq!(shown(&joined.value), expected, "{query}");
    }
    for query in ["abs({__name__=~\"a|d\"})", "rate({__name__=~\"a|b|d\"}[5m])", "-{__name__=~\"a|b\"}"] {
        let error = range(&store, query, &QueryOptions::default()).expect_err(query).to_string();
        assert_eq!(error, "vector cannot contain metrics with the same labelset", "{query}");
    }
}

#[test]
fn matching_errors_depend_on_who_is_present() {
    let store = example();
    let cases = [
        ("h{i=\"2\"} + on () g", "found duplicate series for the match group {} on the right hand-side"),
        ("g + on () group_left h", "found duplicate series for the match group {} on the right hand-side"),
        ("g + on () group_right h", "found duplicate series for the match group {} on the left hand-side"),
        ("g + on () c_total{i=\"1\"}", "many-to-one matching must be explicit"),
        ("sum by (i) (g) * on () group_left (i) c_total{i=\"1\"}", "grouping labels must ensure unique matches"),
    ];
    for (query, expected) in cases {
        let error = range(&store, query, &QueryOptions::default()).expect_err(query).to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
    // Two series on the "one" side that are never there together, or never with a partner, are fine.
    for query in ["c_total{i=\"1\"} + on () (g{i=\"2\"} or on () g{i=\"1\"})", "nothing + on () g"] {
        range(&store, query, &QueryOptions::default()).expect(query);
    }
}

#[test]
fn annotations_say_what_and_where() {
    let store =
        store(&[("g", "1 2 3"), ("n", "{{count:1 buckets:[1]}} {{count:2 buckets:[2]}} 3"), ("b{le=\"x\"}", "1 1")]);
    let cases = [
        (
            "rate(g[5m])",
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (1:6)",
        ),
        (
            "1 +\n  rate(g[5m])",
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"g\" (2:8)",
        ),
        ("quantile(2, g)", "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"),
        ("quantile(2, quantile(2, g))", "PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"),
        (
            "histogram_quantile(2, histogram_quantile(2, b))",
            "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)",
        ),
        ("increase(n[5m])", "PromQL warning: encountered a mix of histograms and floats for metric name \"n\" (1:10)"),
        ("max(n)", "PromQL info: ignored histogram in max aggregation (1:5)"),
        (
            "g + on () n",
            "PromQL info: incompatible sample types encountered for binary operator \"+\": float + histogram (1:1)",
        ),
        (
            "histogram_quantile(0.5, b)",
            "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" for metric name \"b\" (1:25)",
        ),
    ];
    for (query, expected) in cases {
        let options = QueryOptions { text: Some(Arc::from(query)), ..QueryOptions::default() };
        let result = range(&store, query, &options).expect(query);
        let found = [result.warnings, result.infos].concat();
        assert!(found.iter().any(|text| text == expected), "{query}: {found:?}");
    }
}

#[test]
fn an_aggregation_of_histograms_names_the_metric_where_that_is_kept() {
    let (exponential, custom) =
        ("{{schema:0 count:1 buckets:[1]}}", "{{schema:-53 count:1 custom_values:[5] buckets:[1]}}");
    let store = store(&[("h{i=\"1\"}", exponential), ("h{i=\"2\"}", custom)]);
    for query in ["sum(h)", "sum(last_over_time(h[5m]))"] {
        let result = range(&store, query, &QueryOptions::default()).expect(query);
        let found = [result.warnings, result.infos].concat();
        assert!(found.iter().any(|text| text.contains("\"h\"")), "{query}: {found:?}");
    }
}

#[test]
fn of_pairs_that_do_not_fit_the_last_of_a_step_is_told() {
    let histogram = "{{count:1 buckets:[1]}}";
    for (first, second, left) in [(histogram, "1", "float"), ("1", histogram, "histogram")] {
        let store = store(&[("a{i=\"1\"}", first), ("a{i=\"2\"}", second), ("n", histogram)]);
        let result = range(&store, "a atan2 on () n", &QueryOptions::default()).expect("nothing has a result");
        assert_eq!(result.infos.len(), 1, "{:?}", result.infos);
        assert!(result.infos[0].contains(&format!("\"atan2\": {left} atan2 histogram")), "{:?}", result.infos);
    }
}

#[test]
fn bounds_hold() {
    let store = example();
    let fails = |query: &str, options: &QueryOptions| range(&store, query, options).expect_err(query).to_string();
    let none = QueryOptions::default();
    for query in ["vector(1) + on () sum_over_time(vector(1)[1w:1ms])", "rate(c_total[1h:1s])"] {
        assert!(fails(query, &none).contains("too many samples"), "{query}");
    }
    let past = QueryOptions { deadline: Some(Instant::now()), ..QueryOptions::default() };
    assert!(fails("g", &past).contains("timed out"));
    let left = QueryOptions { cancelled: Some(Arc::new(AtomicBool::new(true))), ..QueryOptions::default() };
    assert!(fails("g", &left).contains("canceled"));
    let result = range(&store, "sum(g)", &none).expect("a small query");
    assert!(result.peak_samples < 100 && result.samples_read == 17, "{result:?}");
}

#[test]
fn memory_is_bounded_for_one_query_and_for_all() {
    let store = example();
    let settings = EngineSettings { samples_max: 1_000_000, ..engine().settings().clone() };
    let ask = |query_bytes_max, total_bytes_max, query: &str| {
        let bounds = MemoryBounds { query_bytes_max, total_bytes_max };
        let engine = Engine::new(settings.clone()).with_memory(bounds);
        let expr = parse(query, Features::default()).expect(query);
        let (start, end) = (Timestamp(0), Timestamp(9 * 60_000));
        let outcome = engine.range(&store, &expr, start, end, STEP, &QueryOptions::default());
        assert_eq!(engine.memory_held(), 0, "all is given back: {query}");
        outcome.map(drop).map_err(|error| error.to_string())
    };
    let large = "vector(1) + on () sum_over_time(vector(1)[1d:1s])";
    assert_eq!(ask(1 << 30, 1 << 30, large), Ok(()));
    let refused = ask(1 << 20, 1 << 30, large).expect_err("86,400 samples are more than a MiB");
    assert!(refused.contains("more than 1048576 bytes of memory (outpost.query.memory_per_query)"), "{refused}");
    let refused = ask(1 << 30, 1 << 20, large).expect_err("the same");
    assert!(refused.contains("all queries together") && refused.contains("outpost.query.memory_total"), "{refused}");
    assert_eq!(ask(1 << 20, 1 << 20, "sum(g)"), Ok(()));
}

/// Counts reads, and says that nobody waits any more after the first one.
struct Leaving<'a> {
    store: &'a MemoryStore,
    cancelled: Arc<AtomicBool>,
    reads: AtomicU32,
    /// How many selectors were read: several in one read are so many.
    selectors: AtomicU32,
}

impl<'a> Leaving<'a> {
    fn of(store: &'a MemoryStore) -> Self {
        let (reads, selectors) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { store, cancelled: Arc::default(), reads, selectors }
    }
}

type Counted = Result<(String, u64, (u32, u32)), QueryError>;

/// What a query over ten minutes gives, how many samples it has read, and in how many reads of how many selectors.
fn ask_counting(engine: &Engine, store: &MemoryStore, query: &str) -> Counted {
    let counting = Leaving::of(store);
    let expr = parse(query, Features::default()).expect(query);
    let (start, end) = (Timestamp(0), Timestamp(9 * 60_000));
    let result = engine.range(&counting, &expr, start, end, STEP, &QueryOptions::default());
    assert_eq!(engine.memory_held(), 0, "all is given back: {query}");
    let counts = (counting.reads.into_inner(), counting.selectors.into_inner());
    result.map(|result| (shown(&result.value), result.samples_read, counts))
}

impl Select for Leaving<'_> {
    fn select_any<'a>(
        &'a self,
        sets: &[Vec<crate::model::Matcher>],
        options: &crate::store::ReadOptions,
    ) -> Result<Box<dyn crate::store::SeriesSet + 'a>, crate::store::StoreError> {
        let found = self.store.select_any(sets, options);
        self.cancelled.store(true, Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.selectors.fetch_add(sets.len() as u32, Ordering::Relaxed);
        found
    }

    fn newest(
        &self,
        sets: &[Vec<crate::model::Matcher>],
        options: &crate::store::ReadOptions,
    ) -> Result<Vec<crate::store::NewestSample>, crate::store::StoreError> {
        self.store.newest(sets, options)
    }

    fn series_labels(
        &self,
        sets: &[Vec<crate::model::Matcher>],
        options: &crate::store::ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<Labels>, crate::store::StoreError> {
        self.store.series_labels(sets, options, limit)
    }

    fn label_names(
        &self,
        sets: &[Vec<crate::model::Matcher>],
        options: &crate::store::ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, crate::store::StoreError> {
        self.store.label_names(sets, options, limit)
    }

    fn label_values(
        &self,
        name: &str,
        sets: &[Vec<crate::model::Matcher>],
        options: &crate::store::ReadOptions,
        limit: Option<usize>,
    ) -> Result<Vec<String>, crate::store::StoreError> {
        self.store.label_values(name, sets, options, limit)
    }

    fn stats_with(&self, top: usize) -> crate::store::StoreStats {
        self.store.stats_with(top)
    }
}

/// The client leaves once evaluation has begun: it ends between two series, and within one.
#[test]
fn leaving_stops_an_evaluation_under_way() {
    let store = example();
    let long = MemoryStore::new();
    let labels = Labels::from_pairs([("__name__", "long")]);
    for second in 0..20_000 {
        long.append_float(&labels, Timestamp(second * 1000), second as f64).expect("in order");
    }
    for (store, query) in [(&store, "g"), (&long, "stddev_over_time(long[5h])")] {
        let leaving = Leaving::of(store);
        let cancelled = Some(Arc::clone(&leaving.cancelled));
        let options = QueryOptions { cancelled, ..QueryOptions::default() };
        let settings = EngineSettings { samples_max: 1_000_000, ..engine().settings().clone() };
        let expr = parse(query, Features::default()).expect(query);
        let (start, end) = (Timestamp(0), Timestamp(20_000_000));
        let outcome = Engine::new(settings).range(&leaving, &expr, start, end, STEP, &options);
        assert!(matches!(outcome, Err(QueryError::Cancelled)), "{query}: {outcome:?}");
    }
}

/// Both sides of an operator are read at once where they look at the same time, and nobody can tell.
#[test]
fn sides_are_read_together() {
    let store = example();
    let engine = engine();
    let ask = |query: &str| {
        let (value, samples_read, (reads, _)) = ask_counting(&engine, &store, query).expect(query);
        (value, samples_read, reads)
    };
    let cases = [
        ("sum(rate(c_total{i=\"1\"}[3m]))", "sum(rate(c_total[3m]))", 1),
        ("rate(c_total[3m])", "increase(c_total[3m])", 1),
        ("count_over_time(n[3m])", "sum_over_time(n[3m])", 1),
        ("quantile_over_time(0.5, c_total[3m])", "last_over_time(c_total[3m])", 1),
        ("sum(rate(c_total[3m]))", "sum(rate(c_total[3m] offset 1m))", 2),
        ("sum(rate(c_total[3m]))", "sum(rate(c_total[2m]))", 2),
        ("rate(c_total[3m])", "rate(c_total[3m] @ 300)", 2),
    ];
    for (lhs, rhs, reads) in cases {
        let alone = [ask(lhs), ask(rhs)];
        for op in ["/", "> bool", "and", "or"] {
            let query = format!("{lhs} {op} {rhs}");
            let (value, samples_read, all_reads) = ask(&query);
            // The same with each side evaluated for itself, in subqueries of single points.
            let apart = |side: &str| format!("last_over_time(({side})[1m:1m])");
            let expected = ask(&format!("{} {op} {}", apart(lhs), apart(rhs)));
            assert_eq!((value, all_reads), (expected.0, reads), "{query}");
            assert_eq!(samples_read, alone[0].1 + alone[1].1, "{query}");
        }
    }
}

/// In a chain every function is read once; what is kept ahead is no reason to refuse a query.
#[test]
fn chains_are_read_once() {
    let store = example();
    let ask = |samples_max, query: &str| {
        let settings = EngineSettings { samples_max, ..engine().settings().clone() };
        ask_counting(&Engine::new(settings), &store, query)
    };
    let functions = ["rate", "increase", "delta", "count_over_time"];
    let call = |function: &str| match function {
        "delta" => "sum(delta(g[3m]))".to_owned(),
        _ => format!("sum({function}(c_total[3m]))"),
    };
    let calls = functions.map(call);
    let read = |count: usize| -> u64 { calls[..count].iter().map(|call| ask(1000, call).expect(call).1).sum() };
    // How the sides hang together, how many functions there are, how often the store is read.
    let cases = [
        ("(a + b) + c", 3, 2),
        ("(a + b) * on () group_right () c", 3, 2),
        ("a + (b + c)", 3, 2),
        ("a + b + c + d", 4, 3),
        ("a + (b + (c + d))", 4, 2),
        ("(a + b) + (c + d)", 4, 2),
        ("a / (b + c) * d", 4, 3),
        ("(a and b) or c", 3, 2),
    ];
    for (shape, count, reads) in cases {
        let fill = |wrap: &dyn Fn(&str) -> String| -> String {
            shape.split(' ').map(|word| fill_word(word, &calls, wrap)).collect::<Vec<_>>().join(" ")
        };
        let query = fill(&|call| call.to_owned());
        let apart = fill(&|call| format!("last_over_time({call}[1m:1m])"));
        let expected = ask(1000, &apart).expect(&apart);
        assert_eq!(
            ask(1000, &query).expect(&query),
            (expected.0.clone(), read(count), (reads, count as u32)),
            "{query}"
        );
        // Ranges of other lengths are read apart.
        let fits = |query: &str| (1..1000).find(|max| ask(*max, query).is_ok()).expect(query);
        let apart = fill(&|call| {
            call.replace("[3m]", &format!("[{}m]", 3 + calls.iter().position(|one| one == call).unwrap_or(0)))
        });
        assert!(fits(&query) <= fits(&apart), "{query}");
    }
}

/// A letter of a shape becomes one of the calls.
fn fill_word(word: &str, calls: &[String], wrap: &dyn Fn(&str) -> String) -> String {
    let bare = word.trim_matches(['(', ')']);
    match ["a", "b", "c", "d"].iter().position(|letter| *letter == bare) {
        Some(index) => word.replace(bare, &wrap(&calls[index])),
        None => word.to_owned(),
    }
}

#[test]
fn odd_ranges_are_answered() {
    let engine = engine();
    let store = example();
    let expr = parse("g", Features::default()).expect("a selector");
    let at = |start, end, step| {
        engine.range(
            &store,
            &expr,
            Timestamp(start),
            Timestamp(end),
            Duration::from_millis(step),
            &QueryOptions::default(),
        )
    };
    assert_eq!(at(10, 0, 1).expect("an end before the start").value, QueryValue::Matrix(Vec::new()));
    assert!(at(0, 10, 0).is_err());
    assert!(at(i64::MIN, i64::MAX, 1).is_err());
    assert!(at(i64::MAX - 5, i64::MAX, 1).is_ok());
    assert!(at(i64::MIN, i64::MIN + 5, 1).is_ok());
}
