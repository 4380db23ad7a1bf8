//! `outpost store`: what is done with a store that lies in a folder.

mod disk;
mod export;
mod import;
mod progress;
mod stats;
mod text_chunks;

use std::path::Path;

use super::{fail, print, print_error};
use crate::cli::{StoreTask, StoreTaskKind};
use crate::clock::Clock;
use crate::logging::{self, LogFormat, LogLevel};
use crate::store::{self, OfflineStore, Rescue, StoreError, Verified};

use progress::Progress;

/// Whether all went well, and the store is sound.
pub fn run(task: &StoreTask) -> bool {
    // What the store itself has to say goes to standard error.
    logging::init(LogLevel::Warn, LogFormat::Logfmt, Clock::system());
    let outcome = match &task.kind {
        StoreTaskKind::Stats => stats::run(&task.path),
        StoreTaskKind::Verify => verify(&task.path),
        StoreTaskKind::Export(export) => export::run(&task.path, export),
        StoreTaskKind::Import { file } => import::run(&task.path, file),
        StoreTaskKind::Backup { folder } => backup(&task.path, folder),
        StoreTaskKind::Repair => repair(&task.path),
    };
    outcome.unwrap_or_else(|reason| fail(&reason))
}

fn verify(path: &Path) -> Result<bool, String> {
    let mut progress = Progress::new("verifying");
    let verified = store::verify(path, |done, total| progress.show(done as u64, total as u64));
    progress.clear();
    let verified = verified.map_err(|error| described(&error))?;
    print(&summary(&verified));
    Ok(tell_damage(&verified, "`outpost store repair` keeps the rest"))
}

fn summary(verified: &Verified) -> String {
    let Verified { blocks, segments, samples, records, .. } = verified;
    format!(
        "{} with {} and {}, {}\n",
        counted(*blocks, "block"),
        counted(*segments, "segment"),
        counted(*samples, "sample"),
        counted(*records, "log record"),
    )
}

/// Says what is damaged and what else was met; gives whether all is sound.
fn tell_damage(verified: &Verified, way_out: &str) -> bool {
    verified.notes.iter().for_each(|note| print(&format!("note: {note}\n")));
    verified.damage.iter().for_each(|damage| print_error(&format!("damaged: {damage}\n")));
    match verified.damage.len() {
        0 => true,
        1 => fail(&format!("1 piece is damaged; {way_out}")),
        pieces => fail(&format!("{pieces} pieces are damaged; {way_out}")),
    }
}

fn backup(path: &Path, folder: &Path) -> Result<bool, String> {
    let verified = store::copy_store(path, folder).map_err(|error| disk::told(&error, folder))?;
    print(&format!("{}: {}", folder.display(), summary(&verified)));
    Ok(tell_damage(&verified, "the copy is as damaged as the store: run `outpost store verify` on it"))
}

fn repair(path: &Path) -> Result<bool, String> {
    let repaired = store::repair(path).map_err(|error| disk::told(&error, path))?;
    if repaired.before.damage.is_empty() && repaired.set_aside.is_empty() {
        print("nothing is damaged\n");
        return Ok(true);
    }
    repaired.before.damage.iter().for_each(|damage| print(&format!("was damaged: {damage}\n")));
    repaired.set_aside.iter().for_each(|file| print(&format!("kept as {}\n", file.display())));
    print(&format!("now: {}", summary(&repaired.after)));
    let is_sound = tell_damage(&repaired.after, "this could not be repaired");
    let losses: Vec<String> = repaired.rescues.iter().filter_map(loss).collect();
    Ok(losses.iter().fold(is_sound, |_, loss| fail(loss)))
}

/// What is lost of a database that was set aside, if anything is.
fn loss(rescue: &Rescue) -> Option<String> {
    let Rescue { from, parts_taken, parts_lost, is_more_lost } = rescue;
    let lost = match (is_more_lost, parts_lost) {
        (false, 0) => return None,
        (false, 1) => "1 part of a block is lost".to_owned(),
        (false, _) => format!("{parts_lost} parts of blocks are lost"),
        (true, 0) => "blocks are lost, nobody knows how many".to_owned(),
        (true, lost) => format!("{} of blocks lost, and nobody knows how many more", counted(*lost as u64, "part")),
    };
    Some(format!("{lost}; {parts_taken} were taken over. All that is left of them is in {}", from.display()))
}

/// `1 block`, `2 blocks`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Opens a store to read it as it is.
fn open(path: &Path) -> Result<OfflineStore, String> {
    OfflineStore::open(path).map_err(|error| match error {
        StoreError::Damaged { .. } | StoreError::Database { .. } => {
            format!("{}; `outpost store repair` makes a store of what can be read of it", described(&error))
        }
        error => described(&error),
    })
}

/// An error and all that caused it, in one line.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
