//! The time zone of this process: the C library's, from `TZ` or `/etc/localtime`.

#![allow(unsafe_code, reason = "no crate of the tree wraps localtime_r(3); one call that fills one struct")]

use std::ffi::CStr;

/// The zone's name and its distance to UTC in seconds, as in force at `unix_seconds`.
pub(super) fn time_zone(unix_seconds: i64) -> (String, f64) {
    // SAFETY: tm is plain data, for which all zeros is a valid value.
    let mut fields: libc::tm = unsafe { std::mem::zeroed() };
    // The type has a name in libc that is deprecated on musl.
    let time = unix_seconds as _;
    // SAFETY: both pointers are to live values of the types that the call expects; nobody changes the environment.
    let is_known = unsafe { !libc::localtime_r(&raw const time, &raw mut fields).is_null() };
    if !is_known || fields.tm_zone.is_null() {
        return ("UTC".to_owned(), 0.0);
    }
    // SAFETY: the name is a string of the C library's that lasts as long as the process.
    let name = unsafe { CStr::from_ptr(fields.tm_zone) };
    (name.to_string_lossy().into_owned(), fields.tm_gmtoff as f64)
}
