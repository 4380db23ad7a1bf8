//! Metrics that scripts leave in files: `*.prom` in the folders of `--collector.textfile.directory`.
//!
//! A file is taken whole or not at all. What cannot be read, is not whole text of the format, or has times of its own,
//! counts in `node_textfile_scrape_error` and is named in the log when the set of such files changes.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::page::Page;
use super::host::{Host, NodeError, names, read_bytes};
use crate::exposition::{Entry, Format, Parser};
use crate::glob::glob;
use crate::model::MetricType::Gauge;
use crate::model::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};

/// What a file may hold at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut errors: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut times: Vec<(String, f64)> = Vec::new();
    for folder in folders(host.flags().texts("textfile.directory")) {
        if !folder.is_dir() {
            errors.insert(folder.clone(), "no folder that can be read".to_owned());
        }
        for path in names(&folder).iter().filter(|name| name.ends_with(".prom")).map(|name| folder.join(name)) {
            match read(&path) {
                Ok((text, time)) => {
                    page.append(text.as_bytes());
                    times.push((path.display().to_string(), time));
                }
                Err(reason) => drop(errors.insert(path, reason)),
            }
        }
    }
    if host.is_news_of_text_files(errors.keys().cloned().collect()) {
        let errors: Vec<String> = errors.iter().map(|(path, reason)| format!("{}: {reason}", path.display())).collect();
        tracing::warn!(errors = errors.join("; "), "text files were left out");
    }
    let mut family = page.family("node_textfile_mtime_seconds", Gauge, "When the file was changed, as Unix time.");
    for (path, time) in &times {
        family.sample(&[("file", path)], *time);
    }
    let has_error = f64::from(u8::from(!errors.is_empty()));
    page.gauge("node_textfile_scrape_error", "Whether a file or folder could not be read.", has_error);
    Ok(())
}

fn folders(patterns: &[String]) -> Vec<PathBuf> {
    let found = patterns.iter().flat_map(|pattern| match glob(Path::new(pattern)) {
        Ok(found) if !found.is_empty() => found,
        _ => vec![PathBuf::from(pattern)],
    });
    found.collect()
}

fn read(path: &Path) -> Result<(String, f64), String> {
    let facts = std::fs::metadata(path).map_err(|error| error.to_string())?;
    // A pipe would be waited for.
    if !facts.is_file() {
        return Err("no regular file".to_owned());
    }
    if facts.len() > FILE_BYTES_MAX {
        return Err(format!("{} bytes; at most {FILE_BYTES_MAX} are taken", facts.len()));
    }
    let bytes = read_bytes(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes);
    check(&text, text.as_bytes() == bytes)?;
    Ok((text.into_owned(), facts.mtime() as f64))
}

/// Whole text of the format, without times of its own, and no family declared twice or behind its samples. What
/// is not UTF-8 has been replaced, which may be in help texts and comments alone.
fn check(text: &str, is_utf8: bool) -> Result<(), String> {
    // Halves of files: still being written, or cut by a loss of power.
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end; move finished files into the folder".to_owned());
    }
    if text.contains('\0') {
        return Err("a zero byte".to_owned());
    }
    let (mut helped, mut settled) = (HashSet::new(), HashSet::new());
    let mut parser = Parser::new(Format::PrometheusText004, text.as_bytes());
    loop {
        match parser.next_entry() {
            Ok(Some(Entry::Series(series))) if series.timestamp.is_some() => {
                return Err("samples with times of their own".to_owned());
            }
            Ok(Some(Entry::Series(series))) => {
                let spelling = String::from_utf8_lossy(series.raw);
                if !is_utf8 && spelling.contains(char::REPLACEMENT_CHARACTER) {
                    return Err(format!("{spelling} is not UTF-8"));
                }
                let mut labels = HashSet::new();
                for (label, value) in series.labels() {
                    if labels.contains(&label) {
                        return Err(format!("{spelling} has the label {label:?} twice"));
                    }
                    labels.insert(label.clone());
                    if label == METRIC_NAME {
                        check_name(&value)?;
                        if !settled.contains(&*value) {
                            settled.insert(value.into_owned());
                        }
                    } else if !is_legacy_label_name(&label) {
                        return Err(format!("{label:?} is no name of a label: only letters, digits and `_`"));
                    }
                }
            }
            Ok(Some(Entry::Help { name, .. })) => {
                check_name(&name)?;
                if let Some(name) = helped.replace(name.into_owned()) {
                    return Err(format!("a second HELP of {name}"));
                }
            }
            Ok(Some(Entry::Type { name, .. })) => {
                check_name(&name)?;
                if let Some(name) = settled.replace(name.into_owned()) {
                    return Err(format!("TYPE of {name} is given twice or behind its samples"));
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Also in quotes, names have no further characters.
fn check_name(name: &str) -> Result<(), String> {
    match is_legacy_metric_name(name) {
        true => Ok(()),
        false => Err(format!("{name:?} is no name of a metric: only letters, digits, `_` and `:`")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::flags::NodeFlags;
    use super::*;
    use crate::clock::Clock;
    use crate::collect::NodeCollectorSettings;
    use crate::model::Timestamp;

    fn host(folder: &Path) -> Host {
        let flags = NodeFlags::parse(vec![format!("--collector.textfile.directory={}", folder.display())]);
        let settings = NodeCollectorSettings { flags: flags.expect("valid"), ..NodeCollectorSettings::default() };
        Host::new(settings, Clock::manual(Timestamp(0)))
    }

    fn page_of(host: &Host) -> String {
        let mut bytes = Vec::new();
        collect(host, &mut Page::new(&mut bytes)).expect("it never fails as a whole");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let cases: [(&[u8], bool); 16] = [
            (b"a 1\n", true),
            (b"", true),
            (b"# HELP a x\n# TYPE a gauge\na 1\n# HELP b \xff\n# TYPE b counter\nb 2\na{c=\"d\"} 3\n", true),
            (b"# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n", true),
            (b"a_sum 1\n# TYPE a summary\n", true),
            (b"a 1\nb 123", false),
            (b"a 1\n# b", false),
            (b"# TYPE a gauge\n# TYPE a gauge\na 1\n", false),
            (b"# TYPE a gauge\na 1\n# TYPE a counter\n", false),
            (b"a 1\n# TYPE a gauge\n", false),
            (b"# HELP a x\n# HELP a x\na 1\n", false),
            (b"a{b=\"\xff\"} 1\n", false),
            (b"a 1\n\0\0\0\n", false),
            (b"a 1 1700000000000\n", false),
            (b"a one\n", false),
            (b"a 1\r\n", false),
        ];
        for (text, expected) in cases {
            let folder = tempfile::TempDir::new().expect("a folder");
            std::fs::write(folder.path().join("x.prom"), text).expect("writable");
            let page = page_of(&host(folder.path()));
            let text = String::from_utf8_lossy(text);
            let has_error = page.contains("\nnode_textfile_scrape_error 1\n");
            assert_eq!((page.starts_with(&*text), has_error), (expected, !expected), "{text:?}: {page}");
        }
    }

    /// The table's verdicts are node_exporter 1.11's.
    #[test]
    fn files_are_taken_as_by_node_exporter() {
        let table = include_str!("../../../tests/fixtures/textfile/verdicts.txt");
        let mut differences = String::new();
        for line in table.lines().filter(|line| !line.starts_with("# ")) {
            let (verdict, file) = line.split_once(' ').expect("a verdict and a file");
            let checked = check(&file.replace('␊', "\n").replace('␉', "\t"), true);
            if checked.is_ok() != ["good", "taken"].contains(&verdict) {
                differences.push_str(&format!("{line}: {checked:?}\n"));
            }
        }
        assert!(differences.is_empty(), "{differences}");
    }

    #[test]
    fn each_further_file_that_fails_is_news() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let host = host(folder.path());
        let failed = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        for (names, expected) in [
            (&[][..], false),
            (&["a"], true),
            (&["a"], false),
            (&["a", "b"], true),
            (&["a", "b"], false),
            (&["b"], true),
            (&[], false),
            (&["b"], true),
        ] {
            assert_eq!(host.is_news_of_text_files(failed(names)), expected, "{names:?}");
        }
    }
}
