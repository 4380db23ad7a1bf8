//! Made scrapes: targets of a hundred series each, the same at every run. Counters with resets, a
//! histogram, float counters, gauges that move in pages, and temperatures.

use outpost::model::{Labels, Timestamp};

/// A multiple of twelve hours.
pub const START: i64 = 1_761_955_200_000;
pub const STEP_MS: i64 = 15_000;
/// Series of one target.
pub const TARGET_SERIES: usize = 100;
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];

/// Which samples there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub targets: usize,
    pub hours: i64,
}

/// A week of a small site.
pub const WEEK: Shape = Shape { name: "week", targets: 10, hours: 7 * 24 };
/// Six hours of a large one.
pub const WIDE: Shape = Shape { name: "wide", targets: 500, hours: 6 };

impl Shape {
    pub fn steps(self) -> i64 {
        self.hours * 3_600_000 / STEP_MS
    }

    /// The time right behind the last scrape.
    pub fn end(self) -> i64 {
        START + self.hours * 3_600_000
    }
}

/// One target, and what its series stand at.
pub struct Target {
    pub key: String,
    pub labels: Vec<Labels>,
    pub values: Vec<f64>,
    offset_ms: i64,
    random: u64,
}

impl Target {
    pub fn new(number: usize) -> Self {
        let job = ["api", "db", "web", "cache"][number % 4];
        let instance = format!("10.0.{}.{}:9100", number / 200, number % 200 + 10);
        let labels: Vec<Labels> = (0..TARGET_SERIES).map(|series| labels(series, job, &instance)).collect();
        let values = (0..TARGET_SERIES).map(|series| if series >= 84 { 45.0 } else { 0.0 }).collect();
        Self {
            key: format!("{job}/{instance}"),
            labels,
            values,
            offset_ms: (number as i64 * 7_919) % STEP_MS,
            random: number as u64 * 2 + 1,
        }
    }

    /// The time of a scrape: the target's own second of the interval, some milliseconds late.
    pub fn scrape_time(&mut self, step: i64) -> Timestamp {
        let late = (self.next_random() % 8) as i64;
        Timestamp(START + step * STEP_MS + (self.offset_ms + late).min(STEP_MS - 1))
    }

    /// Moves all values on by one scrape.
    pub fn advance(&mut self) {
        if self.next_random().is_multiple_of(4_000) {
            // The process restarted.
            self.values[..84 - 16].fill(0.0);
        }
        for series in 0..20 {
            self.values[series] += (self.next_random() % (4 << (series % 5))) as f64;
        }
        self.advance_histograms();
        for series in 44..68 {
            let value = self.values[series] * 100.0 + (self.next_random() % 1_500) as f64;
            self.values[series] = value.round() / 100.0;
        }
        for series in 68..84 {
            let pages = (self.next_random() % 64) as f64 - 31.0;
            self.values[series] = (self.values[series] + pages * 4096.0).max(4096.0 * 1000.0);
        }
        for series in 84..TARGET_SERIES {
            let tenths = (self.values[series] * 10.0 + (self.next_random() % 5) as f64 - 2.0).round();
            self.values[series] = tenths.clamp(200.0, 900.0) / 10.0;
        }
    }

    /// Two histograms of ten buckets, sum and count.
    fn advance_histograms(&mut self) {
        for histogram in 0..2 {
            let first = 20 + histogram * 12;
            let mut observed = 0;
            for bucket in 0..10 {
                observed += self.next_random() % [3, 5, 8, 12, 9, 6, 4, 3, 2, 1][bucket];
                self.values[first + bucket] += observed as f64;
            }
            self.values[first + 10] += observed as f64 * 0.062_5;
            self.values[first + 11] += observed as f64;
        }
    }

    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }
}

fn labels(series: usize, job: &str, instance: &str) -> Labels {
    let mut pairs = vec![("instance", instance.to_owned()), ("job", job.to_owned())];
    match series {
        0..20 => {
            pairs.push(("__name__", "http_requests_total".to_owned()));
            pairs.push(("code", ["200", "302", "404", "500"][series % 4].to_owned()));
            pairs.push(("handler", format!("/api/{}", series / 4)));
        }
        20..44 => {
            let place = (series - 20) % 12;
            let suffix = ["sum", "count"].get(place.wrapping_sub(10)).copied().unwrap_or("bucket");
            pairs.push(("__name__", format!("http_request_duration_seconds_{suffix}")));
            pairs.push(("handler", format!("/api/{}", (series - 20) / 12)));
            pairs.extend(BOUNDS.get(place).map(|bound| ("le", (*bound).to_owned())));
        }
        44..68 => {
            let mode = ["idle", "iowait", "nice", "system", "user", "softirq"][(series - 44) % 6];
            pairs.push(("__name__", "node_cpu_seconds_total".to_owned()));
            pairs.push(("cpu", ((series - 44) / 6).to_string()));
            pairs.push(("mode", mode.to_owned()));
        }
        68..84 => {
            pairs.push(("__name__", "process_resident_memory_bytes".to_owned()));
            pairs.push(("process", format!("worker-{}", series - 68)));
        }
        _ => {
            pairs.push(("__name__", "temperature_celsius".to_owned()));
            pairs.push(("sensor", format!("core-{}", series - 84)));
        }
    }
    Labels::from_pairs(pairs)
}
