//! `series`, `labels` and `label/<name>/values`.

use std::sync::Arc;

use crate::http::json::Json;
use crate::http::params::Params;
use crate::http::time::{TIME_MAX, TIME_MIN};
use crate::model::{Labels, Matcher, TimeRange};
use crate::promql::parse_any_selector;
use crate::store::{ReadOptions, Select, StoreError};

use super::answer::{Answer, Notes};
use super::error::ApiError;
use super::gate::{Gate, Ticket};
use super::handles::Api;

/// `/api/v1/series`
pub(super) async fn series(api: &Api, gate: &Gate, params: &Params) -> Result<Answer, ApiError> {
    params.check()?;
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = params.limit()?;
    let range = range(params)?;
    let sets = selectors(params).map_err(|reason| ApiError::invalid_parameter("match[]", reason))?;
    let search = Search { sets, range, limit };
    let (found, notes) = search
        .run(api, gate, |store, search, options| store.series_labels(&search.sets, options, search.one_more()))
        .await?;
    let write_one = |json: &mut Json, labels: Labels| {
        json.labels(&labels);
    };
    Ok(Answer::data(|json| json.list(found, write_one)).with_notes(notes))
}

/// `/api/v1/labels`
pub(super) async fn label_names(api: &Api, gate: &Gate, params: &Params) -> Result<Answer, ApiError> {
    let search = Search::parse(params)?;
    let (names, notes) = search
        .run(api, gate, |store, search, options| store.label_names(&search.sets, options, search.one_more()))
        .await?;
    Ok(Answer::data(|json| json.strings(names)).with_notes(notes))
}

/// `/api/v1/label/<name>/values`
pub(super) async fn label_values(api: &Api, gate: &Gate, params: &Params, name: &[u8]) -> Result<Answer, ApiError> {
    let name = label_name(name)?;
    let search = Search::parse(params)?;
    let (values, notes) = search
        .run(api, gate, move |store, search, options| {
            store.label_values(&name, &search.sets, options, search.one_more())
        })
        .await?;
    Ok(Answer::data(|json| json.strings(values)).with_notes(notes))
}

/// The selectors in `match[]`, none of which may take everything.
pub(super) fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    let parse = |text| parse_any_selector(text).map_err(|error| error.to_string());
    let sets: Vec<Vec<Matcher>> = params.all("match[]").map(parse).collect::<Result<_, _>>()?;
    match sets.iter().all(|set| set.iter().any(|matcher| !matcher.matches_empty())) {
        true => Ok(sets),
        false => Err("match[] must contain at least one non-empty matcher".to_owned()),
    }
}

fn range(params: &Params) -> Result<TimeRange, ApiError> {
    let (start, end) = (params.time_or("start", TIME_MIN)?, params.time_or("end", TIME_MAX)?);
    // Prometheus takes the two in either order.
    Ok(TimeRange { start: start.min(end), end: start.max(end) })
}

/// What is looked for in the store.
struct Search {
    sets: Vec<Vec<Matcher>>,
    range: TimeRange,
    limit: Option<usize>,
}

impl Search {
    fn parse(params: &Params) -> Result<Self, ApiError> {
        let limit = params.limit()?;
        let range = range(params)?;
        let sets = selectors(params).map_err(ApiError::bad_data)?;
        Ok(Self { sets, range, limit })
    }

    /// The limit to search with: one more shows whether something was cut off.
    fn one_more(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(1))
    }

    async fn run<T: Send + 'static>(
        self,
        api: &Api,
        gate: &Gate,
        find: impl FnOnce(&dyn Select, &Self, &ReadOptions) -> Result<Vec<T>, StoreError> + Send + 'static,
    ) -> Result<(Vec<T>, Notes), ApiError> {
        let store = Arc::clone(&api.store);
        gate.run(api.queries.timeout, move |ticket: &Ticket| {
            let mut found = find(store.as_ref(), &self, &ticket.read_options(self.range))?;
            let is_truncated = self.limit.is_some_and(|limit| found.len() > limit);
            found.truncate(self.limit.unwrap_or(usize::MAX));
            Ok((found, if is_truncated { Notes::truncated() } else { Notes::default() }))
        })
        .await
    }
}

/// The label that a path names: any text but the empty one.
fn label_name(bytes: &[u8]) -> Result<String, ApiError> {
    let Ok(name) = std::str::from_utf8(bytes).map(unescape_name) else {
        let shown: String = bytes.utf8_chunks().fold(String::new(), |shown, chunk| {
            let broken: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
            shown + &chunk.valid().escape_debug().to_string() + &broken
        });
        return Err(ApiError::bad_data(format!("invalid label name: \"{shown}\"")));
    };
    if name.is_empty() { Err(ApiError::bad_data("invalid label name: \"\"")) } else { Ok(name) }
}

/// Undoes the escaping of names for paths: `U__my_2e_label` is `my.label`. A name that is not
/// escaped, or wrongly, stays as it is. Source: prometheus/common/model/metric.go.
fn unescape_name(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut unescaped = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('_') {
        unescaped.push_str(before);
        let Some((code, following)) = after.split_once('_') else { return name.to_owned() };
        if code.is_empty() {
            unescaped.push('_');
        } else {
            let digits_ok = code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
            let symbol = u32::from_str_radix(code, 16).ok().filter(|_| digits_ok).and_then(char::from_u32);
            let Some(symbol) = symbol else { return name.to_owned() };
            unescaped.push(symbol);
        }
        rest = following;
    }
    unescaped.push_str(rest);
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_labels() {
        for (bytes, shown) in [(&b"\xff"[..], r"\xff"), (b"a\"\xc3b", r#"a\"\xc3b"#), (b"U__", ""), (b"", "")] {
            let error = label_name(bytes).expect_err(shown);
            assert_eq!(error.message(), format!("invalid label name: \"{shown}\""));
        }
    }

    #[test]
    fn names_in_paths() {
        for (escaped, expected) in [
            ("job", "job"),
            ("my.label", "my.label"),
            ("U__my_2e_label", "my.label"),
            ("U__a__b", "a_b"),
            ("U___e9_t_e9_", "été"),
            ("U__plain", "plain"),
            ("U__a_zz_b", "U__a_zz_b"),
            ("U__a_2e", "U__a_2e"),
            ("U__a_d800_b", "U__a_d800_b"),
            ("U__a_0000002e_b", "U__a_0000002e_b"),
            ("U__", ""),
        ] {
            assert_eq!(unescape_name(escaped), expected, "{escaped}");
        }
    }
}
