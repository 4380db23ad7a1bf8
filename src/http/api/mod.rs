//! The Prometheus HTTP API, `/api/v1/`: same paths, parameters, JSON, error types and status codes
//! as Prometheus 3.5. Source: prometheus/web/api/v1/api.go and its documentation.

// What every endpoint shares.
mod answer;
mod error;
mod gate;
mod handles;

// One file per endpoint family.
mod admin;
mod query;
mod rules;
mod series;
mod status;
mod syntax;
mod targets;

pub use handles::{
    Admin, Api, BuildInfo, ConfigSnapshot, Health, Lifecycle, QuerySettings, Readiness, ReloadRequest, RuntimeInfo,
};

pub(super) use error::{ApiError, ErrorKind};
pub(super) use gate::{Gate, Ticket};
pub(super) use status::push_build;

use answer::Answer;

use super::params::{Params, decode_percent};
use super::reply::Reply;

/// The endpoints below `/api/v1/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiEndpoint {
    Query,
    QueryRange,
    QueryExemplars,
    FormatQuery,
    ParseQuery,
    Series,
    Labels,
    /// The name is as it was sent, which need not be text.
    LabelValues(Vec<u8>),
    Metadata,
    Targets,
    TargetMetadata,
    ScrapePools,
    Rules,
    Alerts,
    Alertmanagers,
    Config,
    Flags,
    RuntimeInfo,
    BuildInfo,
    Tsdb,
    WalReplay,
    Notifications,
    LiveNotifications,
    Resync,
    Snapshot,
    DeleteSeries,
    CleanTombstones,
}

impl ApiEndpoint {
    /// The endpoint at a path below `/api/v1/`, cut at its slashes and still percent-encoded.
    pub(super) fn find(segments: &[&str]) -> Option<Self> {
        Some(match segments {
            ["query"] => Self::Query,
            ["query_range"] => Self::QueryRange,
            ["query_exemplars"] => Self::QueryExemplars,
            ["format_query"] => Self::FormatQuery,
            ["parse_query"] => Self::ParseQuery,
            ["series"] => Self::Series,
            ["labels"] => Self::Labels,
            ["label", name, "values"] if !name.is_empty() => Self::LabelValues(decode_percent(name).ok()?),
            ["metadata"] => Self::Metadata,
            ["targets"] => Self::Targets,
            ["targets", "metadata"] => Self::TargetMetadata,
            ["scrape_pools"] => Self::ScrapePools,
            ["rules"] => Self::Rules,
            ["alerts"] => Self::Alerts,
            ["alertmanagers"] => Self::Alertmanagers,
            ["status", "config"] => Self::Config,
            ["status", "flags"] => Self::Flags,
            ["status", "runtimeinfo"] => Self::RuntimeInfo,
            ["status", "buildinfo"] => Self::BuildInfo,
            ["status", "tsdb"] => Self::Tsdb,
            ["status", "walreplay"] => Self::WalReplay,
            ["notifications"] => Self::Notifications,
            ["notifications", "live"] => Self::LiveNotifications,
            ["status", "resync"] => Self::Resync,
            ["admin", "tsdb", "snapshot"] => Self::Snapshot,
            ["admin", "tsdb", "delete_series"] => Self::DeleteSeries,
            ["admin", "tsdb", "clean_tombstones"] => Self::CleanTombstones,
            _ => return None,
        })
    }

    /// The methods that are understood: most queries may be posted as forms, for those too long for a URL.
    pub(super) fn allowed(&self) -> &'static str {
        match self {
            Self::Series => "DELETE, GET, OPTIONS, POST",
            Self::Query | Self::QueryRange | Self::QueryExemplars => "GET, OPTIONS, POST",
            Self::FormatQuery | Self::ParseQuery | Self::Labels => "GET, OPTIONS, POST",
            _ if self.is_changing() => "OPTIONS, POST, PUT",
            _ => "GET, OPTIONS",
        }
    }

    /// Whether it changes or copies the store.
    pub(super) fn is_changing(&self) -> bool {
        matches!(self, Self::Snapshot | Self::DeleteSeries | Self::CleanTombstones)
    }

    /// The path without what varies, for the own metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Query => "/api/v1/query",
            Self::QueryRange => "/api/v1/query_range",
            Self::QueryExemplars => "/api/v1/query_exemplars",
            Self::FormatQuery => "/api/v1/format_query",
            Self::ParseQuery => "/api/v1/parse_query",
            Self::Series => "/api/v1/series",
            Self::Labels => "/api/v1/labels",
            Self::LabelValues(_) => "/api/v1/label/:name/values",
            Self::Metadata => "/api/v1/metadata",
            Self::Targets => "/api/v1/targets",
            Self::TargetMetadata => "/api/v1/targets/metadata",
            Self::ScrapePools => "/api/v1/scrape_pools",
            Self::Rules => "/api/v1/rules",
            Self::Alerts => "/api/v1/alerts",
            Self::Alertmanagers => "/api/v1/alertmanagers",
            Self::Config => "/api/v1/status/config",
            Self::Flags => "/api/v1/status/flags",
            Self::RuntimeInfo => "/api/v1/status/runtimeinfo",
            Self::BuildInfo => "/api/v1/status/buildinfo",
            Self::Tsdb => "/api/v1/status/tsdb",
            Self::WalReplay => "/api/v1/status/walreplay",
            Self::Notifications => "/api/v1/notifications",
            Self::LiveNotifications => "/api/v1/notifications/live",
            Self::Resync => "/api/v1/status/resync",
            Self::Snapshot => "/api/v1/admin/tsdb/snapshot",
            Self::DeleteSeries => "/api/v1/admin/tsdb/delete_series",
            Self::CleanTombstones => "/api/v1/admin/tsdb/clean_tombstones",
        }
    }

    /// What Prometheus has a route for and no more than this answer.
    pub(super) fn not_implemented() -> Reply {
        answer::error(&ApiError::new(ErrorKind::Internal, "not implemented"))
    }

    /// Answers a request.
    pub(super) async fn answer(&self, api: &Api, gate: &Gate, params: &Params) -> Reply {
        self.outcome(api, gate, params).await.map_or_else(|error| answer::error(&error), Answer::into_reply)
    }

    async fn outcome(&self, api: &Api, gate: &Gate, params: &Params) -> Result<Answer, ApiError> {
        match self {
            Self::Query => query::instant(api, gate, params).await,
            Self::QueryRange => query::range(api, gate, params).await,
            Self::QueryExemplars => syntax::exemplars(api, params),
            Self::FormatQuery => syntax::format_query(api, params),
            Self::ParseQuery => syntax::parse_query(api, params),
            Self::Series => series::series(api, gate, params).await,
            Self::Labels => series::label_names(api, gate, params).await,
            Self::LabelValues(name) => series::label_values(api, gate, params, name).await,
            Self::Metadata => targets::metadata(api, params),
            Self::Targets => Ok(targets::targets(api, params)),
            Self::TargetMetadata => targets::target_metadata(api, params),
            Self::ScrapePools => Ok(targets::scrape_pools(api)),
            Self::Rules => rules::rules(api, params),
            Self::Alerts => Ok(rules::alerts(api)),
            Self::Alertmanagers => Ok(targets::alertmanagers(api)),
            Self::Config => Ok(status::config(api)),
            Self::Flags => Ok(status::flags(api)),
            Self::RuntimeInfo => Ok(status::runtime_info(api)),
            Self::BuildInfo => Ok(status::build_info(api)),
            Self::Tsdb => status::tsdb(api, params),
            Self::WalReplay => Ok(status::wal_replay()),
            Self::Notifications => Ok(status::notifications(api)),
            Self::LiveNotifications => Err(status::live_notifications()),
            Self::Resync => Ok(status::resync(api)),
            Self::Snapshot => admin::snapshot(api, params).await,
            Self::DeleteSeries => admin::delete_series(api),
            Self::CleanTombstones => admin::clean_tombstones(api),
        }
    }
}
