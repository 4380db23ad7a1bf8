//! Samples of one series that have times of their own.

use std::sync::Arc;

use super::view::StrayView;
use crate::codec::{CodecError, Effort, Segment, absent, encode_segment};
use crate::model::Timestamp;

/// This many wait uncompressed: 512 bytes.
const TAIL_MAX: usize = 32;
/// A chunk that has this many is left alone.
const CHUNK_SAMPLES: usize = 256;

/// The strays of one series, oldest first.
pub(in crate::store) struct Stray {
    /// The newest sample, which stays known when all samples are in blocks.
    pub newest: (Timestamp, f64),
    pub chunks: Vec<Arc<StrayChunk>>,
    pub tail: Vec<(Timestamp, f64)>,
    /// What blocks have too.
    pub kept: Option<Box<StrayView>>,
}

/// A compressed run of strays.
#[derive(Debug)]
pub(in crate::store) struct StrayChunk {
    pub first: Timestamp,
    pub last: Timestamp,
    pub samples: usize,
    bytes: Box<[u8]>,
}

impl Default for Stray {
    fn default() -> Self {
        Self { newest: (Timestamp::MIN, absent()), chunks: Vec::new(), tail: Vec::new(), kept: None }
    }
}

impl Stray {
    /// Appends a sample that is newer than all others.
    pub fn push(&mut self, timestamp: Timestamp, value: f64) {
        self.newest = (timestamp, value);
        self.tail.push((timestamp, value));
    }

    /// Appends a sample that is newer than all other strays, if not than the series' rows.
    pub fn restore(&mut self, timestamp: Timestamp, value: f64) {
        if timestamp > self.newest.0 {
            self.newest = (timestamp, value);
        }
        self.tail.push((timestamp, value));
    }

    /// Whether no sample is here.
    pub fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.chunks.is_empty() && self.kept.is_none()
    }

    /// Whether compressing is due.
    pub fn is_full(&self) -> bool {
        self.tail.len() >= TAIL_MAX
    }

    /// Compresses the tail. Cheap enough (tens of samples) to be done under the head's lock. A chunk
    /// does not cross a multiple of `span_ms`, so that it goes to one block.
    pub fn seal(&mut self, span_ms: i64) {
        let Some(&(first, _)) = self.tail.first() else { return };
        let span = first.0.div_euclid(span_ms);
        let run = self.tail.iter().take_while(|(at, _)| at.0.div_euclid(span_ms) == span).count();
        let mut samples = Vec::new();
        let is_open =
            |chunk: &&Arc<StrayChunk>| chunk.samples < CHUNK_SAMPLES && chunk.first.0.div_euclid(span_ms) == span;
        if let Some(last) = self.chunks.last().filter(is_open)
            && last.read(&mut samples).is_ok()
        {
            self.chunks.pop();
        }
        samples.extend(self.tail.drain(..run));
        self.tail.shrink_to(TAIL_MAX);
        self.chunks.push(Arc::new(StrayChunk::of(&samples)));
    }

    /// Oldest and newest time of what blocks do not have.
    pub fn time_span(&self) -> Option<(Timestamp, Timestamp)> {
        let chunks = self.chunks.first().zip(self.chunks.last()).map(|(first, last)| (first.first, last.last));
        let tail = self.tail.first().zip(self.tail.last()).map(|(first, last)| (first.0, last.0));
        match (chunks, tail) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (one, other) => one.or(other),
        }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.memory());
        size_of::<Self>() + 8 + memory_of(&self.chunks) + self.tail.capacity() * 16 + kept
    }
}

/// Bytes of memory of chunks.
pub(super) fn memory_of(chunks: &[Arc<StrayChunk>]) -> usize {
    chunks.iter().map(|chunk| chunk.bytes.len() + size_of::<StrayChunk>() + 24).sum()
}

impl StrayChunk {
    pub fn of(samples: &[(Timestamp, f64)]) -> Self {
        let times: Vec<Timestamp> = samples.iter().map(|(at, _)| *at).collect();
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        let mut bytes = Vec::new();
        encode_segment(&times, &[&values], Effort::Quick, &mut bytes);
        let (first, last) = (times[0], times[times.len() - 1]);
        Self { first, last, samples: samples.len(), bytes: bytes.into_boxed_slice() }
    }

    /// Appends the samples.
    pub fn read(&self, samples: &mut Vec<(Timestamp, f64)>) -> Result<(), CodecError> {
        let segment = Segment::open(&self.bytes)?;
        let (mut times, mut values) = (Vec::new(), Vec::new());
        segment.timestamps(&mut times)?;
        segment.column(0, &mut values)?;
        samples.extend(times.into_iter().zip(values));
        Ok(())
    }
}
