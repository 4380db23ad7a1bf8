//! Making room: rows become frames, small frames become larger ones, the oldest go when nothing else helps.
//!
//! Planning and installing take the head's lock for a moment; compressing happens between them
//! without it. What the plan was made from may have gone to a block meanwhile: then the work is dropped.

use std::sync::Arc;

use super::{Frame, Group, Head, Row};
use crate::codec::CodecError;
use crate::model::Timestamp;
use crate::store::GroupId;

/// Rows that are compressed together: 128 bytes a series wait uncompressed.
const FRAME_ROWS: usize = 16;
/// Small frames that become one, compressed with more effort.
const FRAMES_MERGED: usize = 8;

/// One piece of work.
pub(in crate::store) enum SealJob {
    /// Compress a group's oldest rows.
    Rows(GroupId, Vec<Row>),
    /// Compress consecutive frames anew, as one.
    Frames(GroupId, Vec<Arc<Frame>>),
}

impl SealJob {
    /// Whose rows or frames they are.
    pub fn group(&self) -> GroupId {
        match self {
            Self::Rows(group, _) | Self::Frames(group, _) => *group,
        }
    }

    /// Does the work, without any lock.
    pub fn run(&self) -> Result<Frame, CodecError> {
        match self {
            Self::Rows(_, rows) => Ok(Frame::of_rows(rows)),
            Self::Frames(_, frames) => Frame::of_frames(frames),
        }
    }
}

impl Head {
    /// The next piece of work at or after group `from`, if there is any.
    pub fn plan_seal(&self, from: GroupId) -> Option<SealJob> {
        (from.0..self.groups.len() as u32).map(GroupId).find_map(|id| {
            let group = &self.groups[id.0 as usize];
            let rows = || group.sealable_rows(self.held, self.span_ms).map(|rows| SealJob::Rows(id, rows.to_vec()));
            let frames =
                || group.mergeable_frames(self.held, self.span_ms).map(|run| SealJob::Frames(id, run.to_vec()));
            rows().or_else(frames)
        })
    }

    /// Puts a finished frame in the place of what it was made from, if that is still there.
    pub fn install(&mut self, job: &SealJob, frame: Frame) {
        match job {
            SealJob::Rows(id, rows) => self.groups[id.0 as usize].install_rows(rows, frame),
            SealJob::Frames(id, frames) => self.groups[id.0 as usize].install_merged(frames, frame),
        }
    }

    /// Compresses strays whose tails are full.
    pub fn seal_strays(&mut self) {
        let (held, span_ms) = (self.held, self.span_ms);
        for stray in self.strays.values_mut().filter(|stray| stray.is_full()) {
            if held.is_none_or(|held| stray.tail[0].0 >= held) {
                stray.seal(span_ms);
            }
        }
    }

    /// Drops the oldest frames and strays until samples take at most `bytes_max`; gives how many samples that were in no
    /// block. Only for when the disk takes nothing.
    pub fn drop_oldest(&mut self, bytes_max: usize) -> u64 {
        if self.sample_memory() > bytes_max {
            self.release(Timestamp::MAX);
        }
        let mut dropped = 0;
        while self.sample_memory() > bytes_max {
            let frames = self.groups.iter().filter_map(|group| group.frames.first().map(|frame| frame.last()));
            let strays = self.strays.values().filter_map(|stray| stray.chunks.first().map(|chunk| chunk.last));
            let Some(oldest) = frames.chain(strays).min() else { break };
            let before = dropped;
            // A whole half hour at a time, so that this is rare and groups stay in step.
            let until = Timestamp(oldest.0.saturating_add(30 * 60 * 1000));
            for group in &mut self.groups {
                let run = group.frames.iter().take_while(|frame| frame.last() <= until).count();
                dropped += group.frames.drain(..run).map(|frame| frame.samples).sum::<u64>();
            }
            for stray in self.strays.values_mut() {
                let run = stray.chunks.iter().take_while(|chunk| chunk.last <= until).count();
                dropped += stray.chunks.drain(..run).map(|chunk| chunk.samples as u64).sum::<u64>();
            }
            self.samples = self.samples.saturating_sub(dropped - before);
        }
        dropped
    }
}

impl Group {
    /// The oldest rows, if they are enough for a frame or can get no company. The newest row is never
    /// among them: it may still grow.
    fn sealable_rows(&self, held: Option<Timestamp>, span_ms: i64) -> Option<&[Row]> {
        let first = self.rows.first()?;
        if held.is_some_and(|held| first.timestamp < held) {
            return None;
        }
        let settled = &self.rows[..self.rows.len() - 1];
        let belongs = |row: &&Row| {
            row.generation == first.generation
                && row.timestamp.0.div_euclid(span_ms) == first.timestamp.0.div_euclid(span_ms)
        };
        let run = settled.iter().take_while(belongs).count();
        let is_closed = run < settled.len();
        (run >= FRAME_ROWS || (is_closed && run > 0)).then(|| &settled[..run.min(FRAME_ROWS)])
    }

    /// The first run of small frames that is long enough.
    fn mergeable_frames(&self, held: Option<Timestamp>, span_ms: i64) -> Option<&[Arc<Frame>]> {
        let is_small = |frame: &Frame| frame.times.len() <= FRAME_ROWS && held.is_none_or(|held| frame.first() >= held);
        let belongs_with = |first: &Arc<Frame>, frame: &Arc<Frame>| {
            is_small(frame)
                && frame.generation == first.generation
                && frame.first().0.div_euclid(span_ms) == first.first().0.div_euclid(span_ms)
        };
        let runs = self.frames.chunk_by(|a, b| is_small(a) && belongs_with(a, b));
        let long = runs.filter(|run| is_small(&run[0])).find(|run| run.len() >= FRAMES_MERGED)?;
        Some(&long[..FRAMES_MERGED])
    }

    fn install_rows(&mut self, rows: &[Row], frame: Frame) {
        let is_same =
            |(here, there): (&Row, &Row)| here.sequence == there.sequence && here.timestamp == there.timestamp;
        if self.rows.len() > rows.len() && self.rows.iter().zip(rows).all(is_same) {
            self.rows.drain(..rows.len());
            self.frames.push(Arc::new(frame));
        }
    }

    fn install_merged(&mut self, frames: &[Arc<Frame>], frame: Frame) {
        let Some(start) = self.frames.iter().position(|candidate| Arc::ptr_eq(candidate, &frames[0])) else { return };
        let here = self.frames.get(start..start + frames.len());
        if here.is_some_and(|here| here.iter().zip(frames).all(|(a, b)| Arc::ptr_eq(a, b))) {
            self.frames.splice(start..start + frames.len(), [Arc::new(frame)]);
        }
    }
}
