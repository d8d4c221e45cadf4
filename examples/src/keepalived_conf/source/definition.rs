//! Definitions: `$NAME=value`, `$NAME`, `${NAME}`, and the built-in ones.

use std::collections::BTreeMap;

/// The meaning of a name.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    value: Value,
}

/// The value of a definition.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// Several lines, of which the first replaces the name and the others follow its line.
    Lines(Vec<String>),
    /// `${_PWD}`: the folder of the file that is read.
    Folder,
    /// `${_INSTANCE}`: the configuration id.
    ConfigId,
    /// `${_RANDOM MIN MAX}`.
    Random,
}

impl Definition {
    pub(super) const fn text(value: String) -> Self {
        Self {
            value: Value::Text(value),
        }
    }

    pub(super) const fn lines(lines: Vec<String>) -> Self {
        Self {
            value: Value::Lines(lines),
        }
    }
}

/// The definitions that every configuration has.
pub(super) fn built_in() -> BTreeMap<String, Definition> {
    [
        ("_PWD", Value::Folder),
        ("_INSTANCE", Value::ConfigId),
        ("_RANDOM", Value::Random),
        ("_HASH", Value::Text("#".into())),
        ("_BANG", Value::Text("!".into())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Definition { value }))
    .collect()
}

/// Reads `$NAME=value`: the name, its value or the first line of it, and whether it continues in
/// the next line.
pub(super) fn of(text: &str) -> Option<(String, Option<String>, bool)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_name_character);
    if !is_name {
        return None;
    }
    let value = value.trim_start_matches([' ', '\t']);
    Some(match value.strip_suffix('\\') {
        Some(first) => {
            let first = first.trim_end_matches([' ', '\t']);
            let first = (!first.is_empty()).then(|| first.to_owned());
            (name.to_owned(), first, true)
        }
        None => (name.to_owned(), Some(value.to_owned()), false),
    })
}

const fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The definition that a text beginning with `$` uses: the length of the use, the definition's
/// value, and the parameters after the name.
///
/// Without braces a name only counts before a blank, a comma, a closing parenthesis or the end.
pub(super) fn use_at<'a>(
    text: &'a str,
    definitions: &'a BTreeMap<String, Definition>,
) -> Option<(usize, &'a Value, &'a str)> {
    let behind = text.strip_prefix('$')?;
    let (name, parameters, length) = if let Some(inner) = behind.strip_prefix('{') {
        let (inner, _) = inner.split_once('}')?;
        let (name, parameters) = inner.split_once([' ', '\t']).unwrap_or((inner, ""));
        (name, parameters, inner.len() + 3)
    } else {
        let end = behind
            .find(|c| !is_name_character(c))
            .unwrap_or(behind.len());
        let (name, rest) = behind.split_at(end);
        let is_whole = rest.is_empty() || rest.starts_with([' ', '\t', ',', ')']);
        if !is_whole {
            return None;
        }
        (name, "", name.len() + 1)
    };
    let value = &definitions.get(name)?.value;
    if !parameters.trim().is_empty() && !matches!(value, Value::Random) {
        return None;
    }
    Some((length, value, parameters))
}
