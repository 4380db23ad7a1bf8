//! outpost's HTTP API over a store in memory, which holds native histograms too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outpost::clock::Clock;
use outpost::federation::{CursorError, CursorRecord, CursorStore, Federation, RESYNC_SAMPLES_MAX};
use outpost::http::{
    Api, BuildInfo, ConfigSnapshot, Health, QuerySettings, Readiness, RuntimeInfo, Server, ServerSettings,
};
use outpost::model::{Matcher, MetadataLookup, MetricType};
use outpost::notify::AlertmanagersView;
use outpost::promql::{Engine, EngineSettings, Features};
use outpost::rules::{GroupStatus, RulesView};
use outpost::scrape::{PoolStatus, TargetMetadata, TargetsView};
use outpost::store::{MemoryStore, Select};
use outpost::telemetry::Registry;
use tokio::sync::watch;

use super::world::{END, Sample, Series};

/// Serves the world for as long as the process lives; gives the address.
pub fn serve(series: Vec<Series>, features: Features) -> String {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listen_addresses = vec!["127.0.0.1:0".to_owned()];
            let server = Server::bind(ServerSettings { listen_addresses, ..ServerSettings::default() }).await.unwrap();
            let store: Arc<dyn Select> = Arc::new(filled(series));
            let (_config, config) = watch::channel(Arc::new(ConfigSnapshot::default()));
            let (_readiness, readiness) = watch::channel(Readiness::Ready);
            let api = api(store, features, config, readiness);
            sender.send(server.addresses()[0].to_string()).unwrap();
            server.run(Arc::new(api), std::future::pending()).await;
        });
    });
    receiver.recv().unwrap()
}

fn filled(series: Vec<Series>) -> MemoryStore {
    let store = MemoryStore::new();
    for one in series {
        for (at, sample) in one.samples {
            match sample {
                Sample::Float(value) => store.append_float(&one.labels, at, value).unwrap(),
                Sample::Native(native) => store.append_histogram(&one.labels, at, native),
            }
        }
    }
    store
}

fn api(
    store: Arc<dyn Select>,
    features: Features,
    config: watch::Receiver<Arc<ConfigSnapshot>>,
    readiness: watch::Receiver<Readiness>,
) -> Api {
    let settings = EngineSettings {
        lookback: Duration::from_secs(300),
        samples_max: 50_000_000,
        default_step: Duration::from_secs(60),
        features,
    };
    let select = Arc::clone(&store);
    let lookback = settings.lookback;
    Api {
        clock: Clock::manual(END),
        store,
        engine: Arc::new(Engine::new(settings)),
        queries: QuerySettings { features, ..QuerySettings::default() },
        targets: Arc::new(Nothing),
        rules: Arc::new(Nothing),
        alertmanagers: Arc::new(Nothing),
        federation: Arc::new(Federation::new(
            select,
            Arc::new(Nothing),
            lookback,
            Box::new(Nothing),
            RESYNC_SAMPLES_MAX,
            END,
        )),
        registry: Registry::new(),
        config,
        flags: BTreeMap::new(),
        build: BuildInfo::default(),
        runtime: Box::new(RuntimeInfo::default),
        health: Box::new(Health::default),
        readiness,
        lifecycle: None,
        admin: None,
    }
}

/// The parts of a server that these tests do not need.
struct Nothing;

impl TargetsView for Nothing {
    fn pools(&self) -> Vec<PoolStatus> {
        Vec::new()
    }

    fn target_metadata(&self, _: &[Matcher], _: Option<&str>, _: Option<usize>) -> Vec<TargetMetadata> {
        Vec::new()
    }
}

impl RulesView for Nothing {
    fn groups(&self) -> Vec<GroupStatus> {
        Vec::new()
    }
}

impl AlertmanagersView for Nothing {
    fn active(&self) -> Vec<String> {
        Vec::new()
    }

    fn dropped(&self) -> Vec<String> {
        Vec::new()
    }
}

impl MetadataLookup for Nothing {
    fn metric_type(&self, _: &str) -> Option<(MetricType, String)> {
        None
    }
}

impl CursorStore for Nothing {
    fn load(&self) -> Vec<CursorRecord> {
        Vec::new()
    }

    fn keep(&self, _: Vec<CursorRecord>) -> Result<(), CursorError> {
        Ok(())
    }
}
