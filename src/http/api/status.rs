//! `status/…`: the configuration, the flags, the process, the build, the store.

use std::sync::Arc;

use crate::federation::{PullerStatus, Receipt};
use crate::http::json::Json;
use crate::http::params::Params;
use crate::model::Timestamp;

use super::answer::Answer;
use super::error::{ApiError, ErrorKind};
use super::handles::{Api, BuildInfo};

/// Entries per list of `status/tsdb`, unless `limit` says fewer.
const ENTRIES_DEFAULT: usize = 10;
/// And at most, whatever it says: Prometheus's bound.
const ENTRIES_MAX: usize = 10_000;

/// `/api/v1/status/config`
pub(super) fn config(api: &Api) -> Answer {
    let config = Arc::clone(&api.config.borrow());
    Answer::data(|json| {
        json.object(|json| {
            json.key("yaml").string(&config.yaml);
        });
    })
}

/// `/api/v1/status/flags`
pub(super) fn flags(api: &Api) -> Answer {
    Answer::data(|json| {
        json.object(|json| {
            for (name, value) in &api.flags {
                json.key(name).string(value);
            }
        });
    })
}

/// `/api/v1/status/runtimeinfo`. What only Go programs have shows that nothing is set.
pub(super) fn runtime_info(api: &Api) -> Answer {
    let info = (api.runtime)();
    Answer::data(|json| {
        json.object(|json| {
            json.key("startTime").date(Some(info.start_time));
            json.key("CWD").string(&info.working_directory);
            json.key("hostname").string(&info.hostname);
            json.key("serverTime").date(Some(api.clock.now()));
            json.key("reloadConfigSuccess").bool(info.reload_failing_since.is_none());
            json.key("lastConfigTime").date(info.last_config_time);
            json.key("corruptionCount").integer(info.corruptions);
            json.key("goroutineCount").integer(info.threads);
            json.key("GOMAXPROCS").integer(info.cpus);
            json.key("GOMEMLIMIT").integer(i64::MAX);
            json.key("GOGC").string("");
            json.key("GODEBUG").string("");
            json.key("storageRetention").string(&info.storage_retention);
        });
    })
}

/// `/api/v1/status/buildinfo`
pub(super) fn build_info(api: &Api) -> Answer {
    Answer::data(|json| push_build(json, &api.build))
}

/// The build as an object; `/version` gives it alone.
pub(crate) fn push_build(json: &mut Json, build: &BuildInfo) {
    json.object(|json| {
        json.key("version").string(&build.version);
        json.key("revision").string(&build.revision);
        json.key("branch").string(&build.branch);
        json.key("buildUser").string(&build.build_user);
        json.key("buildDate").string(&build.build_date);
        json.key("goVersion").string(&build.compiler);
    });
}

/// `/api/v1/status/walreplay`: how far a start has read the log. Here whoever gets an answer finds it read.
pub(super) fn wal_replay() -> Answer {
    Answer::data(|json| {
        json.object(|json| {
            for key in ["min", "max", "current"] {
                json.key(key).integer(0);
            }
        });
    })
}

/// `/api/v1/notifications`: what Prometheus shows on its pages. Of its three notices the one that outlasts a start.
pub(super) fn notifications(api: &Api) -> Answer {
    let failing_since = (api.runtime)().reload_failing_since;
    Answer::data(|json| {
        json.list(failing_since.as_slice(), |json, since| {
            json.object(|json| {
                json.key("text").string("Configuration reload has failed.");
                json.key("date").date(Some(*since));
                json.key("active").bool(true);
            });
        });
    })
}

/// `/api/v1/notifications/live`
pub(super) fn live_notifications() -> ApiError {
    let way_out = "ask /api/v1/notifications now and then, or alert on outpost_config_last_reload_successful == 0";
    ApiError::new(ErrorKind::NotFound, format!("there is no stream of notifications here; {way_out}"))
}

/// `/api/v1/status/tsdb`
pub(super) fn tsdb(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let limit = match params.get("limit") {
        "" => Some(ENTRIES_DEFAULT),
        text => text.parse::<usize>().ok().filter(|limit| *limit > 0),
    };
    let limit = limit.ok_or_else(|| ApiError::bad_data("limit must be a positive number"))?;
    let stats = api.store.stats_with(limit.min(ENTRIES_MAX));
    Ok(Answer::data(|json| {
        json.object(|json| {
            json.key("headStats").object(|json| {
                json.key("numSeries").integer(stats.series);
                json.key("numLabelPairs").integer(stats.label_pairs);
                json.key("chunkCount").integer(stats.chunks);
                // An empty store says so by a range that ends before it starts.
                json.key("minTime").integer(stats.oldest.unwrap_or(Timestamp::MAX).0);
                json.key("maxTime").integer(stats.newest.unwrap_or(Timestamp::MIN).0);
            });
            let lists = [
                ("seriesCountByMetricName", &stats.series_by_metric),
                ("labelValueCountByLabelName", &stats.values_by_label),
                ("memoryInBytesByLabelName", &stats.bytes_by_label),
                ("seriesCountByLabelValuePair", &stats.series_by_pair),
            ];
            for (name, entries) in lists {
                json.key(name).list(entries, push_entry);
            }
        });
    }))
}

/// `/api/v1/status/resync`, which Prometheus does not have: how far pullers have been given samples.
pub(super) fn resync(api: &Api) -> Answer {
    let (pullers, now) = (api.federation.pullers(), api.clock.now());
    Answer::data(|json| {
        json.object(|json| {
            json.key("pullers").list(&pullers, |json, puller| push_puller(json, puller, now));
        });
    })
}

fn push_puller(json: &mut Json, puller: &PullerStatus, now: Timestamp) {
    let progress = &puller.progress;
    json.object(|json| {
        json.key("name").string(&puller.name);
        json.key("selectors").string(&puller.selectors);
        json.key("cursor").date(Some(progress.settled));
        json.key("holes").list(&progress.holes, |json, hole| {
            json.object(|json| {
                json.key("start").date(Some(hole.start));
                json.key("end").date(Some(hole.end));
            });
        });
        json.key("lastPull").date(Some(progress.last_used));
        json.key("lagSeconds").float(now.since(progress.last_used).max(0) as f64 / 1000.0);
        json.key("backlogSeconds").float(puller.backlog_ms(now) as f64 / 1000.0);
        json.key("receipt").string(match progress.receipt {
            Receipt::Proved => "proved",
            Receipt::Assumed => "assumed",
        });
        json.key("lastReplyConfirmed").bool(progress.is_confirmed);
        json.key("samplesGiven").integer(progress.given_total);
        json.key("samplesResent").integer(progress.resent_total);
    });
}

fn push_entry(json: &mut Json, (name, value): &(String, u64)) {
    json.object(|json| {
        json.key("name").string(name);
        json.key("value").integer(*value);
    });
}
