//! `outpost store export`: samples as OpenMetrics text, window by window, in bounded memory.
//!
//! Windows follow each other in time and hold their series in label order, so that an import makes each block from
//! one stretch of the text. Stale markers have no notation there and are left out.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{Progress, counted, described, disk};
use crate::cli::Export;
use crate::commands::{print_error, time_of};
use crate::exposition::{EscapingScheme, Format, PageWriter, ResponseFormat};
use crate::model::{Labels, Matcher, TimeRange, Timestamp, is_stale_marker};
use crate::promql::parse_selector;
use crate::store::{OfflineStore, ReadOptions, Samples, Select};

/// As long as a merged block: nothing is unpacked twice.
const WINDOW_MS: i64 = 12 * 3_600_000;
/// Text that is gathered before it is written.
const PAGE_BYTES: usize = 256 * 1024;

pub fn run(path: &Path, export: &Export) -> Result<bool, String> {
    let sets: Result<Vec<Vec<Matcher>>, String> = export
        .matches
        .iter()
        .map(|text| parse_selector(text).map_err(|error| format!("--match={text}: {error}")))
        .collect();
    let time = |name: &str, text: &Option<String>, usual| {
        text.as_deref().map_or(Ok(usual), |text| time_of(text).map_err(|error| format!("--{name}: {error}")))
    };
    let start = time("start", &export.start, Timestamp::MIN)?;
    let range = TimeRange { start, end: time("end", &export.end, Timestamp::MAX)? };
    let store = super::open(path)?;
    let mut exporter = Exporter { store, sets: sets?, samples: 0, stale_markers: 0 };
    let written = match &export.output {
        Some(file) => {
            let failed = |error: io::Error| format!("cannot write {}: {}", file.display(), disk::told(&error, file));
            let mut out = File::create_new(file).map_err(failed)?;
            let written = exporter.write(range, &mut BufWriter::new(&mut out));
            let written = written.and_then(|written| written.and_then(|()| out.sync_all()).map_err(failed));
            if written.is_err() {
                // It was made here, and half a text is of no use.
                let _ = std::fs::remove_file(file);
            }
            written
        }
        None => match exporter.write(range, &mut io::stdout().lock())? {
            // A reader that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(true),
            written => written.map_err(|error| format!("cannot write: {error}")),
        },
    };
    written?;
    Ok(exporter.tell())
}

struct Exporter {
    store: OfflineStore,
    sets: Vec<Vec<Matcher>>,
    samples: u64,
    stale_markers: u64,
}

impl Exporter {
    /// Writes the whole text. The outer error is the store's, the inner one the output's.
    fn write(&mut self, range: TimeRange, out: &mut dyn Write) -> Result<io::Result<()>, String> {
        let stats = self.store.store().stats();
        let mut progress = Progress::new("exporting");
        let mut writer =
            PageWriter::new(ResponseFormat { format: Format::OpenMetricsText100, escaping: EscapingScheme::AllowUtf8 });
        if let (Some(oldest), Some(newest)) = (stats.oldest, stats.newest) {
            let (first, last) = (oldest.max(range.start), newest.min(range.end));
            let mut start = first;
            while start <= last {
                let end = Timestamp((start.0.div_euclid(WINDOW_MS) + 1) * WINDOW_MS - 1).min(last);
                progress.show(start.since(first).max(0) as u64, last.since(first).max(1) as u64);
                if let Err(error) = self.write_window(TimeRange { start, end }, &mut writer, out)? {
                    return Ok(Err(error));
                }
                start = Timestamp(end.0 + 1);
            }
        }
        progress.clear();
        Ok(out.write_all(&writer.finish()).and_then(|()| out.flush()))
    }

    fn write_window(
        &mut self,
        range: TimeRange,
        writer: &mut PageWriter,
        out: &mut dyn Write,
    ) -> Result<io::Result<()>, String> {
        self.store.refresh().map_err(|error| described(&error))?;
        let (mut series, mut markers) = (0, 0);
        let options = ReadOptions::over(range);
        let mut set = self.store.store().select_any(&self.sets, &options).map_err(|error| described(&error))?;
        let mut samples = Samples::default();
        while let Some(labels) = set.next(&mut samples).map_err(|error| described(&error))? {
            markers += write_series(&labels, &samples, writer);
            series += samples.len() as u64;
            if writer.pending_bytes() >= PAGE_BYTES
                && let Err(error) = out.write_all(&writer.take())
            {
                return Ok(Err(error));
            }
        }
        drop(set);
        self.samples += series - markers;
        self.stale_markers += markers;
        Ok(out.write_all(&writer.take()))
    }

    /// Says what was written; whether all could be read.
    fn tell(&self) -> bool {
        let Self { samples, stale_markers, .. } = self;
        let (samples, markers) = (counted(*samples, "sample"), counted(*stale_markers, "stale marker"));
        print_error(&format!("{samples} exported, {markers} left out\n"));
        let damaged = self.store.store().corruptions();
        if damaged > 0 {
            return super::fail(&format!(
                "{} could not be read; `outpost store verify` names them",
                counted(damaged, "piece")
            ));
        }
        true
    }
}

/// Writes the samples of one series; gives how many stale markers were among them.
fn write_series(labels: &Labels, samples: &Samples, writer: &mut PageWriter) -> u64 {
    let mut markers = 0;
    for (at, value) in samples.timestamps.iter().zip(&samples.values) {
        if is_stale_marker(*value) {
            markers += 1;
        } else {
            writer.sample(labels.metric_name(), labels.iter(), *value, Some(*at));
        }
    }
    markers
}
