//! Queries that are broken here and there: both accept or both refuse, and print what they accept alike.

use serde_json::Value;

use super::choices::{Choices, shrink};
use super::pair::Pair;
use super::{first_seed, grammar, reasons, rounds};
use crate::support::encode;

/// What is put into queries; keywords where they do not belong, brackets, half of a token.
const PIECES: [&str; 62] = [
    " ",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "!=",
    "=~",
    "!~",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
    "sum",
    "topk",
    "start()",
    "end()",
    "5m",
    "1h30m",
    "5",
    "0x1G",
    "1e",
    "1.2.3",
    "Inf",
    "nan",
    "\"text\"",
    "'t\\'",
    "`",
    "\\",
    "#comment\n",
    "\n",
    "é",
    "__name__",
    "x",
    "a:b",
    "rate",
    "fill",
    "anchored",
    "1_0",
    "$",
    ";",
];

/// How many of each hundred queries stay whole.
const WHOLE_PERCENT: usize = 30;

#[test]
fn queries_are_accepted_and_printed_as_by_prometheus() {
    let (_prometheus, pair) = Pair::start(Vec::new());
    let (first, count) = (first_seed(), rounds(1_000));
    let (mut accepted, mut differences) = (0, Vec::new());
    for seed in first..first + count {
        match check(&pair, &mut Choices::drawn(seed)) {
            Ok(is_accepted) => accepted += u64::from(is_accepted),
            Err(_) => differences.push(shrunk(&pair, seed)),
        }
        if differences.len() >= super::SHOWN_MAX {
            break;
        }
    }
    eprintln!("{count} texts from seed {first}: {accepted} accepted by both");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Whether both accept the text.
fn check(pair: &Pair, choices: &mut Choices) -> Result<bool, String> {
    let text = draw(choices);
    let prints_otherwise = reasons::prints_otherwise(&text);
    for endpoint in ["format_query", "parse_query"] {
        let (prometheus, outpost) = pair.ask(&format!("/api/v1/{endpoint}?query={}", encode(&text)));
        let data = |body: &str| serde_json::from_str::<Value>(body).unwrap_or_default()["data"].clone();
        let is_printed = endpoint == "format_query" && prints_otherwise;
        let is_same =
            prometheus.status == outpost.status && (is_printed || data(&prometheus.body) == data(&outpost.body));
        if !is_same {
            return Err(format!("{text:?}\n  prometheus: {}\n  outpost:    {}", prometheus.body, outpost.body));
        }
        if prometheus.status != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A query with up to three pieces replaced.
pub fn draw(choices: &mut Choices) -> String {
    let mut text: Vec<char> = grammar::query(choices).chars().collect();
    if choices.below(100) < WHOLE_PERCENT {
        return text.into_iter().collect();
    }
    for _ in 0..=choices.below(3) {
        let start = choices.below(text.len() + 1);
        let end = (start + [0, 1, 1, 2, 5][choices.below(5)]).min(text.len());
        let piece = if choices.below(3) == 0 { "" } else { choices.one_of(&PIECES) };
        let spaced = if choices.below(2) == 0 { format!(" {piece} ") } else { piece.to_owned() };
        text.splice(start..end, spaced.chars());
    }
    text.into_iter().collect()
}

fn shrunk(pair: &Pair, seed: u64) -> String {
    let mut choices = Choices::drawn(seed);
    draw(&mut choices);
    let smallest = shrink(choices.taken(), 300, |taken| check(pair, &mut Choices::replayed(taken.to_vec())).is_err());
    let difference = check(pair, &mut Choices::replayed(smallest)).err();
    format!("seed {seed}: {}", difference.unwrap_or_else(|| "not again".to_owned()))
}
