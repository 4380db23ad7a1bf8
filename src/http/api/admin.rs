//! `admin/tsdb/…`: what changes the store, or copies it. Only with `--web.enable-admin-api`.

use std::sync::Arc;

use crate::http::params::Params;

use super::answer::Answer;
use super::error::{ApiError, ErrorKind};
use super::handles::{Admin, Api};

/// `/api/v1/admin/tsdb/snapshot`
pub(super) async fn snapshot(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    let admin = enabled(api)?;
    let with_head = match params.get("skip_head") {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => true,
        "1" | "t" | "T" | "true" | "TRUE" | "True" => false,
        other => return Err(ApiError::invalid_parameter("skip_head", format!("unable to parse boolean {other:?}"))),
    };
    // A task of its own: it goes on if the client leaves.
    let made = tokio::task::spawn_blocking(move || (admin.snapshot)(with_head)).await;
    let made = made.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))?;
    let name = made.map_err(|reason| ApiError::new(ErrorKind::Internal, format!("create snapshot: {reason}")))?;
    Ok(Answer::data(|json| {
        json.object(|json| {
            json.key("name").string(&name);
        });
    }))
}

/// `/api/v1/admin/tsdb/delete_series`
pub(super) fn delete_series(api: &Api) -> Result<Answer, ApiError> {
    enabled(api)?;
    Err(ApiError::new(
        ErrorKind::Execution,
        "outpost deletes no single series: what is not wanted any more goes with metric_relabel_configs (action: drop) from \
         now on and with the retention in time; to be rid of it at once, `outpost store export` with --match what \
         stays and `outpost store import` that into a new store",
    ))
}

/// `/api/v1/admin/tsdb/clean_tombstones`: nothing leaves any, so that there is nothing to do.
pub(super) fn clean_tombstones(api: &Api) -> Result<Answer, ApiError> {
    enabled(api)?;
    Ok(Answer::nothing())
}

fn enabled(api: &Api) -> Result<Arc<Admin>, ApiError> {
    let disabled = || ApiError::new(ErrorKind::Unavailable, "admin APIs disabled");
    api.admin.as_ref().map(Arc::clone).ok_or_else(disabled)
}
