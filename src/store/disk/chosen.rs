//! Labels as far as a reader looks at them: one allocation per distinct set instead of one per series.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::model::{Labels, METRIC_NAME};
use crate::store::ChosenLabels;
use crate::store::dictionary::Dictionary;

/// Gives the chosen labels of series of a dictionary.
pub(super) struct Chooser<'d> {
    dictionary: &'d Dictionary,
    /// The names, as numbers.
    names: Vec<u32>,
    is_without: bool,
    known: HashMap<Box<[u32]>, Labels, FixedState>,
    key: Vec<u32>,
    buffer: Vec<u8>,
}

impl<'d> Chooser<'d> {
    /// `None` where all labels are wanted.
    pub fn of(chosen: &ChosenLabels, dictionary: &'d Dictionary) -> Option<Self> {
        if chosen.unless.iter().any(|name| dictionary.has_name(name)) {
            return None;
        }
        let metric_name = (chosen.has_metric_name != chosen.is_without).then_some(METRIC_NAME);
        let listed = chosen.names.iter().map(String::as_str).filter(|name| *name != METRIC_NAME);
        let names = listed.chain(metric_name).filter_map(|name| dictionary.symbol(name)).collect();
        let (known, key, buffer) = (HashMap::default(), Vec::new(), Vec::new());
        Some(Self { dictionary, names, is_without: chosen.is_without, known, key, buffer })
    }

    /// The chosen labels of a series with these pairs.
    pub fn labels(&mut self, pairs: &[u32]) -> Labels {
        let Self { dictionary, names, is_without, known, key, buffer } = self;
        key.clear();
        let is_chosen = |pair: &u32| names.contains(&dictionary.name_of(*pair)) != *is_without;
        key.extend(pairs.iter().copied().filter(is_chosen));
        if let Some(labels) = known.get(&key[..]) {
            return labels.clone();
        }
        let labels = Labels::from_sorted_in(key.iter().map(|pair| dictionary.pair_text(*pair)), buffer);
        known.insert(key.as_slice().into(), labels.clone());
        labels
    }
}
