//! `query`: what is asked, and how the answer looks.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// A question to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The server's address, with its route prefix.
    pub server: String,
    /// What is asked.
    pub kind: QueryKind,
    /// `--format`; without it, what suits a terminal or a program.
    pub format: Option<QueryFormat>,
    /// `--http.config.file`: how to talk to the server, as in promtool.
    pub http_config: Option<PathBuf>,
}

/// What is asked. Times are as written: RFC 3339 or Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the command line")]
pub enum QueryKind {
    Instant { expr: String, time: Option<String> },
    Range { expr: String, start: Option<String>, end: Option<String>, step: Option<String> },
    Series { matches: Vec<String>, start: Option<String>, end: Option<String> },
    Labels { name: String, matches: Vec<String>, start: Option<String>, end: Option<String> },
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryFormat {
    /// As promtool prints results.
    Promql,
    /// The API's JSON.
    Json,
    /// Comma-separated values.
    Csv,
    /// A table.
    Table,
    /// A picture; of ranges alone.
    Plot,
}

/// The subcommand.
pub fn definition() -> clap::Command {
    let instant = sub("instant", "Evaluate an expression at one instant")
        .arg(text("time", "TIME", "The instant; by default now"))
        .arg(positional("expr", "EXPR"));
    let range = sub("range", "Evaluate an expression over a range")
        .args(range_arguments())
        .arg(text("step", "DURATION", "The distance of two points"))
        .arg(positional("expr", "EXPR"));
    let series = sub("series", "List series").args(range_arguments()).arg(selectors().required(true));
    let labels = sub("labels", "List the values of a label")
        .args(range_arguments())
        .arg(selectors())
        .arg(positional("name", "NAME"));
    clap::Command::new("query")
        .about("Ask a running outpost or Prometheus")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([instant, range, series, labels])
}

/// What the arguments ask for.
pub fn from_matches(matches: &ArgMatches) -> Result<Query, String> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err("query needs to know what to ask: instant, range, series, labels".to_owned());
    };
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let selectors = || matches.get_many::<String>("match").into_iter().flatten().cloned().collect();
    let needed = |name: &str| text(name).unwrap_or_default();
    let kind = match name {
        "instant" => QueryKind::Instant { expr: needed("expr"), time: text("time") },
        "range" => {
            QueryKind::Range { expr: needed("expr"), start: text("start"), end: text("end"), step: text("step") }
        }
        "series" => QueryKind::Series { matches: selectors(), start: text("start"), end: text("end") },
        _ => QueryKind::Labels { name: needed("name"), matches: selectors(), start: text("start"), end: text("end") },
    };
    let format = match text("format").as_deref() {
        Some("json") => Some(QueryFormat::Json),
        Some("csv") => Some(QueryFormat::Csv),
        Some("table") => Some(QueryFormat::Table),
        Some("plot") => Some(QueryFormat::Plot),
        Some(_) => Some(QueryFormat::Promql),
        None => None,
    };
    if format == Some(QueryFormat::Plot) && name != "range" {
        return Err(format!("--format=plot draws ranges: use query range, or another format for query {name}"));
    }
    let http_config = matches.get_one::<PathBuf>("http.config.file").cloned();
    Ok(Query { server: needed("server"), kind, format, http_config })
}

fn sub(name: &'static str, about: &'static str) -> clap::Command {
    let formats = clap::builder::PossibleValuesParser::new(["promql", "json", "csv", "table", "plot"]);
    clap::Command::new(name)
        .about(about)
        .arg(
            text(
                "format",
                "FORMAT",
                "How to print the answer [default: a table or a picture on a terminal, else promql]",
            )
            .short('o')
            .value_parser(formats),
        )
        .arg(http_config_argument())
        .arg(positional("server", "URL"))
}

/// `--http.config.file`
pub fn http_config_argument() -> Arg {
    let file = text("http.config.file", "FILE", "Authentication, TLS and proxy, as in a scrape job");
    file.value_parser(value_parser!(PathBuf))
}

fn range_arguments() -> [Arg; 2] {
    [text("start", "TIME", "The first time, RFC 3339 or Unix"), text("end", "TIME", "The last time, RFC 3339 or Unix")]
}

fn selectors() -> Arg {
    text("match", "SELECTOR", "Which series; may be repeated").action(ArgAction::Append)
}

fn text(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(what).help(help).allow_hyphen_values(true)
}

fn positional(name: &'static str, what: &'static str) -> Arg {
    Arg::new(name).value_name(what).required(true)
}
