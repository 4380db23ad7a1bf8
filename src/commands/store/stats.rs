//! `outpost store stats`: who takes the room, and how long it lasts.

use std::path::Path;

use super::{Progress, counted, described};
use crate::commands::print;
use crate::model::format_rfc3339;
use crate::store::{JobShare, Survey};

const DAY_SECONDS: f64 = 86_400.0;
/// Rates from less are not told.
const SPAN_SECONDS_MIN: f64 = 3600.0;
/// No disk lasts longer, and a rate says nothing of that time.
const DAYS_LEFT_MAX: f64 = 3650.0;

pub fn run(path: &Path) -> Result<bool, String> {
    let store = super::open(path)?;
    let mut progress = Progress::new("reading");
    let survey = store.survey(|done, total| progress.show(done as u64, total as u64));
    progress.clear();
    print(&text(&survey.map_err(|error| described(&error))?, store.is_in_use));
    Ok(true)
}

fn text(survey: &Survey, is_in_use: bool) -> String {
    let mut text = head(survey, is_in_use);
    let days = days(survey);
    text.push_str(&row(["JOB", "SERIES", "SAMPLES", "B/SAMPLE", "BYTES", "PER DAY"].map(str::to_owned)));
    let mut jobs: Vec<(&String, &JobShare)> = survey.jobs.iter().collect();
    crate::model::sort_by(&mut jobs, |a, b| b.1.bytes.total_cmp(&a.1.bytes));
    let mut all = JobShare::default();
    for (job, share) in jobs {
        let name = if job.is_empty() { "(none)" } else { job };
        text.push_str(&line(name, share, days));
        all.series += share.series;
        all.samples += share.samples;
        all.log_samples += share.log_samples;
        all.bytes += share.bytes;
    }
    text.push_str(&line("all", &all, days));
    text.push_str(&outlook(survey, days));
    text
}

fn head(survey: &Survey, is_in_use: bool) -> String {
    let span = survey.block_span.map_or_else(
        || "no blocks yet: they are made every two hours".to_owned(),
        |(oldest, newest)| {
            let blocks = counted(survey.blocks as u64, "block");
            format!("{blocks} from {} to {}", format_rfc3339(oldest), format_rfc3339(newest))
        },
    );
    let user = if is_in_use { " (a server has it open)" } else { "" };
    format!(
        "{span}{user}\n{} on the disk: blocks {}, log {}\n{} of {} in the log only\n\n",
        bytes(survey.bytes as f64),
        bytes(survey.block_bytes as f64),
        bytes(survey.log_bytes as f64),
        counted(survey.log_samples, "sample"),
        match survey.log_series {
            1 => "1 series is".to_owned(),
            count => format!("{count} series are"),
        },
    )
}

/// Days that blocks span.
fn days(survey: &Survey) -> Option<f64> {
    let (oldest, newest) = survey.block_span?;
    let seconds = newest.since(oldest) as f64 / 1000.0;
    (seconds >= SPAN_SECONDS_MIN).then_some(seconds / DAY_SECONDS)
}

fn line(job: &str, share: &JobShare, days: Option<f64>) -> String {
    let has_blocks = share.samples >= 0.5;
    row([
        job.to_owned(),
        share.series.to_string(),
        format!("{:.0}", share.samples + share.log_samples as f64),
        if has_blocks { format!("{:.3}", share.bytes / share.samples) } else { "-".to_owned() },
        if has_blocks { bytes(share.bytes) } else { "-".to_owned() },
        days.map_or_else(|| "-".to_owned(), |days| bytes(share.bytes / days)),
    ])
}

fn row([job, series, samples, per_sample, bytes, per_day]: [String; 6]) -> String {
    format!("{job:<24} {series:>9} {samples:>14} {per_sample:>9} {bytes:>10} {per_day:>10}\n")
}

fn outlook(survey: &Survey, days: Option<f64>) -> String {
    let Some(days) = days else {
        let free = bytes(survey.free_bytes as f64);
        return format!("\nblocks span less than an hour: too little to tell a rate; {free} are free on the disk\n");
    };
    let per_day = survey.block_bytes as f64 / days;
    let left = survey.free_bytes as f64 / per_day.max(1.0);
    let lasting = match left {
        left if left > DAYS_LEFT_MAX => "more than ten years".to_owned(),
        left => counted(left as u64, "day"),
    };
    format!(
        "\nat this rate {} a day, {} in 30 days; the {} free on the disk last {lasting}\n",
        bytes(per_day),
        bytes(per_day * 30.0),
        bytes(survey.free_bytes as f64),
    )
}

fn bytes(count: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn tells_shares_rates_and_what_is_left() {
        let share = JobShare { series: 10, log_samples: 7, samples: 1000.0, bytes: 250.0 };
        let survey = Survey {
            jobs: BTreeMap::from([("node".to_owned(), share.clone()), (String::new(), share)]),
            blocks: 3,
            block_bytes: 4_000_000,
            bytes: 6_000_000,
            free_bytes: 200_000_000,
            block_span: Some((Timestamp(0), Timestamp(2 * 86_400_000))),
            ..Survey::default()
        };
        let text = text(&survey, true);
        for part in [
            "3 blocks from 1970-01-01T00:00:00Z to 1970-01-03",
            "a server has it open",
            "node ",
            "(none)",
            "  1007     0.250",
            "125 B",
            "at this rate 2.0 MB a day, 60.0 MB in 30 days; the 200.0 MB free on the disk last 100 days",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let in_log = JobShare { series: 1, log_samples: 1, ..JobShare::default() };
        let survey = Survey {
            log_samples: 1,
            log_series: 1,
            jobs: BTreeMap::from([("node".to_owned(), in_log)]),
            ..Survey::default()
        };
        let text = super::text(&survey, false);
        for part in [
            "no blocks yet",
            "1 sample of 1 series is in the log only",
            " 1         -          -          -\n",
            "too little to tell a rate",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let block_span = Some((Timestamp(0), Timestamp(86_400_000)));
        let text = super::text(&Survey { blocks: 1, block_bytes: 7, free_bytes: 1 << 40, block_span, ..survey }, false);
        assert!(text.starts_with("1 block from ") && text.contains("last more than ten years"), "{text}");
    }
}
