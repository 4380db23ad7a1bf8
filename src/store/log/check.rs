//! Looking a log over without replaying it: every record's checksum, and that none is missing.

use super::record::{self, ALIGNMENT};
use super::{Folder, SEGMENT_PREFIX};

/// What was found.
#[derive(Debug, Default)]
pub(in crate::store) struct LogReport {
    /// Records with a right checksum that are not left from an earlier use of a file.
    pub records: u64,
    /// The file, and what is wrong with it.
    pub damage: Vec<(String, String)>,
    /// What is no damage, and yet worth a word.
    pub notes: Vec<String>,
}

/// The sound records of one file.
struct Checked {
    name: String,
    first: u64,
    last: u64,
}

/// Checks all files of a log.
pub(in crate::store) fn check(folder: &dyn Folder) -> LogReport {
    let mut report = LogReport::default();
    let names = match folder.list() {
        Ok(names) => names,
        Err(error) => {
            report.damage.push(("log".to_owned(), format!("cannot be listed: {error}")));
            return report;
        }
    };
    let is_segment = |name: &String| name.strip_prefix(SEGMENT_PREFIX).is_some_and(|rest| rest.parse::<u64>().is_ok());
    let mut checked = Vec::new();
    let mut ends = Vec::new();
    for name in names.into_iter().filter(is_segment) {
        match folder.read(&name) {
            Ok(bytes) => {
                let (file, end) = check_file(&name, &bytes, &mut report);
                checked.extend(file);
                ends.extend(end.map(|sequence| (name, sequence)));
            }
            Err(error) => report.damage.push((name, format!("cannot be read: {error}"))),
        }
    }
    checked.sort_unstable_by_key(|file: &Checked| file.first);
    check_ends(&checked, ends, &mut report);
    report
}

/// Records that begin and do not fit their checksums at the end of a file: at the end of the log they are what a
/// power cut leaves of a flush, and the next start writes over them.
fn check_ends(checked: &[Checked], ends: Vec<(String, u64)>, report: &mut LogReport) {
    let newest = checked.last().map_or(0, |file| file.last);
    for (name, sequence) in ends {
        if sequence > newest {
            report.notes.push(format!("{name}: its last record is incomplete, as a power cut leaves it"));
        } else {
            report.damage.push((name, format!("the record after number {} is damaged", sequence - 1)));
        }
    }
    for pair in checked.windows(2) {
        if pair[1].first > pair[0].last + 1 {
            let missing = pair[1].first - pair[0].last - 1;
            report.notes.push(format!("{}: {missing} records are not here before its first", pair[1].name));
        }
    }
}

/// The records of a file, and the sequence of one that begins behind the last of them and is not sound.
fn check_file(name: &str, bytes: &[u8], report: &mut LogReport) -> (Option<Checked>, Option<u64>) {
    let (mut at, mut file, mut unsound) = (0, None::<Checked>, None);
    // Where the next record belongs: elsewhere, what does not decode is left from an earlier use.
    let mut next_at = 0;
    while at < bytes.len() {
        let Some(found) = record::decode(&bytes[at..]) else {
            let next = file.as_ref().map_or(1, |file| file.last + 1);
            if at == next_at && has_begun(&bytes[at..], next, at == 0) {
                unsound = Some(next);
            }
            at += ALIGNMENT;
            continue;
        };
        let sequence = found.header.sequence;
        at += found.len();
        if file.as_ref().is_some_and(|file| sequence <= file.last) {
            continue;
        }
        match &mut file {
            Some(file) => {
                if sequence > file.last + 1 {
                    let reason = format!("{} records after number {} are damaged", sequence - file.last - 1, file.last);
                    report.damage.push((name.to_owned(), reason));
                }
                file.last = sequence;
            }
            None => {
                if unsound.is_some() {
                    report.damage.push((name.to_owned(), "its first record is damaged".to_owned()));
                }
                file = Some(Checked { name: name.to_owned(), first: sequence, last: sequence });
            }
        }
        (unsound, next_at) = (None, at);
        report.records += 1;
        if let Err(error) = found.payload() {
            report.damage.push((name.to_owned(), format!("record {sequence} does not unpack: {error}")));
        }
    }
    if file.is_none() && unsound.is_some() {
        report.damage.push((name.to_owned(), "none of its records is sound".to_owned()));
        unsound = None;
    }
    (file, unsound)
}

/// Whether a page looks like the start of the record `next`, sound or not. A file begins with a record or with zeros.
fn has_begun(page: &[u8], next: u64, is_first: bool) -> bool {
    let is_blank = page.iter().take(ALIGNMENT).all(|byte| *byte == 0);
    !is_blank && (is_first || record::begun(page, next))
}
