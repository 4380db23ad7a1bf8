//! `rules` with its filters and pages, and `alerts`.

use std::collections::HashSet;

use crate::http::json::{Json, format_exponent};
use crate::http::params::{Params, parse_integer};
use crate::model::Matcher;
use crate::rules::{AlertState, AlertStatus, AlertingStatus, GroupStatus, RuleStatus};

use super::answer::Answer;
use super::error::ApiError;
use super::handles::Api;
use super::series::selectors;

/// `/api/v1/rules`
pub(super) fn rules(api: &Api, params: &Params) -> Result<Answer, ApiError> {
    params.check()?;
    let filter = Filter::parse(params)?;
    let page = Page::parse(params)?;
    let groups = api.rules.groups();
    let (shown, next_token) = page.cut(&groups, &filter)?;
    Ok(Answer::data(|json| {
        json.object(|json| {
            json.key("groups").list(shown, |json, (group, rules)| push_group(json, group, &rules, &filter));
            if let Some(token) = next_token {
                json.key("groupNextToken").string(&token);
            }
        });
    }))
}

/// `/api/v1/alerts`
pub(super) fn alerts(api: &Api) -> Answer {
    let groups = api.rules.groups();
    let alerting = groups.iter().flat_map(|group| &group.rules).filter_map(|rule| rule.alerting.as_ref());
    Answer::data(|json| {
        json.object(|json| json.key("alerts").list(alerting.flat_map(|rule| &rule.alerts), push_alert));
    })
}

/// Which rules are wanted.
struct Filter<'a> {
    names: HashSet<&'a str>,
    groups: HashSet<&'a str>,
    files: HashSet<&'a str>,
    matchers: Vec<Vec<Matcher>>,
    alerting: bool,
    recording: bool,
    with_alerts: bool,
}

impl<'a> Filter<'a> {
    fn parse(params: &'a Params) -> Result<Self, ApiError> {
        let matchers = selectors(params).map_err(ApiError::bad_data)?;
        let kind = params.in_url("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::invalid_parameter("type", format!("not supported value {kind:?}")));
        }
        Ok(Self {
            names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            matchers,
            alerting: kind != "record",
            recording: kind != "alert",
            with_alerts: !excludes_alerts(params)?,
        })
    }

    fn wants_group(&self, group: &GroupStatus) -> bool {
        let is_in = |set: &HashSet<&str>, name: &str| set.is_empty() || set.contains(name);
        is_in(&self.groups, &group.name) && is_in(&self.files, &group.file)
    }

    fn wants_rule(&self, rule: &RuleStatus) -> bool {
        let right_kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        let right_name = self.names.is_empty() || self.names.contains(rule.name.as_str());
        let right_labels = self.matchers.is_empty()
            || self.matchers.iter().any(|set| set.iter().all(|matcher| matcher.matches_labels(&rule.labels)));
        right_kind && right_name && right_labels
    }
}

fn excludes_alerts(params: &Params) -> Result<bool, ApiError> {
    let text = params.in_url("exclude_alerts").to_lowercase();
    match text.as_str() {
        "" | "0" | "f" | "false" => Ok(false),
        "1" | "t" | "true" => Ok(true),
        _ => Err(ApiError::invalid_parameter(
            "exclude_alerts",
            format!("error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax"),
        )),
    }
}

/// Which part of the groups is wanted.
struct Page<'a> {
    groups_max: Option<usize>,
    token: &'a str,
}

/// A group and those of its rules that are wanted.
type ShownGroup<'g> = (&'g GroupStatus, Vec<&'g RuleStatus>);

impl<'a> Page<'a> {
    fn parse(params: &'a Params) -> Result<Self, ApiError> {
        let (limit, token) = (params.in_url("group_limit"), params.in_url("group_next_token"));
        if limit.is_empty() {
            if token.is_empty() {
                return Ok(Self { groups_max: None, token });
            }
            let reason = "group_limit needs to be present in order to paginate over the groups";
            return Err(ApiError::invalid_parameter("group_next_token", reason));
        }
        let invalid = |reason: String| ApiError::invalid_parameter("group_limit", reason);
        let limit = parse_integer(limit, "ParseInt")
            .map_err(|reason| invalid(format!("group_limit needs to be a valid number: {reason}")))?;
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.ok_or_else(|| invalid("group_limit needs to be greater than 0".to_owned()))?;
        Ok(Self { groups_max: Some(limit), token })
    }

    /// The groups of this page, and the token of the next one if there is one.
    fn cut<'g>(
        &self,
        groups: &'g [GroupStatus],
        filter: &Filter<'_>,
    ) -> Result<(Vec<ShownGroup<'g>>, Option<String>), ApiError> {
        let first = match self.token {
            "" => 0,
            token => groups.iter().position(|group| page_token(group) == token).ok_or_else(|| {
                let reason = format!("invalid group_next_token '{token}'. were rule groups changed?");
                ApiError::invalid_parameter("group_next_token", reason)
            })?,
        };
        let mut shown = Vec::new();
        for group in groups[first..].iter().filter(|group| filter.wants_group(group)) {
            let rules: Vec<_> = group.rules.iter().filter(|rule| filter.wants_rule(rule)).collect();
            if rules.is_empty() {
                continue;
            }
            if self.groups_max == Some(shown.len()) {
                return Ok((shown, Some(page_token(group))));
            }
            shown.push((group, rules));
        }
        Ok((shown, None))
    }
}

/// Names a group as the first one of a page. Opaque to clients.
fn page_token(group: &GroupStatus) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(format!("{};{}", group.file, group.name).as_bytes()))
}

fn push_group(json: &mut Json, group: &GroupStatus, rules: &[&RuleStatus], filter: &Filter<'_>) {
    json.object(|json| {
        json.key("name").string(&group.name);
        json.key("file").string(&group.file);
        json.key("rules").list(rules, |json, rule| match &rule.alerting {
            Some(alerting) => push_alerting_rule(json, rule, alerting, filter.with_alerts),
            None => push_recording_rule(json, rule),
        });
        json.key("interval").float(group.interval.as_secs_f64());
        json.key("limit").integer(group.limit);
        json.key("evaluationTime").float(group.evaluation_time.as_secs_f64());
        json.key("lastEvaluation").date(group.last_evaluation);
    });
}

fn push_alerting_rule(json: &mut Json, rule: &RuleStatus, alerting: &AlertingStatus, with_alerts: bool) {
    let state = alerting.alerts.iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive);
    json.object(|json| {
        json.key("state").string(state.as_str());
        json.key("name").string(&rule.name);
        json.key("query").string(&rule.query);
        json.key("duration").float(alerting.hold_duration.as_secs_f64());
        json.key("keepFiringFor").float(alerting.keep_firing_for.as_secs_f64());
        json.key("labels").labels(&rule.labels);
        json.key("annotations").labels(&alerting.annotations);
        json.key("alerts");
        match with_alerts {
            true => json.list(&alerting.alerts, push_alert),
            false => {
                json.null();
            }
        }
        push_course(json, rule, "alerting");
    });
}

fn push_recording_rule(json: &mut Json, rule: &RuleStatus) {
    json.object(|json| {
        json.key("name").string(&rule.name);
        json.key("query").string(&rule.query);
        if !rule.labels.is_empty() {
            json.key("labels").labels(&rule.labels);
        }
        push_course(json, rule, "recording");
    });
}

/// How evaluation went: what both kinds of rule end with.
fn push_course(json: &mut Json, rule: &RuleStatus, kind: &str) {
    json.key("health").string(rule.health.as_str());
    if !rule.last_error.is_empty() {
        json.key("lastError").string(&rule.last_error);
    }
    json.key("evaluationTime").float(rule.evaluation_time.as_secs_f64());
    json.key("lastEvaluation").date(rule.last_evaluation);
    json.key("type").string(kind);
}

fn push_alert(json: &mut Json, alert: &AlertStatus) {
    json.object(|json| {
        json.key("labels").labels(&alert.labels);
        json.key("annotations").labels(&alert.annotations);
        json.key("state").string(alert.state.as_str());
        json.key("activeAt").date(Some(alert.active_at));
        if let Some(since) = alert.keep_firing_since {
            json.key("keepFiringSince").date(Some(since));
        }
        json.key("value").string(&format_exponent(alert.value));
    });
}
