//! The notifier against Alertmanagers of the test's own, over real connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::ClientSettings;
use crate::discovery::{DiscoverySettings, TargetGroup};
use crate::model::{AnchoredRegex, RelabelAction, Timestamp};

/// Takes every request and keeps its first line and body.
struct Recorder {
    address: String,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("bound").to_string();
        let requests: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&kept)));
            }
        });
        Self { address, requests }
    }

    /// The requests, once there are so many.
    async fn wait_for(&self, count: usize) -> Vec<(String, String)> {
        let waiting = async {
            loop {
                let requests = self.requests.lock().expect("lock").clone();
                if requests.len() >= count {
                    return requests;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), waiting).await.expect("the requests come")
    }
}

async fn serve(mut connection: TcpStream, kept: Arc<Mutex<Vec<(String, String)>>>) {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = connection.read(&mut part).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() == length.unwrap_or(0) {
            kept.lock().expect("lock").push((head.lines().next().unwrap_or("").to_owned(), body.to_owned()));
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("answer");
            read.clear();
        }
    }
}

fn entry(address: &str, alert_relabel_rules: Vec<RelabelRule>) -> AlertmanagerSettings {
    let group = TargetGroup {
        source: "0".to_owned(),
        targets: vec![Labels::from_pairs([("__address__", address)])],
        labels: Labels::empty(),
    };
    AlertmanagerSettings {
        scheme: "http".to_owned(),
        path_prefix: "am".to_owned(),
        timeout: Duration::from_secs(10),
        discovery: vec![DiscoverySettings::Static(group)],
        client: ClientSettings::default(),
        relabel_rules: Vec::new(),
        alert_relabel_rules,
    }
}

fn drop_alerts(named: &str) -> RelabelRule {
    RelabelRule {
        source_labels: vec!["alertname".to_owned()],
        separator: ";".to_owned(),
        regex: AnchoredRegex::new(named).expect("valid"),
        modulus: 0,
        target_label: String::new(),
        replacement: String::new(),
        action: RelabelAction::Drop,
    }
}

fn alert(name: &str) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("site", "own")]),
        annotations: Labels::empty(),
        starts_at: Timestamp(1_700_000_000_000),
        ends_at: Timestamp(1_700_000_240_000),
        resolved: false,
        generator_url: String::new(),
    }
}

fn names(requests: &[(String, String)]) -> Vec<&str> {
    let all: String = requests.iter().map(|(_, body)| body.as_str()).collect();
    ["Disk", "Down", "Test"].into_iter().filter(|name| all.contains(name)).collect()
}

#[tokio::test]
async fn every_alertmanager_gets_every_alert() {
    let (first, second) = (Recorder::start().await, Recorder::start().await);
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let registry = Registry::new();
    let notifier = Notifier::new(clock, &registry);
    let settings = NotifySettings {
        alert_relabel_rules: vec![drop_alerts("Test")],
        alertmanagers: vec![entry(&first.address, Vec::new()), entry(&second.address, vec![drop_alerts("Disk")])],
    };
    // An alert from before any Alertmanager is known is not lost.
    notifier
        .reload(&NotifySettings { alertmanagers: Vec::new(), ..settings.clone() }, &Labels::empty())
        .expect("valid");
    notifier.send(vec![alert("Disk")]);
    let external = Labels::from_pairs([("site", "external"), ("region", "eu")]);
    notifier.reload(&settings, &external).expect("valid");
    let requests = first.wait_for(1).await;
    assert_eq!(requests[0].0, "POST /am/api/v2/alerts HTTP/1.1");
    notifier.send(vec![alert("Down"), alert("Test")]);
    let requests = first.wait_for(2).await;
    assert_eq!(names(&requests), ["Disk", "Down"]);
    let labels = r#""labels":{"alertname":"Down","region":"eu","site":"own"}"#;
    assert!(requests[1].1.contains(labels), "{}", requests[1].1);
    assert_eq!(names(&second.wait_for(1).await), ["Down"]);
    let mut urls = [&first, &second].map(|recorder| format!("http://{}/am/api/v2/alerts", recorder.address));
    urls.sort();
    assert_eq!(notifier.active(), urls);
    let mut page = Vec::new();
    registry.render(&mut page);
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(page.contains("outpost_notifications_alertmanagers_discovered 2\n"), "{page}");
    let sent =
        format!("outpost_notifications_sent_total{{alertmanager=\"http://{}/am/api/v2/alerts\"}} 2\n", first.address);
    assert!(page.contains(&sent), "{page}");
    notifier.stop().await;
}

#[tokio::test]
async fn a_reload_leaves_out_who_is_gone() {
    let (stays, goes) = (Recorder::start().await, Recorder::start().await);
    let notifier = Notifier::new(Clock::manual(Timestamp(1_700_000_000_000)), &Registry::new());
    let entries = [entry(&stays.address, Vec::new()), entry(&goes.address, Vec::new())];
    let settings = |entries: &[AlertmanagerSettings]| NotifySettings {
        alert_relabel_rules: Vec::new(),
        alertmanagers: entries.to_vec(),
    };
    notifier.reload(&settings(&entries), &Labels::empty()).expect("valid");
    notifier.send(vec![alert("Disk")]);
    stays.wait_for(1).await;
    goes.wait_for(1).await;
    notifier.reload(&settings(&entries[..1]), &Labels::empty()).expect("valid");
    notifier.send(vec![alert("Down")]);
    assert_eq!(names(&stays.wait_for(2).await), ["Disk", "Down"]);
    assert_eq!(names(&goes.wait_for(1).await), ["Disk"]);
    assert_eq!(notifier.active(), [format!("http://{}/am/api/v2/alerts", stays.address)]);
    notifier.stop().await;
}

#[tokio::test]
async fn what_nobody_has_taken_is_told_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = || WaitingFile::new(folder.path().join("waiting"));
    let now = Timestamp(1_700_000_000_000);
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("bound").to_string();
    let settings = |entry| NotifySettings { alert_relabel_rules: Vec::new(), alertmanagers: vec![entry] };
    let before = Notifier::keeping(Clock::manual(now), &Registry::new(), file()).await;
    before.reload(&settings(entry(&nobody, Vec::new())), &Labels::empty()).expect("valid");
    let down = Alert { ends_at: now, resolved: true, ..alert("Down") };
    while before.active().is_empty() {
        tokio::task::yield_now().await;
    }
    before.send(vec![alert("Disk"), down.clone()]);
    assert_eq!(before.0.keep().await, Look::Anew, "alerts have come");
    before.send(vec![alert("Disk"), down]);
    assert_eq!(before.0.keep().await, Look::AsItWas, "they were told again");
    // Neither is told to stop: the process is killed.
    drop(before);

    let listens = Recorder::start().await;
    let a_day_later = Clock::manual(now + Duration::from_secs(24 * 3600));
    let after = Notifier::keeping(a_day_later, &Registry::new(), file()).await;
    after.reload(&settings(entry(&listens.address, Vec::new())), &Labels::empty()).expect("valid");
    let requests = listens.wait_for(1).await;
    assert_eq!(names(&requests), ["Down"], "whether the other one still fires is for its rule to say");
    assert!(requests[0].1.contains(r#""endsAt":"2023-11-14T22:13:20.000Z""#), "{}", requests[0].1);
    let emptied = async {
        while !file().load().expect("readable").is_empty() {
            after.0.keep().await;
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), emptied).await.expect("what was taken is not kept");
    after.stop().await;
    assert_eq!(listens.requests.lock().expect("lock").len(), 1, "told once");
}
