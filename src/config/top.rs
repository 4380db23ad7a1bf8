//! The document's top: which sections there are, and the files it includes.

use std::path::{Path, PathBuf};

use super::paths::Folder;
use super::{Config, GlobalSettings, alerting, client, global, job, outpost, remote, unsupported};
use crate::client::ClientSettings;
use crate::glob::glob;
use crate::scrape::JobSettings;
use crate::yaml::{self, Field, Position, Problem, Report, Section};

/// Reads the main file; gives the problems of all files, in their order.
pub fn read(text: &str, path: &Path, job_defaults: &JobSettings) -> Result<Config, Vec<Problem>> {
    let document = parse(text, path)?;
    let folder = Folder::of(path);
    let report = Report::new(path.display().to_string());
    let mut config = sections(report.root(&document).section(), job_defaults, &folder);
    let (mut problems, warnings) = report.into_parts();
    config.warnings = warnings;
    read_included(&mut config, path, &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Reads a file of client keys.
pub fn read_client(text: &str, path: &Path) -> Result<ClientSettings, Vec<Problem>> {
    let document = parse(text, path)?;
    let report = Report::new(path.display().to_string());
    let section = report.root(&document).section();
    let settings = client::read(&section, &Folder::of(path));
    section.finish(|_| None);
    let (problems, _) = report.into_parts();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn parse(text: &str, path: &Path) -> Result<yaml::Node, Vec<Problem>> {
    yaml::parse(text).map_err(|error| {
        let file = path.display().to_string();
        vec![Problem { file, at: error.at, path: String::new(), message: error.message }]
    })
}

fn sections(top: Section<'_>, job_defaults: &JobSettings, folder: &Folder) -> Config {
    let global = global::read(top.get("global"), job_defaults);
    let jobs = jobs(&top, &global, folder);
    let rule_patterns = patterns(&top, "rule_files", folder);
    let config = Config {
        own_jobs: jobs.len(),
        jobs,
        rule_files: existing(&rule_patterns),
        rule_patterns: rule_patterns.into_iter().map(|(_, path)| path).collect(),
        scrape_config_patterns: patterns(&top, "scrape_config_files", folder)
            .into_iter()
            .map(|(_, path)| path)
            .collect(),
        notify: top.get("alerting").map(|field| alerting::read(&field, folder)).unwrap_or_default(),
        outpost: top.get("outpost").map(|field| outpost::read(&field)).unwrap_or_default(),
        global,
        warnings: Vec::new(),
    };
    remote::read_writes(&top.items("remote_write"), folder);
    unsupported::read_storage(top.get("storage"));
    unsupported::read_runtime(top.get("runtime"));
    top.pass_empty(&unsupported::TOP_LEVEL);
    top.finish(unsupported::top_level);
    config
}

fn jobs(top: &Section<'_>, global: &GlobalSettings, folder: &Folder) -> Vec<JobSettings> {
    let mut jobs: Vec<JobSettings> = Vec::new();
    for field in top.items("scrape_configs") {
        let Some(job) = job::read(&field, &global.job_defaults, folder) else { continue };
        if jobs.iter().any(|other| other.job_name == job.job_name) {
            field.problem(format!("a second job with job_name {:?}; give each its own", job.job_name));
        }
        jobs.push(job);
    }
    jobs
}

/// Paths that may end in a pattern: a `*` only in the last part, as in Prometheus.
fn patterns<'d>(top: &Section<'d>, key: &'static str, folder: &Folder) -> Vec<(Field<'d>, PathBuf)> {
    let mut paths = Vec::new();
    for field in top.items(key) {
        let Some(text) = field.text() else { continue };
        match text.split_once('*') {
            Some((_, rest)) if rest.contains('/') => {
                field.problem(format!("{text:?}: a `*` may stand only in the last part of a path"));
            }
            _ => paths.push((field, folder.join(&text))),
        }
    }
    paths
}

fn existing(patterns: &[(Field<'_>, PathBuf)]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (field, pattern) in patterns {
        match glob(pattern) {
            Ok(found) => {
                if found.is_empty() {
                    field.warning(format!("no file matches {}", pattern.display()));
                }
                for file in found {
                    if !files.contains(&file) {
                        files.push(file);
                    }
                }
            }
            Err(error) => field.problem(error.to_string()),
        }
    }
    files
}

fn read_included(config: &mut Config, main: &Path, problems: &mut Vec<Problem>) {
    let mut origins: Vec<PathBuf> = config.jobs.iter().map(|_| main.to_owned()).collect();
    for pattern in config.scrape_config_patterns.clone() {
        let files = match glob(&pattern) {
            Ok(files) => files,
            Err(error) => {
                problems.push(whole_file(main, format!("scrape_config_files: {error}")));
                continue;
            }
        };
        for file in files {
            match included_jobs(&file, config, &mut origins) {
                Ok(warnings) => config.warnings.extend(warnings),
                Err(found) => problems.extend(found),
            }
        }
    }
}

/// Adds the jobs of one included file; gives its warnings.
fn included_jobs(path: &Path, config: &mut Config, origins: &mut Vec<PathBuf>) -> Result<Vec<Problem>, Vec<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![whole_file(path, format!("this included file cannot be read: {error}"))])?;
    let document = parse(&text, path)?;
    let report = Report::new(path.display().to_string());
    let top = report.root(&document).section();
    let folder = Folder::of(path);
    for field in top.items("scrape_configs") {
        let Some(job) = job::read(&field, &config.global.job_defaults, &folder) else { continue };
        if let Some(index) = config.jobs.iter().position(|other| other.job_name == job.job_name) {
            let first = origins[index].display();
            field.problem(format!("a second job with job_name {:?}; the first is in {first}", job.job_name));
        }
        config.jobs.push(job);
        origins.push(path.to_owned());
    }
    top.finish(|_| Some("only `scrape_configs` may stand in a file that scrape_config_files includes".to_owned()));
    let (problems, warnings) = report.into_parts();
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

fn whole_file(path: &Path, message: String) -> Problem {
    let at = Position { line: 1, column: 1 };
    Problem { file: path.display().to_string(), at, path: String::new(), message }
}
