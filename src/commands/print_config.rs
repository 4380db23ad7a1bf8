//! `outpost print-config`: the configuration in force, with all defaults and without secrets.

use super::{print, print_error};
use crate::cli::RunOptions;
use crate::config::{Config, ConfigError};

/// Whether there is a configuration to show.
pub fn run(options: &RunOptions) -> bool {
    let defaults = options.features.job_defaults();
    let config = match &options.config_file {
        Some(path) => Config::load_with(path, &defaults),
        None => Ok(Config::default_embedded_with(&defaults)),
    };
    match config {
        Ok(config) => {
            print(&config.to_yaml());
            true
        }
        Err(error) => {
            print_error(&format!("error: {error}\n"));
            if let ConfigError::Unreadable { source, .. } = &error {
                print_error(&format!("  {source}\n"));
            }
            false
        }
    }
}
