//! Random queries that are valid by type, over the names of the [`world`](super::world).

use outpost::promql::ast::ValueType;
use outpost::promql::functions::{self, Signature};

use super::choices::Choices;
use super::world::{END, START};

/// Metric names; the more interesting ones several times.
const METRICS: [&str; 33] = [
    "temperature",
    "requests_total",
    "requests_total",
    "cpu_seconds_total",
    "special",
    "special",
    "constant",
    "memory_bytes",
    "cpus",
    "last_success_timestamp_seconds",
    "latency_seconds_bucket",
    "latency_seconds_bucket",
    "latency_seconds_count",
    "latency_seconds_sum",
    "native_seconds",
    "native_seconds",
    "native_seconds",
    "native_gauge",
    "native_custom",
    "native_custom",
    "mixed",
    "schema_changes",
    "native_ends",
    "comes_and_goes",
    "sparse",
    "only_first_minutes",
    "only_last_minutes",
    "single",
    "slow_total",
    "starts_late_total",
    "target_info",
    "build_info",
    "no_such_metric",
];
const MATCHERS: [&str; 20] = [
    "job=\"web\"",
    "job=\"node\"",
    "instance=\"a:9100\"",
    "instance=~\"[ab]:.*\"",
    "instance!~\"b.+\"",
    "instance!=\"\"",
    "instance=\"\"",
    "code=~\"4..|500\"",
    "code!=\"200\"",
    "le=\"+Inf\"",
    "le!=\"+Inf\"",
    "room=~\"(?i)K.*\"",
    "kind!=\"all\"",
    "missing=\"\"",
    "missing!~\".+\"",
    "job=~\".*\"",
    "\"label.with.dots\"=\"x y\"",
    "__name__!=\"mixed\"",
    "type=`free`",
    "job=~\"w[e]b\"",
];
const LABELS: [&str; 14] = [
    "instance",
    "job",
    "code",
    "le",
    "room",
    "kind",
    "version",
    "__name__",
    "missing",
    "\"label.with.dots\"",
    "mode",
    "type",
    "on",
    "by",
];
const NUMBERS: [&str; 28] = [
    "1",
    "0",
    "2",
    "0.5",
    "10",
    "-1",
    "100",
    "0.9",
    "1.5",
    "3",
    "1e3",
    "-0",
    "0x1F",
    "1_000",
    ".5",
    "1e-3",
    "Inf",
    "-Inf",
    "NaN",
    "0.99",
    "1.1",
    "-0.5",
    "60",
    "1h30m",
    "5m",
    "30s",
    "1e308",
    "9007199254740993",
];
const DURATIONS: [&str; 18] = [
    "5m", "1m", "30s", "10m", "2m", "15s", "1m30s", "20m", "1h", "7m", "45s", "14s999ms", "1s", "60", "1e2", "90.5",
    "1ms", "3h",
];
const STRINGS: [&str; 14] = [
    "\"job\"",
    "\"instance\"",
    "\"new\"",
    "\"__name__\"",
    "\"\"",
    "\"le\"",
    "'single'",
    "\"$1\"",
    "\"${1}-x\"",
    "\"(.*):(.*)\"",
    "\"with.dot\"",
    "\"é\\u00e9\\x41\"",
    "`raw\\n`",
    "\"a|b:.*\"",
];
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];
const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];

/// A query of any type.
pub fn query(choices: &mut Choices) -> String {
    let depth = 1 + choices.below(4);
    match choices.below(20) {
        0 => scalar(choices, depth),
        1 => range(choices, depth),
        2 if choices.percent(20) => string(choices),
        _ => vector(choices, depth),
    }
}

fn vector(choices: &mut Choices, depth: usize) -> String {
    if depth == 0 {
        return selector(choices);
    }
    match choices.below(24) {
        0..4 => selector(choices),
        4..12 => call(choices, depth - 1, ValueType::InstantVector),
        12..16 => aggregation(choices, depth - 1),
        16..21 => binary(choices, depth - 1),
        21 => format!("({})", vector(choices, depth - 1)),
        22 => format!("{}{}", choices.one_of(&["-", "+", "-(-1) * -"]), vector(choices, depth - 1)),
        _ => range_call(choices, depth - 1),
    }
}

fn selector(choices: &mut Choices) -> String {
    format!("{}{}", series(choices), modifiers(choices))
}

fn series(choices: &mut Choices) -> String {
    let name = choices.one_of(&METRICS);
    let matchers: Vec<&str> = (0..[0, 0, 0, 0, 1, 1, 2][choices.below(7)]).map(|_| choices.one_of(&MATCHERS)).collect();
    let matchers = matchers.join(",");
    match choices.below(20) {
        18 => format!("{{\"http.läng\",{matchers}}}"),
        17 => format!("{{__name__=\"{name}\",{matchers}}}"),
        16 => format!("{{__name__=~\"{name}|constant|special\",{matchers}}}"),
        15 => format!("{{\"{name}\"{}{matchers}}}", if matchers.is_empty() { "" } else { ", " }),
        14 if !matchers.is_empty() => format!("{name}{{{matchers},}}"),
        _ if matchers.is_empty() => name.to_owned(),
        _ => format!("{name}{{{matchers}}}"),
    }
}

fn modifiers(choices: &mut Choices) -> String {
    let mut text = String::new();
    if choices.percent(12) {
        let duration = choices.one_of(&DURATIONS);
        text.push_str(&format!(" offset {}{duration}", choices.one_of(&["", "-"])));
    }
    if choices.percent(12) {
        text.push_str(&match choices.below(4) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}", at(choices)),
            _ => format!(" @ {}.125", at(choices)),
        });
    }
    text
}

/// A time in seconds within the world or close to it.
fn at(choices: &mut Choices) -> i64 {
    let span = (END.0 - START.0) / 1000 + 900;
    START.0 / 1000 - 300 + choices.below(span as usize) as i64
}

fn range(choices: &mut Choices, depth: usize) -> String {
    let length = choices.one_of(&DURATIONS);
    if depth == 0 || choices.below(4) < 3 {
        return format!("{}[{length}]{}", series(choices), modifiers(choices));
    }
    let inner = if choices.percent(15) { scalar(choices, depth - 1) } else { vector(choices, depth - 1) };
    let step = choices.one_of(&["1m", "", "30s", "2m", "15s", "7m", "61", "13s"]);
    // A range much longer than its step costs without showing more.
    let length = if length == "3h" { "1h" } else { length };
    format!("({inner})[{length}:{step}]{}", modifiers(choices))
}

fn scalar(choices: &mut Choices, depth: usize) -> String {
    if depth == 0 || choices.below(2) == 0 {
        return choices.one_of(&NUMBERS).to_owned();
    }
    match choices.below(7) {
        0 => "time()".to_owned(),
        1 => "pi()".to_owned(),
        2 => format!("scalar({})", vector(choices, depth - 1)),
        3 => format!("-{}", scalar(choices, depth - 1)),
        4 => format!("({})", scalar(choices, depth - 1)),
        5 => {
            let operator = choices.one_of(&COMPARISONS);
            format!("({} {operator} bool {})", scalar(choices, depth - 1), scalar(choices, depth - 1))
        }
        _ => {
            let operator = choices.one_of(&ARITHMETIC);
            format!("({} {operator} {})", scalar(choices, depth - 1), scalar(choices, depth - 1))
        }
    }
}

fn string(choices: &mut Choices) -> String {
    choices.one_of(&STRINGS).to_owned()
}

fn of_type(choices: &mut Choices, depth: usize, wanted: ValueType) -> String {
    match wanted {
        ValueType::Scalar => scalar(choices, depth),
        ValueType::String => string(choices),
        ValueType::InstantVector => vector(choices, depth),
        ValueType::RangeVector => range(choices, depth),
    }
}

/// A call of any function with this result.
fn call(choices: &mut Choices, depth: usize, returns: ValueType) -> String {
    let fitting: Vec<&Signature> = functions::all().iter().filter(|function| function.returns == returns).collect();
    let function = fitting[choices.below(fitting.len())];
    apply(choices, depth, function)
}

/// A call of a function over a range.
fn range_call(choices: &mut Choices, depth: usize) -> String {
    let takes_range = |function: &&Signature| function.args.contains(&ValueType::RangeVector);
    let fitting: Vec<&Signature> = functions::all().iter().filter(takes_range).collect();
    let function = fitting[choices.below(fitting.len())];
    apply(choices, depth, function)
}

fn apply(choices: &mut Choices, depth: usize, function: &Signature) -> String {
    match function.name {
        "label_replace" if choices.percent(70) => return label_replace(choices, depth),
        "label_join" if choices.percent(70) => return label_join(choices, depth),
        "sort_by_label" | "sort_by_label_desc" => {
            let labels: Vec<String> = (0..choices.below(3)).map(|_| format!(", {}", quoted_label(choices))).collect();
            return format!("{}({}{})", function.name, vector(choices, depth), labels.concat());
        }
        "info" => return info(choices),
        "histogram_quantile" if choices.percent(60) => {
            let name = choices.one_of(&["latency_seconds_bucket", "native_seconds", "native_custom", "mixed"]);
            let inner = choices.one_of(&["N", "rate(N[5m])", "sum by (le) (N)", "sum by (le, instance) (rate(N[2m]))"]);
            return format!("histogram_quantile({}, {})", scalar(choices, depth.min(1)), inner.replace('N', name));
        }
        _ => {}
    }
    let mut types = function.args.to_vec();
    match function.variadic {
        0 => {}
        optional if optional > 0 => types.truncate(types.len() - choices.below(2)),
        _ => {
            let last = types[types.len() - 1];
            types.extend(std::iter::repeat_n(last, choices.below(2)));
        }
    }
    let args: Vec<String> = types.into_iter().map(|wanted| of_type(choices, depth, wanted)).collect();
    format!("{}({})", function.name, args.join(", "))
}

fn quoted_label(choices: &mut Choices) -> String {
    format!("\"{}\"", choices.one_of(&LABELS).trim_matches('"'))
}

fn label_replace(choices: &mut Choices, depth: usize) -> String {
    let inner = vector(choices, depth);
    let to = choices.one_of(&["\"new\"", "\"job\"", "\"__name__\"", "\"instance\"", "\"é.x\""]);
    let text = choices.one_of(&["\"$1\"", "\"x-$2\"", "\"${1}y\"", "\"\"", "\"$name\"", "\"$$1\"", "\"fixed\""]);
    let from = quoted_label(choices);
    let pattern =
        choices.one_of(&["\"(.*)\"", "\"(.*):(.*)\"", "\"(?P<name>.+)\"", "\"\"", "\"web\"", "\"(\"", "\".*é?\""]);
    format!("label_replace({inner}, {to}, {text}, {from}, {pattern})")
}

fn label_join(choices: &mut Choices, depth: usize) -> String {
    let inner = vector(choices, depth);
    let to = choices.one_of(&["\"new\"", "\"job\"", "\"__name__\"", "\"instance\""]);
    let separator = choices.one_of(&["\"-\"", "\"\"", "\", \""]);
    let from: Vec<String> = (0..choices.below(4)).map(|_| format!(", {}", quoted_label(choices))).collect();
    format!("label_join({inner}, {to}, {separator}{})", from.concat())
}

fn info(choices: &mut Choices) -> String {
    let inner =
        choices.one_of(&["cpus", "requests_total", "rate(requests_total[2m])", "temperature", "native_seconds"]);
    match choices.below(6) {
        0 => format!("info({inner})"),
        1 => format!("info({inner}, {{version=~\".+\"}})"),
        2 => format!("info({inner}, {{__name__=\"build_info\"}})"),
        3 => format!("info({inner}, {{__name__=~\".+_info\",revision!=\"\"}})"),
        4 => format!("info({inner}, {{k8s=\"n1\"}})"),
        _ => format!("info({inner}, {{missing=\"\"}})"),
    }
}

fn aggregation(choices: &mut Choices, depth: usize) -> String {
    let operator = choices.one_of(&[
        "sum",
        "avg",
        "count",
        "min",
        "max",
        "group",
        "stddev",
        "stdvar",
        "quantile",
        "topk",
        "bottomk",
        "count_values",
        "limitk",
        "limit_ratio",
    ]);
    let parameter = match operator {
        "quantile" | "limit_ratio" => Some(scalar(choices, depth.min(1))),
        "topk" | "bottomk" | "limitk" => Some(match choices.below(3) {
            0 => "2".to_owned(),
            1 => choices.one_of(&["1", "0", "-1", "3.7", "1000", "NaN", "1e30"]).to_owned(),
            _ => scalar(choices, depth.min(1)),
        }),
        "count_values" => Some(string(choices)),
        _ => None,
    };
    let arguments = match parameter {
        Some(parameter) => format!("({parameter}, {})", vector(choices, depth)),
        None => format!("({})", vector(choices, depth)),
    };
    match choices.below(6) {
        0 => format!("{operator}{arguments}"),
        1 | 2 => format!("{operator} by {}{arguments}", label_list(choices)),
        3 | 4 => format!("{operator} without {}{arguments}", label_list(choices)),
        _ => format!("{operator}{arguments} by {}", label_list(choices)),
    }
}

fn label_list(choices: &mut Choices) -> String {
    let labels: Vec<&str> = (0..choices.below(4)).map(|_| choices.one_of(&LABELS)).collect();
    format!("({})", labels.join(","))
}

fn binary(choices: &mut Choices, depth: usize) -> String {
    match choices.below(8) {
        0 => format!("{} {} {}", scalar(choices, depth), scalar_operator(choices), vector(choices, depth)),
        1 | 2 => format!("{} {} {}", vector(choices, depth), scalar_operator(choices), scalar(choices, depth)),
        3 => {
            let operator = choices.one_of(&SET_OPERATORS);
            let matching = if choices.percent(50) { on_or_ignoring(choices) } else { String::new() };
            format!("{} {operator}{matching} {}", vector(choices, depth), vector(choices, depth))
        }
        4 => {
            // Partners that exist.
            let one = series(choices);
            format!("{one} {}{} {one}", vector_operator(choices), matching(choices))
        }
        _ => format!(
            "{} {}{} {}",
            vector(choices, depth),
            vector_operator(choices),
            matching(choices),
            vector(choices, depth)
        ),
    }
}

fn scalar_operator(choices: &mut Choices) -> String {
    if choices.percent(60) {
        return choices.one_of(&ARITHMETIC).to_owned();
    }
    vector_operator(choices)
}

fn vector_operator(choices: &mut Choices) -> String {
    match choices.below(3) {
        0 => choices.one_of(&ARITHMETIC).to_owned(),
        1 => choices.one_of(&COMPARISONS).to_owned(),
        _ => format!("{} bool", choices.one_of(&COMPARISONS)),
    }
}

fn on_or_ignoring(choices: &mut Choices) -> String {
    format!(" {}{}", choices.one_of(&["on", "ignoring"]), label_list(choices))
}

fn matching(choices: &mut Choices) -> String {
    if choices.percent(35) {
        return String::new();
    }
    let mut text = on_or_ignoring(choices);
    if choices.percent(60) {
        text.push_str(choices.one_of(&[" group_left", " group_right"]));
        if choices.percent(50) {
            text.push_str(&label_list(choices));
        }
    }
    text
}
