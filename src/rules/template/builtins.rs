//! The functions that Go's text/template knows by itself, save those that `fmt` provides.
//!
//! Source: the documentation of Go's text/template, section Functions.

use std::cmp::Ordering;

use super::value::Value;

/// Two values of the same basic type, side by side.
enum Pair<'a> {
    Bools(bool, bool),
    Ints(i64, i64),
    Floats(f64, f64),
    Texts(&'a str, &'a str),
    Nils,
}

/// `eq first second …`: whether the first equals any of the others.
pub(super) fn eq(values: &[Value]) -> Result<Value, String> {
    let (first, others) = values.split_first().ok_or("missing argument for comparison")?;
    comparable(first)?;
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        comparable(other)?;
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// `ne first second`
pub(super) fn ne(values: &[Value]) -> Result<Value, String> {
    let [first, second] = values else { return Err("missing argument for comparison".to_owned()) };
    comparable(first)?;
    comparable(second)?;
    equal(first, second).map(|is_equal| Value::Bool(!is_equal))
}

/// `lt`, `le`, `gt`, `ge`: whether the order of the two is one that `holds` accepts; NaN has none.
pub(super) fn ordered(values: &[Value], holds: impl Fn(Option<Ordering>) -> bool) -> Result<Value, String> {
    let [first, second] = values else { return Err("missing argument for comparison".to_owned()) };
    let order = match pair(first, second)? {
        Pair::Ints(a, b) => Some(a.cmp(&b)),
        Pair::Floats(a, b) => a.partial_cmp(&b),
        Pair::Texts(a, b) => Some(a.cmp(b)),
        Pair::Bools(..) | Pair::Nils => return Err("invalid type for comparison".to_owned()),
    };
    Ok(Value::Bool(holds(order)))
}

fn equal(first: &Value, second: &Value) -> Result<bool, String> {
    // Nothing equals nothing, and differs from everything else.
    if matches!(first, Value::Nil) || matches!(second, Value::Nil) {
        return Ok(matches!((first, second), (Value::Nil, Value::Nil)));
    }
    Ok(match pair(first, second)? {
        Pair::Bools(a, b) => a == b,
        Pair::Ints(a, b) => a == b,
        Pair::Floats(a, b) => a == b,
        Pair::Texts(a, b) => a == b,
        Pair::Nils => true,
    })
}

fn pair<'a>(first: &'a Value, second: &'a Value) -> Result<Pair<'a>, String> {
    Ok(match (first, second) {
        (Value::Bool(a), Value::Bool(b)) => Pair::Bools(*a, *b),
        (Value::Int(a), Value::Int(b)) => Pair::Ints(*a, *b),
        (Value::Float(a), Value::Float(b)) => Pair::Floats(*a, *b),
        (Value::Text(a), Value::Text(b)) => Pair::Texts(a, b),
        (Value::Nil, Value::Nil) => Pair::Nils,
        _ if !is_basic(first) || !is_basic(second) => return Err("invalid type for comparison".to_owned()),
        _ => {
            let (first, second) = (first.type_name(), second.type_name());
            return Err(format!("incompatible types for comparison: {first} and {second}"));
        }
    })
}

fn is_basic(value: &Value) -> bool {
    matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_))
}

fn comparable(value: &Value) -> Result<(), String> {
    match value {
        Value::Labels(_) | Value::Map(_) | Value::Samples(_) | Value::Data(_) => {
            Err(format!("non-comparable type {}: {}", super::printf::show(value), value.type_name()))
        }
        _ => Ok(()),
    }
}

/// `len value`
pub(super) fn len(value: &Value) -> Result<Value, String> {
    let len = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Map(map) => map.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(len as i64))
}

/// `index value key …`: into maps, lists and texts, one key after the other.
pub(super) fn index(values: &[Value]) -> Result<Value, String> {
    let (first, keys) = values.split_first().ok_or("missing argument")?;
    keys.iter().try_fold(first.clone(), |value, key| element(&value, key))
}

fn element(value: &Value, key: &Value) -> Result<Value, String> {
    match value {
        Value::Labels(_) | Value::Map(_) => {
            let Value::Text(name) = key else {
                return Err(format!("value has type {}; should be string", key.type_name()));
            };
            Ok(value.field(name).map_or(Value::Nil, |field| field.value))
        }
        Value::Samples(samples) => {
            let position = position(key, samples.len(), false)?;
            Ok(Value::Sample(samples[position].clone()))
        }
        Value::Text(text) => {
            let position = position(key, text.len(), false)?;
            Ok(Value::Int(i64::from(text.as_bytes()[position])))
        }
        Value::Nil => Err("index of untyped nil".to_owned()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

/// `slice value from to`
pub(super) fn slice(values: &[Value]) -> Result<Value, String> {
    let (first, bounds) = values.split_first().ok_or("missing argument")?;
    let length = match first {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    if bounds.len() == 3 && matches!(first, Value::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let start = bounds.first().map_or(Ok(0), |bound| position(bound, length, true))?;
    let end = bounds.get(1).map_or(Ok(length), |bound| position(bound, length, true))?;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    Ok(match first {
        // Where a bound falls within a character, that character is lost.
        Value::Text(text) => String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned().into(),
        Value::Samples(samples) => Value::Samples(samples[start..end].into()),
        _ => Value::Nil,
    })
}

fn position(key: &Value, length: usize, includes_end: bool) -> Result<usize, String> {
    let Value::Int(number) = key else {
        return Err(match key {
            Value::Nil => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        });
    };
    let limit = if includes_end { length + 1 } else { length };
    let position = usize::try_from(*number).ok().filter(|position| *position < limit);
    position.ok_or_else(|| format!("index out of range: {number}"))
}
