//! What the targets say: made series that move as real ones do, or recorded scrapes.

use std::fmt::Write;
use std::time::Duration;

/// Series of a made target.
const SERIES_PER_TARGET: usize = 1000;

/// Buckets of a histogram, `+Inf` included; with `_sum` and `_count` it has two more series.
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];

/// The pages of all targets.
pub enum Pages {
    /// So many series in all.
    Made(usize),
    /// Target and scrapes, one per interval, over and over.
    Recorded(Vec<(String, Vec<Vec<u8>>)>, Duration),
}

impl Pages {
    pub fn made(series: usize) -> Self {
        Self::Made(series)
    }

    pub fn recorded(interval: Duration) -> Self {
        let names = ["bbhttp", "blackbox", "ctr", "docker", "node", "prom"];
        Self::Recorded(names.map(|name| (name.to_owned(), recorded_pages(name))).to_vec(), interval)
    }

    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Made(series) => (0..series.div_ceil(SERIES_PER_TARGET)).map(|index| index.to_string()).collect(),
            Self::Recorded(targets, _) => targets.iter().map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The page of a target so long after the start: the same for everybody who asks at that moment.
    pub fn page(&self, target: &str, elapsed: Duration) -> Option<Vec<u8>> {
        match self {
            Self::Made(series) => {
                let index: usize = target.parse().ok()?;
                let count = series.checked_sub(index * SERIES_PER_TARGET)?.min(SERIES_PER_TARGET);
                Some(made_page(index, count, elapsed).into_bytes())
            }
            Self::Recorded(targets, interval) => {
                let (_, scrapes) = targets.iter().find(|(name, _)| name == target)?;
                let step = (elapsed.as_secs_f64() / interval.as_secs_f64()) as usize;
                Some(scrapes[step % scrapes.len()].clone())
            }
        }
    }
}

/// A page of four parts: request counters, byte counters, gauges, histograms.
fn made_page(target: usize, series: usize, elapsed: Duration) -> String {
    let histograms = series * 15 / 100 / (BOUNDS.len() + 2);
    let (bytes, gauges) = (series / 5, series / 4);
    let requests = series - bytes - gauges - histograms * (BOUNDS.len() + 2);
    let seconds = elapsed.as_secs_f64() + 100_000.0;
    let seed = |part: u64, index: usize| mix((target as u64) << 40 | part << 32 | index as u64);
    let mut page = String::with_capacity(series * 90);
    page += "# HELP bench_requests_total Requests by method, path and code.\n# TYPE bench_requests_total counter\n";
    for index in 0..requests {
        // A third stands still, as most counters of real targets do.
        let rate = if seed(0, index) % 3 == 0 { 0.0 } else { fraction(seed(0, index)) * 20.0 };
        let (method, code) = (["GET", "POST", "PUT"][index % 3], [200, 404, 500][index / 3 % 3]);
        let value = (rate * seconds) as u64;
        line(
            &mut page,
            format_args!(
                "bench_requests_total{{method=\"{method}\",code=\"{code}\",path=\"/api/v1/items/{index}\"}} {value}"
            ),
        );
    }
    page += "# HELP bench_bytes_total Bytes by device.\n# TYPE bench_bytes_total counter\n";
    for index in 0..bytes {
        let value = (fraction(seed(1, index)) * 1e6 * seconds) as u64 / 512 * 512;
        line(
            &mut page,
            format_args!(
                "bench_bytes_total{{device=\"veth{index:04x}\",direction=\"receive\"}} {}",
                go_like(value as f64)
            ),
        );
    }
    page += "# HELP bench_temperature_celsius A gauge with noise.\n# TYPE bench_temperature_celsius gauge\n";
    for index in 0..gauges {
        // A fifth is constant.
        let moment = if index % 5 == 0 { 0 } else { seconds as u64 };
        let noise = fraction(mix(seed(2, index) ^ moment)) - 0.5;
        let value = ((30.0 + fraction(seed(2, index)) * 50.0 + noise * 2.0) * 100.0).round() / 100.0;
        line(
            &mut page,
            format_args!("bench_temperature_celsius{{chip=\"platform_{}\",sensor=\"temp{index}\"}} {value}", index / 8),
        );
    }
    page += "# HELP bench_duration_seconds A histogram.\n# TYPE bench_duration_seconds histogram\n";
    for index in 0..histograms {
        push_histogram(&mut page, index, fraction(seed(3, index)) * 30.0 * seconds);
    }
    page
}

fn push_histogram(page: &mut String, index: usize, count: f64) {
    for (at, bound) in BOUNDS.iter().enumerate() {
        let share = ((at + 1) as f64 / BOUNDS.len() as f64).powi(2);
        let value = (count * share) as u64;
        line(
            page,
            format_args!("bench_duration_seconds_bucket{{handler=\"/handler/{index}\",le=\"{bound}\"}} {value}"),
        );
    }
    line(page, format_args!("bench_duration_seconds_sum{{handler=\"/handler/{index}\"}} {}", count * 0.2371));
    line(page, format_args!("bench_duration_seconds_count{{handler=\"/handler/{index}\"}} {}", count as u64));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to memory cannot fail");
}

/// Large values come with an exponent from Go programs.
fn go_like(value: f64) -> String {
    if value < 1e6 {
        return value.to_string();
    }
    let text = format!("{value:e}");
    text.split_once('e').map_or(text.clone(), |(mantissa, exponent)| format!("{mantissa}e+{exponent:0>2}"))
}

/// From 0 to 1.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// splitmix64: the same numbers in every run.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The scrapes of a capture: `#@ k start received length`, line feed, body, over and over.
fn recorded_pages(target: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/../shared/capture/{target}.cap.zst", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut decoder = zstd::stream::Decoder::new(file).expect("a capture is zstd");
    decoder.window_log_max(27).expect("a valid window");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut bytes).expect("a capture is whole");
    let (mut pages, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let head = std::str::from_utf8(&rest[..end]).expect("a head line is text");
        let len: usize = head.rsplit(' ').next().and_then(|len| len.parse().ok()).expect("a length");
        pages.push(rest[end + 1..end + 1 + len].to_vec());
        rest = &rest[end + 1 + len..];
    }
    pages
}
