//! `outpost` without a subcommand: the server.

use std::time::Duration;

use tokio::runtime::Builder;

use super::{print, print_error};
use crate::app::App;
use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::logging;

/// Threads for what blocks: queries, rules, collectors, the store's reads. They end when idle.
const BLOCKING_THREADS_MAX: usize = 32;
/// How long such a thread waits for work: longer than from one collection to the next, so that it need not be made anew
/// for each.
const BLOCKING_THREAD_IDLE: Duration = Duration::from_secs(65);

/// Runs the server; whether it started and ended well.
pub fn run(options: RunOptions) -> bool {
    let clock = Clock::system();
    logging::init(options.log_level, options.log_format, clock.clone());
    for warning in &options.warnings {
        tracing::warn!("{warning}");
    }
    // One thread for the event loop: it only waits, and what works has threads of its own.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_THREAD_IDLE)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("error: the event loop cannot be started: {error}\n"));
            return false;
        }
    };
    let outcome = runtime.block_on(async {
        let app = App::build(options, clock).await?;
        print(app.screen());
        app.run().await
    });
    // Threads that hang on a dead disk or mount must not keep the process alive.
    runtime.shutdown_background();
    if let Err(error) = &outcome {
        print_error(&format!("error: {error:#}\n"));
    }
    outcome.is_ok()
}
