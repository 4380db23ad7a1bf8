//! A small site behind a server on a free port, and a client that speaks HTTP by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::federation::{CursorError, CursorRecord, CursorStore, Federation, RESYNC_SAMPLES_MAX};
use crate::http::made::Room;
use crate::http::{
    Admin, Api, BuildInfo, ConfigSnapshot, Health, Lifecycle, QuerySettings, Readiness, ReloadRequest, RuntimeInfo,
    Server, ServerSettings,
};
use crate::model::{Labels, Matcher, Metadata, MetadataLookup, MetricType, Timestamp, stale_marker};
use crate::notify::AlertmanagersView;
use crate::promql::{Engine, EngineSettings, Features};
use crate::rules::{AlertState, AlertStatus, AlertingStatus, GroupStatus, RuleHealth, RuleStatus, RulesView};
use crate::scrape::{DroppedTarget, PoolStatus, TargetHealth, TargetMetadata, TargetStatus, TargetsView};
use crate::store::MemoryStore;
use crate::telemetry::Registry;

/// 2026-11-22T20:57:42.892Z
pub(super) const NOW: Timestamp = Timestamp(1_795_381_062_892);

/// A running server; it stops when this is dropped.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) reloads: mpsc::Receiver<ReloadRequest>,
    pub(super) quits: mpsc::Receiver<()>,
    /// Whether samples wait for the time of day.
    pub(super) is_waiting: Arc<AtomicBool>,
    /// Where pages of `/federate` wait for their readers.
    pub(super) room: Room,
    stop: Option<oneshot::Sender<()>>,
    pub(super) server: JoinHandle<()>,
    _config: watch::Sender<Arc<ConfigSnapshot>>,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(ServerSettings::default(), true).await
    }

    pub(super) async fn start_with(settings: ServerSettings, with_lifecycle: bool) -> Self {
        Self::start_on(settings, with_lifecycle, Arc::new(engine(10_000))).await
    }

    pub(super) async fn start_on(settings: ServerSettings, with_lifecycle: bool, engine: Arc<Engine>) -> Self {
        let settings = ServerSettings { listen_addresses: vec!["127.0.0.1:0".to_owned()], ..settings };
        let server = Server::bind(settings).await.expect("a free port");
        let (address, room) = (server.addresses()[0], server.press.room.clone());
        let store = Arc::new(filled_store());
        let (config_sender, config) = watch::channel(Arc::new(ConfigSnapshot {
            yaml: "global:\n  scrape_interval: 2s\n".to_owned(),
            external_labels: Labels::from_pairs([("site", "garage"), ("zz", "q\"uote")]),
        }));
        let (readiness_sender, readiness) = watch::channel(Readiness::Ready);
        let is_waiting = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&is_waiting);
        let (reload, reloads) = mpsc::channel(1);
        let (quit, quits) = mpsc::channel(1);
        let select: Arc<dyn crate::store::Select> = Arc::clone(&store) as _;
        let api = Api {
            clock: Clock::manual(NOW),
            store: Arc::clone(&select),
            engine,
            queries: QuerySettings::default(),
            targets: Arc::new(Views),
            rules: Arc::new(Views),
            alertmanagers: Arc::new(Views),
            federation: Arc::new(federation(select).waiting_while(move || waits.load(Ordering::Relaxed))),
            registry: Registry::new(),
            config,
            flags: BTreeMap::from([("web.page-title".to_owned(), "a <b>".to_owned())]),
            build: BuildInfo { version: "0.1.0".to_owned(), ..BuildInfo::default() },
            runtime: Box::new(|| RuntimeInfo {
                hostname: "pi".to_owned(),
                cpus: 4,
                reload_failing_since: Some(Timestamp(1_795_380_000_000)),
                ..RuntimeInfo::default()
            }),
            health: Box::new(|| Health { problems: vec!["the disk is <full>".to_owned()] }),
            readiness,
            lifecycle: with_lifecycle.then_some(Lifecycle { reload, quit }),
            admin: with_lifecycle.then(|| Arc::new(Admin { snapshot: Box::new(made) })),
        };
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(Arc::new(api), async { drop(stopped.await) }));
        let stop = Some(stop);
        Self {
            address,
            readiness: readiness_sender,
            reloads,
            quits,
            is_waiting,
            room,
            stop,
            server,
            _config: config_sender,
        }
    }

    /// Asks the server to stop.
    pub(super) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    pub(super) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", &[]).await
    }

    /// One request on a connection of its own. A body is a form.
    pub(super) async fn request(&self, method: &str, target: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut text = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str("content-type: application/x-www-form-urlencoded\r\n");
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str(&format!("\r\n{body}"));
        self.raw(text.as_bytes()).await
    }

    /// Sends bytes and reads until the server closes the connection.
    pub(super) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("the server reads");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.expect("the server closes in order");
        Answer::parse(&received)
    }
}

/// A response taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether an answer on a connection that stays open has come to its end.
    pub(super) fn is_whole(received: &[u8]) -> bool {
        let answer = Self::parse_raw(received);
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        length.map_or(received.ends_with(b"0\r\n\r\n"), |length: usize| answer.body.len() >= length)
    }

    pub(super) fn parse(received: &[u8]) -> Self {
        let answer = Self::parse_raw(received);
        let is_chunked = answer.header("transfer-encoding") == Some("chunked");
        Self { body: if is_chunked { unchunk(&answer.body) } else { answer.body }, ..answer }
    }

    /// The same with the chunks in the body.
    fn parse_raw(received: &[u8]) -> Self {
        let end = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(received.len());
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let raw = received.get(end + 4..).unwrap_or_default();
        Self { status, body: raw.to_vec(), head }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (candidate, value) = line.split_once(':')?;
            candidate.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

fn unchunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = raw.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&raw[..line]), 16).expect("a chunk's size");
        body.extend_from_slice(&raw[line + 2..line + 2 + size]);
        raw = &raw[line + 2 + size + 2..];
    }
    body
}

fn federation(store: Arc<dyn crate::store::Select>) -> Federation {
    let cursors = Box::new(ForgottenCursors);
    Federation::new(store, Arc::new(Views), Duration::from_secs(300), cursors, RESYNC_SAMPLES_MAX, NOW)
}

/// Cursors that no restart has to survive.
struct ForgottenCursors;

impl CursorStore for ForgottenCursors {
    fn load(&self) -> Vec<CursorRecord> {
        Vec::new()
    }

    fn keep(&self, _: Vec<CursorRecord>) -> Result<(), CursorError> {
        Ok(())
    }
}

pub(super) fn engine(samples_max: u64) -> Engine {
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max,
        default_step: Duration::from_secs(60),
        features: Features::default(),
    };
    Engine::new(settings)
}

fn filled_store() -> MemoryStore {
    let store = MemoryStore::new();
    let own = [("instance", "127.0.0.1:19901"), ("job", "static")];
    let scraped = NOW - Duration::from_secs(1);
    let put = |name: &str, extra: &[(&str, &str)], value: f64| {
        let labels = Labels::from_pairs(own.iter().chain(extra).copied().chain([("__name__", name)]));
        store.append_float(&labels, scraped, value).expect("in order");
    };
    put("app_requests_total", &[("code", "200"), ("path", "/a\"b\\c")], 12345.0);
    put("app_requests_total", &[("code", "500"), ("path", "/x")], 1e22);
    put("app_temp", &[("room", "küche")], 21.5);
    put("app_temp", &[("room", "<b>&")], -1e-7);
    put("app_nan", &[], f64::NAN);
    put("app_inf", &[], f64::INFINITY);
    for (le, count) in [("0.1", 5.0), ("1", 7.0), ("+Inf", 8.0)] {
        put("app_lat_bucket", &[("le", le)], count);
    }
    put("app_lat_bytes", &[], 1.0);
    put("app_lat_sum", &[], 3.25);
    put("app_lat_count", &[], 8.0);
    put("utf8.name", &[("my.label", "x")], 7.0);
    put("own_site", &[("site", "other")], 3.0);
    let up = |instance: &str, job: &str| Labels::from_pairs([("__name__", "up"), ("instance", instance), ("job", job)]);
    for step in 0..3u32 {
        let at = NOW - Duration::from_secs(5) + Duration::from_secs(2) * step;
        store.append_float(&up("127.0.0.1:19901", "static"), at, 1.0).expect("in order");
        store.append_float(&up("127.0.0.1:19999", "down"), at, 0.0).expect("in order");
    }
    let ended = Labels::from_pairs([("__name__", "ended")]);
    store.append_float(&ended, scraped - Duration::from_secs(1), 1.0).expect("in order");
    store.append_float(&ended, scraped, stale_marker()).expect("in order");
    let old = Labels::from_pairs([("__name__", "old")]);
    store.append_float(&old, NOW - Duration::from_secs(301), 1.0).expect("in order");
    let recorded = Labels::from_pairs([("__name__", "job:up:sum"), ("job", "static")]);
    store.append_float(&recorded, scraped, 1.0).expect("in order");
    store
}

struct Views;

impl TargetsView for Views {
    fn pools(&self) -> Vec<PoolStatus> {
        let discovered = |address: &str, job: &str| Labels::from_pairs([("__address__", address), ("job", job)]);
        let target = |address: &str, job: &str, error: &str| TargetStatus {
            discovered_labels: discovered(address, job),
            labels: Labels::from_pairs([("instance", address), ("job", job)]),
            job_name: job.to_owned(),
            scrape_url: format!("http://{address}/metrics"),
            global_url: format!("http://pi{}/metrics", &address[9..]),
            last_error: error.to_owned(),
            last_scrape: error.is_empty().then_some(NOW),
            last_scrape_duration: Duration::from_micros(884),
            health: if error.is_empty() { TargetHealth::Up } else { TargetHealth::Down },
            scrape_interval: Duration::from_secs(120),
            scrape_timeout: Duration::from_secs(2),
        };
        let pool = |job_name: &str, active: Vec<TargetStatus>| PoolStatus {
            job_name: job_name.to_owned(),
            active,
            dropped: Vec::new(),
            dropped_count: 0,
        };
        let dropped = DroppedTarget {
            discovered_labels: discovered("127.0.0.1:19998", "dropped"),
            job_name: "dropped".to_owned(),
        };
        vec![
            pool("down", vec![target("127.0.0.1:19999", "down", "dial <tcp>: \"refused\"")]),
            PoolStatus { dropped: vec![dropped], dropped_count: 3, ..pool("dropped", Vec::new()) },
            pool("static", vec![target("127.0.0.1:19901", "static", "")]),
        ]
    }

    fn target_metadata(&self, matchers: &[Matcher], metric: Option<&str>, limit: Option<usize>) -> Vec<TargetMetadata> {
        let target = Labels::from_pairs([("instance", "127.0.0.1:19901"), ("job", "static")]);
        let of = |metric: &str, metric_type, help: &str| TargetMetadata {
            target: target.clone(),
            metric: metric.to_owned(),
            metadata: Metadata { metric_type, help: help.to_owned(), unit: String::new() },
        };
        let all = [
            of("app_temp", MetricType::Gauge, "Temperature\n<in> \\ degrees."),
            of("app_lat", MetricType::Histogram, "Latency."),
            of("app_temp", MetricType::Gauge, "Another text."),
        ];
        let wanted = all.into_iter().filter(|found| {
            metric.is_none_or(|metric| metric == found.metric)
                && matchers.iter().all(|m| m.matches_labels(&found.target))
        });
        wanted.take(limit.unwrap_or(usize::MAX)).collect()
    }
}

impl MetadataLookup for Views {
    fn metric_type(&self, metric_name: &str) -> Option<(MetricType, String)> {
        let (metric_type, family) = match metric_name {
            "app_lat_bucket" | "app_lat_sum" | "app_lat_count" => (MetricType::Histogram, "app_lat"),
            "app_temp" => (MetricType::Gauge, "app_temp"),
            "app_requests_total" => (MetricType::Counter, "app_requests_total"),
            _ => return None,
        };
        Some((metric_type, family.to_owned()))
    }
}

impl RulesView for Views {
    fn groups(&self) -> Vec<GroupStatus> {
        let rule = |name: &str, query: &str, labels: Labels, alerting: Option<AlertingStatus>| RuleStatus {
            name: name.to_owned(),
            query: query.to_owned(),
            labels,
            health: RuleHealth::Ok,
            last_error: String::new(),
            evaluation_time: Duration::from_micros(243),
            last_evaluation: Some(NOW),
            alerting,
        };
        let alert = AlertStatus {
            labels: Labels::from_pairs([("alertname", "AlwaysOn"), ("severity", "page")]),
            annotations: Labels::from_pairs([("summary", "v=1 <x>")]),
            state: AlertState::Firing,
            active_at: NOW - Duration::from_millis(1_492),
            keep_firing_since: None,
            value: 1.0,
        };
        let kept =
            AlertStatus { state: AlertState::Pending, keep_firing_since: Some(NOW), value: -1e-7, ..alert.clone() };
        let alerting = AlertingStatus {
            hold_duration: Duration::ZERO,
            keep_firing_for: Duration::from_secs(300),
            annotations: Labels::from_pairs([("summary", "v={{ $value }} <x>")]),
            alerts: vec![kept, alert],
        };
        let failed = RuleStatus {
            health: RuleHealth::Err,
            last_error: "a & b".to_owned(),
            last_evaluation: None,
            ..rule("job:const", "1", Labels::from_pairs([("a", "b")]), None)
        };
        let group = |name: &str, limit: u64, rules: Vec<RuleStatus>| GroupStatus {
            name: name.to_owned(),
            file: "rules.yml".to_owned(),
            rules,
            interval: Duration::from_millis(2_500),
            limit,
            evaluation_time: Duration::from_micros(577),
            last_evaluation: Some(NOW),
        };
        let page = Labels::from_pairs([("severity", "page")]);
        let silent = AlertingStatus { alerts: Vec::new(), annotations: Labels::empty(), ..alerting.clone() };
        vec![
            group(
                "g1",
                0,
                vec![
                    rule("job:up:sum", "sum by (job) (up)", Labels::empty(), None),
                    rule("AlwaysOn", "vector(1) > 0", page, Some(alerting)),
                ],
            ),
            group("g2", 10, vec![failed, rule("NeverOn", "vector(0) > 1", Labels::empty(), Some(silent))]),
        ]
    }
}

impl AlertmanagersView for Views {
    fn active(&self) -> Vec<String> {
        vec!["http://127.0.0.1:19993/api/v2/alerts".to_owned()]
    }

    fn dropped(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What making a snapshot comes to here.
fn made(with_head: bool) -> Result<String, String> {
    if with_head { Ok("20261122T205742Z-00".to_owned()) } else { Err("the disk is full".to_owned()) }
}
