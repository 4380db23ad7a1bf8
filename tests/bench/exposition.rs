//! How fast a page is read: `cargo bench --bench exposition [-- PAGE]`.
//!
//! Without an argument the pages are the last scrapes of recorded targets. Two figures: reading as a scrape of a
//! known page does (raw series, value, timestamp), and with every label decoded. For the text format, and for the same
//! samples in OpenMetrics and protobuf.
#![allow(clippy::print_stdout, reason = "a bench reports on stdout")]

use std::hint::black_box;
use std::io::Read;
use std::time::Duration;

use outpost::exposition::{Entry, EscapingScheme, Format, PageWriter, Parser, ResponseFormat};
use outpost::model::{METRIC_NAME, Timestamp};

/// Rounds of which the fastest counts, each of about this many bytes.
const ROUNDS: usize = 15;
const ROUND_BYTES: usize = 32 << 20;

fn main() {
    let pages = match std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        Some(path) => vec![(path.clone(), std::fs::read(path).expect("the page can be read"))],
        None => ["node", "prom", "ctr"].map(|target| (target.to_owned(), recorded_page(target))).to_vec(),
    };
    for (name, page) in pages {
        report(&name, Format::PrometheusText004, &page);
        for format in [Format::OpenMetricsText100, Format::PrometheusProto] {
            report(&name, format, &translated(&page, format));
        }
    }
}

fn report(name: &str, format: Format, page: &[u8]) {
    let known = measure(page, |page| read(format, page, false));
    let decoded = measure(page, |page| read(format, page, true));
    let samples = read(format, page, false);
    println!(
        "{name} as {format:?}: {} bytes, {samples} samples: known page {known:.0} MB/s ({:.0} ns/sample), labels decoded {decoded:.0} MB/s",
        page.len(),
        page.len() as f64 * 1e3 / known / samples as f64
    );
}

/// The samples and types of a text page in another format.
fn translated(page: &[u8], format: Format) -> Vec<u8> {
    let mut writer = PageWriter::new(ResponseFormat { format, escaping: EscapingScheme::AllowUtf8 });
    let mut parser = Parser::new(Format::PrometheusText004, page);
    while let Some(entry) = parser.next_entry().expect("the page is well formed") {
        match entry {
            Entry::Type { name, metric_type } => writer.family(&name, metric_type, None, ""),
            Entry::Series(series) => {
                let labels: Vec<_> = series.labels().collect();
                let name = labels.iter().find(|(name, _)| name == METRIC_NAME).map_or("", |(_, value)| value);
                let pairs = labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
                writer.sample(name, pairs, series.value, series.timestamp.map(Timestamp));
            }
            _ => {}
        }
    }
    writer.finish()
}

/// Megabytes per second of the fastest round.
fn measure(page: &[u8], read: impl Fn(&[u8]) -> usize) -> f64 {
    let repeats = (ROUND_BYTES / page.len()).max(1);
    let round = |_| {
        let start = cpu_time();
        for _ in 0..repeats {
            black_box(read(black_box(page)));
        }
        (page.len() * repeats) as f64 / (cpu_time() - start).as_secs_f64() / 1e6
    };
    (0..ROUNDS).map(round).fold(0.0, f64::max)
}

/// Processor time of this thread: what others do on the machine does not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn read(format: Format, page: &[u8], labels_too: bool) -> usize {
    let mut parser = Parser::new(format, page);
    let mut samples = 0;
    while let Some(entry) = parser.next_entry().expect("the page is well formed") {
        if let Entry::Series(series) = entry {
            samples += 1;
            black_box((series.raw, series.value, series.timestamp));
            if labels_too {
                series.labels().for_each(|label| drop(black_box(label)));
            }
        }
    }
    samples
}

/// The last body of a capture: `#@ k start received length`, line feed, body, over and over.
fn recorded_page(target: &str) -> Vec<u8> {
    let path = format!("{}/../shared/capture/{target}.cap.zst", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}; give a page as argument"));
    let mut decoder = zstd::stream::Decoder::new(file).expect("a capture is zstd");
    decoder.window_log_max(27).expect("a valid window");
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).expect("a capture is whole");
    let start = bytes.windows(3).rposition(|window| window == b"\n#@").map_or(0, |at| at + 1);
    let head = bytes[start..].iter().position(|byte| *byte == b'\n').expect("a head line");
    bytes[start + head + 1..].to_vec()
}
