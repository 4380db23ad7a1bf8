//! Looking a log over without replaying it: every record's checksum, and that none is missing.

use super::ending::Ending;
use super::replay::{Scan, scan};
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

/// The sound records of one file, and how it ends.
struct Checked {
    name: String,
    first: u64,
    last: u64,
    first_lineage: u64,
    last_lineage: u64,
    ending: Option<Ending>,
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
    for name in names.into_iter().filter(is_segment) {
        match folder.read(&name) {
            Ok(bytes) => checked.extend(check_file(name, &scan(&bytes), &mut report)),
            Err(error) => report.damage.push((name, format!("cannot be read: {error}"))),
        }
    }
    checked.sort_unstable_by_key(|file: &Checked| file.first);
    check_ends(&checked, &mut report);
    report
}

fn check_ends(checked: &[Checked], report: &mut LogReport) {
    for (index, file) in checked.iter().enumerate() {
        let next_lineage = checked.get(index + 1).map(|next| next.first_lineage);
        if let Some(ending) = &file.ending {
            note_ending(&file.name, ending, next_lineage != Some(file.last_lineage), report);
        }
    }
    for pair in checked.windows(2) {
        if pair[1].first > pair[0].last + 1 {
            let missing = pair[1].first - pair[0].last - 1;
            report.notes.push(format!("{}: {missing} records are not here before its first", pair[1].name));
        }
    }
}

fn note_ending(name: &str, ending: &Ending, is_end_of_run: bool, report: &mut LogReport) {
    let text = ending.text(is_end_of_run);
    if ending.is_damage(is_end_of_run) {
        report.damage.push((name.to_owned(), text));
    } else {
        report.notes.push(format!("{name}: {text}"));
    }
}

/// Looks over what was found in a file; `None` where nothing of it is sound.
fn check_file(name: String, scan: &Scan<'_>, report: &mut LogReport) -> Option<Checked> {
    for damage in &scan.damage {
        let reason = match damage.last - damage.first {
            0 => format!("record {} is damaged", damage.first),
            _ => format!("records {} to {} are damaged", damage.first, damage.last),
        };
        report.damage.push((name.clone(), reason));
    }
    for found in &scan.records {
        report.records += 1;
        if let Err(error) = found.payload() {
            report.damage.push((name.clone(), format!("record {} does not unpack: {error}", found.header.sequence)));
        }
    }
    let (Some(first), Some(last)) = (scan.records.first(), scan.records.last()) else {
        if let Some(ending) = &scan.ending {
            note_ending(&name, ending, true, report);
        }
        return None;
    };
    let (first, last) = (&first.header, &last.header);
    Some(Checked {
        name,
        first: first.sequence,
        last: last.sequence,
        first_lineage: first.lineage,
        last_lineage: last.lineage,
        ending: scan.ending,
    })
}
