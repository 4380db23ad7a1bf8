//! The samples that both sides hold: two hours of counters with resets, gauges with everything a float can be,
//! classic histograms with odd buckets, native histograms, series that come, pause, end and return.
//!
//! Times are fixed, so that a seed means the same query on every machine.

use outpost::model::{FloatHistogram, Labels, Timestamp, stale_marker};
use outpost::promql::parse_series_description;
use outpost::promql::series_notation::parse_histogram;

/// The first sample's time: 2023-11-14T22:20:00Z.
pub const START: Timestamp = Timestamp(1_700_000_400_000);
/// When each series is first named.
pub const FIRST: Timestamp = Timestamp(START.0 - 3_000_000);
/// How many samples a full series has.
const STEPS: i64 = 480;
/// Milliseconds between them.
const INTERVAL_MS: i64 = 15_000;
/// The last sample's time.
pub const END: Timestamp = Timestamp(START.0 + STEPS * INTERVAL_MS);

/// A value at a time.
pub enum Sample {
    /// A float; the stale marker is one.
    Float(f64),
    /// A native histogram.
    Native(FloatHistogram),
}

/// A series with its samples in order of time.
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples.
    pub samples: Vec<(Timestamp, Sample)>,
}

/// Everything.
pub fn series() -> Vec<Series> {
    let mut all = Vec::new();
    counters(&mut all);
    gauges(&mut all);
    classic_histograms(&mut all);
    native_histograms(&mut all);
    odd_presence(&mut all);
    information(&mut all);
    // Prometheus gives series in the order in which it first saw them, which decides ties and the order of sums: a
    // marker at one time, before everything, makes it that of their labels, as in blocks.
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    for one in &mut all {
        one.samples.insert(0, (FIRST, Sample::Float(stale_marker())));
    }
    all
}

/// A series of which `value` gives the sample at each step, and whether there is one.
fn push(all: &mut Vec<Series>, description: &str, value: impl Fn(i64) -> Option<Sample>) {
    let labels = parse_series_description(description).unwrap_or_else(|error| panic!("{description}: {error}"));
    // As if scraped: each target has its place within the interval.
    let shift = i64::from(noise(description.len() as i64, description.bytes().map(i64::from).sum())) % 7_000;
    let samples = (0..STEPS)
        .filter_map(|step| value(step).map(|sample| (Timestamp(START.0 + step * INTERVAL_MS + shift), sample)));
    let samples = samples.collect();
    all.push(Series { labels, samples });
}

fn push_floats(all: &mut Vec<Series>, description: &str, value: impl Fn(i64) -> f64) {
    push(all, description, |step| Some(Sample::Float(value(step))));
}

/// A number without a pattern, the same each time.
fn noise(a: i64, b: i64) -> u16 {
    let mixed = (a.wrapping_mul(0x9e37_79b9) ^ b.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x27d4_eb2f_1656_67c5);
    (mixed >> 40) as u16
}

fn counters(all: &mut Vec<Series>) {
    for (index, instance) in ["a:9100", "b:9100", "c:9100"].into_iter().enumerate() {
        for (code, pace) in [("200", 7.0), ("404", 0.5), ("500", 0.1)] {
            let index = index as i64;
            let description = format!("requests_total{{job=\"web\",instance=\"{instance}\",code=\"{code}\"}}");
            let reset = 90 + 70 * index;
            push_floats(all, &description, |step| {
                ((step % reset) as f64 * pace + f64::from(noise(step % reset / 4, index) % 3)).floor()
            });
        }
        let description = format!("cpu_seconds_total{{job=\"node\",instance=\"{instance}\",mode=\"user\"}}");
        push_floats(all, &description, |step| step as f64 * 3.3 + f64::from(noise(step, index as i64)) / 65_536.0);
    }
    push_floats(all, "slow_total{job=\"web\",instance=\"a:9100\"}", |step| (step / 50) as f64);
    push_floats(all, "starts_late_total{job=\"web\"}", |step| if step < 100 { 0.0 } else { step as f64 });
}

fn gauges(all: &mut Vec<Series>) {
    const SPECIAL: [f64; 9] =
        [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308, 5e-324, 9_007_199_254_740_993.0];
    for (index, room) in ["kitchen", "cellar", "küche"].into_iter().enumerate() {
        for instance in ["a:9100", "b:9100"] {
            let description = format!("temperature{{job=\"node\",instance=\"{instance}\",room=\"{room}\"}}");
            let salt = index as i64 * 31 + instance.len() as i64 + i64::from(instance.as_bytes()[0]);
            push_floats(all, &description, |step| (f64::from(noise(step, salt)) - 30_000.0) / 1_000.0);
        }
    }
    push_floats(all, "special{kind=\"all\"}", |step| SPECIAL[(step / 3) as usize % SPECIAL.len()]);
    push_floats(all, "special{kind=\"nan\"}", |step| if step % 40 < 20 { f64::NAN } else { step as f64 });
    push_floats(all, "special{kind=\"inf\"}", |step| if step % 17 == 0 { f64::INFINITY } else { -1.5 });
    push_floats(all, "special{kind=\"sum\"}", |step| [1e100, 1.0, -1e100, 1e-3][step as usize % 4]);
    push_floats(all, "constant", |_| 0.1);
    push_floats(all, "memory_bytes{job=\"node\",instance=\"a:9100\",type=\"free\"}", |step| {
        1.6e10 + f64::from(noise(step, 5)) * 4096.0
    });
    push_floats(all, "memory_bytes{job=\"node\",instance=\"b:9100\",type=\"free\"}", |step| 8e9 - step as f64 * 1e6);
    push_floats(all, "cpus{job=\"node\",instance=\"a:9100\"}", |_| 4.0);
    push_floats(all, "cpus{job=\"node\",instance=\"b:9100\"}", |step| if step < 240 { 2.0 } else { 8.0 });
    push_floats(all, "last_success_timestamp_seconds{job=\"batch\"}", |step| {
        1.7e9 + (step / 20 * 300) as f64 - 86_400.0 * 30.5
    });
    push_floats(all, "{\"http.läng\",\"label.with.dots\"=\"x y\",job=\"web\"}", |step| (step % 50) as f64);
}

fn classic_histograms(all: &mut Vec<Series>) {
    let bounds: [(&str, &[(&str, f64)]); 5] = [
        ("a:9100", &[("0.1", 1.0), ("0.5", 2.0), ("1", 2.5), ("5.0", 3.0), ("+Inf", 3.0)]),
        ("b:9100", &[("-1", 0.5), ("0", 1.0), ("2.5", 1.0), ("1e+01", 4.0), ("+Inf", 5.0)]),
        // Buckets that shrink by less than the tolerance, and by more.
        ("c:9100", &[("1", 2.0), ("2", 1.999_999_999_999), ("4", 1.0), ("+Inf", 3.0)]),
        // No +Inf, and a bound that is none.
        ("d:9100", &[("1", 1.0), ("2", 2.0), ("oops", 2.0)]),
        ("e:9100", &[("+Inf", 1.0)]),
    ];
    for (instance, bounds) in bounds {
        for (le, pace) in bounds {
            let description = format!("latency_seconds_bucket{{job=\"web\",instance=\"{instance}\",le=\"{le}\"}}");
            push_floats(all, &description, |step| (step % 200) as f64 * pace);
        }
        let own = format!("{{job=\"web\",instance=\"{instance}\"}}");
        let last = bounds[bounds.len() - 1].1;
        push_floats(all, &format!("latency_seconds_count{own}"), |step| (step % 200) as f64 * last);
        push_floats(all, &format!("latency_seconds_sum{own}"), |step| (step % 200) as f64 * last * 0.37);
    }
}

fn native(text: &str) -> Option<Sample> {
    Some(Sample::Native(parse_histogram(text).unwrap_or_else(|error| panic!("{text}: {error}"))))
}

fn native_histograms(all: &mut Vec<Series>) {
    for (instance, schema, reset) in [("a:9100", 0, 150), ("b:9100", 3, 480), ("c:9100", -2, 61)] {
        push(all, &format!("native_seconds{{job=\"web\",instance=\"{instance}\"}}"), |step| {
            let n = step % reset;
            native(&format!(
                "{{{{schema:{schema} count:{} sum:{} z_bucket:{n} z_bucket_w:0.001 offset:-1 buckets:[{n} 0 {} {n}] \
                 n_offset:1 n_buckets:[{} 1]}}}}",
                7 * n + 2,
                n as f64 * 1.75,
                2 * n,
                2 * n + 1,
            ))
        });
    }
    push(all, "native_gauge{job=\"web\",instance=\"a:9100\"}", |step| {
        let n = i64::from(noise(step, 77) % 20);
        native(&format!(
            "{{{{schema:1 count:{} sum:{} buckets:[{n} 1 {n}] counter_reset_hint:gauge}}}}",
            2 * n + 1,
            n - 7
        ))
    });
    for (instance, bounds) in [("a:9100", "5 10 20"), ("b:9100", "5 10 20"), ("c:9100", "2 10 50")] {
        push(all, &format!("native_custom{{job=\"web\",instance=\"{instance}\"}}"), |step| {
            let n = step % 111;
            native(&format!(
                "{{{{schema:-53 count:{} sum:{} custom_values:[{bounds}] buckets:[{n} {} 1 2]}}}}",
                3 * n + 3,
                n * 30,
                2 * n
            ))
        });
    }
    // Floats and histograms in one series; a schema that changes; one that ends.
    push(all, "mixed{job=\"web\"}", |step| match step / 7 % 3 {
        0 => Some(Sample::Float(step as f64)),
        _ => native(&format!("{{{{schema:0 count:{step} sum:{step} buckets:[{step}]}}}}")),
    });
    push(all, "schema_changes{job=\"web\"}", |step| {
        let schema = [0, 1, 0, 2][(step / 60) as usize % 4];
        native(&format!("{{{{schema:{schema} count:{} sum:1 buckets:[{step} {step}]}}}}", 2 * step))
    });
    push(all, "native_ends{job=\"web\"}", |step| match step {
        0..200 => native(&format!("{{{{schema:0 count:{step} sum:2 buckets:[{step}]}}}}")),
        _ => None,
    });
}

fn odd_presence(all: &mut Vec<Series>) {
    // Ends with a marker and comes back; pauses without one; one sample in seven minutes.
    push(all, "comes_and_goes{job=\"web\",instance=\"a:9100\"}", |step| match step % 60 {
        0..30 => Some(Sample::Float(step as f64)),
        30 => Some(Sample::Float(stale_marker())),
        _ => None,
    });
    push(all, "comes_and_goes{job=\"web\",instance=\"b:9100\"}", |step| {
        (step % 90 < 40).then(|| Sample::Float(-(step as f64)))
    });
    push(all, "sparse{job=\"web\"}", |step| (step % 28 == 5).then_some(Sample::Float(step as f64)));
    push(all, "only_first_minutes{job=\"web\"}", |step| (step < 40).then_some(Sample::Float(2.0)));
    push(all, "only_last_minutes{job=\"web\"}", |step| (step > 440).then_some(Sample::Float(3.0)));
    push(all, "single{job=\"web\"}", |step| (step == 240).then_some(Sample::Float(42.0)));
}

fn information(all: &mut Vec<Series>) {
    for (instance, version) in [("a:9100", "1.0"), ("b:9100", "1.1")] {
        let target = format!("target_info{{job=\"web\",instance=\"{instance}\",version=\"{version}\",k8s=\"n1\"}}");
        push_floats(all, &target, |_| 1.0);
        let build =
            format!("build_info{{job=\"web\",instance=\"{instance}\",version=\"{version}\",revision=\"r{version}\"}}");
        push_floats(all, &build, |_| 1.0);
    }
    // Another version takes over half way.
    push(all, "target_info{job=\"node\",instance=\"a:9100\",version=\"2.0\"}", |step| {
        (step < 240).then_some(Sample::Float(1.0))
    });
    push(all, "target_info{job=\"node\",instance=\"a:9100\",version=\"3.0\"}", |step| {
        (step >= 240).then_some(Sample::Float(1.0))
    });
}
