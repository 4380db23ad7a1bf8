//! The engine's own metrics.

use std::sync::Arc;

use crate::model::MetricType;
use crate::promql::Engine;
use crate::telemetry::Registry;

/// Shares an engine, with its memory and its cache on the page of own metrics.
pub fn registered(engine: Engine, registry: &Registry) -> Arc<Engine> {
    let engine = Arc::new(engine);
    let family = |name, help, metric_type, value: fn(&Engine) -> u64| {
        let engine = Arc::clone(&engine);
        registry.family(name, help, metric_type, move |emit| emit(&[], value(&engine) as f64));
    };
    family("outpost_query_memory_bytes", "Memory that running queries hold.", MetricType::Gauge, Engine::memory_held);
    family("outpost_query_cache_bytes", "Memory that kept results take.", MetricType::Gauge, |engine| {
        engine.cache_stats().bytes
    });
    family("outpost_query_cache_entries", "Results kept.", MetricType::Gauge, |engine| engine.cache_stats().entries);
    family(
        "outpost_query_cache_steps_reused_total",
        "Steps of range queries that came from kept results.",
        MetricType::Counter,
        |engine| engine.cache_stats().steps_reused,
    );
    family(
        "outpost_query_cache_steps_evaluated_total",
        "Steps of range queries that could have come from kept results and were evaluated.",
        MetricType::Counter,
        |engine| engine.cache_stats().steps_evaluated,
    );
    engine
}
