//! `targets`, `targets/metadata`, `metadata`, `scrape_pools` and `alertmanagers`.

use std::collections::BTreeMap;

use crate::http::json::Json;
use crate::http::params::Params;
use crate::model::{Metadata, format_duration};
use crate::promql::parse_any_selector;
use crate::scrape::{PoolStatus, TargetMetadata, TargetStatus};

use super::answer::Answer;
use super::error::ApiError;
use super::handles::Api;

/// `/api/v1/targets`
pub(super) fn targets(api: &Api, params: &Params) -> Answer {
    let state = params.in_url("state").to_lowercase();
    let is_wanted = |kind: &str| matches!(state.as_str(), "" | "any") || state == kind;
    let scrape_pool = params.in_url("scrapePool");
    let pools = api.targets.pools();
    let shown: Vec<&PoolStatus> =
        pools.iter().filter(|pool| scrape_pool.is_empty() || pool.job_name == scrape_pool).collect();
    let active = shown.iter().filter(|_| is_wanted("active")).flat_map(|pool| &pool.active);
    let dropped = shown.iter().filter(|_| is_wanted("dropped")).flat_map(|pool| &pool.dropped);
    Answer::data(|json| {
        json.object(|json| {
            json.key("activeTargets").list(active, push_target);
            json.key("droppedTargets").list(dropped, |json, target| {
                json.object(|json| {
                    json.key("discoveredLabels").labels(&target.discovered_labels);
                    json.key("scrapePool").string(&target.job_name);
                });
            });
            push_dropped_counts(json.key("droppedTargetCounts"), is_wanted("dropped").then_some(&pools));
        });
    })
}

/// `/api/v1/scrape_pools`
pub(super) fn scrape_pools(api: &Api) -> Answer {
    let pools = api.targets.pools();
    Answer::data(|json| {
        json.object(|json| json.key("scrapePools").strings(pools.iter().map(|pool| &pool.job_name)));
    })
}

/// `/api/v1/targets/metadata`
pub(super) fn target_metadata(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let limit = count(params, "limit")?;
    let matchers = match params.get("match_target") {
        "" => Vec::new(),
        text => parse_any_selector(text).map_err(|error| ApiError::invalid_parameter("match_target", error))?,
    };
    let metric = named_metric(params);
    let found = api.targets.target_metadata(&matchers, metric, limit);
    Ok(Answer::data(|json| {
        json.list(found.iter().take(limit.unwrap_or(usize::MAX)), |json, found| {
            push_target_metadata(json, found, metric.is_none());
        });
    }))
}

/// `/api/v1/metadata`
pub(super) fn metadata(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let limit = count(params, "limit")?.unwrap_or(usize::MAX);
    let limit_per_metric = count(params, "limit_per_metric")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut families = BTreeMap::<String, Vec<Metadata>>::new();
    for found in api.targets.target_metadata(&[], named_metric(params), None) {
        let known = families.entry(found.metric).or_default();
        if known.len() < limit_per_metric && !known.contains(&found.metadata) {
            known.push(found.metadata);
        }
    }
    Ok(Answer::data(|json| {
        json.object(|json| {
            for (name, metadata) in families.iter().take(limit) {
                json.key(name).list(metadata, |json, metadata| {
                    json.object(|json| {
                        json.key("type").string(metadata.metric_type.as_str());
                        json.key("unit").string(&metadata.unit);
                        json.key("help").string(&metadata.help);
                    });
                });
            }
        });
    }))
}

/// `/api/v1/alertmanagers`
pub(super) fn alertmanagers(api: &Api) -> Answer {
    let lists =
        [("activeAlertmanagers", api.alertmanagers.active()), ("droppedAlertmanagers", api.alertmanagers.dropped())];
    Answer::data(|json| {
        json.object(|json| {
            for (name, urls) in lists {
                json.key(name).list(urls, |json, url| {
                    json.object(|json| {
                        json.key("url").string(&url);
                    });
                });
            }
        });
    })
}

fn push_target(json: &mut Json, target: &TargetStatus) {
    json.object(|json| {
        json.key("discoveredLabels").labels(&target.discovered_labels);
        json.key("labels").labels(&target.labels);
        json.key("scrapePool").string(&target.job_name);
        json.key("scrapeUrl").string(&target.scrape_url);
        json.key("globalUrl").string(&target.global_url);
        json.key("lastError").string(&target.last_error);
        json.key("lastScrape").date(target.last_scrape);
        json.key("lastScrapeDuration").float(target.last_scrape_duration.as_secs_f64());
        json.key("health").string(target.health.as_str());
        json.key("scrapeInterval").string(&format_duration(target.scrape_interval));
        json.key("scrapeTimeout").string(&format_duration(target.scrape_timeout));
    });
}

/// Counts are of all pools, whatever pool was asked for, and `null` if only active targets were.
fn push_dropped_counts(json: &mut Json, pools: Option<&Vec<PoolStatus>>) {
    let Some(pools) = pools else {
        json.null();
        return;
    };
    json.object(|json| {
        for pool in pools {
            json.key(&pool.job_name).integer(pool.dropped_count as u64);
        }
    });
}

fn push_target_metadata(json: &mut Json, found: &TargetMetadata, with_name: bool) {
    json.object(|json| {
        json.key("target").labels(&found.target);
        if with_name && !found.metric.is_empty() {
            json.key("metric").string(&found.metric);
        }
        json.key("type").string(found.metadata.metric_type.as_str());
        json.key("help").string(&found.metadata.help);
        json.key("unit").string(&found.metadata.unit);
    });
}

fn named_metric(params: &Params) -> Option<&str> {
    Some(params.get("metric")).filter(|metric| !metric.is_empty())
}

/// A number that bounds something; none if it is absent or negative.
fn count(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    match params.get(name) {
        "" => Ok(None),
        text => {
            let number: i64 = text.parse().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
            Ok(usize::try_from(number).ok())
        }
    }
}
