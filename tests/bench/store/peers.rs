//! The same samples in Prometheus and VictoriaMetrics, for their bytes per sample.
//!
//! `$OUTPOST_PEERS` names the folder with `promtool` and `victoria-metrics`; without it there is nothing to compare with.

use std::fmt::Write as _;
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outpost::model::{Labels, Timestamp};

const VM_PORT: u16 = 18_428;
/// Bytes per request of an import.
const IMPORT_BYTES: usize = 4 << 20;

/// One sample as the peers are given it.
pub struct Line<'a> {
    pub labels: &'a Labels,
    pub timestamp: Timestamp,
    pub value: f64,
}

/// Takes every sample, in the order of the scrapes.
pub struct Peers {
    folder: PathBuf,
    temporary: tempfile::TempDir,
    openmetrics: BufWriter<std::fs::File>,
    vm: Child,
    import: String,
    samples: u64,
}

impl Peers {
    /// Starts the peers, if there are any.
    pub fn start() -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os("OUTPOST_PEERS")?);
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let file = std::fs::File::create(temporary.path().join("samples.om")).expect("writable");
        let vm = Command::new(folder.join("victoria-metrics"))
            .arg(format!("-storageDataPath={}", temporary.path().join("vm").display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{VM_PORT}"))
            .args(["-retentionPeriod=100y", "-futureRetention=10y", "-loggerLevel=ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("VictoriaMetrics starts");
        let peers =
            Self { folder, temporary, openmetrics: BufWriter::new(file), vm, import: String::new(), samples: 0 };
        let deadline = Instant::now() + Duration::from_secs(60);
        while request("GET", "/health", "").is_none() {
            assert!(Instant::now() < deadline, "VictoriaMetrics does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(peers)
    }

    pub fn add(&mut self, line: &Line<'_>) {
        let Timestamp(ms) = line.timestamp;
        let name = line.labels.metric_name();
        let mut series = format!("{name}{{");
        for (label, value) in line.labels.iter().filter(|(label, _)| *label != "__name__") {
            write!(series, "{label}={value:?},").expect("a string takes everything");
        }
        series.pop();
        series.push('}');
        let value = match line.value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value == f64::INFINITY => "+Inf".to_owned(),
            value if value == f64::NEG_INFINITY => "-Inf".to_owned(),
            value => value.to_string(),
        };
        writeln!(self.openmetrics, "{series} {value} {}.{:03}", ms / 1000, ms % 1000).expect("writable");
        writeln!(self.import, "{series} {value} {ms}").expect("a string takes everything");
        if self.import.len() >= IMPORT_BYTES {
            self.send();
        }
        self.samples += 1;
    }

    fn send(&mut self) {
        request("POST", "/api/v1/import/prometheus", &self.import).expect("VictoriaMetrics takes samples");
        self.import.clear();
    }

    /// Bytes on the disk per sample of Prometheus and of VictoriaMetrics, everything counted, after each
    /// has compacted what it compacts.
    pub fn finish(mut self) -> (f64, f64) {
        self.send();
        writeln!(self.openmetrics, "# EOF").expect("writable");
        self.openmetrics.flush().expect("writable");
        let root = self.temporary.path().to_owned();
        let blocks = root.join("prometheus");
        let outcome = Command::new(self.folder.join("promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics", "-q"])
            .args([root.join("samples.om"), blocks.clone()])
            .status();
        assert!(outcome.expect("promtool starts").success(), "promtool takes the samples");
        request("GET", "/internal/force_flush", "").expect("VictoriaMetrics answers");
        request("GET", "/internal/force_merge", "").expect("VictoriaMetrics answers");
        let vm = root.join("vm");
        settle(&vm);
        // Stopping writes what is still in memory.
        stop(&mut self.vm);
        let per_sample = |bytes: u64| bytes as f64 / self.samples as f64;
        // Its caches are no part of what it stores.
        let stored = bytes_below(&vm.join("data")) + bytes_below(&vm.join("indexdb"));
        (per_sample(bytes_below(&blocks)), per_sample(stored))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        stop(&mut self.vm);
    }
}

/// Ends a process that this one started, with the time to write.
fn stop(process: &mut Child) {
    if process.try_wait().is_ok_and(|status| status.is_none()) {
        drop(Command::new("kill").arg(process.id().to_string()).status());
    }
    drop(process.wait());
}

/// Waits until a folder has kept its size for some seconds.
fn settle(folder: &Path) {
    let (mut last, mut same) = (0, 0);
    for _ in 0..300 {
        std::thread::sleep(Duration::from_millis(500));
        let bytes = bytes_below(folder);
        same = if bytes == last { same + 1 } else { 0 };
        last = bytes;
        if same >= 10 {
            return;
        }
    }
}

fn bytes_below(path: &Path) -> u64 {
    let Ok(listed) = std::fs::read_dir(path) else { return 0 };
    listed
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The body of a successful answer.
fn request(method: &str, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", VM_PORT)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 2").then_some(answer)
}
