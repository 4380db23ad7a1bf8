//! The HTTP API beside a live Prometheus that scraped the same samples: `api/requests.txt` is a table of requests, and
//! every answer must be the same, in status, headers and body. What may differ says why, in the table.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use outpost::clock::Clock;
use serde_json::Value;

use super::support::{
    Answer, Ask, Outpost, PATIENCE, PageServer, Process, encode, eventually, exchange, get_json, prometheus_with,
    query_value,
};

/// Headers that clients look at.
const HEADERS: [&str; 11] = [
    "content-type",
    "content-encoding",
    "allow",
    "location",
    "vary",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "x-prometheus-stopping",
    "x-content-type-options",
];

/// Flags that both take.
const FLAGS: [&str; 4] = [
    "--web.cors.origin=https?://grafana[.]example",
    "--query.timeout=30s",
    "--web.enable-lifecycle",
    "--enable-feature=promql-experimental-functions,promql-duration-expr",
];

#[test]
fn every_request_of_the_table_is_answered_as_by_prometheus() {
    let site = Site::start();
    let table = std::fs::read_to_string(folder().join("requests.txt")).unwrap();
    let cases = parse_table(&table, site.base);
    let wanted = std::env::var("OUTPOST_API_CASE").unwrap_or_default();
    let mut differences = String::new();
    let mut compared = 0;
    for case in cases.iter().filter(|case| case.line.contains(&wanted)) {
        compared += 1;
        let theirs = exchange(&site.prometheus, &case.ask).unwrap();
        let ours = exchange(&site.outpost.address, &case.ask).unwrap();
        let found = case.compare(&theirs, &ours);
        let is_expected = case.rules.iter().any(|rule| matches!(rule, Rule::Differs));
        match (found.is_empty(), is_expected) {
            (true, true) => writeln!(differences, "{}\n  is the same by now: drop its `differs`", case.line).unwrap(),
            (false, false) => writeln!(differences, "{}\n{found}", case.line).unwrap(),
            _ => {}
        }
    }
    assert!(compared > 0, "no case has {wanted:?} in it");
    assert!(differences.is_empty(), "of {compared} requests:\n{differences}");
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/api")
}

/// Both servers with the same samples in them.
pub struct Site {
    /// Outpost.
    pub outpost: Outpost,
    /// The address of Prometheus.
    pub prometheus: String,
    /// The last sample's time in seconds.
    pub base: i64,
    _process: Process,
    _folder: tempfile::TempDir,
    _page: PageServer,
}

impl Site {
    /// Starts both and waits until they have scraped and evaluated.
    pub fn start() -> Self {
        let base = Clock::system().now().0 / 60_000 * 60 - 60;
        let page = PageServer::start(&page(base));
        let config = std::fs::read_to_string(folder().join("site.yml")).unwrap().replace("PAGE", &page.address);
        let rules = std::fs::read_to_string(folder().join("rules.yml")).unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("rules.yml"), &rules).unwrap();
        let (process, prometheus) = prometheus_with(folder.path(), &config, &FLAGS);
        let own = tempfile::TempDir::new().unwrap();
        std::fs::write(own.path().join("rules.yml"), &rules).unwrap();
        let outpost = Outpost::start_in(own, Some(&config), &FLAGS);
        for address in [&prometheus, &outpost.address] {
            eventually(PATIENCE, "the page is scraped", || query_value(address, "count(up == 1) == 2"));
            eventually(PATIENCE, "the rules have run", || {
                query_value(address, "sum(ALERTS{alertstate=\"firing\"}) + sum(recorded_one)")
            });
            eventually(PATIENCE, "all rules have been evaluated", || {
                let rules = get_json(address, "/api/v1/rules")?;
                (!rules.to_string().contains("\"unknown\"")).then_some(()).ok_or_else(|| rules.to_string())
            });
        }
        Self { outpost, prometheus, base, _process: process, _folder: folder, _page: page }
    }
}

/// Ten minutes of samples, 15 s apart, with their timestamps: both servers store exactly these.
fn page(base: i64) -> String {
    let template = std::fs::read_to_string(folder().join("page.txt")).unwrap();
    let mut page = String::new();
    for line in template.lines() {
        let Some((series, values)) = line.split_once(" = ") else {
            writeln!(page, "{line}").unwrap();
            continue;
        };
        let (first, step) = values.split_once(" + ").unwrap_or((values, ""));
        for index in 0..=40_i64 {
            let value = match step.parse::<f64>() {
                Ok(step) => (first.parse::<f64>().unwrap() + step * index as f64).to_string(),
                Err(_) => first.to_owned(),
            };
            writeln!(page, "{series} {value} {}", (base - (40 - index) * 15) * 1000).unwrap();
        }
    }
    page
}

/// One request and what may differ in its answers.
struct Case {
    line: String,
    ask: Ask,
    rules: Vec<Rule>,
}

enum Rule {
    /// These values of the body, by their path, are left out of the comparison. A `*` is any element.
    Ignore(String),
    /// The body's shape is compared: keys and the kinds of their values.
    Shape,
    /// Of the body only its presence is compared.
    AnyBody,
    /// The elements of this array may stand in any order.
    Unordered(String),
    /// Both answer with an error; which one is not settled.
    AnyError,
    /// This header is not compared.
    AnyHeader(String),
    /// The answers differ, and are meant to.
    Differs,
}

impl Case {
    fn compare(&self, theirs: &Answer, ours: &Answer) -> String {
        let mut found = String::new();
        if self.rules.iter().any(|rule| matches!(rule, Rule::AnyError)) {
            let statuses = (theirs.status, ours.status);
            return if statuses.0 >= 400 && statuses.1 >= 400 { found } else { format!("  status: {statuses:?}\n") };
        }
        if theirs.status != ours.status {
            writeln!(found, "  status: {}, and here {}", theirs.status, ours.status).unwrap();
        }
        for name in HEADERS {
            let any = self.rules.iter().any(|rule| matches!(rule, Rule::AnyHeader(any) if any == name));
            let (theirs, ours) = (header_set(theirs, name), header_set(ours, name));
            if theirs != ours && !any {
                writeln!(found, "  {name}: {theirs:?}, and here {ours:?}").unwrap();
            }
        }
        let (theirs, ours) = (self.comparable(theirs), self.comparable(ours));
        if theirs != ours {
            writeln!(found, "  body:  {theirs}\n  here:  {ours}").unwrap();
        }
        found
    }

    /// The body as far as it is compared.
    fn comparable(&self, answer: &Answer) -> String {
        let mut json: Option<Value> = None;
        for rule in &self.rules {
            let document = || serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            match rule {
                Rule::Ignore(path) => blank(json.get_or_insert_with(document), path.split('.')),
                Rule::Unordered(path) => {
                    let pointer = format!("/{}", path.replace('.', "/"));
                    if let Some(Value::Array(items)) = json.get_or_insert_with(document).pointer_mut(&pointer) {
                        items.sort_by_key(Value::to_string);
                    }
                }
                Rule::Shape => {
                    let document = json.get_or_insert_with(document);
                    *document = shape(document);
                }
                Rule::AnyBody => return (!answer.body.is_empty()).to_string(),
                Rule::AnyHeader(_) | Rule::Differs | Rule::AnyError => {}
            }
        }
        let text = json.map_or_else(|| answer.text(), |json| json.to_string());
        if self.line.contains("sort") { text } else { in_order(&text) }
    }
}

/// The elements of an instant vector in the order of their text: Prometheus gives them in the order of its storage,
/// which its documentation leaves open.
fn in_order(text: &str) -> String {
    const ELEMENT: &str = "{\"metric\":";
    if !text.contains("\"resultType\":\"vector\"") {
        return text.to_owned();
    }
    let mut parts = text.split(ELEMENT);
    let (head, mut tail) = (parts.next().unwrap_or_default(), "");
    let mut elements: Vec<&str> = Vec::new();
    for part in parts {
        let end = part.find("\"]}").map_or(part.len(), |end| end + 3);
        elements.push(&part[..end]);
        tail = part[end..].trim_start_matches(',');
    }
    elements.sort_unstable();
    format!("{head}{}{tail}", elements.join(","))
}

/// A header's values without regard to their order.
fn header_set(answer: &Answer, name: &str) -> BTreeSet<String> {
    // That an answer depends on its encoding is told to caches by outpost alone.
    let is_told = |value: &&str| !value.is_empty() && *value != "Accept-Encoding";
    answer.header(name).split(", ").filter(is_told).map(str::to_owned).collect()
}

fn blank<'p>(value: &mut Value, mut path: impl Iterator<Item = &'p str> + Clone) {
    let Some(part) = path.next() else {
        *value = Value::String("(ignored)".to_owned());
        return;
    };
    match value {
        Value::Array(items) => {
            let at = part.parse::<usize>().ok();
            for (_, item) in items.iter_mut().enumerate().filter(|(index, _)| at.is_none_or(|at| at == *index)) {
                blank(item, path.clone());
            }
        }
        Value::Object(fields) => {
            for (_, field) in fields.iter_mut().filter(|(name, _)| part == "*" || *name == part) {
                blank(field, path.clone());
            }
        }
        _ => {}
    }
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), shape(field))).collect(),
    }
}

/// The table: see the text at its top.
fn parse_table(table: &str, base: i64) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let Some(detail) = line.strip_prefix("    ") else {
            let (method, target) = line.split_once(' ').unwrap_or_else(|| panic!("no request: {line}"));
            let ask = Ask { method: method.to_owned(), target: fill(target, base), ..Ask::default() };
            cases.push(Case { line: line.to_owned(), ask, rules: Vec::new() });
            continue;
        };
        let case = cases.last_mut().expect("a request stands above its details");
        let (key, rest) = detail.split_once(": ").unwrap_or_else(|| panic!("no detail: {line}"));
        // The reason is for people, and must be there.
        let value = || rest.split_once(" -- ").unwrap_or_else(|| panic!("no reason: {line}")).0.trim().to_owned();
        match key {
            "form" => {
                case.ask.headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
                case.ask.body = Some(fill(rest, base).into_bytes());
            }
            "multipart" => {
                let content_type = "multipart/form-data; boundary=here".to_owned();
                case.ask.headers.push(("Content-Type".to_owned(), content_type));
                let part = |pair: &str| {
                    let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no field: {line}"));
                    format!("--here\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                };
                let parts: String = fill(rest, base).split('&').map(part).collect();
                case.ask.body = Some(format!("{parts}--here--\r\n").into_bytes());
            }
            "body" => case.ask.body = Some(rest.as_bytes().to_vec()),
            "ignore" => case.rules.push(Rule::Ignore(value())),
            "any header" => case.rules.push(Rule::AnyHeader(value())),
            "unordered" => case.rules.push(Rule::Unordered(value())),
            "any error" => case.rules.push(Rule::AnyError),
            "shape" => case.rules.push(Rule::Shape),
            "any body" => case.rules.push(Rule::AnyBody),
            "differs" => case.rules.push(Rule::Differs),
            header => case.ask.headers.push((header.to_owned(), rest.to_owned())),
        }
    }
    cases
}

/// Puts in times and encodes what stands in double angle brackets.
fn fill(text: &str, base: i64) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let (raw, after) = after.split_once(">>").unwrap_or_else(|| panic!("no end of <<: {text}"));
        filled.push_str(before);
        filled.push_str(&encode(raw));
        rest = after;
    }
    filled.push_str(rest);
    let mut parts = filled.split("@T");
    let mut timed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.strip_prefix('-').map_or(0, |part| part.bytes().take_while(u8::is_ascii_digit).count());
        let (offset, part) =
            if digits == 0 { (0, part) } else { (part[1..=digits].parse().unwrap(), &part[digits + 1..]) };
        write!(timed, "{}{part}", base - offset).unwrap();
    }
    timed
}
