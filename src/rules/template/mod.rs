//! Go's text/template with Prometheus's functions, as labels and annotations of alerts use it.
//!
//! A template is parsed once and executed against the labels and the value of an alert. It reads
//! nothing by itself: queries go through a closure. Whatever a template does is bounded: the length
//! of its text and output, how deep it nests, and how many steps it takes.
//!
//! Differences from Go: native histograms show their count and sum alone as fields, instants have the
//! methods that alerts have use for (`Format`, `Unix`, `Year` and the like), and a list of samples
//! prints its samples where Go prints addresses.

mod ast;
mod builtins;
mod escape;
mod exec;
mod functions;
mod humanize;
mod lexer;
mod parser;
mod printf;
mod time;
mod value;

use crate::model::{Labels, Timestamp};
use crate::promql::{Value, VectorSample};

/// The longest template that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 128 * 1024;
/// The longest text that a template or one of its functions may give, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// How deep blocks and parentheses may nest.
pub const NESTING_MAX: usize = 50;
/// How deep execution may go through blocks and templates that call templates.
pub const DEPTH_MAX: usize = 60;
/// How many nodes may be executed; each turn of a loop counts, and so do the nodes within it.
pub const STEPS_MAX: usize = 100_000;

/// What is printed where there is nothing.
const NO_VALUE: &str = "<no value>";

/// What Prometheus puts in front of every template, so that `$labels` and `$value` are known.
const DEFINITIONS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                           {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A template that cannot be expanded. The text is Prometheus's: rules show it as
/// `<error expanding template: …>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not a template.
    #[error("error parsing template {name}: {reason}")]
    Parse {
        /// The template's name.
        name: String,
        /// Place and reason: `template: NAME:LINE: …`.
        reason: String,
    },
    /// It failed on its data.
    #[error("error executing template {name}: {reason}")]
    Execute {
        /// The template's name.
        name: String,
        /// Place and reason: `template: NAME:LINE:COLUMN: executing …`.
        reason: String,
    },
}

impl TemplateError {
    /// Place and reason alone, as the check of a rule file shows them.
    pub fn reason(&self) -> &str {
        match self {
            Self::Parse { reason, .. } | Self::Execute { reason, .. } => reason,
        }
    }
}

/// What a template is expanded with.
pub struct Context<'a> {
    /// `$labels`: the labels of the alert's sample.
    pub labels: &'a Labels,
    /// `$value`
    pub value: &'a Value,
    /// `$externalLabels`
    pub external_labels: &'a Labels,
    /// `$externalURL`
    pub external_url: &'a str,
    /// `now`
    pub at: Timestamp,
    /// `query`: evaluates an expression at the time of the rule; fails with the reason.
    pub query: &'a dyn Fn(&str) -> Result<Vec<VectorSample>, String>,
}

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: String,
    /// Definitions and text, which places in errors count in, as upstream's do.
    text: String,
    tree: ast::Tree,
}

impl Template {
    /// Reads a template. The name goes into errors; Prometheus names an alert's templates
    /// `__alert_NAME`.
    pub fn parse(name: &str, text: &str) -> Result<Self, TemplateError> {
        let text = format!("{DEFINITIONS}{text}");
        match parser::parse(&text) {
            Ok(tree) => Ok(Self { name: name.to_owned(), text, tree }),
            Err((position, reason)) => {
                let line = text[..position].matches('\n').count() + 1;
                let reason = format!("template: {name}:{line}: {reason}");
                Err(TemplateError::Parse { name: name.to_owned(), reason })
            }
        }
    }

    /// What the template gives.
    pub fn expand(&self, context: &Context<'_>) -> Result<String, TemplateError> {
        exec::run(self, context).map_err(|reason| TemplateError::Execute { name: self.name.clone(), reason })
    }
}

#[cfg(test)]
mod tests;
