//! `outpost doctor`: the server's flags, where the host's files are, and how to tell.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};

use super::flags;
use super::run::RunOptions;

/// What an installed service runs with, where no flag says otherwise.
const INSTALLED_CONFIG: &str = "/etc/outpost/outpost.yml";
const INSTALLED_STORE: &str = "/var/lib/outpost";

/// `doctor`
#[derive(Clone, Debug, PartialEq)]
pub struct Doctor {
    /// The server's flags, which say what is looked at.
    pub options: Box<RunOptions>,
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
            "Takes the server's flags too. Without --config.file and --storage.path those of the installed service are \
             looked at (/etc/outpost/outpost.yml, /var/lib/outpost), if they are there.\n\
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
    let mut options = RunOptions::from_matches(matches)?;
    if options.config_file.is_none() && Path::new(INSTALLED_CONFIG).exists() {
        options.config_file = Some(INSTALLED_CONFIG.into());
    }
    let is_given = |name: &str| flags::given(matches, name).is_some();
    if !is_given("storage.path") && !is_given("storage.tsdb.path") && Path::new(INSTALLED_STORE).exists() {
        options.storage_path = INSTALLED_STORE.into();
    }
    let as_json = matches.get_one::<String>("format").is_some_and(|format| format == "json");
    Ok(Doctor {
        options: Box::new(options),
        procfs: path("path.procfs"),
        sysfs: path("path.sysfs"),
        rootfs: path("path.rootfs"),
        as_json,
    })
}
