//! The configuration: a `prometheus.yml` as written becomes settings, one struct per part, checked.
//!
//! The keys, defaults and rules are those of Prometheus 3.5 (its config/config.go and prometheus/common's
//! http_config.go); outpost's own settings stand under `outpost:`. Every part's file here reads its section of the
//! tree that [`crate::yaml`] gives and returns the part's own settings. All mistakes of a file are reported at
//! once, each with file, line and key. Keys of Prometheus that are refused or ignored are listed in
//! `unsupported.rs`, with what to do instead.

mod alerting;
mod check;
mod client;
mod collector;
mod discovery;
mod global;
mod job;
mod outpost;
mod paths;
mod probe;
mod relabel;
mod remote;
mod show;
mod show_probe;
mod size;
mod top;
mod unsupported;
mod url;
mod web;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::client::ClientSettings;
use crate::notify::NotifySettings;
use crate::scrape::JobSettings;
use crate::yaml::Problem;

pub use check::Findings;
pub use global::GlobalSettings;
pub use outpost::OutpostSettings;
pub use size::{SizeError, parse_size};
pub use web::{WebConfig, read_web_file};

/// What runs when no file is given.
const EMBEDDED: &str = include_str!("default.yml");

/// The configuration in force. Holds no contradiction; paths are relative to the working directory or absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `global`
    pub global: GlobalSettings,
    /// `scrape_configs`, then those of `scrape_config_files`, with the global settings merged in.
    pub jobs: Vec<JobSettings>,
    /// `rule_files` as written, relative to the file's folder.
    pub rule_patterns: Vec<PathBuf>,
    /// The files that `rule_files` names at the time of loading, each once.
    pub rule_files: Vec<PathBuf>,
    /// `scrape_config_files` as written, relative to the file's folder.
    pub scrape_config_patterns: Vec<PathBuf>,
    /// `alerting`
    pub notify: NotifySettings,
    /// `outpost`
    pub outpost: OutpostSettings,
    /// How many of the jobs stand in the file itself; the others come from `scrape_config_files`.
    own_jobs: usize,
    /// What is accepted but does less than its author may think, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong; never empty.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

impl Config {
    /// Reads a file and the files that it includes.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, &JobSettings::default())
    }

    /// The same; what neither a job nor `global` says is taken from `job_defaults`, which flags may change.
    pub fn load_with(path: &Path, job_defaults: &JobSettings) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse_with(&text, path, job_defaults)
    }

    /// Reads a configuration from its text. `path` names it in messages, and its folder is where relative paths start.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::parse_with(text, path, &JobSettings::default())
    }

    /// What runs when no file is given: this host, its containers and outpost itself, every 15 s.
    pub fn default_embedded() -> Self {
        Self::default_embedded_with(&JobSettings::default())
    }

    /// The same with other defaults for jobs.
    pub fn default_embedded_with(job_defaults: &JobSettings) -> Self {
        Self::parse_with(EMBEDDED, Path::new("(built in)"), job_defaults).expect("a test reads the embedded text")
    }

    fn parse_with(text: &str, path: &Path, job_defaults: &JobSettings) -> Result<Self, ConfigError> {
        top::read(text, path, job_defaults).map_err(ConfigError::Invalid)
    }
}

/// Reads a file that holds nothing but the keys of an HTTP client, as promtool's `--http.config.file`.
pub fn read_client_file(path: &Path) -> Result<ClientSettings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    top::read_client(&text, path).map_err(ConfigError::Invalid)
}

/// One problem a line.
struct Lines<'p>(&'p [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
