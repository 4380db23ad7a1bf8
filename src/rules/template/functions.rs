//! The functions that templates call: Go's own and Prometheus's, with what they take.
//!
//! Source: prometheus/template/template.go (3.5, and `now`, `toDuration`, `urlQueryEscape` of later
//! releases), Go's text/template. `tmpl` belongs to console pages alone: in rules Prometheus refuses
//! it, and so does this.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::value::Value;
use super::{Context, OUTPUT_BYTES_MAX, builtins, escape, humanize, printf, time::Instant};
use crate::model::{SearchRegex, parse_duration};
use crate::promql::VectorSample;

/// How deep `args` may nest maps.
const MAP_DEPTH_MAX: usize = 8;

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Samples,
    Sample,
}

impl Param {
    /// Go's name of the type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Samples => "template.queryResult",
            Self::Sample => "*template.sample",
        }
    }

    /// Whether a value may be passed.
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text => matches!(value, Value::Text(_)),
            Self::Samples => matches!(value, Value::Samples(_)),
            Self::Sample => matches!(value, Value::Sample(_)),
        }
    }
}

/// A function: its name, its parameters, and whether the last of them may be repeated or left out.
pub(super) struct Function {
    pub name: &'static str,
    pub params: &'static [Param],
    pub is_variadic: bool,
    pub run: Run,
}

/// What a function does.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Gives a value made of its arguments.
    Pure(fn(&[Value]) -> Result<Value, String>),
    /// Needs to know where the template runs.
    InContext(fn(&Context<'_>, &[Value]) -> Result<Value, String>),
    /// `and`, `or`: stops at the first argument that decides; true for `or`.
    Shortcut(bool),
}

/// Whether a function of this name exists.
pub(super) fn exists(name: &str) -> bool {
    lookup(name).is_some()
}

/// The function of this name.
pub(super) fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

use Param::{Any, Sample, Samples, Text};
use Run::{InContext, Pure};

const fn fixed(name: &'static str, params: &'static [Param], run: Run) -> Function {
    Function { name, params, is_variadic: false, run }
}

const fn variadic(name: &'static str, params: &'static [Param], run: Run) -> Function {
    Function { name, params, is_variadic: true, run }
}

static FUNCTIONS: [Function; 48] = [
    variadic("and", &[Any, Any], Run::Shortcut(false)),
    variadic("or", &[Any, Any], Run::Shortcut(true)),
    fixed("not", &[Any], Pure(|args| Ok(Value::Bool(!args[0].is_true())))),
    variadic("eq", &[Any, Any], Pure(builtins::eq)),
    fixed("ne", &[Any, Any], Pure(builtins::ne)),
    // Go's `gt` is "not `le`" and its `ge` "not `lt`", which tells with NaN.
    fixed("lt", &[Any, Any], Pure(|args| builtins::ordered(args, |order| order.is_some_and(Ordering::is_lt)))),
    fixed("le", &[Any, Any], Pure(|args| builtins::ordered(args, |order| order.is_some_and(Ordering::is_le)))),
    fixed("gt", &[Any, Any], Pure(|args| builtins::ordered(args, |order| !order.is_some_and(Ordering::is_le)))),
    fixed("ge", &[Any, Any], Pure(|args| builtins::ordered(args, |order| !order.is_some_and(Ordering::is_lt)))),
    fixed("len", &[Any], Pure(|args| builtins::len(&args[0]))),
    variadic("index", &[Any, Any], Pure(builtins::index)),
    variadic("slice", &[Any, Any], Pure(builtins::slice)),
    variadic("call", &[Any, Any], Pure(call)),
    variadic("print", &[Any], Pure(|args| Ok(printf::sprint(args).into()))),
    variadic("println", &[Any], Pure(|args| Ok(printf::sprintln(args).into()))),
    variadic("printf", &[Text, Any], Pure(|args| Ok(printf::sprintf(text(&args[0]), &args[1..]).into()))),
    variadic("html", &[Any], Pure(|args| Ok(escape::html(&joined(args)).into()))),
    variadic("js", &[Any], Pure(|args| Ok(escape::js(&joined(args)).into()))),
    variadic("urlquery", &[Any], Pure(|args| Ok(escape::query(&joined(args)).into()))),
    fixed("query", &[Text], InContext(query)),
    fixed("first", &[Samples], Pure(first)),
    fixed("label", &[Text, Sample], Pure(|args| label(&args[1], text(&args[0])))),
    fixed("value", &[Sample], Pure(|args| field(&args[0], "Value"))),
    fixed("strvalue", &[Sample], Pure(|args| label(&args[0], "__value__"))),
    fixed("sortByLabel", &[Text, Samples], Pure(sort_by_label)),
    variadic("args", &[Any], Pure(args_map)),
    fixed("reReplaceAll", &[Text, Text, Text], Pure(replace_all)),
    fixed("match", &[Text, Text], Pure(matches_pattern)),
    fixed("safeHtml", &[Text], Pure(|args| Ok(args[0].clone()))),
    fixed("title", &[Text], Pure(|args| Ok(humanize::title(text(&args[0])).into()))),
    fixed("toUpper", &[Text], Pure(|args| Ok(text(&args[0]).to_uppercase().into()))),
    fixed("toLower", &[Text], Pure(|args| Ok(text(&args[0]).to_lowercase().into()))),
    fixed("graphLink", &[Text], Pure(|args| Ok(link(&args[0], 0)))),
    fixed("tableLink", &[Text], Pure(|args| Ok(link(&args[0], 1)))),
    fixed("stripPort", &[Text], Pure(|args| Ok(humanize::strip_port(text(&args[0])).into()))),
    fixed("stripDomain", &[Text], Pure(|args| Ok(humanize::strip_domain(text(&args[0])).into()))),
    fixed("humanize", &[Any], Pure(|args| Ok(humanize::humanize(args[0].to_float()?).into()))),
    fixed("humanize1024", &[Any], Pure(|args| Ok(humanize::humanize_1024(args[0].to_float()?).into()))),
    fixed("humanizeDuration", &[Any], Pure(|args| Ok(humanize::humanize_duration(args[0].to_float()?).into()))),
    fixed("humanizePercentage", &[Any], Pure(percentage)),
    fixed("humanizeTimestamp", &[Any], Pure(|args| Ok(humanize::humanize_timestamp(args[0].to_float()?)?.into()))),
    fixed("toTime", &[Any], Pure(|args| Instant::from_seconds(args[0].to_float()?).map(Value::Instant))),
    fixed("toDuration", &[Any], Pure(|args| Ok(Value::Duration((args[0].to_float()? * 1e9) as i64)))),
    fixed("now", &[], InContext(|context, _| Ok(Value::Float(context.at.seconds())))),
    fixed("parseDuration", &[Text], Pure(duration_seconds)),
    fixed("pathPrefix", &[], InContext(|context, _| Ok(url_path(context.external_url).into()))),
    fixed("externalURL", &[], InContext(|context, _| Ok(context.external_url.into()))),
    fixed("urlQueryEscape", &[Text], Pure(|args| Ok(escape::query(text(&args[0])).into()))),
];

/// The text of an argument that was checked to be one.
fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

/// Arguments as the escaping functions take them: one text as it is, anything else as printed, and
/// nothing as templates print it.
fn joined(args: &[Value]) -> String {
    let shown = |value: &Value| match value {
        Value::Nil => Value::from(super::NO_VALUE),
        other => other.clone(),
    };
    printf::sprint(&args.iter().map(shown).collect::<Vec<_>>())
}

fn call(args: &[Value]) -> Result<Value, String> {
    let Some(first) = args.first().filter(|first| !matches!(first, Value::Nil)) else {
        return Err("call of nil".to_owned());
    };
    Err(format!("non-function {} of type {}", printf::show(first), first.type_name()))
}

fn query(context: &Context<'_>, args: &[Value]) -> Result<Value, String> {
    let sample = |sample: VectorSample| {
        Rc::new(super::value::Sample { value: Value::from(&sample.value), labels: sample.labels })
    };
    let samples = (context.query)(text(&args[0]))?;
    Ok(Value::Samples(samples.into_iter().map(sample).collect()))
}

fn first(args: &[Value]) -> Result<Value, String> {
    match &args[0] {
        Value::Samples(samples) if !samples.is_empty() => Ok(Value::Sample(Rc::clone(&samples[0]))),
        _ => Err("first() called on vector with no elements".to_owned()),
    }
}

fn field(value: &Value, name: &str) -> Result<Value, String> {
    value.field(name).map(|field| field.value).ok_or_else(|| format!("no {name} in {}", value.type_name()))
}

fn label(sample: &Value, name: &str) -> Result<Value, String> {
    field(&field(sample, "Labels")?, name)
}

fn sort_by_label(args: &[Value]) -> Result<Value, String> {
    let Value::Samples(samples) = &args[1] else { return Ok(args[1].clone()) };
    let name = text(&args[0]);
    let mut sorted = samples.to_vec();
    crate::model::sort_by(&mut sorted, |a, b| a.labels.get(name).unwrap_or("").cmp(b.labels.get(name).unwrap_or("")));
    Ok(Value::Samples(sorted.into()))
}

fn args_map(args: &[Value]) -> Result<Value, String> {
    let map: BTreeMap<String, Value> =
        args.iter().enumerate().map(|(index, value)| (format!("arg{index}"), value.clone())).collect();
    let map = Value::Map(Rc::new(map));
    if map_depth(&map) > MAP_DEPTH_MAX {
        return Err(format!("args nested deeper than {MAP_DEPTH_MAX} levels"));
    }
    Ok(map)
}

/// How deep maps nest, as far as the bound and one beyond: what is kept is never deeper.
fn map_depth(value: &Value) -> usize {
    match value {
        Value::Map(map) => 1 + map.values().map(map_depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn replace_all(args: &[Value]) -> Result<Value, String> {
    let (pattern, replacement, subject) = (text(&args[0]), text(&args[1]), text(&args[2]));
    let regex = SearchRegex::new(pattern)
        .map_err(|error| format!("regexp: Compile(`{pattern}`): error parsing regexp: {}", error.reason))?;
    let replaced = regex.replace_all(subject, replacement, OUTPUT_BYTES_MAX);
    replaced.map(Value::from).ok_or_else(|| format!("result longer than {OUTPUT_BYTES_MAX} bytes"))
}

fn matches_pattern(args: &[Value]) -> Result<Value, String> {
    let regex = SearchRegex::new(text(&args[0])).map_err(|error| format!("error parsing regexp: {}", error.reason))?;
    Ok(Value::Bool(regex.is_match(text(&args[1]))))
}

/// A link to the expression browser, relative to the external URL's host.
fn link(expr: &Value, tab: u8) -> Value {
    format!("/graph?g0.expr={}&g0.tab={tab}", escape::query(text(expr))).into()
}

fn percentage(args: &[Value]) -> Result<Value, String> {
    Ok(format!("{}%", printf::four_digits(args[0].to_float()? * 100.0)).into())
}

fn duration_seconds(args: &[Value]) -> Result<Value, String> {
    let duration = parse_duration(text(&args[0])).map_err(|error| error.to_string())?;
    Ok(Value::Float(duration.as_secs_f64()))
}

/// The path of a URL, without query and fragment.
fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    path.split(['?', '#']).next().unwrap_or(path)
}
