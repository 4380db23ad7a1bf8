//! `--enable-feature`: which experiments are on.

use crate::promql;
use crate::scrape::{JobSettings, ScrapeProtocol};

/// Features of Prometheus that are always on here, never needed or not there.
const WITHOUT_EFFECT: &[&str] = &[
    "agent",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "concurrent-rule-eval",
    "created-timestamp-zero-ingestion",
    "delayed-compaction",
    "exemplar-storage",
    "expand-external-labels",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "new-service-discovery-manager",
    "no-default-scrape-port",
    "old-ui",
    "ooo-native-histograms",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "otlp-write-receiver",
    "promql-at-modifier",
    "promql-negative-offset",
    "promql-per-step-stats",
    "remote-write-receiver",
    "type-and-unit-labels",
    "use-uncached-io",
    "utf8-names",
];

/// What is enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Parts of the query language.
    pub promql: promql::Features,
    /// `extra-scrape-metrics`
    pub extra_scrape_metrics: bool,
    /// `native-histograms`: targets are asked for the protobuf format first, which alone can carry them.
    pub native_histograms: bool,
    /// `auto-reload-config`
    pub auto_reload_config: bool,
}

impl Features {
    /// Reads comma-separated names; adds a line to `warnings` for each that changes nothing.
    pub fn parse(lists: &[String], warnings: &mut Vec<String>) -> Self {
        let mut features = Self::default();
        for name in lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
            if !features.enable(name) {
                warnings.push(match WITHOUT_EFFECT.contains(&name) {
                    true => format!("--enable-feature={name} has no effect here"),
                    false => format!("--enable-feature={name}: unknown feature, ignored"),
                });
            }
        }
        features
    }

    /// Those of the query language, for commands that know no others; an unknown name is a mistake there.
    pub fn parse_promql(lists: &[String]) -> Result<promql::Features, String> {
        let mut warnings = Vec::new();
        let features = Self::parse(lists, &mut warnings);
        match warnings.into_iter().find(|warning| warning.contains("unknown")) {
            Some(warning) => Err(warning),
            None => Ok(features.promql),
        }
    }

    /// The settings that jobs start from.
    pub fn job_defaults(self) -> JobSettings {
        let mut defaults = JobSettings { extra_metrics: self.extra_scrape_metrics, ..JobSettings::default() };
        if self.native_histograms {
            defaults.scrape_protocols.insert(0, ScrapeProtocol::PrometheusProto);
        }
        defaults
    }

    fn enable(&mut self, name: &str) -> bool {
        match name {
            "promql-experimental-functions" => self.promql.experimental_functions = true,
            "promql-delayed-name-removal" => self.promql.delayed_name_removal = true,
            "promql-duration-expr" => self.promql.duration_expressions = true,
            "extra-scrape-metrics" => self.extra_scrape_metrics = true,
            "native-histograms" => self.native_histograms = true,
            "auto-reload-config" => self.auto_reload_config = true,
            _ => return false,
        }
        true
    }
}
