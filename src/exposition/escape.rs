//! Names beyond the legacy characters, spelled so that an older reader takes them.
//! Source of the schemes: prometheus/common/model (EscapeName).

use std::borrow::Cow;

use crate::model::{is_legacy_label_name, is_legacy_metric_name};

/// What becomes of a name that is not a legacy name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EscapingScheme {
    /// `allow-utf-8`: it stays and is quoted.
    #[default]
    AllowUtf8,
    /// `underscores`: other characters become `_`.
    Underscores,
    /// `dots`: as underscores, but `.` becomes `_dot_` and `_` becomes `__`.
    Dots,
    /// `values`: `U__` in front, and other characters become their code point between underscores.
    Values,
}

impl EscapingScheme {
    /// The word of the `escaping` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Reads the word of the `escaping` parameter.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values]
            .into_iter()
            .find(|scheme| scheme.as_str() == word)
    }
}

/// Spells a metric's name for a reader that asked for `scheme`; legacy names stay as they are.
pub fn escape_metric_name(name: &str, scheme: EscapingScheme) -> Cow<'_, str> {
    if is_legacy_metric_name(name) { name.into() } else { escape_name(name, scheme) }
}

/// Spells a label's name likewise. A colon is no legacy character of a label but is left alone, as
/// in Prometheus, unless the name needs escaping anyway.
pub fn escape_label_name(name: &str, scheme: EscapingScheme) -> Cow<'_, str> {
    if is_legacy_label_name(name) || is_legacy_metric_name(name) { name.into() } else { escape_name(name, scheme) }
}

/// Applies a scheme to a name, be it a legacy name or not (which matters to `dots`).
pub fn escape_name(name: &str, scheme: EscapingScheme) -> Cow<'_, str> {
    let is_legacy = is_legacy_metric_name(name) || name.is_empty();
    let escape: fn(&mut String, char) = match scheme {
        EscapingScheme::AllowUtf8 => return name.into(),
        EscapingScheme::Underscores | EscapingScheme::Values if is_legacy => return name.into(),
        EscapingScheme::Underscores => |output, _| output.push('_'),
        EscapingScheme::Dots => |output, char| output.push_str(if char == '.' { "_dot_" } else { "__" }),
        EscapingScheme::Values => |output, char| output.push_str(&format!("_{:x}_", u32::from(char))),
    };
    let mut output = String::with_capacity(name.len() + 8);
    output.push_str(if scheme == EscapingScheme::Values { "U__" } else { "" });
    for (at, char) in name.char_indices() {
        let is_legacy = char.is_ascii_alphabetic() || matches!(char, '_' | ':') || (char.is_ascii_digit() && at > 0);
        if char == '_' && scheme != EscapingScheme::Underscores {
            output.push_str("__");
        } else if is_legacy {
            output.push(char);
        } else {
            escape(&mut output, char);
        }
    }
    Cow::Owned(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_spell_as_prometheus_does() {
        let cases = [
            ("", "", "", ""),
            ("no:escaping_required", "no:escaping_required", "no:escaping__required", "no:escaping_required"),
            (
                "mysystem.prod.west.cpu.load",
                "mysystem_prod_west_cpu_load",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
                "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load",
            ),
            (
                "mysystem.prod.west.cpu.load_total",
                "mysystem_prod_west_cpu_load_total",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load__total",
                "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load__total",
            ),
            ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
            ("label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1f631_"),
            ("花火", "__", "____", "U___82b1__706b_"),
            ("1a", "_a", "__a", "U___31_a"),
        ];
        for (name, underscores, dots, values) in cases {
            assert_eq!(escape_name(name, EscapingScheme::AllowUtf8), name);
            assert_eq!(escape_name(name, EscapingScheme::Underscores), underscores, "{name}");
            assert_eq!(escape_name(name, EscapingScheme::Dots), dots, "{name}");
            assert_eq!(escape_name(name, EscapingScheme::Values), values, "{name}");
        }
    }
}
