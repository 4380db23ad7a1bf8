//! `outpost check web-config`: files for `--web.config.file`, with the certificates and keys that they name.

use std::path::{Path, PathBuf};

use super::{print, print_error};
use crate::config::{ConfigError, read_web_file};
use crate::http::check_web_settings;

/// Whether all files are good.
pub fn run(files: &[PathBuf]) -> bool {
    let results: Vec<bool> = files.iter().map(|path| check_file(path)).collect();
    results.iter().all(|is_good| *is_good)
}

fn check_file(path: &Path) -> bool {
    match checked(path) {
        Ok(warnings) => {
            print(&format!("{warnings}{} SUCCESS\n", path.display()));
            true
        }
        Err(reason) => {
            print_error(&format!("{} FAILED: {reason}\n", path.display()));
            false
        }
    }
}

fn checked(path: &Path) -> Result<String, String> {
    let web = read_web_file(path).map_err(|error| match &error {
        ConfigError::Unreadable { source, .. } => source.to_string(),
        ConfigError::Invalid(_) => error.to_string(),
    })?;
    check_web_settings(&web.settings)?;
    Ok(web.warnings.iter().map(|warning| format!("WARNING: {warning}\n")).collect())
}
