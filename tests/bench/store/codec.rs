//! What the codec takes: time, and instructions as callgrind counts them where valgrind is installed.

use std::process::Command;
use std::time::{Duration, Instant};

use outpost::codec::{Effort, Segment, encode_segment};
use outpost::model::Timestamp;

use crate::capture::{STEP_MS, Target, full_columns};

/// Scrapes in two hours.
const ROWS: usize = 480;

/// Time and instructions per sample on one target's first two hours.
pub fn report() {
    let columns = columns();
    let samples = (columns.len() * ROWS) as f64;
    let (mut encoding, mut decoding, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..5 {
        let began = Instant::now();
        let segments = encode(&columns, Effort::Usual);
        encoding = encoding.min(began.elapsed());
        bytes = segments.iter().map(Vec::len).sum::<usize>();
        let began = Instant::now();
        decode(&segments);
        decoding = decoding.min(began.elapsed());
    }
    println!(
        "codec on node, 2 h: {:.4} B/sample, encoding {:.1} ns, decoding {:.1} ns a sample",
        bytes as f64 / samples,
        encoding.as_nanos() as f64 / samples,
        decoding.as_nanos() as f64 / samples
    );
    let counted = ["load", "encode", "decode"].map(instructions);
    if let [Some(load), Some(encode), Some(decode)] = counted {
        println!(
            "instructions a sample: encoding {:.0}, decoding {:.0}",
            (encode - load) / samples,
            (decode - encode) / samples
        );
    }
}

/// One piece of work, for counting.
pub fn once(what: &str) {
    let columns = columns();
    if what != "load" {
        let segments = encode(&columns, Effort::Usual);
        if what == "decode" {
            decode(&segments);
        }
    }
}

fn instructions(what: &str) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let valgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = Command::new("valgrind").args(valgrind).arg(program).args(["codec", what]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn columns() -> Vec<Vec<f64>> {
    let targets = Target::load_all("capture", 1000);
    full_columns(&targets[0], ROWS)
}

fn encode(columns: &[Vec<f64>], effort: Effort) -> Vec<Vec<u8>> {
    let times: Vec<Timestamp> = (0..ROWS as i64).map(|row| Timestamp(row * STEP_MS)).collect();
    let segments = columns.chunks(64).map(|chunk| {
        let slices: Vec<&[f64]> = chunk.iter().map(Vec::as_slice).collect();
        let mut segment = Vec::new();
        encode_segment(&times, &slices, effort, &mut segment);
        segment
    });
    segments.collect()
}

fn decode(segments: &[Vec<u8>]) {
    let mut values = Vec::new();
    for segment in segments {
        let segment = Segment::open(segment).expect("just encoded");
        for column in 0..segment.column_count() {
            values.clear();
            segment.column(column, &mut values).expect("just encoded");
        }
    }
}
