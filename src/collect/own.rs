//! Outpost's own metrics as a collector, so that they are stored like any target's.

use super::{CollectFuture, Collector};
use crate::telemetry::Registry;

/// Gives the registry's page.
pub struct OwnCollector {
    registry: Registry,
}

impl OwnCollector {
    /// A collector over `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Collector for OwnCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            self.registry.render(page);
            Ok(())
        })
    }
}
