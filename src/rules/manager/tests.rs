//! Groups over time: slots, reloads, the end. Time is paused; the clock and tokio's time go together.

use std::path::PathBuf;

use super::*;
use crate::model::{Alert, TimeRange, is_stale_marker};
use crate::promql::ast::Expr;
use crate::promql::{QueryError, QueryResult, QueryValue};
use crate::rules::status::RuleHealth;
use crate::store::{MemoryStore, ReadOptions, Samples};

/// Every query gives the scalar 1.
struct One;

impl Query for One {
    fn query(&self, _expr: &Expr, at: Timestamp) -> Result<QueryResult, QueryError> {
        let value = QueryValue::Scalar(at, 1.0);
        Ok(QueryResult { value, warnings: Vec::new(), infos: Vec::new(), samples_read: 0, peak_samples: 0 })
    }
}

impl AlertSink for One {
    fn send(&self, _alerts: Vec<Alert>) {}
}

struct Site {
    folder: tempfile::TempDir,
    store: Arc<MemoryStore>,
    clock: Clock,
    manager: RuleManager,
}

impl Site {
    fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("r.yml"), rules).expect("write");
        let (store, clock) = (Arc::new(MemoryStore::new()), Clock::manual(Timestamp(1_700_000_000_000)));
        let deps = RuleDeps {
            append: Arc::clone(&store) as Arc<dyn Append>,
            select: Arc::clone(&store) as Arc<dyn Select>,
            query: Arc::new(One),
            sink: Arc::new(One),
            clock: clock.clone(),
            registry: Registry::new(),
        };
        let manager = RuleManager::new(settings(&folder), deps).expect("valid rules");
        Self { folder, store, clock, manager }
    }

    async fn reload(&mut self, rules: &str) -> Result<(), RuleLoadError> {
        std::fs::write(self.folder.path().join("r.yml"), rules).expect("write");
        let settings = settings(&self.folder);
        let groups = load_groups(&settings)?;
        self.manager.reload(settings, groups).await;
        Ok(())
    }

    /// Lets time pass, second by second, and the evaluations that it brings run to their end: paused
    /// time goes on by itself only when no task and no blocking thread has anything to do.
    async fn pass(&self, seconds: u32) {
        const SETTLING: Duration = Duration::from_millis(1);
        // Tasks that have just been spawned look at the clock first.
        tokio::task::yield_now().await;
        for _ in 0..seconds {
            self.clock.set(self.clock.now() + Duration::from_secs(1));
            tokio::time::advance(Duration::from_secs(1) - SETTLING).await;
            sleep(SETTLING).await;
        }
        sleep(Duration::ZERO).await;
    }

    /// Number of samples of a metric, and whether it has ended.
    fn stored(&self, metric: &str) -> (usize, bool) {
        let mut set = self.store.select(&[], &ReadOptions::over(TimeRange::ALL)).expect("memory");
        let mut samples = Samples::default();
        while let Some(labels) = set.next(&mut samples).expect("memory") {
            if labels.metric_name() == metric {
                return (samples.len(), samples.values.last().copied().is_some_and(is_stale_marker));
            }
        }
        (0, false)
    }
}

fn settings(folder: &tempfile::TempDir) -> RuleSettings {
    let rule_files: Vec<PathBuf> = vec![folder.path().join("r.yml")];
    RuleSettings { rule_files, evaluation_interval: Duration::from_secs(10), ..RuleSettings::default() }
}

fn group(name: &str, rule: &str) -> String {
    format!("- {{name: {name}, rules: [{{record: {rule}, expr: '1'}}]}}\n")
}

#[tokio::test(start_paused = true)]
async fn the_largest_offset_says_how_late_results_are() {
    let offset = "- {name: b, query_offset: 5m, interval: 15s, rules: [{record: rb, expr: '1'}]}\n";
    let mut site = Site::new(&format!("groups:\n{}{offset}", group("a", "ra")));
    assert_eq!(site.manager.lateness_max(), Duration::from_secs(315));
    site.reload(&format!("groups:\n{}", group("a", "ra"))).await.expect("valid rules");
    assert_eq!(site.manager.lateness_max(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn groups_run_at_their_slots() {
    let mut site = Site::new(&format!("groups:\n{}", group("a", "ra")));
    let view = site.manager.view();
    assert_eq!(view.groups()[0].rules[0].health, RuleHealth::Unknown);
    site.manager.start();
    site.pass(60).await;
    assert_eq!(site.stored("ra"), (6, false));
    let shown = view.groups();
    assert_eq!(shown[0].rules[0].health, RuleHealth::Ok);
    assert_eq!(shown[0].interval, Duration::from_secs(10));
    site.manager.stop().await;
    site.pass(60).await;
    assert_eq!(site.stored("ra"), (6, false), "stopping neither ends series nor goes on");
}

#[tokio::test(start_paused = true)]
async fn a_reload_touches_only_what_changed() {
    let before = format!("groups:\n{}{}{}", group("a", "ra"), group("b", "rb"), group("c", "rc"));
    let mut site = Site::new(&before);
    site.manager.start();
    site.pass(20).await;
    let evaluated = |site: &Site, index: usize| site.manager.groups()[index].last_evaluation;
    let before_reload = evaluated(&site, 0);
    site.reload(&format!("groups:\n{}{}", group("a", "ra"), group("b", "rb2"))).await.expect("valid rules");
    assert_eq!(evaluated(&site, 0), before_reload, "an unchanged group keeps what it shows");
    site.pass(10).await;
    assert_eq!(site.stored("ra"), (3, false));
    assert_eq!(site.stored("rb"), (3, true), "a rule that is gone ends with its group's next evaluation");
    assert_eq!(site.stored("rb2"), (1, false));
    assert_eq!(site.stored("rc"), (2, false), "a group that is gone waits for who may take its series over");
    site.pass(11).await;
    assert_eq!(site.stored("rc"), (3, true));
    let names: Vec<String> = site.manager.groups().into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["a", "b"]);
    site.manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_with_an_error_changes_nothing() {
    let mut site = Site::new(&format!("groups:\n{}", group("a", "ra")));
    site.manager.start();
    site.pass(10).await;
    let error = site.reload("groups:\n- {name: a, rules: [{record: ra, expr: 'sum('}]}\n").await.expect_err("refused");
    assert!(error.to_string().contains("r.yml:2:"), "{error}");
    assert!(error.to_string().contains("group \"a\", rule 1, \"ra\""), "{error}");
    site.pass(10).await;
    assert_eq!(site.stored("ra"), (2, false));
    site.manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_renamed_group_takes_its_series_over() {
    let mut site = Site::new(&format!("groups:\n{}", group("a", "ra")));
    site.manager.start();
    site.pass(20).await;
    site.reload(&format!("groups:\n{}", group("other", "ra"))).await.expect("valid rules");
    site.pass(30).await;
    let (count, has_ended) = site.stored("ra");
    assert!(count >= 4 && !has_ended, "{count} {has_ended}");
    site.manager.stop().await;
}
