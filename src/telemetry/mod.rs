//! Outpost's own metrics: counters and gauges that any part may move, and the page that shows them.
//!
//! All names start with `outpost_`, save the `process_*` ones that dashboards know.

mod process;

pub use process::register_process_metrics;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::model::{MetricType, format_float};

/// A number that only goes up. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The present count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Receives one sample: label pairs and value.
pub type Emit<'a> = dyn FnMut(&[(&str, &str)], f64) + 'a;

type Source = Box<dyn Fn(&mut Emit<'_>) + Send + Sync>;

struct Family {
    name: &'static str,
    help: &'static str,
    metric_type: MetricType,
    source: Source,
}

/// All own metrics. Cloning shares it.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Family>>>);

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a counter without labels. The name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        let shown = counter.clone();
        self.family(name, help, MetricType::Counter, move |emit| emit(&[], shown.value() as f64));
        counter
    }

    /// Adds a gauge without labels.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        let gauge = Gauge::default();
        let shown = gauge.clone();
        self.family(name, help, MetricType::Gauge, move |emit| emit(&[], shown.value()));
        gauge
    }

    /// Adds a family whose samples are computed when the page is asked for.
    pub fn family(
        &self,
        name: &'static str,
        help: &'static str,
        metric_type: MetricType,
        source: impl Fn(&mut Emit<'_>) + Send + Sync + 'static,
    ) {
        self.0.lock().expect("no holder of the lock panics").push(Family {
            name,
            help,
            metric_type,
            source: Box::new(source),
        });
    }

    /// Appends the page in the Prometheus text format 0.0.4, sorted by name.
    pub fn render(&self, page: &mut Vec<u8>) {
        let mut families = self.0.lock().expect("no holder of the lock panics");
        crate::model::sort_by(&mut families, |a, b| a.name.cmp(b.name));
        for family in families.iter() {
            let Family { name, help, metric_type, source } = family;
            page.extend_from_slice(format!("# HELP {name} {help}\n# TYPE {name} {metric_type}\n").as_bytes());
            source(&mut |labels, value| page.extend_from_slice(sample_line(name, labels, value).as_bytes()));
        }
    }
}

fn sample_line(name: &str, labels: &[(&str, &str)], value: f64) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(label, value)| {
            let escaped = value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
            format!("{label}=\"{escaped}\"")
        })
        .collect();
    let braces = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
    format!("{name}{braces} {}\n", format_float(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_sorted_and_escaped() {
        let registry = Registry::new();
        registry.gauge("outpost_b", "B.").set(1.5);
        registry.family("outpost_a_total", "A.", MetricType::Counter, |emit| emit(&[("path", "a\"\\\n")], 2.0));
        let mut page = Vec::new();
        registry.render(&mut page);
        let expected = "# HELP outpost_a_total A.\n# TYPE outpost_a_total counter\noutpost_a_total{path=\"a\\\"\\\\\\n\"} 2\n\
                        # HELP outpost_b B.\n# TYPE outpost_b gauge\noutpost_b 1.5\n";
        assert_eq!(String::from_utf8_lossy(&page), expected);
    }
}
