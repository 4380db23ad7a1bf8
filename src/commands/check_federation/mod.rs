//! `outpost check federation`: whether a central Prometheus is set up so that it gets every sample, and what a site's `/federate`
//! gives it.
//!
//! A URL whose path ends in `/federate` is a site's; any other one is a central's. Both are only read: no cursor moves.

mod central;
mod site;

pub use site::of_pullers;

use std::path::Path;

use serde_json::Value;

use super::ask;
use super::finding::{self, Finding};
use super::{fail, print};
use crate::client::ClientSettings;

/// Checks a central or a site; whether nothing is wrong with it.
pub fn run(url: &str, http_config: Option<&Path>) -> bool {
    let looked = ask::client_settings(http_config).and_then(|settings| match site::parts_of(url) {
        Some((base, query)) => site::look(base, query, &settings),
        None => central::look(url, &settings),
    });
    let findings = match looked {
        Ok(findings) => findings,
        Err(reason) => return fail(&reason),
    };
    print(&finding::text(&findings));
    finding::tell_problems(&findings);
    finding::problems(&findings) == 0
}

/// What an endpoint of the API gives under `data`.
fn data(server: &str, path: &str, settings: &ClientSettings) -> Result<Value, String> {
    let reply = ask::get(server, path, settings)?;
    let document: Value = serde_json::from_slice(&reply.body)
        .map_err(|_| format!("{server}{path} answers with status {} and no JSON: is it a Prometheus?", reply.status))?;
    match document["status"] == "success" {
        true => Ok(document["data"].clone()),
        false => Err(format!("{server}{path}: {}", document["error"].as_str().unwrap_or("no success"))),
    }
}

/// The text of a configuration, as the API shows it.
fn configuration(server: &str, settings: &ClientSettings) -> Result<String, String> {
    let data = data(server, "/api/v1/status/config", settings)?;
    data["yaml"].as_str().map(str::to_owned).ok_or_else(|| format!("{server} shows no configuration"))
}
