//! What each subcommand does: it calls the library, prints, and gives an exit code (see [`crate::cli`]).

mod ask;
mod check_config;
mod check_federation;
mod check_metrics;
mod check_web_config;
mod doctor;
mod finding;
mod health;
mod print_config;
mod query;
mod rules;
mod run;
mod store;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::model::Timestamp;

use crate::cli::{Command, EXIT_FAILED, EXIT_OK, EXIT_USAGE, Usage};

/// Runs a command to its end.
pub fn run(command: Command) -> ExitCode {
    let is_good = match command {
        Command::CheckConfig(check) => check_config::run(&check),
        Command::CheckMetrics { extended } => check_metrics::run(extended),
        Command::CheckFederation { url, http_config } => check_federation::run(&url, http_config.as_deref()),
        Command::CheckWebConfig { files } => check_web_config::run(&files),
        Command::Health { url, http_config, insecure } => health::run(&url, http_config.as_deref(), insecure),
        Command::CheckRules(check) => rules::check(&check),
        Command::TestRules(test) => rules::test(&test),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Query(query) => query::run(&query),
        Command::Store(task) => store::run(&task),
        Command::PrintConfig(options) => print_config::run(&options),
        Command::Run(options) => run::run(*options),
    };
    ExitCode::from(if is_good { EXIT_OK } else { EXIT_FAILED })
}

/// Shows help, the version or what is wrong with the command line.
pub fn show_usage(usage: &Usage) -> ExitCode {
    if usage.exit_code == EXIT_USAGE {
        print_error(&usage.text)
    } else {
        print(&usage.text)
    }
    ExitCode::from(usage.exit_code)
}

/// Writes to standard output. A reader that has gone away is no error: `outpost … | head` is ordinary.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes to standard error.
fn print_error(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// A time on the command line: RFC 3339 or Unix seconds.
fn time_of(text: &str) -> Result<Timestamp, String> {
    query::parse_time(text)
}

/// Says what went wrong; gives the outcome of a command that failed.
fn fail(message: &str) -> bool {
    print_error(&format!("error: {message}\n"));
    false
}
