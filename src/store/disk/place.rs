//! A folder that is removed or replaced under a running server: `rm -rf`, a card that was pulled, a folder mounted anew.
//!
//! Writing into files that are open would go on without an error. So each flush compares what is open with what lies in
//! the folder: the lock, the log's files, the database. Where they differ, all that memory holds is written into what is there
//! now, made anew if there is nothing. Blocks that are gone are gone, and said to be.

use super::{LogSide, Shared, lock_file};
use crate::model::format_rfc3339;
use crate::store::StoreError;
use crate::store::blocks::Block;
use crate::store::file_id::{FileId, is_gone};

impl Shared {
    /// Makes sure that what is written goes into files that are in the folder. `is_compacting`: the caller holds that lock.
    pub(super) fn ensure_in_place(&self, side: &mut LogSide, is_compacting: bool) -> Result<(), StoreError> {
        self.ensure_locked()?;
        let is_log_gone = !side.log.is_in_place();
        if is_log_gone {
            side.log.leave();
            side.durable = 0;
            self.write_head().forget_logged();
        }
        // Not while a block is made: its beginning would lie in another file than its end.
        let compaction = if is_compacting { None } else { self.compaction.try_lock().ok() };
        let is_free = is_compacting || compaction.is_some();
        let lost = (is_free && !self.blocks.is_in_place()).then(|| self.leave_blocks(side));
        if is_log_gone || lost.is_some() {
            self.note_replaced(&lost.unwrap_or_default());
        }
        Ok(())
    }

    /// Turns to the database that lies in the folder now. Tells the blocks that it does not have.
    fn leave_blocks(&self, side: &mut LogSide) -> String {
        let before = self.blocks.list();
        self.changes.note_removal();
        self.blocks.leave();
        self.write_head().forget_stored();
        // A database that cannot be opened now is opened at the next look at the blocks.
        if self.blocks.ensure_open().is_ok()
            && let Ok(stored) = self.blocks.stored()
        {
            // What another store's log has in blocks must not hide what this one's writes.
            side.log.skip(stored.sequence);
        }
        self.changes.note_removal();
        let now = self.blocks.list();
        let lost: Vec<&Block> = before.iter().filter(|block| !now.iter().any(|there| is_same(block, there))).collect();
        describe_lost(&lost)
    }

    fn note_replaced(&self, lost: &str) {
        let (path, now) = (self.settings.path.display(), self.clock.now());
        let at = format_rfc3339(now);
        let text = format!(
            "files of the store in {path} were found removed or replaced at {at}: what memory held is written anew{lost}"
        );
        tracing::error!("{text}");
        self.metrics.note_replaced(text, now);
    }

    /// Nothing is written without the lock file, which may lie on another disk by now: a card was taken out and put
    /// back, or the folder mounted anew.
    fn ensure_locked(&self) -> Result<(), StoreError> {
        let mut held = self.lock.lock().expect("no holder of the lock panics");
        let name = self.settings.path.join("lock");
        let is_held =
            held.as_ref().and_then(|file| FileId::of(file).ok()).is_some_and(|id| !is_gone(id, &FileId::at(&name)));
        if !is_held {
            *held = None;
            *held = Some(lock_file(&self.settings.path)?);
        }
        Ok(())
    }
}

/// Whether a block is one of another database too: numbers differ there.
fn is_same(block: &Block, other: &Block) -> bool {
    (block.oldest, block.newest, block.samples) == (other.oldest, other.newest, other.samples)
}

fn describe_lost(lost: &[&Block]) -> String {
    let oldest = lost.iter().map(|block| block.oldest).min();
    let newest = lost.iter().map(|block| block.newest).max();
    let Some((oldest, newest)) = oldest.zip(newest) else { return String::new() };
    let count = lost.len();
    format!("; blocks lost: {count}, with samples from {} to {}", format_rfc3339(oldest), format_rfc3339(newest))
}
