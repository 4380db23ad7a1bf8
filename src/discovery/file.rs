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
use crate::glob::glob;

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
    let mut present: Vec<PathBuf> = patterns.iter().filter_map(|pattern| glob(pattern).ok()).flatten().collect();
    present.sort_unstable();
    present.dedup();
    present.truncate(FILES_MAX);
    let mut changed = Vec::new();
    for path in &present {
        let metadata = std::fs::metadata(path).ok();
        let stamp = metadata.and_then(|found| Some((found.modified().ok()?, found.len())));
        if known.get(path) != Some(&stamp) || stamp.is_none() {
            changed.push((path.clone(), stamp, read_target_file(path)));
        }
    }
    Looked { present, changed }
}

/// Reads a target file: JSON if its name ends so, else YAML.
pub fn read_target_file(path: &Path) -> Result<Vec<TargetGroup>, DiscoveryError> {
    let failed = |reason: String| DiscoveryError::File { path: path.to_owned(), reason };
    let len = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if len > FILE_BYTES_MAX {
        return Err(failed(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let name = path.display().to_string();
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let groups = match is_json {
        true => parse_json(text.as_bytes()).map_err(|reason| format!("{name}: {reason}")),
        false => parse_yaml(&text, &name),
    };
    let numbered = groups.map_err(DiscoveryError::Malformed)?.into_iter().enumerate();
    Ok(numbered
        .map(|(index, group)| make_group(format!("{name}:{index}"), group, ("__meta_filepath", &name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
