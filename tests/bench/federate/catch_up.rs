//! Six hours of a thousand series at 15 s, given to a real Prometheus after an outage.
//!
//! The site is asked once while its clock stands before the outage, so that its cursor is there; the samples of the outage
//! are imported, and outpost is started anew.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::process::Process;

const SERIES: i64 = 1000;
const HOURS: i64 = 6;
const STEP: i64 = 15;
/// Of the central: what the goal counts.
const INTERVAL: u64 = 10;
const SELECTOR: &str = "{__name__=\"reading\"}";
const PATIENCE: Duration = Duration::from_secs(600);

pub fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let start = now - HOURS * 3600;
    begin_cursor(folder.path(), start * 1000);
    let expected = import(folder.path(), start, now);
    // `Process` keeps its data below the folder, by its name.
    let site = Process::start("outpost", folder.path(), "scrape_configs: []\n");
    let central = Process::start("prometheus", folder.path(), &central_configuration(site.address));
    let began = Instant::now();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let there = central.value(&format!("sum(count_over_time(reading%5B{}h%5D))", HOURS + 1)).unwrap_or(0.0);
        if there as i64 >= expected {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{there} of {expected} samples");
    }
    let scrapes = central.value("count_over_time(up%7Bjob=%22federate%22%7D%5B1h%5D)").unwrap();
    let failed = scrapes - central.value("sum_over_time(up%7Bjob=%22federate%22%7D%5B1h%5D)").unwrap();
    println!(
        "catch-up: {expected} samples are at the central after {scrapes} scrapes of {INTERVAL} s ({failed} of them failed), {:.0} s",
        began.elapsed().as_secs_f64()
    );
}

/// The body of `serve NOW FLAGS…`: the server as a whole under a manual clock.
pub fn serve(now: i64, flags: &[String]) {
    let arguments = std::iter::once("outpost".into()).chain(flags.iter().map(std::ffi::OsString::from));
    let Ok(outpost::cli::Command::Run(options)) = outpost::cli::parse(arguments) else {
        panic!("not the server's flags")
    };
    let clock = outpost::clock::Clock::manual(outpost::model::Timestamp(now));
    clock.set_synchronised();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { outpost::app::App::build(*options, clock).await?.run().await }).unwrap();
}

/// A store in `folder` whose puller has been given everything up to a time.
fn begin_cursor(folder: &Path, now_ms: i64) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.join("empty.yml");
    std::fs::write(&config, "scrape_configs: []\n").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["serve", &now_ms.to_string()]);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", folder.join("outpost").display()));
    command.arg(format!("--web.listen-address={address}"));
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let path = format!("/federate?match[]={}&resync=home", encoded(SELECTOR));
    let mut stream = connected(address, &mut server);
    for _ in 0..3 {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut reply = Vec::new();
        let mut part = [0; 4096];
        // As chunks, or of a length that is told.
        while !reply.ends_with(b"0\r\n\r\n") && !is_whole(&reply) {
            let length = stream.read(&mut part).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&reply));
            reply.extend_from_slice(&part[..length]);
        }
    }
    let status = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(status.success() && server.wait().unwrap().success(), "a clean end keeps the cursor");
}

/// Whether all is there that the head tells of.
fn is_whole(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

fn connected(address: SocketAddr, server: &mut Child) -> TcpStream {
    let began = Instant::now();
    loop {
        let ready = TcpStream::connect(address).ok().and_then(|mut stream| {
            write!(stream, "GET /-/ready HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).ok().filter(|_| reply.contains(" 200 "))
        });
        if ready.is_some() {
            return TcpStream::connect(address).unwrap();
        }
        assert!(server.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE, "the server does not become ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Imports the samples of the outage; gives their number.
fn import(folder: &Path, start: i64, end: i64) -> i64 {
    let file = folder.join("readings.txt");
    let mut text = "# TYPE reading gauge\n".to_owned();
    for series in 0..SERIES {
        for (index, at) in (start + STEP..=end).step_by(STEP as usize).enumerate() {
            let value = (series * 31 + index as i64 * (series % 7)) % 1000;
            writeln!(text, "reading{{sensor=\"{series}\"}} {value} {at}").unwrap();
        }
    }
    text.push_str("# EOF\n");
    std::fs::write(&file, text).unwrap();
    let outpost = std::env::var("OUTPOST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_outpost").to_owned());
    let output =
        Command::new(outpost).args(["store", "import"]).arg(folder.join("outpost")).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    SERIES * ((end - start) / STEP)
}

fn central_configuration(site: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: {INTERVAL}s, scrape_timeout: {INTERVAL}s}}\n\
         storage: {{tsdb: {{out_of_order_time_window: 24h}}}}\n\
         scrape_configs:\n- job_name: federate\n  honor_labels: true\n  metrics_path: /federate\n\
         \x20 params: {{'match[]': ['{SELECTOR}'], resync: [home]}}\n  static_configs: [{{targets: ['{site}']}}]\n"
    )
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
