//! `store`: what to do with a store that lies in a folder.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// A task for a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreTask {
    /// The store's folder.
    pub path: PathBuf,
    /// What to do with it.
    pub kind: StoreTaskKind,
}

/// What to do. Times are as written: RFC 3339 or Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the command line")]
pub enum StoreTaskKind {
    Stats,
    Verify,
    Export(Export),
    Import { file: PathBuf },
    Backup { folder: PathBuf },
    Repair,
}

/// What to export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// `--match`: selectors; none means everything.
    pub matches: Vec<String>,
    /// `--start`
    pub start: Option<String>,
    /// `--end`
    pub end: Option<String>,
    /// `--output`: a file instead of standard output.
    pub output: Option<PathBuf>,
}

/// The subcommand.
pub fn definition() -> clap::Command {
    let export = sub("export", "Write samples as OpenMetrics text, as `promtool tsdb dump-openmetrics` does")
        .arg(text("match", "SELECTOR", "Which series; may be repeated").action(ArgAction::Append))
        .arg(text("start", "TIME", "The first time, RFC 3339 or Unix"))
        .arg(text("end", "TIME", "The last time, RFC 3339 or Unix"))
        .arg(text("output", "FILE", "A new file instead of standard output").value_parser(value_parser!(PathBuf)));
    let import = sub("import", "Take samples from OpenMetrics text; goes on where it was stopped")
        .arg(path("file", "FILE").help("What `store export` or `promtool tsdb dump-openmetrics` wrote"));
    let backup = sub("backup", "Copy a store, also while a server uses it, and verify the copy")
        .arg(path("folder", "FOLDER").help("A folder that does not exist yet"));
    clap::Command::new("store")
        .about("Look into a store, check, copy, export, import or repair it")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            sub("stats", "Show who takes the room, and how long it lasts"),
            sub("verify", "Check every checksum"),
            export,
            import,
            backup,
            sub("repair", "Set aside what is damaged and keep everything else"),
        ])
}

/// What the arguments ask for.
pub fn from_matches(matches: &ArgMatches) -> Result<StoreTask, String> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err("store needs to know what to do: stats, verify, export, import, backup, repair".to_owned());
    };
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let kind = match name {
        "stats" => StoreTaskKind::Stats,
        "verify" => StoreTaskKind::Verify,
        "export" => StoreTaskKind::Export(Export {
            matches: matches.get_many::<String>("match").into_iter().flatten().cloned().collect(),
            start: text("start"),
            end: text("end"),
            output: path("output"),
        }),
        "import" => StoreTaskKind::Import { file: path("file").unwrap_or_default() },
        "backup" => StoreTaskKind::Backup { folder: path("folder").unwrap_or_default() },
        _ => StoreTaskKind::Repair,
    };
    Ok(StoreTask { path: path("path").unwrap_or_default(), kind })
}

fn sub(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name).about(about).arg(path("path", "PATH").help("The store's folder (--storage.path)"))
}

fn text(name: &'static str, what: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(what).help(help).allow_hyphen_values(true)
}

fn path(name: &'static str, what: &'static str) -> Arg {
    Arg::new(name).value_name(what).required(true).value_parser(value_parser!(PathBuf))
}
