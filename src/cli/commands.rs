//! The subcommands and what they take.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::doctor::{self, Doctor};
use super::flags;
use super::query::{self, Query};
use super::rules::{self, CheckRules, RuleLints, TestRules};
use super::run::RunOptions;
use super::store::{self, StoreTask};
use crate::promql;

/// Whom `health` asks.
const HEALTH_URL: &str = "http://127.0.0.1:9090";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Run the server.
    Run(Box<RunOptions>),
    /// `check config`
    CheckConfig(CheckConfig),
    /// `check rules`
    CheckRules(CheckRules),
    /// `test rules`
    TestRules(TestRules),
    /// `check metrics`: the page is on standard input.
    CheckMetrics {
        /// `--extended`: show how many series each family has.
        extended: bool,
    },
    /// `check federation`
    CheckFederation {
        /// A central, or the `/federate` of a site.
        url: String,
        /// `--http.config.file`: how to talk to it.
        http_config: Option<PathBuf>,
    },
    /// `check web-config`
    CheckWebConfig {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// `health`: ask a server whether it is well.
    Health {
        /// `--url`: the server, with its route prefix.
        url: String,
        /// `--http.config.file`: how to talk to the server.
        http_config: Option<PathBuf>,
        /// `--insecure`: do not verify its certificate.
        insecure: bool,
    },
    /// `doctor`: look for what is wrong with this box.
    Doctor(Doctor),
    /// `query`: ask a server.
    Query(Query),
    /// `store`: what to do with a store in a folder.
    Store(StoreTask),
    /// `print-config`: show what is in force with these flags.
    PrintConfig(Box<RunOptions>),
}

/// `check config`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckConfig {
    /// The files.
    pub files: Vec<PathBuf>,
    /// `--syntax-only`: leave the files alone that they name.
    pub syntax_only: bool,
    /// `--enable-feature`, for the rule files.
    pub features: promql::Features,
    /// `--lint`, for the rule files.
    pub lints: RuleLints,
}

/// The whole command line.
pub fn definition() -> clap::Command {
    let version = concat!("version ", env!("CARGO_PKG_VERSION"));
    clap::Command::new("outpost")
        .version(version)
        .about("Prometheus for one site: scrapes, keeps, alerts and federates")
        .after_help("Exit codes: 0 fine, 1 a check failed or the run ended in an error, 2 wrong usage.")
        .args_override_self(true)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .args(flags::arguments())
        .subcommand(check())
        .subcommand(rules::test_definition())
        .subcommand(print_config())
        .subcommand(health())
        .subcommand(doctor::definition())
        .subcommand(query::definition())
        .subcommand(store::definition())
}

/// What the arguments ask for.
pub fn from_matches(matches: &ArgMatches) -> Result<Command, String> {
    match matches.subcommand() {
        Some(("check", check)) => match check.subcommand() {
            Some(("config", config)) => Ok(Command::CheckConfig(CheckConfig {
                files: files(config),
                syntax_only: config.get_flag("syntax-only"),
                features: rules::features(config)?,
                lints: rules::lints(config),
            })),
            Some(("rules", rules)) => Ok(Command::CheckRules(rules::check_from_matches(rules)?)),
            Some(("metrics", metrics)) => Ok(Command::CheckMetrics { extended: metrics.get_flag("extended") }),
            Some(("federation", federation)) => Ok(Command::CheckFederation {
                url: federation.get_one::<String>("url").cloned().unwrap_or_default(),
                http_config: federation.get_one::<PathBuf>("http.config.file").cloned(),
            }),
            Some(("web-config", web)) => Ok(Command::CheckWebConfig { files: files(web) }),
            _ => Err("check needs to know what to check: config, rules, metrics, federation, web-config".to_owned()),
        },
        Some(("test", test)) => match test.subcommand() {
            Some(("rules", rules)) => Ok(Command::TestRules(rules::test_from_matches(rules)?)),
            _ => Err("test needs to know what to test: rules".to_owned()),
        },
        Some(("health", health)) => {
            let url = health.get_one::<String>("url").map_or(HEALTH_URL, String::as_str).to_owned();
            let http_config = health.get_one::<PathBuf>("http.config.file").cloned();
            Ok(Command::Health { url, http_config, insecure: health.get_flag("insecure") })
        }
        Some(("doctor", matches)) => Ok(Command::Doctor(doctor::from_matches(matches)?)),
        Some(("query", matches)) => Ok(Command::Query(query::from_matches(matches)?)),
        Some(("store", matches)) => Ok(Command::Store(store::from_matches(matches)?)),
        Some(("print-config", flags)) => Ok(Command::PrintConfig(Box::new(RunOptions::from_matches(flags)?))),
        _ => Ok(Command::Run(Box::new(RunOptions::from_matches(matches)?))),
    }
}

fn check() -> clap::Command {
    let config = clap::Command::new("config")
        .about("Check configurations and the files that they name")
        .arg(switch("syntax-only", "Leave the files alone that they name"))
        .args(rules::lint_arguments())
        .arg(files_argument());
    let metrics = clap::Command::new("metrics")
        .about("Check a page of metrics on standard input")
        .arg(switch("extended", "Show how many series each family has"));
    let web = clap::Command::new("web-config").about("Check files for --web.config.file").arg(files_argument());
    let federation = clap::Command::new("federation")
        .about("Check a central Prometheus's settings, or what a site's /federate gives")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("http://CENTRAL:9090 or http://SITE:9090/federate?match[]=…"),
        )
        .arg(query::http_config_argument());
    clap::Command::new("check")
        .about("Check files before they are used")
        .subcommand_required(true)
        .arg_required_else_help(false)
        .disable_help_subcommand(true)
        .subcommand(config)
        .subcommand(rules::check_definition())
        .subcommand(metrics)
        .subcommand(federation)
        .subcommand(web)
}

fn health() -> clap::Command {
    clap::Command::new("health")
        .about("Ask a running outpost whether it is well; for container health checks")
        .arg(Arg::new("url").long("url").value_name("URL").help(format!("Its address [default: {HEALTH_URL}]")))
        .arg(query::http_config_argument())
        .arg(switch("insecure", "Do not verify its certificate"))
}

/// A switch without a negative form.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn print_config() -> clap::Command {
    clap::Command::new("print-config")
        .about("Show the configuration in force, with all defaults and without secrets")
        .args_override_self(true)
        .args(flags::arguments().into_iter().map(|arg| arg.hide(true)))
}

/// One or more files.
pub fn files_argument() -> Arg {
    Arg::new("files").value_name("FILE").num_args(1..).required(true).value_parser(value_parser!(PathBuf))
}

/// The files that [`files_argument`] gives.
pub fn files(matches: &ArgMatches) -> Vec<PathBuf> {
    matches.get_many::<PathBuf>("files").into_iter().flatten().cloned().collect()
}
