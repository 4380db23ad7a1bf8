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
        retain(&mut found, &selection, true);
    }
    for matcher in excluding {
        if found.is_empty() {
            break;
        }
        retain(&mut found, &excluded(dictionary, matcher), false);
    }
    found
}

/// Keeps those that are in another selection, or those that are not. Both are in id order.
fn retain(found: &mut Vec<SeriesId>, selection: &[SeriesId], is_in: bool) {
    let mut rest = selection;
    found.retain(|id| {
        rest = from_on(rest, *id);
        (rest.first() == Some(id)) == is_in
    });
}

/// The part of a selection from an id on: near its beginning, mostly.
fn from_on(selection: &[SeriesId], id: SeriesId) -> &[SeriesId] {
    let mut reach = 1;
    while selection.get(reach).is_some_and(|other| *other < id) {
        reach *= 2;
    }
    let near = &selection[..selection.len().min(reach + 1)];
    &selection[near.partition_point(|other| *other < id)..]
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
    fn selections_are_met_and_left_out_wherever_they_lie() {
        let list =
            |step: u32, from: u32| -> Vec<SeriesId> { (from..200).step_by(step as usize).map(SeriesId).collect() };
        let lists = [list(1, 0), list(2, 1), list(7, 3), list(64, 0), list(1, 190), vec![], vec![SeriesId(3)]];
        for found in &lists {
            for selection in &lists {
                for is_in in [true, false] {
                    let mut kept = found.clone();
                    retain(&mut kept, selection, is_in);
                    let expected = found.iter().copied().filter(|id| selection.contains(id) == is_in);
                    assert_eq!(kept, expected.collect::<Vec<_>>(), "{found:?} {selection:?}");
                }
            }
        }
    }

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
