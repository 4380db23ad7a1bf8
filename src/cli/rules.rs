//! `check rules`, `test rules`, and what `check config` shares with them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::commands::{files, files_argument, switch};
use super::features::Features;
use crate::promql;

/// `check rules`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRules {
    /// The files.
    pub files: Vec<PathBuf>,
    /// `--enable-feature`
    pub features: promql::Features,
    /// What is looked for besides mistakes.
    pub lints: RuleLints,
}

/// What is looked for in rule files besides mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleLints {
    /// `--lint=duplicate-rules`: rules that give the same series.
    pub duplicates: bool,
    /// `--lint-fatal`: whether what is found fails the check.
    pub are_fatal: bool,
}

/// `test rules`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRules {
    /// The files.
    pub files: Vec<PathBuf>,
    /// `--run`: patterns of the names of tests to run; all if there is none.
    pub run: Vec<String>,
    /// `--junit`: where to write the results as XML.
    pub junit: Option<PathBuf>,
    /// `--diff`
    pub shows_difference: bool,
    /// `--enable-feature`
    pub features: promql::Features,
}

/// `check rules`
pub fn check_definition() -> clap::Command {
    clap::Command::new("rules").about("Check rule files").args(lint_arguments()).arg(files_argument())
}

/// `test`
pub fn test_definition() -> clap::Command {
    let rules = clap::Command::new("rules")
        .about("Run unit tests of rules, in promtool's format")
        .arg(
            Arg::new("run")
                .long("run")
                .value_name("REGEX")
                .action(ArgAction::Append)
                .help("Only tests whose name matches; may be repeated"),
        )
        .arg(
            Arg::new("junit")
                .long("junit")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the results as JUnit XML too"),
        )
        .arg(switch("diff", "Of alerts, show what is missing and what is too much"))
        .arg(features_argument())
        .arg(files_argument());
    clap::Command::new("test")
        .about("Run unit tests")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(rules)
}

/// What `check rules` and `check config` take besides files.
pub fn lint_arguments() -> [Arg; 3] {
    let lints = clap::builder::PossibleValuesParser::new(["all", "duplicate-rules", "none"]);
    [
        Arg::new("lint")
            .long("lint")
            .value_name("LINT")
            .value_parser(lints)
            .help("What to look for besides mistakes [default: duplicate-rules]"),
        switch("lint-fatal", "Fail on what --lint finds"),
        features_argument(),
    ]
}

/// Reads `check rules`.
pub fn check_from_matches(matches: &ArgMatches) -> Result<CheckRules, String> {
    Ok(CheckRules { files: files(matches), features: features(matches)?, lints: lints(matches) })
}

/// Reads `test rules`.
pub fn test_from_matches(matches: &ArgMatches) -> Result<TestRules, String> {
    Ok(TestRules {
        files: files(matches),
        run: matches.get_many::<String>("run").into_iter().flatten().cloned().collect(),
        junit: matches.get_one::<PathBuf>("junit").cloned(),
        shows_difference: matches.get_flag("diff"),
        features: features(matches)?,
    })
}

/// Reads what [`lint_arguments`] gives.
pub fn lints(matches: &ArgMatches) -> RuleLints {
    let lint = matches.get_one::<String>("lint").map_or("duplicate-rules", String::as_str);
    RuleLints { duplicates: lint != "none", are_fatal: matches.get_flag("lint-fatal") }
}

/// Reads `--enable-feature`.
pub fn features(matches: &ArgMatches) -> Result<promql::Features, String> {
    let lists: Vec<String> = matches.get_many::<String>("enable-feature").into_iter().flatten().cloned().collect();
    Features::parse_promql(&lists)
}

fn features_argument() -> Arg {
    Arg::new("enable-feature")
        .long("enable-feature")
        .value_name("NAMES")
        .action(ArgAction::Append)
        .help("Features of the query language, separated by commas")
}
