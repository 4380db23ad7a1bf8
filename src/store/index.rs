//! Which series satisfy a set of matchers.
//!
//! Each matcher is judged once per distinct value of its label, never once per series. One that an
//! absent label satisfies excludes series; the others select them, the smallest selection first.

use std::borrow::Cow;

use super::SeriesId;
use super::dictionary::Dictionary;
use crate::model::{MatchOp, Matcher};

/// The series that satisfy all matchers of at least one set (all series if there is no set), in id order.
pub(super) fn matching_any(dictionary: &Dictionary, sets: &[Vec<Matcher>]) -> Vec<SeriesId> {
    match sets {
        [] => matching(dictionary, &[]),
        [only] => matching(dictionary, only),
        several => union(several.iter().map(|set| matching(dictionary, set)).collect()),
    }
}

/// The series that satisfy all matchers, in id order.
pub(super) fn matching(dictionary: &Dictionary, matchers: &[Matcher]) -> Vec<SeriesId> {
    let (excluding, selecting): (Vec<_>, Vec<_>) = matchers.iter().partition(|matcher| matcher.matches_empty());
    let mut selections: Vec<Cow<'_, [SeriesId]>> =
        selecting.iter().map(|matcher| selected(dictionary, matcher)).collect();
    selections.sort_by_key(|selection| selection.len());
    let mut selections = selections.into_iter();
    let all = || dictionary.records().iter().map(|record| record.id).collect();
    let mut found = selections.next().map_or_else(all, Cow::into_owned);
    for selection in selections {
        found.retain(|id| selection.binary_search(id).is_ok());
    }
    for matcher in excluding {
        if found.is_empty() {
            break;
        }
        let excluded = excluded(dictionary, matcher);
        found.retain(|id| excluded.binary_search(id).is_err());
    }
    found
}

/// The series with a value that satisfies a matcher which an absent label does not satisfy.
fn selected<'a>(dictionary: &'a Dictionary, matcher: &Matcher) -> Cow<'a, [SeriesId]> {
    match (matcher.op(), matcher.regex().and_then(|regex| regex.literals())) {
        // A metric's name alone may select most of the store.
        (MatchOp::Equal, _) => Cow::Borrowed(dictionary.series_with(matcher.name(), matcher.value())),
        (MatchOp::Regex, Some(literals)) => {
            let listed = literals.iter().filter(|literal| !literal.is_empty());
            union(listed.map(|literal| dictionary.series_with(matcher.name(), literal).to_vec()).collect()).into()
        }
        _ => with_values(dictionary, matcher, true).into(),
    }
}

/// The series with a value that does not satisfy a matcher which an absent label satisfies.
fn excluded(dictionary: &Dictionary, matcher: &Matcher) -> Vec<SeriesId> {
    match matcher.op() {
        MatchOp::NotEqual => dictionary.series_with(matcher.name(), matcher.value()).to_vec(),
        _ => with_values(dictionary, matcher, false),
    }
}

fn with_values(dictionary: &Dictionary, matcher: &Matcher, is_match: bool) -> Vec<SeriesId> {
    let lists = dictionary.values(matcher.name()).filter(|(value, _)| matcher.matches(value) == is_match);
    union(lists.map(|(_, series)| series.to_vec()).collect())
}

fn union(mut lists: Vec<Vec<SeriesId>>) -> Vec<SeriesId> {
    if lists.len() == 1 {
        return lists.swap_remove(0);
    }
    let mut all = lists.concat();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::store::GroupId;

    #[test]
    fn agrees_with_matching_label_sets_one_by_one() {
        let sets: Vec<Labels> = ["a", "b", "c"]
            .iter()
            .flat_map(|name| ["", "x", "y", "xy"].iter().map(move |job| (name, job)))
            .map(|(name, job)| Labels::from_pairs([("__name__", *name), ("job", *job)]))
            .collect();
        let mut dictionary = Dictionary::default();
        for labels in &sets {
            dictionary.insert(GroupId(0), labels);
        }
        let patterns = ["", "x", "x|y", "x.*", ".*", ".+", "nope", "|x"];
        let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
        let matchers: Vec<Matcher> = ops
            .iter()
            .flat_map(|op| patterns.iter().map(move |pattern| (op, pattern)))
            .flat_map(|(op, pattern)| ["job", "__name__", "missing"].map(|name| (op, pattern, name)))
            .map(|(op, pattern, name)| Matcher::new(*op, name, *pattern).expect("valid patterns"))
            .collect();
        for first in &matchers {
            for second in &matchers {
                let both = [first.clone(), second.clone()];
                let expected: Vec<&Labels> =
                    sets.iter().filter(|labels| both.iter().all(|matcher| matcher.matches_labels(labels))).collect();
                let found: Vec<Labels> = matching(&dictionary, &both)
                    .iter()
                    .map(|id| dictionary.labels(dictionary.record(*id).expect("known")))
                    .collect();
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{both:?}");
            }
        }
    }
}
