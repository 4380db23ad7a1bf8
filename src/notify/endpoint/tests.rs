//! Delivery to an Alertmanager that the test plays. Time is paused.

use tokio::time::sleep;

use super::*;
use crate::model::{Labels, Timestamp};

const START: Timestamp = Timestamp(1_700_000_000_000);

/// Answers as told, and keeps what it took.
#[derive(Default)]
struct Played {
    answer: Mutex<Option<Delivery>>,
    requests: Mutex<Vec<(Duration, String)>>,
    began: Mutex<Option<Instant>>,
}

impl Post for Played {
    fn post<'a>(&'a self, _url: &'a str, body: Bytes) -> Pin<Box<dyn Future<Output = Delivery> + Send + 'a>> {
        let began = *self.began.lock().expect("lock").get_or_insert_with(Instant::now);
        let body = String::from_utf8(body.to_vec()).expect("text");
        self.requests.lock().expect("lock").push((began.elapsed(), body));
        let answer = self.answer.lock().expect("lock").clone().unwrap_or(Delivery::Done);
        Box::pin(async move { answer })
    }
}

struct Scene {
    played: Arc<Played>,
    endpoint: Endpoint,
    stopping: watch::Sender<Stopping>,
    clock: Clock,
    task: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new(answer: Delivery) -> Self {
        let played = Arc::new(Played { answer: Mutex::new(Some(answer)), ..Played::default() });
        let (endpoint, stopping) = (Endpoint::new("http://am".to_owned()), watch::Sender::new(Stopping::No));
        let clock = Clock::manual(START);
        let post = Arc::clone(&played) as Arc<dyn Post>;
        let task = tokio::spawn(endpoint.clone().run(post, clock.clone(), stopping.subscribe()));
        Self { played, endpoint, stopping, clock, task }
    }

    fn answer(&self, answer: Delivery) {
        *self.played.answer.lock().expect("lock") = Some(answer);
    }

    async fn pass(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
        self.clock.set(self.clock.now() + Duration::from_secs(seconds));
    }

    fn request_count(&self) -> usize {
        self.played.requests.lock().expect("lock").len()
    }

    fn last_request(&self) -> String {
        self.played.requests.lock().expect("lock").last().map(|(_, body)| body.clone()).unwrap_or_default()
    }
}

fn alert(name: &str, resolved: bool, lasts_seconds: u64) -> Arc<Alert> {
    Arc::new(Alert {
        labels: Labels::from_pairs([("alertname", name)]),
        annotations: Labels::empty(),
        starts_at: START,
        ends_at: START + Duration::from_secs(lasts_seconds),
        resolved,
        generator_url: String::new(),
    })
}

fn failed() -> Delivery {
    Delivery::Failed("down".to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_that_was_down_learns_how_things_are() {
    let scene = Scene::new(failed());
    scene.endpoint.push([alert("a", false, 240), alert("b", false, 240)]);
    scene.pass(60).await;
    let tries = scene.request_count();
    // Waits of about 1, 2, 4, 8, 16 and 30 s, each at least half as long.
    assert!((5..=12).contains(&tries), "{tries} tries in a minute");
    scene.endpoint.push([alert("a", true, 60)]);
    scene.answer(Delivery::Done);
    scene.pass(31).await;
    let last = scene.last_request();
    assert_eq!(last.matches("alertname").count(), 2, "{last}");
    assert!(last.contains("2023-11-14T22:14:20.000Z"), "the later state of a: {last}");
    let delivered = scene.request_count();
    scene.pass(300).await;
    assert_eq!(scene.request_count(), delivered, "nothing is sent twice");
    assert_eq!(scene.endpoint.queue_len(), 0);
    assert_eq!(scene.endpoint.metrics().dropped.value(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_believe_any_more_is_given_up() {
    let scene = Scene::new(failed());
    scene.endpoint.push([alert("a", false, 240)]);
    scene.pass(100).await;
    scene.pass(150).await;
    scene.pass(31).await;
    let tries = scene.request_count();
    scene.pass(300).await;
    assert_eq!(scene.request_count(), tries);
    assert_eq!(scene.endpoint.metrics().dropped.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_not_sent_again() {
    let scene = Scene::new(Delivery::Refused("bad".to_owned()));
    scene.endpoint.push([alert("a", false, 240)]);
    scene.pass(60).await;
    assert_eq!(scene.request_count(), 1);
    let metrics = scene.endpoint.metrics();
    assert_eq!([&metrics.sent, &metrics.errors, &metrics.dropped].map(Counter::value), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn many_alerts_go_in_batches() {
    let scene = Scene::new(Delivery::Done);
    scene.endpoint.push((0..600).map(|number| alert(&number.to_string(), false, 240)));
    scene.pass(1).await;
    let requests = scene.played.requests.lock().expect("lock");
    let sizes: Vec<usize> = requests.iter().map(|(_, body)| body.matches("alertname").count()).collect();
    assert_eq!(sizes, [256, 256, 88]);
}

#[tokio::test(start_paused = true)]
async fn stopping_sends_what_can_be_sent() {
    let scene = Scene::new(Delivery::Done);
    scene.endpoint.push([alert("a", false, 240)]);
    scene.stopping.send_replace(Stopping::Draining);
    scene.task.await.expect("ends");
    assert_eq!(scene.played.requests.lock().expect("lock").len(), 1);

    let scene = Scene::new(failed());
    scene.endpoint.push([alert("a", false, 240)]);
    scene.stopping.send_replace(Stopping::Draining);
    scene.task.await.expect("ends without trying for ever");
    assert_eq!((scene.endpoint.metrics().dropped.value(), scene.endpoint.queue_len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_the_oldest_resolved_first_and_counts() {
    let scene = Scene::new(failed());
    // 100 that have ended among 10,100 alerts, then 50 more than there is room for.
    let first = QUEUE_CAPACITY + 50;
    scene.endpoint.push((0..first).map(|number| alert(&number.to_string(), number % 100 == 7, 240)));
    assert_eq!((scene.endpoint.queue_len(), scene.endpoint.metrics().dropped.value()), (QUEUE_CAPACITY, 50));
    let waiting: Vec<Arc<Alert>> = scene.endpoint.waiting();
    let ended: Vec<&str> = waiting.iter().filter(|a| a.resolved).filter_map(|a| a.labels.get("alertname")).collect();
    assert_eq!((ended.len(), ended[0]), (51, "5007"), "the first 50 of 101 have gone");
    assert_eq!(waiting.iter().filter(|alert| !alert.resolved).count(), first - 101);

    scene.endpoint.push((0..60).map(|number| alert(&format!("more {number}"), false, 240)));
    let waiting: Vec<Arc<Alert>> = scene.endpoint.waiting();
    assert!(waiting.iter().all(|alert| !alert.resolved));
    assert_eq!(waiting[0].labels.get("alertname"), Some("10"), "then the oldest of all");
    assert_eq!(scene.endpoint.metrics().dropped.value(), 110);
    scene.answer(Delivery::Done);
    scene.pass(31).await;
    assert_eq!((scene.endpoint.queue_len(), scene.endpoint.metrics().dropped.value()), (0, 110));
}
