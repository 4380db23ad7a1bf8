//! The kernel's clock discipline, adjtimex(2).

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::clock::read_kernel_clock;

/// The kernel's fixed-point format of frequencies: parts per million, times 2^16.
const PPM_16: f64 = 65_536.0 * 1e6;
const MICROSECONDS: f64 = 1e6;
const NANOSECONDS: f64 = 1e9;

pub(super) fn collect(_: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let clock = read_kernel_clock().ok_or(NodeError::Nothing)?;
    let timex = clock.values;
    // With STA_NANO the kernel counts offset and jitter in nanoseconds.
    let fine = if timex.status & libc::STA_NANO != 0 { NANOSECONDS } else { MICROSECONDS };
    let number = |value: libc::c_long| value as f64;
    page.gauge("node_timex_offset_seconds", "Offset between local and reference clock.", number(timex.offset) / fine);
    page.gauge(
        "node_timex_frequency_adjustment_ratio",
        "Local clock frequency adjustment.",
        1.0 + number(timex.freq) / PPM_16,
    );
    page.gauge("node_timex_maxerror_seconds", "Maximum error.", number(timex.maxerror) / MICROSECONDS);
    page.gauge("node_timex_estimated_error_seconds", "Estimated error.", number(timex.esterror) / MICROSECONDS);
    page.gauge("node_timex_status", "Status bits of the clock.", f64::from(timex.status));
    page.gauge("node_timex_loop_time_constant", "Time constant of the phase-locked loop.", number(timex.constant));
    page.gauge("node_timex_tick_seconds", "Seconds between clock ticks.", number(timex.tick) / MICROSECONDS);
    page.gauge("node_timex_pps_frequency_hertz", "Frequency of the pulse per second.", number(timex.ppsfreq) / PPM_16);
    page.gauge("node_timex_pps_jitter_seconds", "Jitter of the pulse per second.", number(timex.jitter) / fine);
    page.gauge("node_timex_pps_shift_seconds", "Interval duration of the pulse per second.", f64::from(timex.shift));
    page.gauge("node_timex_pps_stability_hertz", "Stability of the pulse per second.", number(timex.stabil) / PPM_16);
    page.counter("node_timex_pps_jitter_total", "Times that the jitter limit was exceeded.", number(timex.jitcnt));
    page.counter("node_timex_pps_calibration_total", "Calibration intervals.", number(timex.calcnt));
    page.counter("node_timex_pps_error_total", "Calibration errors.", number(timex.errcnt));
    page.counter("node_timex_pps_stability_exceeded_total", "Times that stability was lost.", number(timex.stbcnt));
    page.gauge("node_timex_tai_offset_seconds", "Offset to international atomic time.", f64::from(timex.tai));
    // node_exporter's rule: in sync is whatever is not the error state.
    let is_in_sync = clock.state != libc::TIME_ERROR;
    page.gauge(
        "node_timex_sync_status",
        "Whether the clock is synchronised to a reliable server.",
        f64::from(u8::from(is_in_sync)),
    );
    Ok(())
}
