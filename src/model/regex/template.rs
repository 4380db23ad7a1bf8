//! Replacement templates as Go's `regexp.Expand` reads them.

/// Fills in `$name`, `${name}` and `$$`. A dollar that starts none of these stays; a group that is
/// unknown or took no part in the match expands to nothing.
pub(super) fn expand<'t>(template: &str, group: impl Fn(&str) -> Option<&'t str>) -> String {
    let mut output = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        output.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            output.push_str(group(name).unwrap_or_default());
            rest = after;
        } else {
            output.push('$');
        }
    }
    output.push_str(rest);
    output
}

/// The number that a name of digits stands for: no leading zero, and not absurdly large.
pub(super) fn group_number(name: &str) -> Option<usize> {
    let is_canonical = name == "0" || !name.starts_with('0');
    name.parse().ok().filter(|number: &usize| is_canonical && *number < 100_000_000)
}

/// The name behind a dollar, as long as possible, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (is_braced, inner) = match text.strip_prefix('{') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    let length = inner.find(|c| !is_part(c)).unwrap_or(inner.len());
    let (name, after) = inner.split_at(length);
    if name.is_empty() {
        return None;
    }
    if is_braced { after.strip_prefix('}').map(|after| (name, after)) } else { Some((name, after)) }
}
