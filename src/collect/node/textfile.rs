//! Metrics that scripts leave in files: `*.prom` in the folders of `--collector.textfile.directory`.
//!
//! A file is taken whole or not at all. What cannot be read, is not text of the format, or has times of its own, counts
//! in `node_textfile_scrape_error` and is named in the log when that changes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::page::Page;
use super::host::{Host, NodeError, names, read_text};
use crate::exposition::{Entry, Format, Parser};
use crate::glob::glob;
use crate::model::MetricType::Gauge;

/// What a file may hold at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whether the last collection met an error: it is told once.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let mut errors = Vec::new();
    let mut times: Vec<(String, f64)> = Vec::new();
    for folder in folders(host.flags().texts("textfile.directory")) {
        if !folder.is_dir() {
            errors.push(format!("{} is no folder that can be read", folder.display()));
        }
        for path in names(&folder).iter().filter(|name| name.ends_with(".prom")).map(|name| folder.join(name)) {
            match read(&path) {
                Ok((text, time)) => {
                    page.append(text.as_bytes());
                    page.append(if text.ends_with('\n') { b"" } else { b"\n" });
                    times.push((path.display().to_string(), time));
                }
                Err(reason) => errors.push(format!("{}: {reason}", path.display())),
            }
        }
    }
    if HAS_FAILED.swap(!errors.is_empty(), Ordering::Relaxed) == errors.is_empty() && !errors.is_empty() {
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
    let text = read_text(path).map_err(|error| error.to_string())?;
    check(text.as_bytes())?;
    Ok((text, facts.mtime() as f64))
}

/// Text of the format, without times of its own.
fn check(text: &[u8]) -> Result<(), String> {
    let mut parser = Parser::new(Format::PrometheusText004, text);
    loop {
        match parser.next_entry() {
            Ok(Some(Entry::Series(series))) if series.timestamp.is_some() => {
                return Err("samples with times of their own".to_owned());
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}
