//! `outpost doctor`: the server's flags, where the host's files are, and how to tell.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, value_parser};

use super::flags;
use super::run::RunOptions;

/// `doctor`
#[derive(Clone, Debug, PartialEq)]
pub struct Doctor {
    /// The server's flags, which say what is looked at.
    pub options: Box<RunOptions>,
    /// Whether any of them is given: else those of the installed service count.
    pub has_flags: bool,
    /// Whether `--storage.path` is given.
    pub has_storage_path: bool,
    /// `--path.procfs`
    pub procfs: PathBuf,
    /// `--path.sysfs`
    pub sysfs: PathBuf,
    /// `--path.rootfs`
    pub rootfs: PathBuf,
    /// `-o json`
    pub as_json: bool,
}

/// Its arguments.
pub fn definition() -> clap::Command {
    let path = |name: &'static str, help: &'static str, usual: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("FOLDER")
            .help(help)
            .default_value(usual)
            .value_parser(value_parser!(PathBuf))
    };
    clap::Command::new("doctor")
        .about("Look for what is wrong with this box: clock, power, disk, containers, configuration, access")
        .after_help(
            "Takes the server's flags too; without any, those of the installed service (OUTPOST_OPTS in /etc/default/outpost). \
             Without --config.file and --storage.path /etc/outpost/outpost.yml and /var/lib/outpost are looked at, if they \
             are there.\n\
             Exit codes: 0 nothing to mend (warnings may be shown), 1 something to mend, 2 wrong usage.",
        )
        .args_override_self(true)
        .arg(path("path.procfs", "Where the host's /proc is", "/proc"))
        .arg(path("path.sysfs", "Where the host's /sys is", "/sys"))
        .arg(path("path.rootfs", "Where the host's / is", "/"))
        .arg(
            Arg::new("format")
                .long("format")
                .short('o')
                .value_name("FORMAT")
                .help("text or json")
                .default_value("text")
                .value_parser(clap::builder::PossibleValuesParser::new(["text", "json"])),
        )
        .args(flags::arguments().into_iter().map(|arg| arg.hide(true)))
}

/// What the arguments ask for.
pub fn from_matches(matches: &ArgMatches) -> Result<Doctor, String> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let as_json = matches.get_one::<String>("format").is_some_and(|format| format == "json");
    Ok(Doctor {
        options: Box::new(RunOptions::from_matches(matches)?),
        has_flags: flags::any_given(matches),
        has_storage_path: flags::given(matches, "storage.path").is_some(),
        procfs: path("path.procfs"),
        sysfs: path("path.sysfs"),
        rootfs: path("path.rootfs"),
        as_json,
    })
}
