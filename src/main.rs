//! outpost
fn main() {}
