//! The larger and the smaller of two numbers as Go defines them, where Rust leaves zeros and NaN open.

/// The larger number: NaN if one is NaN, but for infinity beside it; 0 is larger than -0.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a > b || (a == b && a.is_sign_positive()) {
        a
    } else {
        b
    }
}

/// The smaller number, likewise.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}
