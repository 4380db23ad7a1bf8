//! Counts requests by endpoint and status code.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;

use crate::model::MetricType;
use crate::telemetry::Registry;

/// Requests by endpoint and status code. Endpoints are a fixed set, so the map stays small.
#[derive(Clone, Default)]
pub(super) struct RequestMetrics(Arc<Mutex<BTreeMap<(&'static str, u16), u64>>>);

impl RequestMetrics {
    /// Makes the counts a family of the own metrics.
    pub(super) fn register(registry: &Registry) -> Self {
        let metrics = Self::default();
        let shown = metrics.clone();
        registry.family(
            "outpost_http_requests_total",
            "HTTP requests by endpoint and status code.",
            MetricType::Counter,
            move |emit| {
                let counts = shown.0.lock().expect("no holder of the lock panics").clone();
                for ((handler, code), count) in counts {
                    emit(&[("code", &code.to_string()), ("handler", handler)], count as f64);
                }
            },
        );
        metrics
    }

    pub(super) fn count(&self, handler: &'static str, status: StatusCode) {
        let mut counts = self.0.lock().expect("no holder of the lock panics");
        *counts.entry((handler, status.as_u16())).or_default() += 1;
    }
}
