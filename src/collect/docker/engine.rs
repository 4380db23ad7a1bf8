//! Talking to the engine: a bounded number of bounded requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::{Inspected, Listed, Sized, Stats};
use super::inspections::Inspections;
use super::{CONTAINERS_MAX, CollectError, DockerCollectorSettings};
use crate::client::{Client, ClientSettings, Patience, Request, SocketGets, Url};

/// One answer may have this many bytes; a container with many labels has some ten thousand.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Most of them, the usage of each container, have two or three thousand.
const ANSWER_BYTES: usize = 4 << 10;
/// Requests at a time. Engines of Debian 12 (20.10) tell a container's usage with their next look at all of them, once a
/// second: four at a time, fifty containers took longer than a scrape may.
const REQUESTS_MAX: usize = 64;
/// The scrape's own timeout usually comes first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of one container.
#[derive(Clone, Debug)]
pub struct Container {
    pub listed: Listed,
    pub inspected: Option<Arc<Inspected>>,
    /// Only of a running container.
    pub stats: Option<Stats>,
    /// When its image was made, in Unix time.
    pub image_created: Option<f64>,
    /// Only where sizes are read.
    pub sized: Option<Sized>,
}

/// One engine.
#[derive(Clone)]
pub struct Engine {
    client: Client,
    base: Url,
    host: Arc<str>,
    /// The short way to a socket without credentials.
    gets: Option<Arc<SocketGets>>,
}

impl Engine {
    /// The engine at `settings.docker_host`: `unix://PATH`, `tcp://HOST:PORT`, `http://…` or `https://…`.
    pub fn new(settings: &DockerCollectorSettings) -> Result<Self, CollectError> {
        let host: Arc<str> = settings.docker_host.as_str().into();
        let failed = |error: crate::client::ClientError| CollectError::Engine {
            host: host.to_string(),
            reason: error.to_string(),
        };
        let (socket, base) = match host.strip_prefix("unix://") {
            Some(path) => (Some(PathBuf::from(path)), "http://localhost".to_owned()),
            None => (None, host.replacen("tcp://", "http://", 1)),
        };
        let is_plain = settings.client == ClientSettings::default();
        let gets = socket.clone().filter(|_| is_plain).map(|socket| Arc::new(SocketGets::new(socket, REQUESTS_MAX)));
        // Making a connection anew costs more than a request on it.
        let client = Client::to_one_server(&settings.client, socket, REQUESTS_MAX).map_err(failed)?;
        Ok(Self { client, base: Url::parse(&base).map_err(failed)?, host: Arc::clone(&host), gets })
    }

    /// All containers as the engine lists them.
    pub async fn list(&self) -> Result<Vec<Listed>, CollectError> {
        self.get("/containers/json?all=1").await
    }

    /// All containers, by name, and how many were left out for their number. One may vanish between the requests: what cannot be
    /// had is left out.
    pub async fn containers(&self, inspections: &Inspections) -> Result<(Vec<Container>, usize), CollectError> {
        let now = Instant::now();
        let mut listed = self.list().await?;
        crate::model::sort_by(&mut listed, |left, right| (&left.names, &left.id).cmp(&(&right.names, &right.id)));
        let left_out = listed.len().saturating_sub(CONTAINERS_MAX);
        listed.truncate(CONTAINERS_MAX);

        let mut inspected = inspections.recall(&listed, now);
        let unknown: Vec<usize> = (0..listed.len()).filter(|index| inspected[*index].is_none()).collect();
        let paths = unknown.iter().map(|index| format!("/containers/{}/json", listed[*index].id)).collect();
        for (index, answer) in unknown.into_iter().zip(self.get_all::<Inspected>(paths).await) {
            inspected[index] = answer.map(Arc::new);
            if let Some(inspected) = &inspected[index] {
                inspections.note(&listed[index], inspected, now);
            }
        }

        let is_running = |index: &usize| matches!(listed[*index].state.as_deref(), Some("running" | "paused"));
        let running: Vec<usize> = (0..listed.len()).filter(is_running).collect();
        let path = |index: &usize| format!("/containers/{}/stats?stream=false&one-shot=true", listed[*index].id);
        let mut answers = self.get_all(running.iter().map(path).collect()).await.into_iter();
        let mut running = running.into_iter().peekable();
        let containers = listed.into_iter().zip(inspected).enumerate().map(|(index, (listed, inspected))| {
            let stats = running.next_if_eq(&index).and_then(|_| answers.next()?).filter(Stats::is_of_running);
            Container { listed, inspected, stats, image_created: None, sized: None }
        });
        Ok((containers.collect(), left_out))
    }

    /// The answer to each path, where there is one.
    async fn get_all<T: DeserializeOwned + Send + 'static>(&self, paths: Vec<String>) -> Vec<Option<T>> {
        if paths.is_empty() {
            return Vec::new();
        }
        let Some(gets) = self.gets.clone() else { return self.get_all_by_client(paths).await };
        // Given up together with the scrape.
        let asker = Arc::new(());
        let patience = Patience { at: Instant::now() + REQUEST_TIMEOUT, asker: Arc::downgrade(&asker) };
        let answers = tokio::task::spawn_blocking(move || {
            let mut answers: Vec<Option<T>> = paths.iter().map(|_| None).collect();
            gets.get_all(&paths, ANSWER_BYTES_MAX, &patience, &mut |index, body| {
                answers[index] = serde_json::from_slice(body).ok();
            });
            answers
        });
        let answers = answers.await.unwrap_or_default();
        drop(asker);
        answers
    }

    async fn get_all_by_client<T: DeserializeOwned + Send + 'static>(&self, paths: Vec<String>) -> Vec<Option<T>> {
        let mut answers: Vec<Option<T>> = paths.iter().map(|_| None).collect();
        let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut tasks = JoinSet::new();
        for (index, path) in paths.into_iter().enumerate() {
            let (engine, permits) = (self.clone(), Arc::clone(&permits));
            tasks.spawn(async move {
                let _permit = permits.acquire_owned().await.expect("the semaphore is never closed");
                (index, engine.get(&path).await.ok())
            });
        }
        for (index, answer) in tasks.join_all().await {
            answers[index] = answer;
        }
        answers
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CollectError> {
        let failed = |reason| CollectError::Engine { host: self.host.to_string(), reason };
        self.fetch(path, REQUEST_TIMEOUT).await.map_err(failed)
    }

    /// One answer; what is wrong names the path.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<T, String> {
        // Paths are written here; what the wire cannot take of an id fails as the request is made.
        let url = Url { path_and_query: path.to_owned(), ..self.base.clone() };
        let request = Request { timeout, ..Request::get(url) };
        let mut response = self.client.send(request).await.map_err(|error| error.to_string())?;
        let mut body = Vec::with_capacity(ANSWER_BYTES);
        response.read_into(&mut body, ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
        if !response.status.is_success() {
            let words: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
            return Err(format!("{path} gave {}: {words}", response.status));
        }
        serde_json::from_slice(&body).map_err(|error| format!("{path} is not understood: {error}"))
    }
}
