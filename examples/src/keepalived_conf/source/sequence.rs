//! `~SEQ(NAME, START, STEP, END)` and `~LST(NAME, A, B)`: a line that is repeated.

use crate::keepalived_conf::value::c_number;

/// A line that is being repeated.
#[derive(Debug)]
pub(super) struct Sequence {
    names: Vec<String>,
    /// The values of each round, last round first.
    rounds: Rounds,
    text: String,
}

#[derive(Debug)]
enum Rounds {
    Numbers {
        next: Option<i64>,
        step: i64,
        last: i64,
        is_hexadecimal: bool,
    },
    List(std::vec::IntoIter<Vec<String>>),
}

impl Sequence {
    /// Reads a sequence; `replace` replaces definitions in the numbers.
    pub(super) fn of(text: &str, replace: impl Fn(&str) -> String) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("~LST") {
            return Self::of_list(rest);
        }
        let rest = text.strip_prefix("~SEQ")?;
        let (rest, is_hexadecimal) = match rest.strip_prefix('x') {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let inner = rest.trim_start_matches([' ', '\t']).strip_prefix('(')?;
        let (parameters, text) = inner.split_once(')')?;
        let (name, numbers) = parameters.split_once(',')?;
        let name = name.trim_matches([' ', '\t']);
        if name.is_empty() {
            return None;
        }
        let numbers = replace(numbers);
        let numbers: Option<Vec<i64>> = numbers.split(',').map(number).collect();
        let (start, step, last) = match numbers?[..] {
            [end] => (
                if end < 0 { -1 } else { 1 },
                if end < 1 { -1 } else { 1 },
                end,
            ),
            [start, end] => (start, if start <= end { 1 } else { -1 }, end),
            [start, step, end] => (start, step, end),
            _ => return None,
        };
        let leads_away = step == 0 || (start < last && step < 0) || (start > last && step > 0);
        if leads_away || (is_hexadecimal && (start < 0 || last < 0)) {
            return None;
        }
        Some(Self {
            names: vec![name.to_owned()],
            rounds: Rounds::Numbers {
                next: Some(start),
                step,
                last,
                is_hexadecimal,
            },
            text: text.trim_start_matches([' ', '\t']).to_owned(),
        })
    }

    fn of_list(rest: &str) -> Option<Self> {
        let inner = rest.trim_start_matches([' ', '\t']).strip_prefix('(')?;
        let (parameters, text) = inner.split_once(')')?;
        let mut groups = groups(parameters)?.into_iter();
        let names = groups.next()?;
        let mut rounds = Vec::new();
        for mut values in groups {
            if values.len() > names.len() {
                return None;
            }
            values.resize(names.len(), String::new());
            rounds.push(values);
        }
        if rounds.is_empty() || names.iter().any(String::is_empty) {
            return None;
        }
        Some(Self {
            names,
            rounds: Rounds::List(rounds.into_iter()),
            text: text.trim_start_matches([' ', '\t']).to_owned(),
        })
    }

    /// The definitions of the next round and the line.
    pub(super) fn next(&mut self) -> Option<(Vec<(String, String)>, String)> {
        let values = match &mut self.rounds {
            Rounds::List(rounds) => rounds.next()?,
            Rounds::Numbers {
                next,
                step,
                last,
                is_hexadecimal,
            } => {
                let value = (*next)?;
                *next = value.checked_add(*step).filter(|next| {
                    if *step > 0 {
                        *next <= *last
                    } else {
                        *next >= *last
                    }
                });
                vec![if *is_hexadecimal {
                    format!("{value:x}")
                } else {
                    value.to_string()
                }]
            }
        };
        let definitions = self.names.iter().cloned().zip(values).collect();
        Some((definitions, self.text.clone()))
    }
}

/// Reads a number as C does, with an optional sign.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_matches([' ', '\t']);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    Some(sign * i64::try_from(c_number(digits)?).ok()?)
}

/// Splits `{A,B}, {1,2}, 3` into its groups.
fn groups(text: &str) -> Option<Vec<Vec<String>>> {
    let value = |text: &str| text.trim_matches([' ', '\t']).to_owned();
    let mut groups = Vec::new();
    let mut rest = text.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let behind = if let Some(inner) = rest.strip_prefix('{') {
            let (group, behind) = inner.split_once('}')?;
            groups.push(group.split(',').map(value).collect());
            behind.trim_start_matches([' ', '\t'])
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (single, behind) = rest.split_at(end);
            groups.push(vec![value(single)]);
            behind
        };
        rest = if behind.is_empty() {
            ""
        } else {
            behind.strip_prefix(',')?.trim_start_matches([' ', '\t'])
        };
    }
    Some(groups)
}
