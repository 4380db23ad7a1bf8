//! Any bytes as a query end soon, in a tree or in an error with a place: drawn ones, huge ones, and what fuzzing left.

use std::time::{Duration, Instant};

use super::choices::Choices;
use super::{first_seed, fuzzed, rounds, syntax};

/// How long one text may take in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn drawn_texts_end_in_a_tree_or_an_error() {
    let (first, count) = (first_seed(), rounds(2_000));
    for seed in first..first + count {
        let mut bytes = seed.to_le_bytes().to_vec();
        bytes.extend_from_slice(syntax::draw(&mut Choices::drawn(seed)).as_bytes());
        fuzzed::check_text(&bytes[8..]);
        fuzzed::check_evaluation(&bytes);
    }
}

#[test]
fn huge_texts_end_in_a_tree_or_an_error() {
    const MEGABYTE: usize = 1 << 20;
    let filled = |piece: &str| piece.repeat(MEGABYTE / piece.len());
    let texts = [
        filled("("),
        filled("-"),
        filled("+-"),
        filled("a or "),
        filled("a+"),
        filled("2^"),
        filled("sum("),
        filled("abs(a)+("),
        filled("{"),
        filled("["),
        filled("a[5m:"),
        filled("a offset "),
        filled("\""),
        filled("#"),
        filled("é"),
        filled("\0"),
        filled("9"),
        filled("1h"),
        format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}a", "a or ".repeat(50_000)),
        format!("{}a", "a unless a and ".repeat(10_000)),
        format!("a{{{}}}", filled("job=\"x\",")),
        format!("a{{job=~\"{}x\"}}", filled("x|")),
        format!("a{{job=~\"{}\"}}", "(a*)*".repeat(2_000)),
        format!("a{{job=~\"{}\"}}", "(".repeat(10_000)),
        "a{job=~\"((((((((((x{1,1000}){1,1000}){1,1000}){1,1000}){1,1000}){1,1000}){1,1000}){1,1000}){1,1000}){1,1000}\"}"
            .to_owned(),
        format!("sum by ({}a) (a)", filled("a,")),
        format!("label_replace(a, \"x\", \"{}\", \"job\", \"(.*)\")", "$1".repeat(10_000)),
        format!("label_join(a, \"x\", \"-\"{})", ", \"job\"".repeat(10_000)),
        "count_over_time(((a)[1y:1ms])[1y:1ms])".to_owned(),
        "a[1000000y]".to_owned(),
        "a @ 1e300 offset 1000y".to_owned(),
    ];
    for text in texts {
        let started = Instant::now();
        fuzzed::check_text(text.as_bytes());
        fuzzed::check_evaluation(format!("12345678{text}").as_bytes());
        let shown: String = text.chars().take(60).collect();
        assert!(started.elapsed() < PATIENCE, "{shown}… took {:?}", started.elapsed());
    }
}

#[test]
fn what_fuzzing_left_still_passes() {
    for (target, check) in
        [("promql_parse", fuzzed::check_text as fn(&[u8])), ("promql_eval", fuzzed::check_evaluation)]
    {
        let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}")).collect();
        assert!(files.len() > 10, "{folder} has hardly any files");
        for file in files {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            check(&bytes);
        }
    }
}
