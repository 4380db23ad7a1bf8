//! What the server is told by its flags, as types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;

use super::features::Features;
use super::flags;
use crate::config::parse_size;
use crate::logging::{LogFormat, LogLevel};
use crate::model::{AnchoredRegex, format_duration, parse_duration};
use crate::store::StoreSettings;

/// Shortest interval at which the configuration file is looked at.
const RELOAD_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// All flags of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// `--config.file`; without it the built-in configuration.
    pub config_file: Option<PathBuf>,
    /// `--enable-feature=auto-reload-config` with `--config.auto-reload-interval`: how often the file is looked at.
    pub auto_reload_interval: Option<Duration>,
    /// `--storage.path`
    pub storage_path: PathBuf,
    /// `--storage.tsdb.retention.time`; `None` if only the size bounds the store.
    pub retention_time: Option<Duration>,
    /// `--storage.tsdb.retention.size`
    pub retention_bytes: Option<u64>,
    /// `--web.listen-address`
    pub listen_addresses: Vec<String>,
    /// `--web.config.file`
    pub web_config_file: Option<PathBuf>,
    /// `--web.external-url`, without a slash at its end.
    pub external_url: Option<String>,
    /// `--web.route-prefix`, or the path of the external URL: `/`, or a path without a slash at its end.
    pub route_prefix: String,
    /// `--web.cors.origin`
    pub cors_origin: Option<AnchoredRegex>,
    /// `--web.max-connections`
    pub connections_max: usize,
    /// `--web.enable-lifecycle`
    pub enable_lifecycle: bool,
    /// `--web.enable-admin-api`
    pub enable_admin_api: bool,
    /// `--query.lookback-delta`
    pub lookback_delta: Duration,
    /// `--query.timeout`
    pub query_timeout: Duration,
    /// `--query.max-samples`
    pub query_samples_max: u64,
    /// `--query.max-concurrency`
    pub query_concurrency_max: usize,
    /// `--rules.alert.for-outage-tolerance`
    pub outage_tolerance: Duration,
    /// `--rules.alert.for-grace-period`
    pub grace_period: Duration,
    /// `--rules.alert.resend-delay`
    pub resend_delay: Duration,
    /// `--enable-feature`
    pub features: Features,
    /// `--log.level`
    pub log_level: LogLevel,
    /// `--log.format`
    pub log_format: LogFormat,
    /// Name and value of every flag, as `/api/v1/status/flags` shows them.
    pub flags: BTreeMap<String, String>,
    /// Flags and features that are given without effect; to be logged.
    pub warnings: Vec<String>,
}

impl RunOptions {
    /// Reads the server's flags.
    pub fn from_matches(matches: &ArgMatches) -> Result<Self, String> {
        let mut warnings: Vec<String> = flags::foreign_given(matches)
            .into_iter()
            .map(|name| format!("flag --{name} has no effect here and is ignored"))
            .collect();
        let features = Features::parse(&flags::values_of(matches, "enable-feature"), &mut warnings);
        let external_url = external_url(matches)?;
        let mut options = Self {
            config_file: path(matches, "config.file"),
            auto_reload_interval: auto_reload(matches, features)?,
            storage_path: flags::value_of(matches, "storage.path").into(),
            retention_time: retention_time(matches)?,
            retention_bytes: retention_bytes(matches)?,
            listen_addresses: flags::values_of(matches, "web.listen-address"),
            web_config_file: path(matches, "web.config.file"),
            route_prefix: route_prefix(matches, external_url.as_deref()),
            external_url,
            cors_origin: cors_origin(matches)?,
            connections_max: number(matches, "web.max-connections")?,
            enable_lifecycle: flags::is_on(matches, "web.enable-lifecycle"),
            enable_admin_api: flags::is_on(matches, "web.enable-admin-api"),
            lookback_delta: duration(matches, "query.lookback-delta")?,
            query_timeout: duration(matches, "query.timeout")?,
            query_samples_max: number(matches, "query.max-samples")?,
            query_concurrency_max: number(matches, "query.max-concurrency")?,
            outage_tolerance: duration(matches, "rules.alert.for-outage-tolerance")?,
            grace_period: duration(matches, "rules.alert.for-grace-period")?,
            resend_delay: duration(matches, "rules.alert.resend-delay")?,
            features,
            log_level: log_level(matches)?,
            log_format: log_format(matches)?,
            flags: flags::in_force(matches).collect(),
            warnings,
        };
        options.show_resolved_flags();
        Ok(options)
    }

    /// Puts what was worked out in the place of what was written.
    fn show_resolved_flags(&mut self) {
        let time = self.retention_time.map_or_else(|| "0s".to_owned(), format_duration);
        self.flags.insert("storage.tsdb.retention.time".to_owned(), time);
        self.flags.insert("web.route-prefix".to_owned(), self.route_prefix.clone());
    }
}

fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    flags::given(matches, name).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn duration(matches: &ArgMatches, name: &str) -> Result<Duration, String> {
    let duration = parse_duration(flags::value_of(matches, name)).map_err(|error| format!("--{name}: {error}"))?;
    let may_be_zero = matches!(name, "storage.tsdb.retention.time" | "config.auto-reload-interval")
        || name.starts_with("rules.alert.");
    if duration.is_zero() && !may_be_zero {
        return Err(format!("--{name}: must be greater than 0"));
    }
    Ok(duration)
}

fn number<T: TryFrom<u64>>(matches: &ArgMatches, name: &str) -> Result<T, String> {
    let text = flags::value_of(matches, name);
    let number = text.parse::<u64>().ok().filter(|number| *number > 0).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("--{name}: {text:?} is not a whole number from 1"))
}

fn auto_reload(matches: &ArgMatches, features: Features) -> Result<Option<Duration>, String> {
    let interval = duration(matches, "config.auto-reload-interval")?;
    Ok(features.auto_reload_config.then_some(interval.max(RELOAD_INTERVAL_MIN)))
}

/// As in Prometheus, 0 means the default, and a size alone means no bound in time.
fn retention_time(matches: &ArgMatches) -> Result<Option<Duration>, String> {
    let name = "storage.tsdb.retention.time";
    let time = duration(matches, name)?;
    let is_given = flags::given(matches, name).is_some() && !time.is_zero();
    if !is_given && retention_bytes(matches)?.is_some() {
        return Ok(None);
    }
    if time.is_zero() { default_retention().map(Some) } else { Ok(Some(time)) }
}

fn default_retention() -> Result<Duration, String> {
    let default =
        flags::FLAGS.iter().find(|flag| flag.name == "storage.tsdb.retention.time").map_or("", |flag| flag.default);
    parse_duration(default).map_err(|error| error.to_string())
}

fn retention_bytes(matches: &ArgMatches) -> Result<Option<u64>, String> {
    let name = "storage.tsdb.retention.size";
    let bytes = parse_size(flags::value_of(matches, name)).map_err(|error| format!("--{name}: {error}"))?;
    let least = StoreSettings::RETENTION_BYTES_MIN;
    if bytes > 0 && bytes < least {
        let least = least >> 20;
        return Err(format!(
            "--{name}: {least}MB is the least: the log and its spare files are within it; leave it out for no bound"
        ));
    }
    Ok(Some(bytes).filter(|bytes| *bytes > 0))
}

fn external_url(matches: &ArgMatches) -> Result<Option<String>, String> {
    let Some(url) = flags::given(matches, "web.external-url").filter(|url| !url.is_empty()) else { return Ok(None) };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(format!("--web.external-url: {url:?} must start with http:// or https://"));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

fn route_prefix(matches: &ArgMatches, external_url: Option<&str>) -> String {
    let of_url = || {
        let (_, rest) = external_url?.split_once("://")?;
        rest.split_once('/').map(|(_, path)| path)
    };
    let prefix = flags::given(matches, "web.route-prefix").filter(|prefix| !prefix.is_empty());
    format!("/{}", prefix.or_else(of_url).unwrap_or("").trim_matches('/'))
}

fn cors_origin(matches: &ArgMatches) -> Result<Option<AnchoredRegex>, String> {
    let Some(pattern) = flags::given(matches, "web.cors.origin").filter(|pattern| !pattern.is_empty()) else {
        return Ok(None);
    };
    AnchoredRegex::new(pattern).map(Some).map_err(|error| format!("--web.cors.origin: {error}"))
}

fn log_level(matches: &ArgMatches) -> Result<LogLevel, String> {
    match flags::value_of(matches, "log.level") {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" => Ok(LogLevel::Warn),
        "error" => Ok(LogLevel::Error),
        other => Err(format!("--log.level: {other:?} is none of debug, info, warn, error")),
    }
}

fn log_format(matches: &ArgMatches) -> Result<LogFormat, String> {
    match flags::value_of(matches, "log.format") {
        "logfmt" => Ok(LogFormat::Logfmt),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("--log.format: {other:?} is none of logfmt, json")),
    }
}
