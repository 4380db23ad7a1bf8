//! What the kernel says of its clock: adjtimex(2), read only.

#![allow(unsafe_code, reason = "no safe crate wraps adjtimex(2); one call that fills one struct")]

/// The kernel's clock discipline, in the kernel's own units.
#[derive(Clone, Copy, Debug)]
pub struct KernelClock {
    /// The call's result: `TIME_OK` … `TIME_ERROR`.
    pub state: i32,
    /// The raw structure.
    pub values: libc::timex,
}

impl KernelClock {
    /// Whether something (an NTP client, a hypervisor) keeps the clock right.
    pub fn is_synchronised(&self) -> bool {
        self.values.status & libc::STA_UNSYNC == 0
    }
}

/// Asks the kernel; `None` where it may not be asked, as in some sandboxes.
pub fn read_kernel_clock() -> Option<KernelClock> {
    // SAFETY: timex is plain data, for which all zeros is a valid value, and zero modes change nothing.
    let mut values: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed struct of the type that the call expects.
    let state = unsafe { libc::adjtimex(&raw mut values) };
    (state >= 0).then_some(KernelClock { state, values })
}

#[cfg(test)]
mod tests {
    /// Rust's ready-made standard library for 32-bit musl counts to January 2038 only: packaging/build-static makes one
    /// that does not.
    #[test]
    #[cfg_attr(target_env = "musl", allow(deprecated, reason = "libc says so of some targets"))]
    fn time_is_wide_enough() {
        assert_eq!(size_of::<libc::time_t>(), 8);
    }

    #[test]
    fn the_kernel_answers() {
        let clock = super::read_kernel_clock().expect("reading needs no privilege");
        assert!((0..=5).contains(&clock.state), "{}", clock.state);
        assert!(clock.values.tick > 0);
    }
}
