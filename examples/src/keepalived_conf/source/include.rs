//! `include PATTERN` and its strict forms.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The most alternatives that the braces of a pattern may have.
const MOST_ALTERNATIVES: usize = 1000;

/// Why a file of an include was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// It cannot be read.
    Unreadable,
    /// A file named without wildcards does not exist.
    Missing,
    /// One of the alternatives in braces does not exist.
    Alternative,
    /// Nothing matches the wildcards.
    NoMatch,
}

/// The kinds of failure that are errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one for each way to miss a file"
)]
pub(super) struct Strictness {
    unreadable: bool,
    missing: bool,
    alternative: bool,
    no_match: bool,
}

impl Strictness {
    const ALL: Self = Self {
        unreadable: true,
        missing: true,
        alternative: true,
        no_match: true,
    };

    /// Forbids everything that either of them forbids.
    pub(super) const fn with(self, other: Self) -> Self {
        Self {
            unreadable: self.unreadable || other.unreadable,
            missing: self.missing || other.missing,
            alternative: self.alternative || other.alternative,
            no_match: self.no_match || other.no_match,
        }
    }

    pub(super) const fn forbids(self, missed: Missed) -> bool {
        match missed {
            Missed::Unreadable => self.unreadable,
            Missed::Missing => self.missing,
            Missed::Alternative => self.alternative,
            Missed::NoMatch => self.no_match,
        }
    }

    /// Reads `include_check [readable] [match] [wildcard_match] [brace_match]`.
    pub(super) fn of_statement(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next()? != "include_check" {
            return None;
        }
        let mut result = Self::default();
        let mut is_plain = true;
        for word in words {
            is_plain = false;
            match word {
                "readable" => result.unreadable = true,
                "match" => result.missing = true,
                "wildcard_match" => result.no_match = true,
                "brace_match" => result.alternative = true,
                _ => {}
            }
        }
        Some(if is_plain { Self::ALL } else { result })
    }
}

/// An include statement.
#[derive(Debug)]
pub(super) struct Include {
    pattern: String,
    pub(super) strictness: Strictness,
}

/// The result of an include.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) paths: Vec<PathBuf>,
    pub(super) missed: Vec<(Missed, String)>,
}

impl Include {
    /// Reads `include`, `includer`, `includem`, `includew`, `includeb` or `includea` with a
    /// pattern. Quotes are part of the pattern.
    pub(super) fn of(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("include")?;
        let (letter, rest) = match rest.chars().next()? {
            c if c.is_ascii_whitespace() => (None, rest),
            c @ ('r' | 'm' | 'w' | 'b' | 'a') => (Some(c), rest.get(1..)?),
            _ => return None,
        };
        if !rest.starts_with(|c: char| c.is_ascii_whitespace()) {
            return None;
        }
        let readable = Strictness {
            unreadable: letter.is_some(),
            ..Strictness::default()
        };
        let strictness = match letter {
            Some('a') => Strictness::ALL,
            Some('w') => Strictness {
                missing: true,
                no_match: true,
                ..readable
            },
            Some('m') => Strictness {
                missing: true,
                ..readable
            },
            Some('b') => Strictness {
                alternative: true,
                ..readable
            },
            _ => readable,
        };
        Some(Self {
            pattern: rest.trim_matches([' ', '\t']).to_owned(),
            strictness,
        })
    }

    /// The files that the statement names, relative to the folder of the file that includes them.
    pub(super) fn files(&self, folder: &Path) -> Found {
        let mut found = Found::default();
        let alternatives = expand_braces(&self.pattern, &mut MOST_ALTERNATIVES.clone());
        let has_braces = alternatives.len() > 1;
        let mut has_wildcards = false;
        let mut is_missing = false;
        for pattern in &alternatives {
            let path = folder.join(pattern);
            if has_wildcard(Path::new(pattern)) {
                match missed(&path) {
                    Missed::NoMatch => has_wildcards = true,
                    _ => is_missing = true,
                }
                let matches = glob::glob(&path.to_string_lossy());
                found
                    .paths
                    .extend(matches.into_iter().flatten().filter_map(Result::ok));
            } else if path.exists() {
                found.paths.push(path);
            } else {
                is_missing = true;
            }
        }
        let pattern = &self.pattern;
        if found.paths.is_empty() {
            let missed = match (is_missing, has_braces) {
                (true, true) => Missed::Alternative,
                (false, _) if has_wildcards => Missed::NoMatch,
                _ => Missed::Missing,
            };
            found
                .missed
                .push((missed, format!("no configuration file matches {pattern:?}")));
        } else if is_missing {
            found.missed.push((
                Missed::Alternative,
                format!("some configuration files of {pattern:?} do not exist"),
            ));
        }
        found.paths.retain(|path| match refusal(path) {
            None => true,
            Some(reason) => {
                let text = format!("configuration file {} is skipped: {reason}", path.display());
                found.missed.push((Missed::Unreadable, text));
                false
            }
        });
        found
    }
}

fn has_wildcard(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// What it means that a pattern with wildcards has no match: that nothing matches one of its
/// wildcards, or that a folder or file without wildcards does not exist.
fn missed(pattern: &Path) -> Missed {
    let folder = match pattern.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Missed::Missing,
    };
    let is_found = if has_wildcard(folder) {
        let matches = glob::glob(&folder.to_string_lossy());
        let mut matches = matches.into_iter().flatten().flatten();
        if !matches.any(|path| path.is_dir()) {
            return missed(folder);
        }
        true
    } else {
        folder.is_dir()
    };
    let ends_in_wildcard = pattern
        .file_name()
        .is_some_and(|it| has_wildcard(Path::new(it)));
    if is_found && ends_in_wildcard {
        Missed::NoMatch
    } else {
        Missed::Missing
    }
}

/// Why a path is not accepted as a configuration file.
pub(in crate::keepalived_conf) fn refusal(path: &Path) -> Option<&'static str> {
    let Ok(metadata) = std::fs::metadata(path) else {
        return Some("it cannot be read");
    };
    if !metadata.is_file() {
        return Some("it is not a regular file");
    }
    if metadata.permissions().mode() & 0o111 != 0 {
        return Some("it is executable");
    }
    None
}

/// `a{b,c}d` as `abd` and `acd`, from the left.
fn expand_braces(pattern: &str, room: &mut usize) -> Vec<String> {
    if *room == 0 {
        return Vec::new();
    }
    *room -= 1;
    let Some((before, rest)) = pattern.split_once('{') else {
        return vec![pattern.to_owned()];
    };
    let mut depth = 1_usize;
    let mut parts = vec![String::new()];
    let mut characters = rest.char_indices();
    let mut end = None;
    for (at, c) in characters.by_ref() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    end = Some(at + 1);
                    break;
                }
            }
            ',' if depth == 1 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let Some(after) = end.and_then(|end| rest.get(end..)) else {
        return vec![pattern.to_owned()];
    };
    parts
        .iter()
        .flat_map(|part| expand_braces(&format!("{before}{part}{after}"), room))
        .collect()
}
