//! The fuzz targets' checks over the corpus that fuzzing has left, and over what once failed.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod checks;
mod reference;

/// Runs a check on every file of a target's folder.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(paths.len() > 10, "{folder} has hardly any files");
    for path in paths {
        let page = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| check(&page)).is_err() {
            panic!("{}: see above", path.display());
        }
    }
}

#[test]
fn text() {
    replay("text", checks::text);
}

#[test]
fn openmetrics() {
    replay("openmetrics", checks::openmetrics);
}

#[test]
fn protobuf() {
    replay("protobuf", checks::protobuf);
}

#[test]
fn node() {
    replay("node", checks::node);
}

#[test]
fn answers() {
    replay("answers", checks::answers);
}

#[test]
fn dns() {
    replay("dns", checks::dns);
}

#[test]
fn certificate() {
    replay("certificate", checks::certificate);
}
