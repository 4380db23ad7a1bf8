//! The server's flags as a table: names and defaults are Prometheus's, save where outpost has its own.

use clap::{Arg, ArgAction, ArgMatches};

/// One flag.
pub struct Flag {
    /// Its name without the dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value when it is not given, as text; switches are off.
    pub default: &'static str,
    /// One line for `--help`.
    pub help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value, named so in the help.
    Value(&'static str),
    /// A value; the flag may be repeated.
    Values(&'static str),
    /// Nothing: `--NAME` or `--no-NAME`.
    Switch,
}

const fn value(name: &'static str, what: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Value(what), default, help }
}

const fn values(name: &'static str, what: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Values(what), default, help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Switch, default: "false", help }
}

/// The flags that have a meaning here, in the order of the help.
pub const FLAGS: &[Flag] = &[
    value("config.file", "FILE", "", "The configuration; without it this host, its containers and outpost are scraped"),
    value(
        "config.auto-reload-interval",
        "DURATION",
        "30s",
        "How often to look at the file (--enable-feature=auto-reload-config)",
    ),
    value("storage.path", "FOLDER", "data/", "Where samples are kept (also --storage.tsdb.path)"),
    value(
        "storage.tsdb.retention.time",
        "DURATION",
        "30d",
        "How long samples are kept; unlimited if only the size is given",
    ),
    value("storage.tsdb.retention.size", "SIZE", "0", "How many bytes are kept, such as 512MB (powers of 1024)"),
    values("web.listen-address", "HOST:PORT", "0.0.0.0:9090", "Where to listen; may be repeated"),
    value("web.config.file", "FILE", "", "TLS and users, in the exporter-toolkit's format"),
    value("web.external-url", "URL", "", "The URL under which others reach this outpost, for links in alerts"),
    value("web.route-prefix", "PATH", "", "Prefix of all paths; by default the path of --web.external-url"),
    value("web.cors.origin", "REGEX", "", "Origins of other web pages that may read; by default none"),
    value("web.max-connections", "NUMBER", "512", "Connections at a time"),
    switch("web.enable-lifecycle", "Allow POST /-/reload and /-/quit"),
    switch("web.enable-admin-api", "Allow requests that change the store"),
    value("query.lookback-delta", "DURATION", "5m", "How old a sample may be to stand for the present"),
    value("query.timeout", "DURATION", "2m", "How long a query may take"),
    value("query.max-samples", "NUMBER", "50000000", "How many samples a query may hold in memory"),
    value("query.max-concurrency", "NUMBER", "20", "How many queries may run at a time"),
    value(
        "rules.alert.for-outage-tolerance",
        "DURATION",
        "1h",
        "How long an outage may be for alerts to keep their state",
    ),
    value(
        "rules.alert.for-grace-period",
        "DURATION",
        "10m",
        "How long an alert waits at least after its state was restored",
    ),
    value("rules.alert.resend-delay", "DURATION", "1m", "How long to wait before a firing alert is sent again"),
    values("enable-feature", "NAMES", "", "Features to enable, separated by commas; may be repeated"),
    value("log.level", "LEVEL", "info", "debug, info, warn or error"),
    value("log.format", "FORMAT", "logfmt", "logfmt or json"),
];

/// Flags of Prometheus that take a value and have no meaning here.
const FOREIGN_VALUES: &[&str] = &[
    "alertmanager.notification-batch-size",
    "alertmanager.notification-queue-capacity",
    "alertmanager.timeout",
    "auto-gomemlimit.ratio",
    "query.default-unit",
    "rules.max-concurrent-evals",
    "scrape.discovery-reload-interval",
    "scrape.timestamp-tolerance",
    "storage.agent.path",
    "storage.agent.retention.max-time",
    "storage.agent.retention.min-time",
    "storage.agent.wal-compression-type",
    "storage.agent.wal-segment-size",
    "storage.agent.wal-truncate-frequency",
    "storage.remote.flush-deadline",
    "storage.remote.read-concurrent-limit",
    "storage.remote.read-max-bytes-in-frame",
    "storage.remote.read-sample-limit",
    "storage.tsdb.block-reload-interval",
    "storage.tsdb.delayed-compaction.max-percent",
    "storage.tsdb.head-chunks-write-queue-size",
    "storage.tsdb.max-block-chunk-segment-size",
    "storage.tsdb.max-block-duration",
    "storage.tsdb.min-block-duration",
    "storage.tsdb.retention",
    "storage.tsdb.retention.percentage",
    "storage.tsdb.samples-per-chunk",
    "storage.tsdb.wal-compression-type",
    "storage.tsdb.wal-segment-size",
    "web.console.libraries",
    "web.console.templates",
    "web.local-assets",
    "web.max-notifications-subscribers",
    "web.page-title",
    "web.read-timeout",
    "web.remote-write-receiver.accepted-protobuf-messages",
    "web.user-assets",
];

/// Switches of Prometheus that have no meaning here.
const FOREIGN_SWITCHES: &[&str] = &[
    "agent",
    "alertmanager.drain-notification-queue-on-shutdown",
    "auto-gomaxprocs",
    "auto-gomemlimit",
    "scrape.adjust-timestamps",
    "storage.agent.no-lockfile",
    "storage.agent.wal-compression",
    "storage.tsdb.allow-overlapping-blocks",
    "storage.tsdb.allow-overlapping-compaction",
    "storage.tsdb.no-lockfile",
    "storage.tsdb.wal-compression",
    "web.enable-otlp-receiver",
    "web.enable-remote-write-receiver",
];

/// Another name of a flag.
const ALIASES: &[(&str, &str)] = &[("storage.path", "storage.tsdb.path")];

/// The arguments of the server.
pub fn arguments() -> Vec<Arg> {
    let own = FLAGS.iter().flat_map(|flag| flag_arguments(flag, false));
    let foreign = foreign_flags().collect::<Vec<_>>();
    own.chain(foreign.iter().flat_map(|flag| flag_arguments(flag, true))).collect()
}

/// The value of a flag, given or by default.
pub fn value_of<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    given(matches, name).unwrap_or_else(|| FLAGS.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default))
}

/// The value of a flag, if it is given.
pub fn given<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
}

/// Whether any of the server's flags is given that has a meaning here.
pub fn any_given(matches: &ArgMatches) -> bool {
    FLAGS.iter().any(|flag| matches.value_source(flag.name) == Some(clap::parser::ValueSource::CommandLine))
}

/// All values of a flag, or its default.
pub fn values_of(matches: &ArgMatches, name: &str) -> Vec<String> {
    match matches.try_get_many::<String>(name) {
        Ok(Some(values)) => values.cloned().collect(),
        _ => vec![value_of(matches, name).to_owned()].into_iter().filter(|text| !text.is_empty()).collect(),
    }
}

/// Whether a switch is on.
pub fn is_on(matches: &ArgMatches, name: &str) -> bool {
    matches.get_flag(name)
}

/// Name and value of every flag that has a meaning here, for `/api/v1/status/flags`.
pub fn in_force(matches: &ArgMatches) -> impl Iterator<Item = (String, String)> {
    FLAGS.iter().map(|flag| {
        let value = match flag.kind {
            Kind::Switch => is_on(matches, flag.name).to_string(),
            Kind::Value(_) => value_of(matches, flag.name).to_owned(),
            Kind::Values(_) => values_of(matches, flag.name).join(","),
        };
        (flag.name.to_owned(), value)
    })
}

/// The flags of Prometheus that are given without effect.
pub fn foreign_given(matches: &ArgMatches) -> Vec<&'static str> {
    let is_given = |name: &&&str| match matches.value_source(name) {
        Some(source) => source == clap::parser::ValueSource::CommandLine,
        None => false,
    };
    FOREIGN_VALUES.iter().chain(FOREIGN_SWITCHES).filter(is_given).copied().collect()
}

fn foreign_flags() -> impl Iterator<Item = Flag> {
    let values = FOREIGN_VALUES.iter().map(|name| values(name, "VALUE", "", ""));
    values.chain(FOREIGN_SWITCHES.iter().map(|name| switch(name, "")))
}

fn flag_arguments(flag: &Flag, hidden: bool) -> Vec<Arg> {
    let arg = Arg::new(flag.name).long(flag.name).help(help(flag)).hide(hidden);
    let arg = match ALIASES.iter().find(|(name, _)| *name == flag.name) {
        Some((_, alias)) => arg.alias(*alias),
        None => arg,
    };
    match flag.kind {
        Kind::Value(what) => vec![arg.value_name(what).allow_hyphen_values(true)],
        Kind::Values(what) => vec![arg.value_name(what).action(ArgAction::Append).allow_hyphen_values(true)],
        Kind::Switch => {
            let negative = format!("no-{}", flag.name);
            let off = Arg::new(negative.clone()).long(negative.clone()).hide(true);
            vec![
                arg.action(ArgAction::SetTrue).overrides_with(negative),
                off.action(ArgAction::SetTrue).overrides_with(flag.name),
            ]
        }
    }
}

fn help(flag: &Flag) -> String {
    match flag.default {
        "" | "0" | "false" => flag.help.to_owned(),
        default => format!("{} [default: {default}]", flag.help),
    }
}
