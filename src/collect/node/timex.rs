//! The kernel's clock discipline, adjtimex(2).

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;
use crate::clock::read_kernel_clock;

/// The kernel's fixed-point format of frequencies: parts per million, times 2^16.
const PPM_16: f64 = 65_536.0 * 1e6;
const MICROSECONDS: f64 = 1e6;
const NANOSECONDS: f64 = 1e9;

const CLOCK: Table = Table {
    prefix: "node_timex_",
    labels: &[],
    help: "",
    lines: "\
offset offset_seconds - Offset between local and reference clock.
frequency frequency_adjustment_ratio - Local clock frequency adjustment.
maxerror maxerror_seconds /1e6 Maximum error.
esterror estimated_error_seconds /1e6 Estimated error.
status status - Status bits of the clock.
constant loop_time_constant - Time constant of the phase-locked loop.
tick tick_seconds /1e6 Seconds between clock ticks.
ppsfreq pps_frequency_hertz - Frequency of the pulse per second.
jitter pps_jitter_seconds - Jitter of the pulse per second.
shift pps_shift_seconds - Interval duration of the pulse per second.
stabil pps_stability_hertz - Stability of the pulse per second.
jitcnt pps_jitter_total - Times that the jitter limit was exceeded.
calcnt pps_calibration_total - Calibration intervals.
errcnt pps_error_total - Calibration errors.
stbcnt pps_stability_exceeded_total - Times that stability was lost.
tai tai_offset_seconds - Offset to international atomic time.
sync sync_status - Whether the clock is synchronised to a reliable server.",
};

pub(super) fn collect(_: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let clock = read_kernel_clock().ok_or(NodeError::Nothing)?;
    let timex = clock.values;
    // With STA_NANO the kernel counts offset and jitter in nanoseconds.
    let fine = if timex.status & libc::STA_NANO != 0 { NANOSECONDS } else { MICROSECONDS };
    let number = |value: libc::c_long| value as f64;
    CLOCK.write_alone(page, &mut |source| {
        Some(match source {
            "offset" => number(timex.offset) / fine,
            "frequency" => 1.0 + number(timex.freq) / PPM_16,
            "maxerror" => number(timex.maxerror),
            "esterror" => number(timex.esterror),
            "status" => f64::from(timex.status),
            "constant" => number(timex.constant),
            "tick" => number(timex.tick),
            "ppsfreq" => number(timex.ppsfreq) / PPM_16,
            "jitter" => number(timex.jitter) / fine,
            "shift" => f64::from(timex.shift),
            "stabil" => number(timex.stabil) / PPM_16,
            "jitcnt" => number(timex.jitcnt),
            "calcnt" => number(timex.calcnt),
            "errcnt" => number(timex.errcnt),
            "stbcnt" => number(timex.stbcnt),
            "tai" => f64::from(timex.tai),
            // node_exporter's rule: in sync is whatever is not the error state.
            _ => f64::from(u8::from(clock.state != libc::TIME_ERROR)),
        })
    });
    Ok(())
}
