//! The bounds on memory: what one query may hold, and what all of them together may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::QueryError;

/// A sample's time and value.
const SAMPLE_BYTES: u64 = 16;

/// Bounds in bytes. Series' values count, as they are held; what belongs to the store does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// What one query may hold.
    pub query_bytes_max: u64,
    /// What all queries that run at a time may hold together.
    pub total_bytes_max: u64,
}

impl Default for MemoryBounds {
    /// A quarter and half of a small board's 512 MiB.
    fn default() -> Self {
        Self { query_bytes_max: 128 << 20, total_bytes_max: 256 << 20 }
    }
}

/// The memory of an engine's queries. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    bounds: MemoryBounds,
    held: Arc<AtomicU64>,
}

impl Memory {
    pub fn new(bounds: MemoryBounds) -> Self {
        Self { bounds, held: Arc::default() }
    }

    /// Takes room for more samples of a query that will then hold `total`.
    pub fn take(&self, samples: u64, total: u64) -> Result<(), QueryError> {
        let max = self.bounds.query_bytes_max;
        if total.saturating_mul(SAMPLE_BYTES) > max {
            return Err(QueryError::TooMuchMemory { max });
        }
        let bytes = samples * SAMPLE_BYTES;
        let max = self.bounds.total_bytes_max;
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|held| *held <= max)
        });
        taken.map(|_| ()).map_err(|_| QueryError::TooMuchMemoryInAll { max })
    }

    /// Gives room back.
    pub fn give_back(&self, samples: u64) {
        self.held.fetch_sub(samples * SAMPLE_BYTES, Ordering::Relaxed);
    }

    /// Bytes held at present.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}
