//! `collector: probe`: asks others' services and tells how that went, in the place of a blackbox_exporter, with its
//! modules, families and labels.
//!
//! Every scrape of a target is one probe. `up` says that it was made, `probe_success` what came of it; why a probe
//! failed is logged when the verdict changes.

mod address;
mod chain;
mod cookies;
mod dns;
mod http;
mod icmp;
mod icmp_socket;
#[allow(clippy::module_inception, reason = "what all probers share")]
mod probe;
mod settings;
mod sheet;
mod tcp;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

pub use icmp::PAYLOAD_BYTES_MAX;
pub use settings::{
    DnsProbe, HeaderMatch, HttpProbe, IcmpProbe, IpChoice, Module, Network, ProbeSettings, ProberSettings,
    QueryResponse, RecordRules, TcpProbe, UnsupportedModule,
};

use super::{CollectError, CollectFuture, Collector};
use crate::client::url::without_password;
use crate::client::{ClientError, Deadline};
use dns::DnsProber;
use http::HttpProber;
use probe::Asked;
use sheet::{Gauge, Sheet};
use tcp::TcpProber;

/// Probes at a time, of all jobs; further ones wait within their scrape's time.
pub const PROBES_MAX: usize = 32;
/// What a scrape's timeout leaves for sending the result, as blackbox_exporter's `--timeout-offset`.
const TIMEOUT_OFFSET: Duration = Duration::from_millis(500);
/// The module of a target that names none.
pub const DEFAULT_MODULE: &str = "http_2xx";

static PLACES: Semaphore = Semaphore::const_new(PROBES_MAX);

const SUCCESS: Gauge = ("probe_success", "Displays whether or not the probe was a success");
const DURATION: Gauge = ("probe_duration_seconds", "Returns how long the probe took to complete in seconds");

/// Probes targets by the modules of one job.
pub struct Prober {
    settings: Arc<ProbeSettings>,
    modules: BTreeMap<String, Arc<Ready>>,
}

/// A module that is ready to be used.
struct Ready {
    timeout: Option<Duration>,
    kind: Kind,
}

enum Kind {
    Http(Box<HttpProber>),
    Tcp(Box<TcpProber>),
    Icmp(IcmpProbe),
    Dns(Box<DnsProber>),
}

/// What one target is probed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The module's name.
    pub module: String,
    /// A URL, a host and port, or a host.
    pub target: String,
    /// The `Host` header of HTTP and the name of a certificate, if it is not the target's.
    pub hostname: Option<String>,
}

impl Prober {
    /// Makes the modules ready. Fails if the settings of one contradict each other.
    pub fn new(settings: &Arc<ProbeSettings>) -> Result<Self, ClientError> {
        let mut modules = BTreeMap::new();
        for (name, module) in &settings.modules {
            let kind = match &module.prober {
                ProberSettings::Http(http) => Kind::Http(Box::new(HttpProber::new(http)?)),
                ProberSettings::Tcp(tcp) => Kind::Tcp(Box::new(TcpProber::new(tcp)?)),
                ProberSettings::Icmp(icmp) => Kind::Icmp(icmp.clone()),
                ProberSettings::Dns(dns) => Kind::Dns(Box::new(DnsProber::new(dns)?)),
            };
            modules.insert(name.clone(), Arc::new(Ready { timeout: module.timeout, kind }));
        }
        Ok(Self { settings: Arc::clone(settings), modules })
    }

    /// A collector that probes one target within a scrape's timeout.
    pub fn collector(&self, target: &ProbeTarget, scrape_timeout: Duration) -> Arc<dyn Collector> {
        Arc::new(ProbeCollector {
            settings: Arc::clone(&self.settings),
            module: self.modules.get(&target.module).cloned(),
            target: target.clone(),
            scrape_timeout,
            last: Mutex::new(None),
        })
    }
}

/// Probes one target.
struct ProbeCollector {
    settings: Arc<ProbeSettings>,
    module: Option<Arc<Ready>>,
    target: ProbeTarget,
    scrape_timeout: Duration,
    last: Mutex<Option<bool>>,
}

impl Collector for ProbeCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(self.probe(page))
    }
}

impl ProbeCollector {
    async fn probe(&self, page: &mut Vec<u8>) -> Result<(), CollectError> {
        let Some(module) = &self.module else {
            return Err(self.settings.unknown_module(&self.target.module));
        };
        let waiting = Instant::now();
        let budget = budget(self.scrape_timeout);
        let Ok(Ok(_place)) = timeout(budget, PLACES.acquire()).await else { return Err(CollectError::ProbesFull) };
        let left = budget.saturating_sub(waiting.elapsed());
        let asked = Asked {
            target: &self.target.target,
            hostname: self.target.hostname.as_deref(),
            deadline: Deadline::after(module.timeout.map_or(left, |timeout| timeout.min(left))),
            allowed: &self.settings.allowed_networks,
        };
        let mut sheet = Sheet::default();
        let started = Instant::now();
        let verdict = module.kind.probe(&asked, &mut sheet).await?;
        sheet.set(DURATION, started.elapsed().as_secs_f64());
        sheet.set(SUCCESS, f64::from(u8::from(verdict.is_ok())));
        sheet.write(page);
        self.tell(&verdict);
        Ok(())
    }

    /// Logs a verdict that is not the one before.
    fn tell(&self, verdict: &Result<(), String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(verdict.is_ok());
        let (module, target) = (&self.target.module, without_password(&self.target.target));
        match verdict {
            Err(reason) if before != Some(false) => tracing::info!(module, target, reason, "a probe fails"),
            Ok(()) if before == Some(false) => tracing::info!(module, target, "a probe succeeds again"),
            _ => {}
        }
    }
}

impl Kind {
    async fn probe(&self, asked: &Asked<'_>, sheet: &mut Sheet) -> Result<Result<(), String>, CollectError> {
        match self {
            Self::Http(prober) => Ok(prober.probe(asked, sheet).await),
            Self::Tcp(prober) => Ok(prober.probe(asked, sheet).await),
            Self::Icmp(settings) => icmp::probe(settings, asked, sheet).await,
            Self::Dns(prober) => Ok(prober.probe(asked, sheet).await),
        }
    }
}

/// The time for a probe: what the offset leaves of the scrape's, or half of a very short one.
fn budget(scrape_timeout: Duration) -> Duration {
    scrape_timeout.saturating_sub(TIMEOUT_OFFSET).max(scrape_timeout / 2)
}
