//! `file_sd_configs`: lists of groups in JSON or YAML files, found by glob.
//!
//! Changes are seen by polling modification time and length, since file systems of the network report none. A file
//! that cannot be read keeps its groups; one that is gone takes them along.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::group_list::{make_group, parse_json, parse_yaml};
use super::provider::Refresh;
use super::{DiscoveryError, FileSettings, TargetGroup};

/// How often files are looked at.
const POLL: Duration = Duration::from_secs(5);
/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files that are looked at; the rest is not.
const FILES_MAX: usize = 1_000;

/// What tells one version of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// Polls files.
pub(super) struct FileProvider {
    patterns: Vec<PathBuf>,
    interval: Duration,
    known: BTreeMap<PathBuf, Known>,
}

struct Known {
    stamp: Stamp,
    groups: Vec<TargetGroup>,
}

impl FileProvider {
    pub(super) fn new(settings: &FileSettings) -> Self {
        let interval = POLL.min(settings.refresh_interval);
        Self { patterns: settings.files.clone(), interval, known: BTreeMap::new() }
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Reads what has changed.
    pub(super) async fn refresh(&mut self) -> Refresh {
        let patterns = self.patterns.clone();
        let stamps = self.known.iter().map(|(path, known)| (path.clone(), known.stamp)).collect();
        let looked = tokio::task::spawn_blocking(move || look(&patterns, stamps)).await.unwrap_or_default();
        self.known.retain(|path, _| looked.present.contains(path));
        let mut failure = None;
        for (path, stamp, groups) in looked.changed {
            match groups {
                Ok(groups) => drop(self.known.insert(path, Known { stamp, groups })),
                Err(error) => failure = Some(error),
            }
        }
        Refresh { groups: Some(self.groups()), failure }
    }

    fn groups(&self) -> Vec<TargetGroup> {
        self.known.values().flat_map(|known| known.groups.iter().cloned()).collect()
    }
}

#[derive(Default)]
struct Looked {
    present: Vec<PathBuf>,
    changed: Vec<(PathBuf, Stamp, Result<Vec<TargetGroup>, DiscoveryError>)>,
}

fn look(patterns: &[PathBuf], known: BTreeMap<PathBuf, Stamp>) -> Looked {
    let mut present: Vec<PathBuf> = patterns.iter().flat_map(|pattern| expand(pattern)).collect();
    present.sort();
    present.dedup();
    present.truncate(FILES_MAX);
    let mut changed = Vec::new();
    for path in &present {
        let metadata = std::fs::metadata(path).ok();
        let stamp = metadata.and_then(|found| Some((found.modified().ok()?, found.len())));
        if known.get(path) != Some(&stamp) || stamp.is_none() {
            changed.push((path.clone(), stamp, read(path, stamp)));
        }
    }
    Looked { present, changed }
}

/// The files that a path with a `*` in its last part means.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains('*') {
        return if pattern.exists() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|found| matches(&name, &found.to_string_lossy())).map(|found| folder.join(found)).collect()
}

/// Whether a name satisfies a pattern whose `*` stand for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn read(path: &Path, stamp: Stamp) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let failed = |reason: String| DiscoveryError::File { path: path.to_owned(), reason };
    if stamp.is_some_and(|(_, len)| len > FILE_BYTES_MAX) {
        return Err(failed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let name = path.display().to_string();
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let groups = if is_json { parse_json(text.as_bytes()) } else { parse_yaml(&text) };
    let groups = groups.map_err(|reason| DiscoveryError::Malformed { path: name.clone(), reason })?;
    let numbered = groups.into_iter().enumerate();
    Ok(numbered
        .map(|(index, group)| make_group(format!("{name}:{index}"), group, ("__meta_filepath", &name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let cases = [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.jsonx", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("a", "a", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[tokio::test]
    async fn one_bad_file_does_not_hide_the_others() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("a.yml", "- targets: [a:1]\n  labels: {x: y}\n");
        write("b.yml", "- targets: a:1\n");
        write("c.txt", "- targets: [c:1]\n");
        let settings =
            FileSettings { files: vec![folder.path().join("*.yml")], refresh_interval: Duration::from_secs(300) };
        let mut provider = FileProvider::new(&settings);
        let Refresh { groups, failure } = provider.refresh().await;
        let groups = groups.expect("a.yml is good");
        assert!(failure.is_some(), "b.yml is bad");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].labels.get("x"), Some("y"));
        assert!(groups[0].labels.get("__meta_filepath").is_some_and(|path| path.ends_with("a.yml")));
        assert!(provider.refresh().await.failure.is_some(), "b.yml is still bad");
    }
}
