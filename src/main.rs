//! The program: arguments in, exit code out; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    match outpost::cli::parse(std::env::args_os()) {
        Ok(command) => outpost::commands::run(command),
        Err(usage) => outpost::commands::show_usage(&usage),
    }
}
