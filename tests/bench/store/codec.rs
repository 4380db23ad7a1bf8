//! What the codec takes: processor time, and instructions as callgrind counts them where valgrind is installed.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use outpost::codec::{Effort, Packer, Presences, PresencesWriter, Segment, is_absent};
use outpost::model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::capture::{STEP_MS, Target, columns};

/// Series per segment, as in blocks.
const SEGMENT_SERIES: usize = 64;
const RUNS: usize = 5;

/// Segments, and the list of presences that they share.
struct Encoded {
    segments: Vec<Vec<u8>>,
    presences: Vec<u8>,
}

/// Bytes and time a sample, by target: what a few rows become in memory, two hours, and a whole recording in blocks.
pub fn report() {
    for (folder, recorded_ms) in [("capture", 1000), ("capture/true15", STEP_MS)] {
        for target in Target::load_all(folder, recorded_ms) {
            report_target(folder, &target, 16, Effort::Quick);
            report_target(folder, &target, 480, Effort::Usual);
            report_target(folder, &target, usize::MAX, Effort::Thorough);
        }
    }
    let counted = ["load", "encode", "decode"].map(instructions);
    if let [Some(load), Some(encode), Some(decode)] = counted {
        let samples = count(&columns(&Target::load_all("capture", 1000)[0], 480)) as f64;
        println!(
            "instructions a sample, node, 2 h: encoding {:.0}, decoding {:.0}",
            (encode - load) / samples,
            (decode - encode) / samples
        );
    }
}

fn report_target(folder: &str, target: &Target, rows: usize, effort: Effort) {
    let columns = columns(target, rows.min(target.scrapes.len()));
    let samples = count(&columns) as f64;
    let (mut encoding, mut decoding, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..RUNS {
        let (encoded, took) = timed(|| encode(&columns, effort));
        encoding = encoding.min(took);
        bytes = encoded.segments.iter().map(Vec::len).sum::<usize>() + encoded.presences.len();
        decoding = decoding.min(timed(|| decode(&encoded, columns[0].len())).1);
    }
    println!(
        "codec, {folder} {}, {} scrapes, {effort:?}: {:.4} B/sample, encoding {:.1} ns, decoding {:.1} ns a sample",
        target.name,
        columns[0].len(),
        bytes as f64 / samples,
        encoding.as_nanos() as f64 / samples,
        decoding.as_nanos() as f64 / samples
    );
}

/// One piece of work, for counting.
pub fn once(what: &str) {
    let columns = columns(&Target::load_all("capture", 1000)[0], 480);
    if what != "load" {
        let encoded = encode(&columns, Effort::Usual);
        if what == "decode" {
            decode(&encoded, columns[0].len());
        }
    }
}

fn count(columns: &[Vec<f64>]) -> usize {
    columns.iter().flatten().filter(|value| !is_absent(**value)).count()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let now = || {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let began = now();
    let value = work();
    (value, now() - began)
}

fn instructions(what: &str) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let valgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = Command::new("valgrind").args(valgrind).arg(program).args(["codec", what]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn encode(columns: &[Vec<f64>], effort: Effort) -> Encoded {
    let rows = columns[0].len() as i64;
    let times: Vec<Timestamp> = (0..rows).map(Timestamp).collect();
    let mut writer = PresencesWriter::default();
    let segments = columns.chunks(SEGMENT_SERIES).map(|chunk| {
        let slices: Vec<&[f64]> = chunk.iter().map(Vec::as_slice).collect();
        let mut segment = Vec::new();
        Packer::new(effort).encode(&times, &slices, Some(&mut writer), &mut segment);
        segment
    });
    let segments = segments.collect();
    let mut presences = Vec::new();
    writer.write(&mut presences);
    Encoded { segments, presences }
}

fn decode(encoded: &Encoded, rows: usize) {
    let presences = Presences::read(&mut encoded.presences.as_slice(), rows).expect("just encoded");
    let (presences, mut values) = (Arc::new(presences), Vec::new());
    for segment in &encoded.segments {
        let segment = Segment::open_sharing(segment, &presences).expect("just encoded");
        for column in 0..segment.column_count() {
            values.clear();
            segment.column_span(column, &mut values).expect("just encoded");
        }
    }
}
