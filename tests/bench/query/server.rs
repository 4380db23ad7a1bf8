//! The two servers as processes, and what the kernel says about them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http;
use super::load::RETENTION;

/// A server that is killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Prometheus on the data set in `folder`.
    pub fn prometheus(folder: &Path) -> Self {
        let config = folder.join("empty.yml");
        std::fs::write(&config, "scrape_configs: []\n").expect("target/ is writable");
        let address = free_address();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.arg(format!("--storage.tsdb.retention.time={RETENTION}"));
        command.arg(format!("--web.listen-address={address}"));
        command.args(["--web.enable-remote-write-receiver", "--log.level=warn"]);
        Self::start(command, address)
    }

    /// Outpost on the data set in `folder`: this program itself, under a clock that stands at `now`. `cache` is what
    /// kept results may take.
    pub fn outpost(folder: &Path, now: i64, cache: &str) -> Self {
        let config = folder.join("outpost.yml");
        let text = format!("scrape_configs: []\noutpost: {{query: {{cache_size: {cache}}}}}\n");
        std::fs::write(&config, text).expect("target/ is writable");
        let address = free_address();
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.args(["serve", &now.to_string()]);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", folder.join("outpost").display()));
        command.arg(format!("--storage.tsdb.retention.time={RETENTION}"));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--log.level=warn");
        Self::start(command, address)
    }

    fn start(mut command: Command, address: String) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the server starts");
        let server = Self { child, address };
        let until = Instant::now() + Duration::from_secs(300);
        while !http::is_ready(&server.address) {
            assert!(Instant::now() < until, "the server does not become ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Ends it in good order.
    pub fn stop(mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        self.child.wait().expect("it was started here");
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a line").split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB.
    pub fn rss(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory since [`Self::reset_peak`], in KiB.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("own children may be reset");
    }

    fn status(&self, name: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the server runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The body of `serve NOW FLAGS…`: the server as a whole under a manual clock.
pub fn serve(now: i64, flags: &[String]) {
    let arguments = std::iter::once("outpost".into()).chain(flags.iter().map(OsString::from));
    let outpost::cli::Command::Run(options) =
        outpost::cli::parse(arguments).map_err(|usage| usage.text).expect("flags")
    else {
        panic!("not the server's flags");
    };
    let clock = outpost::clock::Clock::manual(outpost::model::Timestamp(now));
    // Of whenever the samples are: it is to be believed.
    clock.set_synchronised();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async { outpost::app::App::build(*options, clock).await?.run().await });
    outcome.expect("the server runs");
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").to_string()
}

fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("OUTPOST_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: tests/run unpacks the peers", path.display());
    path
}
