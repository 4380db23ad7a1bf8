//! Executes a template's tree. Errors name the place as Go does: template, line, column, and the
//! part of the template that was being evaluated.

use std::fmt::Display;
use std::rc::Rc;

use super::ast::{Branch, BranchKind, Command, Invocation, Node, NumberValue, Operand, OperandKind, Pipe};
use super::functions::{self, Function, Param, Run};
use super::value::{Data, Value};
use super::{Context, DEPTH_MAX, NO_VALUE, OUTPUT_BYTES_MAX, STEPS_MAX, Template, printf};

/// Runs the template; fails with the whole message.
pub(super) fn run(template: &Template, context: &Context<'_>) -> Result<String, String> {
    let data = Data {
        labels: context.labels.clone(),
        external_labels: context.external_labels.clone(),
        external_url: context.external_url.into(),
        value: Value::from(context.value),
    };
    let root = Value::Data(Rc::new(data));
    let variables = vec![("$", root.clone())];
    let place = Place { position: 0, node: &"" };
    let mut exec =
        Exec { template, context, name: &template.name, variables, place, output: String::new(), steps: 0, depth: 0 };
    exec.list(&root, &template.tree.main)?;
    Ok(exec.output)
}

/// What is being evaluated.
#[derive(Clone, Copy)]
struct Place<'t> {
    position: usize,
    node: &'t dyn Display,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Exec<'t, 'c> {
    template: &'t Template,
    context: &'t Context<'c>,
    /// The template that is running: the main one or a defined one.
    name: &'t str,
    variables: Vec<(&'t str, Value)>,
    place: Place<'t>,
    output: String,
    steps: usize,
    depth: usize,
}

type Outcome<T> = Result<T, String>;

/// Walking the nodes.
impl<'t> Exec<'t, '_> {
    fn list(&mut self, dot: &Value, nodes: &'t [Node]) -> Outcome<Flow> {
        self.enter()?;
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(dot, node)?;
            if flow != Flow::On {
                break;
            }
        }
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, dot: &Value, node: &'t Node) -> Outcome<Flow> {
        self.step()?;
        match node {
            Node::Text(text) => self.print(text)?,
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print_value(&value)?;
                }
            }
            Node::Branch(branch) => return self.branch(dot, branch),
            Node::Call(invocation) => self.invoke(dot, invocation)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(&mut self, dot: &Value, branch: &'t Branch) -> Outcome<Flow> {
        let scope = self.variables.len();
        let value = match branch.kind {
            // The variables of a range hold elements, not the whole.
            BranchKind::Range => self.commands(dot, &branch.pipe)?,
            BranchKind::If | BranchKind::With => self.pipe(dot, &branch.pipe)?,
        };
        let flow = match (branch.kind, value.is_true()) {
            (BranchKind::Range, _) => self.range(dot, branch, &value)?,
            (BranchKind::If, true) => self.list(dot, &branch.then)?,
            (BranchKind::With, true) => self.list(&value, &branch.then)?,
            (_, false) => self.list(dot, &branch.otherwise)?,
        };
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch, value: &Value) -> Outcome<Flow> {
        let count = match value {
            Value::Int(count) => usize::try_from(*count).unwrap_or(0),
            Value::Labels(labels) => labels.len(),
            Value::Map(map) => map.len(),
            Value::Samples(samples) => samples.len(),
            Value::Nil => 0,
            other => return Err(self.error(format!("range can't iterate over {}", printf::show(other)))),
        };
        if count == 0 {
            return self.list(dot, &branch.otherwise);
        }
        for index in 0..count {
            // A turn counts even if nothing stands within the loop.
            self.step()?;
            let scope = self.variables.len();
            let (key, element) = element(value, index);
            self.bind_element(&branch.pipe, key, &element)?;
            let flow = self.list(&element, &branch.then)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Of two variables of a range the first gets the key; a lone one gets the element.
    fn bind_element(&mut self, pipe: &'t Pipe, key: Value, element: &Value) -> Outcome<()> {
        match pipe.variables.as_slice() {
            [] => Ok(()),
            [name] => self.bind(name, element.clone(), pipe.is_assignment),
            [first, second, ..] => {
                self.bind(first, key, pipe.is_assignment)?;
                self.bind(second, element.clone(), pipe.is_assignment)
            }
        }
    }

    fn bind(&mut self, name: &'t str, value: Value, is_assignment: bool) -> Outcome<()> {
        if !is_assignment {
            self.variables.push((name, value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => Err(self.error(format!("undefined variable: {name}"))),
        }
    }

    /// `{{template "name" pipeline}}`
    fn invoke(&mut self, dot: &Value, invocation: &'t Invocation) -> Outcome<()> {
        self.place = Place { position: invocation.position, node: invocation };
        let template: &'t Template = self.template;
        let Some((name, nodes)) = template.tree.defined.get_key_value(&invocation.name) else {
            return Err(self.error(format!("template {:?} not defined", invocation.name)));
        };
        let value = match &invocation.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        self.execute(name, nodes, value)
    }

    /// Runs a defined template, which sees no variable but `$`.
    fn execute(&mut self, name: &'t str, nodes: &'t [Node], dot: Value) -> Outcome<()> {
        let outer = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.list(&dot, nodes)?;
        (self.variables, self.name) = (outer, outer_name);
        Ok(())
    }

    fn print_value(&mut self, value: &Value) -> Outcome<()> {
        match value {
            Value::Text(text) => self.print(text),
            Value::Nil => self.print(NO_VALUE),
            other => self.print(&printf::show(other)),
        }
    }

    fn print(&mut self, text: &str) -> Outcome<()> {
        if self.output.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(self.error(format!("output longer than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.output.push_str(text);
        Ok(())
    }
}

/// Evaluating pipelines.
impl<'t> Exec<'t, '_> {
    /// The value of a pipeline, which its variable keeps.
    fn pipe(&mut self, dot: &Value, pipe: &'t Pipe) -> Outcome<Value> {
        let value = self.commands(dot, pipe)?;
        for name in &pipe.variables {
            self.bind(name, value.clone(), pipe.is_assignment)?;
        }
        Ok(value)
    }

    /// Each command's value is the last argument of the next.
    fn commands(&mut self, dot: &Value, pipe: &'t Pipe) -> Outcome<Value> {
        self.place = Place { position: pipe.position, node: pipe };
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(dot, command, last)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, dot: &Value, command: &'t Command, last: Option<Value>) -> Outcome<Value> {
        let (first, arguments) = (&command.operands[0], &command.operands[1..]);
        if let OperandKind::Function(name) = &first.kind {
            self.at(first);
            return self.call(dot, name, Place { position: command.position, node: command }, arguments, last);
        }
        if let OperandKind::Chain(inner, names) = &first.kind {
            let receiver = self.operand(dot, inner)?;
            return self.fields(receiver, names, dot, arguments, last);
        }
        self.at(first);
        match &first.kind {
            OperandKind::Field(names) => self.fields(dot.clone(), names, dot, arguments, last),
            OperandKind::Variable(name, names) => {
                let receiver = self.variable(name)?;
                if names.is_empty() && !(arguments.is_empty() && last.is_none()) {
                    return Err(self.no_function(first));
                }
                self.fields(receiver, names, dot, arguments, last)
            }
            _ if !(arguments.is_empty() && last.is_none()) => Err(self.no_function(first)),
            OperandKind::Nil => Err(self.error("nil is not a command".to_owned())),
            _ => self.operand(dot, first),
        }
    }

    fn no_function(&self, operand: &Operand) -> String {
        self.error(format!("can't give argument to non-function {operand}"))
    }

    /// The value of one word, which stands alone or as an argument.
    fn operand(&mut self, dot: &Value, operand: &'t Operand) -> Outcome<Value> {
        self.at(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(number) => match number.value {
                NumberValue::Int(value) => Ok(Value::Int(value)),
                NumberValue::Float(value) => Ok(Value::Float(value)),
                NumberValue::TooLarge => Err(self.error(format!("{} overflows int", number.text))),
            },
            OperandKind::Text(_, value) => Ok(Value::from(value.as_str())),
            OperandKind::Field(names) => self.fields(dot.clone(), names, dot, &[], None),
            OperandKind::Variable(name, names) => {
                let receiver = self.variable(name)?;
                self.fields(receiver, names, dot, &[], None)
            }
            OperandKind::Function(name) => {
                self.call(dot, name, Place { position: operand.position, node: operand }, &[], None)
            }
            OperandKind::Pipe(pipe) => {
                self.enter()?;
                let value = self.pipe(dot, pipe)?;
                self.depth -= 1;
                Ok(value)
            }
            OperandKind::Chain(inner, names) => {
                let receiver = self.operand(dot, inner)?;
                self.fields(receiver, names, dot, &[], None)
            }
        }
    }

    fn variable(&self, name: &str) -> Outcome<Value> {
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| self.error(format!("undefined variable: {name}")))
    }

    /// One field after the other; arguments can only go to a method at the end.
    fn fields(
        &mut self,
        mut value: Value,
        names: &'t [String],
        dot: &Value,
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let has_arguments = !arguments.is_empty() || last.is_some();
        let mut is_interface = false;
        for (index, name) in names.iter().enumerate() {
            let is_last = index + 1 == names.len();
            if let Value::Instant(_) | Value::Duration(_) = value {
                let values = if is_last { self.arguments(dot, arguments, last.as_ref())? } else { Vec::new() };
                value = self.method(&value, name, &values)?;
                continue;
            }
            if is_last && has_arguments {
                let message = match value {
                    Value::Labels(_) | Value::Map(_) => format!("{name} is not a method but has arguments"),
                    _ => format!("{name} has arguments but cannot be invoked as function"),
                };
                return Err(self.error(message));
            }
            let Some(field) = value.field(name) else {
                let type_name = if is_interface { "interface {}" } else { value.type_name() };
                return Err(self.error(format!("can't evaluate field {name} in type {type_name}")));
            };
            (value, is_interface) = (field.value, field.is_interface);
        }
        Ok(value)
    }

    fn arguments(&mut self, dot: &Value, arguments: &'t [Operand], last: Option<&Value>) -> Outcome<Vec<Value>> {
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for operand in arguments {
            values.push(self.operand(dot, operand)?);
        }
        values.extend(last.cloned());
        Ok(values)
    }

    fn method(&self, receiver: &Value, name: &str, arguments: &[Value]) -> Outcome<Value> {
        let found = match (receiver, arguments) {
            (Value::Instant(instant), [Value::Text(layout)]) if name == "Format" => Some(instant.format(layout).into()),
            (Value::Instant(instant), []) => instant.method(name),
            (Value::Duration(nanos), []) => duration_method(*nanos, name),
            _ => None,
        };
        let type_name = receiver.type_name();
        found.ok_or_else(|| self.error(format!("can't evaluate field {name} in type {type_name}")))
    }

    fn call(
        &mut self,
        dot: &Value,
        name: &str,
        whole: Place<'t>,
        arguments: &'t [Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let Some(function) = functions::lookup(name) else {
            return Err(self.error(format!("{name:?} is not a defined function")));
        };
        self.check_count(function, arguments.len() + usize::from(last.is_some()))?;
        if let Run::Shortcut(stop) = function.run {
            return self.shortcut(dot, arguments, last, stop);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for (index, operand) in arguments.iter().enumerate() {
            values.push(self.argument(dot, operand, param(function, index))?);
        }
        if let Some(value) = last {
            let expected = param(function, values.len());
            self.check_type(&value, expected)?;
            values.push(value);
        }
        let result = match function.run {
            Run::Pure(run) => run(&values),
            Run::InContext(run) => run(self.context, &values),
            Run::Shortcut(_) => Ok(Value::Nil),
        };
        result.and_then(bounded).map_err(|reason| {
            self.place = whole;
            self.error(format!("error calling {name}: {reason}"))
        })
    }

    fn check_count(&self, function: &Function, found: usize) -> Outcome<()> {
        let listed = function.params.len();
        let least = if function.is_variadic { listed - 1 } else { listed };
        let name = function.name;
        if found < least && function.is_variadic {
            return Err(self.error(format!("wrong number of args for {name}: want at least {least} got {found}")));
        }
        if found < least || (found > listed && !function.is_variadic) {
            return Err(self.error(format!("wrong number of args for {name}: want {listed} got {found}")));
        }
        Ok(())
    }

    /// `and`, `or`: the first argument that decides, or the last one.
    fn shortcut(&mut self, dot: &Value, arguments: &'t [Operand], last: Option<Value>, stop: bool) -> Outcome<Value> {
        let mut value = Value::Nil;
        for operand in arguments {
            value = self.operand(dot, operand)?;
            if value.is_true() == stop {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn argument(&mut self, dot: &Value, operand: &'t Operand, expected: Param) -> Outcome<Value> {
        self.at(operand);
        let is_literal = matches!(
            operand.kind,
            OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::Text(..) | OperandKind::Nil
        );
        if !is_literal {
            let value = self.operand(dot, operand)?;
            self.check_type(&value, expected)?;
            return Ok(value);
        }
        let value = self.operand(dot, operand)?;
        let message = match (expected.accepts(&value), expected, &operand.kind) {
            (true, ..) => return Ok(value),
            (_, Param::Text, OperandKind::Nil) => "cannot assign nil to string".to_owned(),
            (_, Param::Text, _) => format!("expected string; found {operand}"),
            (_, _, OperandKind::Nil) => return Err(self.error("nil is no value here".to_owned())),
            _ => format!("can't handle {operand} for arg of type {}", expected.type_name()),
        };
        Err(self.error(message))
    }

    fn check_type(&self, value: &Value, expected: Param) -> Outcome<()> {
        if expected.accepts(value) {
            return Ok(());
        }
        let expected = expected.type_name();
        Err(self.error(match value {
            Value::Nil => format!("invalid value; expected {expected}"),
            other => format!("wrong type for value; expected {expected}; got {}", other.type_name()),
        }))
    }
}

/// Places and bounds.
impl<'t> Exec<'t, '_> {
    fn at(&mut self, operand: &'t Operand) {
        self.place = Place { position: operand.position, node: operand };
    }

    fn step(&mut self) -> Outcome<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.error(format!("more than {STEPS_MAX} steps")));
        }
        Ok(())
    }

    fn enter(&mut self) -> Outcome<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("exceeded maximum template depth ({DEPTH_MAX})")));
        }
        Ok(())
    }

    fn error(&self, message: String) -> String {
        let Place { position, node } = self.place;
        let before = &self.template.text[..position];
        let line = before.matches('\n').count() + 1;
        let column = before.rfind('\n').map_or(position, |newline| position - newline - 1);
        let (source, name) = (&self.template.name, self.name);
        format!("template: {source}:{line}:{column}: executing {name:?} at <{node}>: {message}")
    }
}

fn param(function: &Function, index: usize) -> Param {
    let last = function.params.len().saturating_sub(1);
    function.params[index.min(last)]
}

/// Texts that functions make are bounded like the output.
fn bounded(value: Value) -> Result<Value, String> {
    match &value {
        Value::Text(text) if text.len() > OUTPUT_BYTES_MAX => {
            Err(format!("result longer than {OUTPUT_BYTES_MAX} bytes"))
        }
        _ => Ok(value),
    }
}

/// Key and value of the element at a place that exists.
fn element(value: &Value, index: usize) -> (Value, Value) {
    let position = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
    let found = match value {
        Value::Samples(samples) => return (position, Value::Sample(Rc::clone(&samples[index]))),
        Value::Labels(labels) => labels.iter().nth(index).map(|(name, value)| (name.into(), value.into())),
        Value::Map(map) => map.iter().nth(index).map(|(name, value)| (name.as_str().into(), value.clone())),
        _ => None,
    };
    found.unwrap_or((position.clone(), position))
}

fn duration_method(nanos: i64, name: &str) -> Option<Value> {
    Some(match name {
        "Hours" => Value::Float(nanos as f64 / 3.6e12),
        "Minutes" => Value::Float(nanos as f64 / 6e10),
        "Seconds" => Value::Float(nanos as f64 / 1e9),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "String" => super::time::show_duration(nanos).into(),
        _ => return None,
    })
}
