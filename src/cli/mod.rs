//! The command line: words become a [`Command`]; nothing is read, opened or looked up here.
//!
//! `outpost` without a subcommand runs the server with Prometheus's own flag names (`flags.rs`). Exit codes, for all
//! commands: [`EXIT_OK`], [`EXIT_FAILED`], [`EXIT_USAGE`].

mod commands;
mod doctor;
mod features;
mod flags;
mod query;
mod rules;
mod run;
mod store;

use std::ffi::OsString;

pub use commands::{CheckConfig, Command};
pub use doctor::Doctor;
pub use features::Features;
pub use query::{Query, QueryFormat, QueryKind};
pub use rules::{CheckRules, RuleLints, TestRules};
pub use run::RunOptions;
pub use store::{Export, StoreTask, StoreTaskKind};

/// All is well.
pub const EXIT_OK: u8 = 0;
/// A check failed, or the run ended in an error.
pub const EXIT_FAILED: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;

/// A command line that names no command: a mistake, or a wish for help or the version.
#[derive(Debug)]
pub struct Usage {
    /// What to print.
    pub text: String,
    /// [`EXIT_OK`] for help and version, then to print on standard output, else [`EXIT_USAGE`].
    pub exit_code: u8,
}

/// Reads the arguments, the program's name first.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Usage> {
    let matches = commands::definition().try_get_matches_from(arguments).map_err(|error| {
        let exit_code = if error.use_stderr() { EXIT_USAGE } else { EXIT_OK };
        Usage { text: error.to_string(), exit_code }
    })?;
    commands::from_matches(&matches).map_err(|message| Usage {
        text: format!("error: {message}\n\nFor more information, try '--help'.\n"),
        exit_code: EXIT_USAGE,
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::*;
    use crate::logging::{LogFormat, LogLevel};

    fn parsed(line: &str) -> Result<Command, Usage> {
        parse(std::iter::once("outpost").chain(line.split_whitespace()).map(OsString::from))
    }

    fn run(line: &str) -> RunOptions {
        match parsed(line) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let options = run("");
        assert_eq!(options.config_file, None);
        assert_eq!(options.storage_path, Path::new("data/"));
        assert_eq!(options.retention_time, Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(options.retention_bytes, None);
        assert_eq!(options.listen_addresses, ["0.0.0.0:9090"]);
        assert_eq!(options.lookback_delta, Duration::from_secs(300));
        assert_eq!(options.query_timeout, Duration::from_secs(120));
        assert_eq!((options.query_samples_max, options.query_concurrency_max), (50_000_000, 20));
        assert_eq!(options.route_prefix, "/");
        assert!(!options.enable_lifecycle && !options.enable_admin_api);
        assert_eq!(options.warnings, Vec::<String>::new());
        assert_eq!(options.flags["query.timeout"], "2m");
        assert_eq!(options.flags["storage.tsdb.retention.time"], "30d");
    }

    #[test]
    fn both_notations_and_switches() {
        let options = run("--config.file=a.yml --storage.path b --web.enable-lifecycle --no-web.enable-admin-api \
                           --web.listen-address=:1 --web.listen-address :2 --log.level=debug --log.format json");
        assert_eq!(options.config_file, Some(PathBuf::from("a.yml")));
        assert_eq!(options.storage_path, Path::new("b"));
        assert!(options.enable_lifecycle && !options.enable_admin_api);
        assert_eq!(options.listen_addresses, [":1", ":2"]);
        assert_eq!((options.log_level, options.log_format), (LogLevel::Debug, LogFormat::Json));
        assert!(!run("--web.enable-lifecycle --no-web.enable-lifecycle").enable_lifecycle);
        assert_eq!(run("--storage.tsdb.path=x").storage_path, Path::new("x"));
        assert_eq!(run("--query.timeout=1m --query.timeout=3m").query_timeout, Duration::from_secs(180));
    }

    #[test]
    fn retention_by_size_alone_has_no_time() {
        let options = run("--storage.tsdb.retention.size=2GB");
        assert_eq!((options.retention_time, options.retention_bytes), (None, Some(2 << 30)));
        let both = run("--storage.tsdb.retention.size=512MB --storage.tsdb.retention.time=1w");
        assert_eq!(both.retention_time, Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(run("--storage.tsdb.retention.time=0").retention_time, Some(Duration::from_secs(30 * 86_400)));
    }

    #[test]
    fn route_prefix_follows_the_external_url() {
        let cases = [
            ("--web.external-url=https://h.example/garage/", "/garage"),
            ("--web.external-url=https://h.example", "/"),
            ("--web.external-url=https://h.example/a --web.route-prefix=b/", "/b"),
            ("--web.external-url=https://h.example/a --web.route-prefix=/", "/"),
        ];
        for (line, expected) in cases {
            assert_eq!(run(line).route_prefix, expected, "{line}");
        }
    }

    #[test]
    fn features_are_told_apart() {
        let options = run("--enable-feature=promql-experimental-functions,extra-scrape-metrics \
                           --enable-feature=exemplar-storage,nonsense");
        assert!(options.features.promql.experimental_functions && options.features.extra_scrape_metrics);
        assert_eq!(options.warnings.len(), 2, "{:?}", options.warnings);
        assert!(options.warnings[0].contains("exemplar-storage") && options.warnings[1].contains("nonsense"));
        assert!(options.features.job_defaults().extra_metrics);
    }

    #[test]
    fn foreign_flags_are_one_warning_each() {
        let options = run("--storage.tsdb.no-lockfile --web.console.templates=x --storage.remote.flush-deadline 1m");
        assert_eq!(options.warnings.len(), 3, "{:?}", options.warnings);
        assert!(options.warnings.iter().any(|warning| warning.contains("--web.console.templates")));
    }

    #[test]
    fn mistakes_are_exit_code_2() {
        let cases = [
            ("--no.such.flag", "--no.such.flag"),
            ("--config.fil=x", "--config.file"),
            ("--query.timeout=5", "--query.timeout"),
            ("--storage.tsdb.retention.size=5", "--storage.tsdb.retention.size"),
            ("--storage.tsdb.retention.size=1MB", "16MB is the least"),
            ("--log.level=loud", "loud"),
            ("--query.max-samples=many", "--query.max-samples"),
            ("--web.external-url=nonsense", "--web.external-url"),
            ("stray", "stray"),
            ("check", "config"),
            ("check config", "FILE"),
            ("check rules --lint=some a.yml", "duplicate-rules"),
            ("test rules", "FILE"),
            ("store", "verify"),
            ("store stats", "PATH"),
            ("store import data", "FILE"),
            ("store export data --nonsense", "nonsense"),
            ("test rules --enable-feature=nonsense a.yml", "nonsense"),
        ];
        for (line, word) in cases {
            let usage = parsed(line).expect_err(line);
            assert_eq!(usage.exit_code, EXIT_USAGE, "{line}");
            assert!(usage.text.contains(word), "{line}: {}", usage.text);
        }
    }

    #[test]
    fn help_and_version_are_exit_code_0() {
        for line in ["--help", "-h", "--version", "check config --help"] {
            let usage = parsed(line).expect_err(line);
            assert_eq!(usage.exit_code, EXIT_OK, "{line}");
            assert!(usage.text.contains("outpost"), "{line}: {}", usage.text);
        }
    }

    #[test]
    fn health_has_a_usual_place_to_ask() {
        match (parsed("health"), parsed("health --url http://x:1/p --insecure")) {
            (
                Ok(Command::Health { url, insecure: false, .. }),
                Ok(Command::Health { url: other, insecure: true, .. }),
            ) => {
                assert_eq!((url.as_str(), other.as_str()), ("http://127.0.0.1:9090", "http://x:1/p"));
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }

    #[test]
    fn queries_take_a_server_and_a_question() {
        match parsed("query range --start=-5 --step 1m -o json http://x:1 up") {
            Ok(Command::Query(query)) => {
                assert_eq!((query.server.as_str(), query.format), ("http://x:1", Some(QueryFormat::Json)));
                let (start, step) = (Some("-5".to_owned()), Some("1m".to_owned()));
                assert_eq!(query.kind, QueryKind::Range { expr: "up".to_owned(), start, end: None, step });
            }
            other => panic!("{other:?}"),
        }
        for bad in ["query", "query instant", "query instant http://x", "query series http://x", "query x -o xml"] {
            assert_eq!(parsed(bad).expect_err(bad).exit_code, EXIT_USAGE, "{bad}");
        }
    }

    #[test]
    fn checks_take_files() {
        match parsed("test rules --run a --run b --junit=x.xml --enable-feature=promql-duration-expr t.yml") {
            Ok(Command::TestRules(test)) => {
                assert_eq!((test.run.len(), test.junit), (2, Some(PathBuf::from("x.xml"))));
                assert!(test.features.duration_expressions && !test.features.experimental_functions);
            }
            other => panic!("{other:?}"),
        }
        match parsed("check rules --lint=none --lint-fatal r.yml") {
            Ok(Command::CheckRules(CheckRules { lints, .. })) => assert!(!lints.duplicates && lints.are_fatal),
            other => panic!("{other:?}"),
        }
        match parsed("check config a.yml b.yml --syntax-only") {
            Ok(Command::CheckConfig(check)) => {
                assert_eq!(check.files, [PathBuf::from("a.yml"), PathBuf::from("b.yml")]);
                assert!(check.syntax_only);
            }
            other => panic!("{other:?}"),
        }
    }
}
