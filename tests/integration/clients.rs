//! Clients that people use: promtool's queries and the Python package prometheus-api-client give the same with outpost
//! as with a live Prometheus that scraped the same samples.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::api_parity::Site;
use super::support::program;

#[test]
fn promtool_and_the_python_client_see_no_difference() {
    let site = Site::start();
    let (start, end) = ((site.base - 300).to_string(), site.base.to_string());
    let at = format!("--time={end}");
    let (from, to) = (format!("--start={start}"), format!("--end={end}"));
    let cases: &[&[&str]] = &[
        &["instant", &at, "URL", "requests_total"],
        &["instant", &at, "URL", "1 + 1"],
        &["instant", &at, "URL", "\"text\""],
        &["instant", &at, "URL", "odd"],
        &["instant", "--format=json", &at, "URL", "sum by (code) (rate(requests_total[5m]))"],
        &["instant", &at, "URL", "requests_total[1m]"],
        &["instant", &at, "URL", "sum("],
        &["range", &from, &to, "--step=60s", "URL", "room_temperature_celsius"],
        &["range", "--format=json", &from, &to, "--step=60s", "URL", "rate(requests_total[1m])"],
        &["range", &from, &to, "URL", "nothing"],
        &["series", "--match=requests_total", &from, &to, "URL"],
        &["series", "--match=odd", "--match=plain_untyped", "URL"],
        &["labels", "URL", "code"],
        &["labels", "--match=requests_total", "URL", "method"],
        &["labels", "URL", "nothing"],
    ];
    for case in cases {
        let run = |address: &str| {
            let url = format!("http://{address}");
            let arguments = case.iter().map(|argument| if *argument == "URL" { url.as_str() } else { *argument });
            let (code, output) = run(program("promtool"), std::iter::once("query").chain(arguments));
            // The parser's words differ, and an instant vector has no order.
            if code != 0 { (code, Vec::new()) } else { (code, in_order(&output)) }
        };
        assert_eq!(run(&site.outpost.address), run(&site.prometheus), "{case:?}");
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/clients/ask.py");
    let script = script.to_str().unwrap();
    let ask = |address: &str| run(python(), [script, &format!("http://{address}"), &start, &end]);
    let (code, ours) = ask(&site.outpost.address);
    assert_eq!(code, 0, "{ours}");
    assert!(ours.lines().count() > 10, "{ours}");
    assert_eq!((code, ours), ask(&site.prometheus));
}

/// Lines, or for JSON elements, sorted.
fn in_order(output: &str) -> Vec<String> {
    let mut parts: Vec<&str> = match output.starts_with('[') {
        true => {
            output.trim().trim_matches(['[', ']']).split("{\"metric\"").map(|part| part.trim_end_matches(',')).collect()
        }
        false => output.lines().collect(),
    };
    parts.sort_unstable();
    parts.into_iter().map(str::to_owned).collect()
}

/// The interpreter that has the package.
fn python() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let path = std::env::var_os("OUTPOST_PYTHON").map_or_else(default, PathBuf::from);
    assert!(path.exists(), "{} is missing: run the tests through tests/run, which makes it", path.display());
    path
}

fn run<'a>(program: PathBuf, arguments: impl IntoIterator<Item = &'a str>) -> (i32, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().unwrap_or(-1);
    (code, if code == 0 { said.into_owned() } else { format!("{said}{complained}") })
}
