//! Scrapes of scripted pages into a store in memory: what is written, and when it ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::bounds::SAMPLES_PER_PAGE_MAX;
use super::cache::SeriesCache;
use super::error::ScrapeError;
use super::fetch::{Fetch, FetchFuture};
use super::metadata::Tables;
use super::metrics::ScrapeMetrics;
use super::page::Scratch;
use super::pages::{Hold, Pages};
use super::scrape_loop::{LastScrape, ScrapeLoop, Shared, Stop, TargetState};
use super::target::Target;
use super::{
    Alarm, JobLimits, JobSettings, JobSource, ScrapeDeps, ScrapeManager, TargetHealth, TargetStatus, TargetsView,
};
use crate::clock::Clock;
use crate::collect::{CollectError, CollectFuture, Collector, CollectorSettings};
use crate::discovery::{DiscoverySettings, TargetGroup};
use crate::exposition::Format;
use crate::model::{
    AnchoredRegex, Labels, METRIC_NAME, MetadataLookup, MetricType, RelabelAction, RelabelRule, TimeRange, Timestamp,
    format_float, is_stale_marker,
};
use crate::store::{
    Append, AppendReport, Batch, GroupId, MemoryStore, ReadOptions, Rejection, Samples, Select, SeriesId, StoreError,
};
use crate::telemetry::Registry;

/// Gives one page after the other; `!404` is a failure. The last one stays.
struct Script(VecDeque<&'static str>);

impl Fetch for Script {
    fn fetch<'a>(&'a mut self, page: &'a mut Vec<u8>) -> FetchFuture<'a> {
        let next = if self.0.len() > 1 { self.0.pop_front() } else { self.0.front().copied() }.unwrap_or("");
        Box::pin(async move {
            if let Some(status) = next.strip_prefix('!') {
                return Err(ScrapeError::Status(status.parse().expect("a status")));
            }
            page.extend_from_slice(next.as_bytes());
            Ok((Format::PrometheusText004, Hold::default()))
        })
    }
}

fn shared(store: Arc<dyn Append>) -> Shared {
    Shared {
        store,
        clock: Clock::manual(Timestamp(1_000_000)),
        alarm: Alarm::of_runtime(),
        pages: Pages::new(),
        scratch: Arc::new(Mutex::new(Scratch::default())),
        tables: Tables::default(),
        metrics: ScrapeMetrics::new(&Registry::new()),
    }
}

fn target() -> Target {
    Target {
        discovered: Labels::empty(),
        labels: Labels::from_pairs([("job", "j")]),
        url: "http://h/metrics".to_owned(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        probe: None,
    }
}

fn scrape_loop(store: Arc<dyn Append>, job: &JobSettings, pages: &[&'static str]) -> ScrapeLoop {
    let group = store.group("g").expect("memory does not fail");
    let fetcher = Box::new(Script(pages.iter().copied().collect()));
    let state = Arc::new(TargetState::new(target(), LastScrape::default()));
    ScrapeLoop::new(shared(store), job, state, fetcher, SeriesCache::new(7), Arc::default(), group)
}

/// The samples in a range, one per line without the target's label; durations are left out.
fn samples(store: &MemoryStore, range: TimeRange) -> Vec<String> {
    let mut lines = Vec::new();
    let options = ReadOptions::over(range);
    let mut set = store.select(&[], &options).expect("memory does not fail");
    let mut found = Samples::default();
    while let Some(labels) = set.next(&mut found).expect("memory does not fail") {
        let name = labels.metric_name();
        if name == "scrape_duration_seconds" {
            continue;
        }
        let rest = labels.filtered(|label| label != METRIC_NAME && label != "job");
        let rest = if rest.is_empty() { String::new() } else { rest.to_string() };
        for (at, value) in found.timestamps.iter().zip(&found.values) {
            let value = if is_stale_marker(*value) { "stale".to_owned() } else { format_float(*value) };
            let value = if at == &range.end { value } else { format!("{value} @{at}") };
            lines.push(format!("{name}{rest} {value}"));
        }
    }
    lines
}

/// Scrapes once per page, 15 s apart, and checks what was written each time: samples, then the four numbers
/// `up`, `scraped`, `post_metric_relabeling` and `series_added`.
async fn check(job: &JobSettings, steps: &[(&'static str, &[&str], [u64; 4])]) {
    const NAMES: [&str; 4] =
        ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"];
    let store = Arc::new(MemoryStore::new());
    let pages: Vec<&'static str> = steps.iter().map(|(page, ..)| *page).collect();
    let mut scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, job, &pages);
    for (number, (page, expected, report)) in steps.iter().enumerate() {
        let at = Timestamp(1_000_000 + 15_000 * number as i64);
        scrape_loop.scrape(at).await;
        let written = samples(&store, TimeRange { start: at, end: at });
        let (reported, samples): (Vec<String>, Vec<String>) =
            written.into_iter().partition(|line| NAMES.iter().any(|name| line.starts_with(&format!("{name} "))));
        assert_eq!(samples, *expected, "scrape {number}: {page}");
        let mut expected: Vec<String> =
            NAMES.iter().zip(report).map(|(name, value)| format!("{name} {value}")).collect();
        expected.sort();
        assert_eq!(reported, expected, "scrape {number}: {page}");
    }
}

fn rule(source: &str, regex: &str, action: RelabelAction, target: &str, replacement: &str) -> RelabelRule {
    RelabelRule {
        source_labels: vec![source.to_owned()],
        separator: ";".to_owned(),
        regex: AnchoredRegex::new(regex).expect("valid"),
        modulus: 0,
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        action,
    }
}

#[tokio::test]
async fn series_come_and_go() {
    let job = JobSettings::default();
    check(
        &job,
        &[
            ("a 1\nb 2\n", &["a 1", "b 2"], [1, 2, 2, 2]),
            ("a 3\nb 4\n", &["a 3", "b 4"], [1, 2, 2, 0]),
            ("b 5\nc 6\n", &["a stale", "b 5", "c 6"], [1, 2, 2, 1]),
            ("!503", &["b stale", "c stale"], [0, 0, 0, 0]),
            ("!503", &[], [0, 0, 0, 0]),
            ("b 5\nc 6\n", &["b 5", "c 6"], [1, 2, 2, 0]),
            ("b 5\nc 6\nbad\n", &["b stale", "c stale"], [0, 2, 2, 0]),
            ("", &[], [1, 0, 0, 0]),
            ("a NaN\n", &["a NaN"], [1, 1, 1, 1]),
            ("", &["a stale"], [1, 0, 0, 0]),
        ],
    )
    .await;
}

#[tokio::test]
async fn duplicates_in_a_page() {
    let job = JobSettings::default();
    check(
        &job,
        &[
            ("a 1\na 2\nb 1\n", &["a 1", "b 1"], [1, 3, 3, 2]),
            // Two spellings of one series: the second meets a sample with the same time.
            (
                "m{x=\"1\",y=\"2\"} 1\nm{y=\"2\",x=\"1\"} 2\n",
                &["a stale", "b stale", "m{x=\"1\", y=\"2\"} 1"],
                [1, 2, 2, 2],
            ),
            // One of them goes: the series has not ended.
            ("m{y=\"2\",x=\"1\"} 2\n", &["m{x=\"1\", y=\"2\"} 2"], [1, 1, 1, 0]),
            ("", &["m{x=\"1\", y=\"2\"} stale"], [1, 0, 0, 0]),
        ],
    )
    .await;
}

/// What goes to the log.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A series that is given twice is named, whether the page does it or relabeling makes two of its series the same.
#[tokio::test]
async fn a_series_that_is_given_twice_is_named_once() {
    // With a single subscriber, a thread that has none decides for all whether a message is wanted.
    let _other = tracing::Dispatch::new(tracing_subscriber::registry());
    let merging = JobSettings {
        metric_relabel_rules: vec![rule("", "x", RelabelAction::LabelDrop, "", "")],
        ..JobSettings::default()
    };
    let long: &'static str = format!("m{{y=\"{0}\"}} 1\nm{{y=\"{0}\"}} 2\n", "z".repeat(1000)).leak();
    let plain = JobSettings::default();
    for (job, pages, expected) in [
        (&plain, &["a 1\nb 1\na 2\nb 2\n"; 3][..], "lost=\"duplicate=2\" duplicate={__name__=\"a\", job=\"j\"}"),
        (&plain, &["a 1\n", "a 1\na 2\n"], "lost=\"duplicate=1\" duplicate={__name__=\"a\", job=\"j\"}"),
        (
            &merging,
            &["a 1\nm{x=\"1\",y=\"2\"} 1\nm{x=\"2\",y=\"2\"} 2\n"; 2],
            "lost=\"duplicate=1\" duplicate={__name__=\"m\", job=\"j\", y=\"2\"}",
        ),
        (&plain, &[long; 2], "lost=\"duplicate=1\" duplicate={__name__=\"m\", job=\"j\", y=\"zzz"),
        (&plain, &["a 1\n", "b 1\n"], ""),
    ] {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut scrape_loop = scrape_loop(Arc::new(MemoryStore::new()) as Arc<dyn Append>, job, pages);
        for number in 0..pages.len() {
            scrape_loop.scrape(Timestamp(1_000_000 + 15_000 * number as i64)).await;
        }
        let log = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("samples were not kept")).collect();
        assert_eq!(lines.len(), usize::from(!expected.is_empty()), "{log}");
        assert!(lines.iter().all(|line| line.contains(expected) && line.len() < 800), "{expected}: {log}");
    }
}

#[tokio::test]
async fn explicit_timestamps() {
    let page = "a 1 1000000\nb 2 999000\nb 3 999500\n";
    check(&JobSettings::default(), &[(page, &["a 1"], [1, 3, 3, 2]), ("", &[], [1, 0, 0, 0])]).await;
    let tracked = JobSettings { track_timestamps_staleness: true, ..JobSettings::default() };
    check(&tracked, &[(page, &["a 1"], [1, 3, 3, 2]), ("", &["a stale", "b stale"], [1, 0, 0, 0])]).await;
    let ignored = JobSettings { honor_timestamps: false, ..JobSettings::default() };
    check(&ignored, &[(page, &["a 1", "b 2"], [1, 3, 3, 2]), ("", &["a stale", "b stale"], [1, 0, 0, 0])]).await;
    // Several samples of a series at once: what a puller gets after an outage.
    let store = Arc::new(MemoryStore::new());
    let mut scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, &JobSettings::default(), &[page]);
    scrape_loop.scrape(Timestamp(1_000_000)).await;
    let range = TimeRange { start: Timestamp(0), end: Timestamp(999_999) };
    assert_eq!(samples(&store, range), ["b 2 @999000", "b 3 @999500"]);
}

#[tokio::test]
async fn metric_relabeling() {
    let job = JobSettings {
        metric_relabel_rules: vec![
            rule(METRIC_NAME, "drop.*", RelabelAction::Drop, "", "$1"),
            rule(METRIC_NAME, "b(.)", RelabelAction::Replace, "x", "$1"),
        ],
        ..JobSettings::default()
    };
    check(
        &job,
        &[
            ("a 1\ndrop_a 1\nb2 1\n", &["a 1", "b2{x=\"2\"} 1"], [1, 3, 2, 2]),
            ("a 1\ndrop_a 1\nb2 1\n", &["a 1", "b2{x=\"2\"} 1"], [1, 3, 2, 0]),
            ("drop_a 1\n", &["a stale", "b2{x=\"2\"} stale"], [1, 1, 0, 0]),
        ],
    )
    .await;
}

#[tokio::test]
async fn limits_refuse_the_whole_page() {
    let samples = JobSettings { limits: JobLimits { samples: 2, ..JobLimits::default() }, ..JobSettings::default() };
    check(
        &samples,
        &[
            ("a 1\nb 1\n", &["a 1", "b 1"], [1, 2, 2, 2]),
            ("a 1\nb 1\nc 1\nd 1\n", &["a stale", "b stale"], [0, 4, 4, 0]),
            ("a 1\nb 1\n", &["a 1", "b 1"], [1, 2, 2, 0]),
        ],
    )
    .await;
    let labels = JobSettings { limits: JobLimits { labels: 2, ..JobLimits::default() }, ..JobSettings::default() };
    check(&labels, &[("a 1\nb{x=\"1\"} 1\n", &[], [0, 2, 1, 0])]).await;
}

#[tokio::test]
async fn reasons_are_shown() {
    let endless: &'static str = Box::leak("a 1\n".repeat(SAMPLES_PER_PAGE_MAX + 1).into_boxed_str());
    let cases = [
        ("!404", "server returned HTTP status 404 Not Found"),
        ("a x\n", "line 1: "),
        ("a{__name__=\"b\"} 1\n", "label name \"__name__\" is not unique: invalid sample"),
        (endless, "the page has more than 500000 samples"),
    ];
    for (page, expected) in cases {
        let store = Arc::new(MemoryStore::new());
        let mut scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, &JobSettings::default(), &[page]);
        scrape_loop.scrape(Timestamp(1_000_000)).await;
        let last = scrape_loop.state.last();
        assert!(last.error.starts_with(expected), "{}", last.error);
        assert_eq!(last.health, TargetHealth::Down);
        assert_eq!(store.stats().series, 5, "a bad page leaves no series behind");
    }
}

#[tokio::test]
async fn extra_report_series() {
    let job = JobSettings {
        extra_metrics: true,
        limits: JobLimits { samples: 9, ..JobLimits::default() },
        ..JobSettings::default()
    };
    let store = Arc::new(MemoryStore::new());
    let mut scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, &job, &["a 1\n"]);
    let at = Timestamp(1_000_000);
    scrape_loop.scrape(at).await;
    let written = samples(&store, TimeRange { start: at, end: at });
    for line in ["scrape_timeout_seconds 10", "scrape_sample_limit 9", "scrape_body_size_bytes 4"] {
        assert!(written.contains(&line.to_owned()), "{line} in {written:?}");
    }
}

/// A store that forgets all series once.
#[derive(Default)]
struct Forgetful {
    inner: MemoryStore,
    base: Mutex<u32>,
    forget: Mutex<bool>,
}

impl Append for Forgetful {
    fn group(&self, key: &str) -> Result<GroupId, StoreError> {
        self.inner.group(key)
    }

    fn series(&self, group: GroupId, labels: &Labels) -> Result<SeriesId, StoreError> {
        Ok(SeriesId(self.inner.series(group, labels)?.0 + *self.base.lock().expect("one thread")))
    }

    fn append(&self, batch: &Batch) -> AppendReport {
        if std::mem::take(&mut *self.forget.lock().expect("one thread")) {
            *self.base.lock().expect("one thread") = 1_000;
        }
        let base = *self.base.lock().expect("one thread");
        let (known, gone): (Vec<_>, Vec<_>) =
            batch.samples.iter().copied().enumerate().partition(|(_, (id, _))| id.0 >= base);
        let samples = known.iter().map(|(_, (id, value))| (SeriesId(id.0 - base), *value)).collect();
        let mut report = self.inner.append(&Batch { samples, explicit: vec![], ..batch.clone() });
        report.rejected.extend(gone.iter().map(|(position, _)| (*position, Rejection::UnknownSeries)));
        report
    }
}

#[tokio::test]
async fn series_that_the_store_dropped_come_back() {
    let store = Arc::new(Forgetful::default());
    let page = "a 1\nb 2\n";
    let mut scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, &JobSettings::default(), &[page]);
    for (number, forget) in [(0, false), (1, true), (2, false)] {
        *store.forget.lock().expect("one thread") = forget;
        let at = Timestamp(1_000_000 + number * 15_000);
        scrape_loop.scrape(at).await;
        let written = samples(&store.inner, TimeRange { start: at, end: at });
        assert!(written.len() == 6 && written.starts_with(&["a 1".to_owned(), "b 2".to_owned()]), "{written:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_loop_ends_its_series() {
    for (how, expected) in [(Stop::End, "a stale"), (Stop::HandOver, "a 1")] {
        let store = Arc::new(MemoryStore::new());
        let scrape_loop = scrape_loop(Arc::clone(&store) as Arc<dyn Append>, &JobSettings::default(), &["a 1\n"]);
        let clock = scrape_loop.shared.clock.clone();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(scrape_loop.run(Duration::from_secs(5), stopped));
        tokio::time::sleep(Duration::from_secs(6)).await;
        clock.set(Timestamp(1_006_000));
        stop.send(how).expect("the loop runs");
        task.await.expect("the loop does not panic");
        let newest = samples(&store, TimeRange::ALL).into_iter().rfind(|line| line.starts_with("a ")).expect("scraped");
        assert!(newest.starts_with(expected), "{newest}");
        let ups = samples(&store, TimeRange::ALL).iter().filter(|line| line.starts_with("up stale")).count();
        assert_eq!(ups, usize::from(how == Stop::End));
    }
}

/// A collector whose page is a text.
struct Fixed(&'static str);

impl Collector for Fixed {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            page.extend_from_slice(self.0.as_bytes());
            let unreadable = || CollectError::Unreadable { path: "/proc".to_owned(), reason: "gone".to_owned() };
            if self.0.is_empty() { Err(unreadable()) } else { Ok(()) }
        })
    }
}

fn manager(store: &Arc<MemoryStore>, page: &'static str, clock: &Clock) -> ScrapeManager {
    ScrapeManager::new(ScrapeDeps {
        store: Arc::clone(store) as Arc<dyn Append>,
        clock: clock.clone(),
        alarm: Alarm::of_runtime(),
        collectors: Arc::new(move |_| Arc::new(Fixed(page))),
        registry: Registry::new(),
        host: "pi".to_owned(),
    })
}

async fn apply(manager: &ScrapeManager, jobs: Vec<JobSettings>) {
    let prepared = manager.prepare(jobs, &Labels::empty()).await.expect("they can be started");
    manager.apply(prepared).await;
}

fn own_job(name: &str, interval_s: u64) -> JobSettings {
    JobSettings {
        job_name: name.to_owned(),
        source: JobSource::Collector(CollectorSettings::Own),
        scrape_interval: Duration::from_secs(interval_s),
        ..JobSettings::default()
    }
}

/// Lets the paused time and the manual clock go on together.
async fn pass(clock: &Clock, seconds: i64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.set(Timestamp(clock.now().0 + 1_000));
    }
}

fn only_target(manager: &ScrapeManager, job: &str) -> TargetStatus {
    let pools = manager.pools();
    let pool = pools.iter().find(|pool| pool.job_name == job).expect("the job runs");
    assert_eq!(pool.active.len(), 1);
    pool.active[0].clone()
}

#[tokio::test(start_paused = true)]
async fn collectors_are_jobs_like_others() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(1_000_000));
    let manager = manager(&store, "# TYPE a counter\n# HELP a All.\na_total 1\n", &clock);
    apply(&manager, vec![own_job("own", 15)]).await;
    pass(&clock, 20).await;
    let status = only_target(&manager, "own");
    assert_eq!((status.health, status.scrape_url.as_str()), (TargetHealth::Up, "collector://outpost"));
    assert_eq!(status.labels.to_string(), r#"{instance="pi", job="own"}"#);
    assert_eq!(manager.metric_type("a_total"), Some((MetricType::Counter, "a".to_owned())));
    assert_eq!(manager.target_metadata(&[], Some("a"), None)[0].metadata.help, "All.");
    assert_eq!(manager.target_metadata(&[], None, Some(0)), []);
    manager.stop().await;
    assert!(manager.pools().is_empty());
    let newest = samples(&store, TimeRange::ALL);
    assert!(newest.iter().any(|line| line.starts_with("up{instance=\"pi\"} stale")), "{newest:?}");
}

#[tokio::test(start_paused = true)]
async fn reload_keeps_what_stays() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(1_000_000));
    let manager = manager(&store, "a 1\nb 1\n", &clock);
    apply(&manager, vec![own_job("kept", 10), own_job("changed", 10), own_job("gone", 10)]).await;
    pass(&clock, 25).await;
    let reloaded = clock.now();
    let changed = JobSettings {
        metric_relabel_rules: vec![rule(METRIC_NAME, "b", RelabelAction::Drop, "", "$1")],
        ..own_job("changed", 10)
    };
    apply(&manager, vec![own_job("kept", 10), changed]).await;
    pass(&clock, 1).await;
    assert_eq!(only_target(&manager, "changed").health, TargetHealth::Up, "it is known from before");
    pass(&clock, 24).await;
    let written = |job: &str, name: &str| -> Vec<(i64, bool)> {
        let options = ReadOptions::over(TimeRange::ALL);
        let mut set = store.select(&[], &options).expect("memory does not fail");
        let mut found = Samples::default();
        while let Some(labels) = set.next(&mut found).expect("memory does not fail") {
            if labels.metric_name() == name && labels.get("job") == Some(job) {
                let pairs = found.timestamps.iter().zip(&found.values);
                return pairs.map(|(at, value)| (at.0, is_stale_marker(*value))).collect();
            }
        }
        Vec::new()
    };
    for (job, name) in [("kept", "a"), ("kept", "b"), ("changed", "a")] {
        let samples = written(job, name);
        assert!(samples.len() >= 4 && samples.iter().all(|(_, stale)| !stale), "{job} {name}: {samples:?}");
        assert!(samples.windows(2).all(|pair| pair[1].0 - pair[0].0 == 10_000), "{job} {name}: {samples:?}");
    }
    for (job, name) in [("changed", "b"), ("gone", "a"), ("gone", "up")] {
        let samples = written(job, name);
        let (at, stale) = samples.last().expect("it was scraped");
        assert!(*stale && *at >= reloaded.0, "{job} {name}: {samples:?}");
    }
}

/// A collector that takes a while; tells whether it is at work.
struct Slow(Arc<AtomicBool>);

impl Collector for Slow {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            self.0.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(3)).await;
            self.0.store(false, Ordering::Relaxed);
            page.extend_from_slice(b"a 1\nb 1\n");
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_waits_for_the_scrape_in_flight() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(1_000_000));
    let busy = Arc::new(AtomicBool::new(false));
    let at_work = Arc::clone(&busy);
    let manager = ScrapeManager::new(ScrapeDeps {
        store: Arc::clone(&store) as Arc<dyn Append>,
        clock: clock.clone(),
        alarm: Alarm::of_runtime(),
        collectors: Arc::new(move |_| Arc::new(Slow(Arc::clone(&at_work)))),
        registry: Registry::new(),
        host: "pi".to_owned(),
    });
    let job = own_job("own", 10);
    apply(&manager, vec![job.clone()]).await;
    pass(&clock, 15).await;
    while !busy.load(Ordering::Relaxed) {
        pass(&clock, 1).await;
    }
    let drops_b = vec![rule(METRIC_NAME, "b", RelabelAction::Drop, "", "$1")];
    apply(&manager, vec![JobSettings { metric_relabel_rules: drops_b, ..job }]).await;
    pass(&clock, 25).await;
    let written = samples(&store, TimeRange::ALL);
    let times = |name: &str| -> Vec<i64> {
        let lines = written.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix("{instance=\"pi\"} 1 @"));
        lines.map(|at| at.parse().expect("milliseconds")).collect()
    };
    let (kept, dropped) = (times("a"), times("b"));
    assert!(kept.len() >= 4 && kept.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{written:?}");
    assert!(dropped.len() < kept.len(), "the new rules hold: {written:?}");
}

#[tokio::test(start_paused = true)]
async fn other_external_labels_move_the_slots() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(1_000_000));
    let manager = manager(&store, "a 1\n", &clock);
    let job = own_job("own", 60);
    apply(&manager, vec![job.clone()]).await;
    pass(&clock, 61).await;
    let before = only_target(&manager, "own").last_scrape.expect("scraped");
    apply(&manager, vec![job.clone()]).await;
    pass(&clock, 60).await;
    let unmoved = only_target(&manager, "own").last_scrape.expect("scraped");
    assert_eq!(unmoved.since(before), 60_000, "nothing has changed");
    let labels = Labels::from_pairs([("site", "garage")]);
    manager.apply(manager.prepare(vec![job], &labels).await.expect("the same job")).await;
    assert_eq!(only_target(&manager, "own").health, TargetHealth::Up, "it is known from before");
    pass(&clock, 120).await;
    let moved = only_target(&manager, "own").last_scrape.expect("scraped");
    assert_ne!(moved.since(before) % 60_000, 0, "{before:?} {moved:?}");
    let ended = samples(&store, TimeRange::ALL).iter().any(|line| line.contains("stale"));
    assert!(!ended, "no series ends on the way");
}

#[tokio::test(start_paused = true)]
async fn targets_of_static_groups() {
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::manual(Timestamp(1_000_000));
    let manager = manager(&store, "", &clock);
    let addresses = ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:2", "drop:1", "http://bad"];
    let group = TargetGroup {
        source: "0".to_owned(),
        targets: addresses.iter().map(|address| Labels::from_pairs([("__address__", *address)])).collect(),
        labels: Labels::empty(),
    };
    let job = JobSettings {
        job_name: "j".to_owned(),
        source: JobSource::Http { discovery: vec![DiscoverySettings::Static(group)], client: Box::default() },
        relabel_rules: vec![rule("__address__", "drop.*", RelabelAction::Drop, "", "$1")],
        limits: JobLimits { targets: 1, ..JobLimits::default() },
        scrape_interval: Duration::from_secs(10),
        ..JobSettings::default()
    };
    apply(&manager, vec![job]).await;
    pass(&clock, 15).await;
    let pool = manager.pools().remove(0);
    assert_eq!((pool.active.len(), pool.dropped.len(), pool.dropped_count), (2, 1, 1));
    assert_eq!(pool.dropped[0].discovered_labels.get("__address__"), Some("drop:1"));
    assert_eq!(pool.active[0].last_error, "target_limit exceeded (number of targets: 2, limit: 1)");
    assert_eq!(pool.active[0].global_url, "http://pi:1/metrics");
}
