//! Text to lines: comments, conditions, definitions, sequences, includes and braces.
//!
//! Each [`Line`] that comes out is one keyword with its words, or a single brace, and knows its
//! place in the files.

mod definition;
pub(super) mod include;
mod sequence;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use self::{
    definition::{Definition, Value},
    include::{Include, Missed, Strictness},
    sequence::Sequence,
};
use super::complaint::{Complaint, Kind, Weight};

/// The most lines to which a configuration may expand.
const MOST_LINES: usize = 1_000_000;

/// The longest line after definitions were replaced, in octets. Longer lines are cut, as in
/// keepalived.
const LONGEST_LINE: usize = 1023;

/// The most files and definitions that may be open at the same time.
const DEEPEST: usize = 100;

/// The number of a file in [`Lines::files`].
pub type FileId = usize;

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// The line, counted from 1.
    pub line: usize,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path as it was given, or as it matched the pattern of an include.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A keyword with its words, or a brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text without comment, definitions replaced.
    pub text: String,
    /// Its place in the files.
    pub place: Place,
    /// Whether it has neither a brace nor a quote.
    pub(super) is_plain: bool,
}

/// The version of keepalived whose keywords are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Like {
    /// 2.2.7, as in Debian 12.
    Debian12,
    /// 2.4, with all keywords.
    #[default]
    Recent,
}

/// The input of reading besides the files.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The version of keepalived whose keywords are known.
    pub like: Like,
    /// The configuration id (`-i`; keepalived's default is the host name).
    pub config_id: Option<String>,
    /// The seed of `${_RANDOM}`.
    pub seed: u64,
    /// The network namespace of the command line, which counts instead of `net_namespace`.
    pub namespace: Option<String>,
}

/// A configuration as lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// The files, the main one first.
    pub files: Vec<File>,
    /// The lines in the order in which they take effect.
    pub lines: Vec<Line>,
    /// The faults of the text.
    pub complaints: Vec<Complaint>,
    /// Whether a strict include did not find its files.
    pub is_refused: bool,
    /// The version of keepalived whose keywords are known.
    pub like: Like,
    /// Whether `net_namespace` does not count, because the command line names a namespace.
    pub has_namespace: bool,
}

impl Lines {
    /// Reads a file with all that it includes.
    ///
    /// # Errors
    ///
    /// The error of opening or reading the main file. A missing include is a complaint.
    pub fn read(path: &Path, environment: &Environment) -> io::Result<Self> {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        Ok(Self::of_text(path, text, environment))
    }

    /// Reads a text as if it were the file `path`; includes are relative to the folder of that
    /// file.
    #[must_use]
    pub fn of_text(path: &Path, text: String, environment: &Environment) -> Self {
        let mut reader = Reader::new(environment);
        reader.open(path.to_owned(), text, Vec::new(), Strictness::default());
        reader.run();
        reader.lines.like = environment.like;
        reader.lines.has_namespace = environment.namespace.is_some();
        reader.lines
    }
}

/// The source of the next text.
#[derive(Debug)]
enum Input {
    File {
        id: FileId,
        /// The place of the next octet.
        offset: usize,
        line: usize,
        /// The files of the same include that are still to be read.
        next: Vec<PathBuf>,
        /// The strictness outside the file, which is restored after it.
        outer: Strictness,
    },
    /// The lines of a definition that follow its first, last first.
    Expansion(Vec<String>),
    Sequence(Sequence),
}

struct Reader<'a> {
    environment: &'a Environment,
    lines: Lines,
    inputs: Vec<Input>,
    definitions: BTreeMap<String, Definition>,
    /// A definition that continues in the next line.
    unfinished: Option<(String, Vec<String>)>,
    strictness: Strictness,
    place: Place,
    /// How many braces are open.
    depth: usize,
    /// The first word outside all braces.
    block: String,
    random: u64,
    is_over: bool,
}

impl<'a> Reader<'a> {
    fn new(environment: &'a Environment) -> Self {
        Self {
            environment,
            lines: Lines::default(),
            inputs: Vec::new(),
            definitions: definition::built_in(),
            unfinished: None,
            strictness: Strictness::default(),
            place: Place { file: 0, line: 0 },
            depth: 0,
            block: String::new(),
            random: environment.seed | 1,
            is_over: false,
        }
    }

    fn complain(&mut self, complaint: Complaint) {
        self.lines.complaints.push(complaint);
    }

    fn open(&mut self, path: PathBuf, text: String, next: Vec<PathBuf>, outer: Strictness) {
        let id = self.lines.files.len();
        self.lines.files.push(File { path, text });
        self.inputs.push(Input::File {
            id,
            offset: 0,
            line: 0,
            next,
            outer,
        });
    }

    fn run(&mut self) {
        while !self.is_over
            && let Some(text) = self.next_text()
        {
            self.take(text);
        }
        if self.depth > 0 {
            let depth = self.depth;
            self.complain(
                Complaint::new(
                    Kind::MissingBlockEnd,
                    format!("{depth} blocks are not closed at the end of the configuration"),
                )
                .token(depth.to_string())
                .help("add the missing '}'"),
            );
        }
    }

    /// The next line of the innermost input, without its comment.
    fn next_text(&mut self) -> Option<String> {
        loop {
            match self.inputs.last_mut()? {
                Input::Expansion(rest) => match rest.pop() {
                    Some(text) => return Some(text),
                    None => drop(self.inputs.pop()),
                },
                Input::Sequence(sequence) => match sequence.next() {
                    Some((values, text)) => {
                        for (name, value) in values {
                            self.definitions.insert(name, Definition::text(value));
                        }
                        return Some(text);
                    }
                    None => drop(self.inputs.pop()),
                },
                Input::File {
                    id, offset, line, ..
                } => {
                    let Some(file) = self.lines.files.get(*id) else {
                        self.inputs.pop();
                        continue;
                    };
                    let rest = file.text.get(*offset..).unwrap_or_default();
                    if rest.is_empty() {
                        self.end_file();
                        continue;
                    }
                    let whole = rest.find('\n').map_or(rest.len(), |end| end + 1);
                    let end = if whole > LONGEST_LINE {
                        floor_char_boundary(rest, LONGEST_LINE)
                    } else {
                        whole
                    };
                    let text = rest.get(..end).unwrap_or_default();
                    *offset += end;
                    // The pieces of a line that is too long have the number of that line.
                    self.place = Place {
                        file: *id,
                        line: *line + 1,
                    };
                    if end == whole {
                        *line += 1;
                    }
                    let text = text.trim_end_matches(['\n', '\r']);
                    let text = text.split('\0').next().unwrap_or_default();
                    if text.is_empty() {
                        self.end_definition_at_blank();
                        continue;
                    }
                    if !may_change(text) {
                        return Some(text.trim_matches([' ', '\t']).to_owned());
                    }
                    // The daemon's processes read a copy from which comments are gone, so that an
                    // escaped comment sign begins a comment there.
                    let text = text.to_owned();
                    let once = self.without_comment(&text);
                    return Some(strip_comment(&once).0);
                }
            }
        }
    }

    /// Closes the current file and continues with the next file of its include.
    fn end_file(&mut self) {
        if let Some(Input::File { next, outer, .. }) = self.inputs.pop() {
            self.strictness = outer;
            self.open_first(next, outer);
        }
    }

    /// Opens the last of these files that can be read. The files before it are read afterwards.
    fn open_first(&mut self, mut paths: Vec<PathBuf>, outer: Strictness) {
        while let Some(path) = paths.pop() {
            match std::fs::read(&path) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    self.open(path, text, paths, outer);
                    return;
                }
                Err(error) => {
                    self.miss(Missed::Unreadable, &format!("{}: {error}", path.display()));
                }
            }
        }
    }

    /// Removes a comment, leading and trailing blanks.
    fn without_comment(&mut self, text: &str) -> String {
        let (stripped, is_open) = strip_comment(text);
        if is_open {
            let place = self.place;
            self.complain(
                Complaint::new(
                    Kind::UnmatchedQuote,
                    "a double quote is not closed on its line",
                )
                .at(place)
                .help("add the missing '\"'; a quoted text cannot go on in the next line"),
            );
        }
        stripped
    }

    fn take(&mut self, text: String) {
        if self.unfinished.is_some() {
            self.continue_definition(&text);
            return;
        }
        let Some(text) = self.expand(text) else {
            return;
        };
        if let Some(include) = Include::of(&text) {
            self.include(&include);
            return;
        }
        self.split_at_braces(text);
    }

    /// Applies conditions, definitions and sequences. `None` when nothing is left of the line.
    fn expand(&mut self, mut text: String) -> Option<String> {
        // A definition may contain another one; each pass replaces something.
        for _ in 0..DEEPEST {
            if text.is_empty() {
                return None;
            }
            if let Some(condition) = text.strip_prefix('@') {
                text = self.condition(condition)?;
            }
            if let Some((name, value, goes_on)) = definition::of(&text) {
                if goes_on {
                    self.unfinished = Some((name, value.into_iter().collect()));
                } else {
                    let value = value.unwrap_or_default();
                    self.definitions.insert(name, Definition::text(value));
                }
                return None;
            }
            if text.starts_with("~SEQ") || text.starts_with("~LST") {
                self.begin_sequence(&text);
                return None;
            }
            if text.starts_with('~') {
                return Some(text);
            }
            let Some(replaced) = self.replace(&text) else {
                return Some(text);
            };
            text = self.without_comment(&replaced);
        }
        let place = self.place;
        self.complain(
            Complaint::new(Kind::Other, "definitions refer to each other endlessly").at(place),
        );
        None
    }

    /// The rest of a line after `@id` or `@^id`, if the condition holds.
    fn condition(&self, condition: &str) -> Option<String> {
        let (condition, is_negated) = match condition.strip_prefix('^') {
            Some(condition) => (condition, true),
            None => (condition, false),
        };
        let (id, rest) = condition.split_once([' ', '\t'])?;
        let is_ours = self.environment.config_id.as_deref() == Some(id);
        (is_ours != is_negated).then(|| rest.trim_start_matches([' ', '\t']).to_owned())
    }

    fn continue_definition(&mut self, text: &str) {
        let Some((name, mut value)) = self.unfinished.take() else {
            return;
        };
        if let Some(part) = text.strip_suffix('\\') {
            let part = part.trim_end_matches([' ', '\t']);
            if !part.is_empty() {
                value.push(part.to_owned());
            }
            self.unfinished = Some((name, value));
        } else {
            if !text.is_empty() {
                value.push(text.to_owned());
            }
            self.define_lines(name, value);
        }
    }

    /// Ends a definition at an empty line, even if it would continue.
    fn end_definition_at_blank(&mut self) {
        if let Some((name, value)) = self.unfinished.take() {
            self.define_lines(name, value);
        }
    }

    fn define_lines(&mut self, name: String, lines: Vec<String>) {
        self.definitions.insert(name, Definition::lines(lines));
    }

    /// Replaces definitions in a line; `None` if there are none. The further lines of a
    /// definition of several lines are read next.
    fn replace(&mut self, text: &str) -> Option<String> {
        if !text.contains('$') {
            return None;
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        let mut found = false;
        while let Some(at) = rest.find('$') {
            let (before, behind) = rest.split_at(at);
            result.push_str(before);
            let known = definition::use_at(behind, &self.definitions);
            let Some((length, value, parameters)) = known else {
                result.push('$');
                rest = behind.get(1..).unwrap_or_default();
                continue;
            };
            found = true;
            let (first, further) = match value {
                Value::Text(text) => (text.clone(), None),
                Value::Lines(lines) => {
                    let mut lines = lines.iter();
                    let first = lines.next().cloned().unwrap_or_default();
                    (first, Some(lines.rev().cloned().collect::<Vec<_>>()))
                }
                Value::Folder => (self.folder(), None),
                Value::ConfigId => (self.environment.config_id.clone().unwrap_or_default(), None),
                Value::Random => {
                    let parameters = parameters.to_owned();
                    (self.random(&parameters), None)
                }
            };
            result.push_str(&first);
            rest = behind.get(length..).unwrap_or_default();
            if let Some(further) = further {
                if self.inputs.len() >= DEEPEST {
                    self.is_over = true;
                    let place = self.place;
                    self.complain(
                        Complaint::new(Kind::Other, "a definition contains itself").at(place),
                    );
                    return None;
                }
                self.inputs.push(Input::Expansion(further));
            }
        }
        if !found {
            return None;
        }
        result.push_str(rest);
        if result.len() > LONGEST_LINE {
            result.truncate(floor_char_boundary(&result, LONGEST_LINE));
        }
        Some(result)
    }

    /// The folder of the file that is being read.
    fn folder(&self) -> String {
        let path = self.lines.files.get(self.place.file).map(|file| &file.path);
        let folder = path.and_then(|path| path.parent()).unwrap_or(Path::new(""));
        let folder = std::env::current_dir().unwrap_or_default().join(folder);
        folder
            .canonicalize()
            .unwrap_or(folder)
            .display()
            .to_string()
    }

    /// `${_RANDOM}`, `${_RANDOM MAX}` or `${_RANDOM MIN MAX}`.
    fn random(&mut self, parameters: &str) -> String {
        let mut bounds = parameters.split_ascii_whitespace().map(str::parse::<u64>);
        let (low, high) = match (bounds.next(), bounds.next()) {
            (Some(Ok(low)), Some(Ok(high))) if low <= high => (low, high),
            (Some(Ok(high)), None) => (0, high),
            _ => (0, 32767),
        };
        // Xorshift suffices: the values only have to differ from each other.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let span = (high - low).saturating_add(1);
        (low + self.random % span).to_string()
    }

    fn begin_sequence(&mut self, text: &str) {
        let replaced = |parameters: &str| self.replace_plain(parameters);
        match Sequence::of(text, replaced) {
            Some(sequence) if self.inputs.len() < DEEPEST => {
                self.inputs.push(Input::Sequence(sequence));
            }
            _ => {
                let place = self.place;
                self.complain(
                    Complaint::new(Kind::Other, format!("{text:?} is not a usable sequence"))
                        .at(place)
                        .help("write ~SEQ(NAME, START, STEP, END) or ~LST(NAME, A, B, ...)"),
                );
            }
        }
    }

    /// Replaces definitions of one line in the parameters of a sequence.
    fn replace_plain(&self, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, behind) = rest.split_at(at);
            result.push_str(before);
            if let Some((length, Value::Text(value), _)) =
                definition::use_at(behind, &self.definitions)
            {
                result.push_str(value);
                rest = behind.get(length..).unwrap_or_default();
            } else {
                result.push('$');
                rest = behind.get(1..).unwrap_or_default();
            }
        }
        result + rest
    }

    fn include(&mut self, include: &Include) {
        let folder = self.lines.files.get(self.place.file);
        let folder = folder
            .and_then(|file| file.path.parent())
            .map(Path::to_owned)
            .unwrap_or_default();
        let strictness = self.strictness.with(include.strictness);
        let found = include.files(&folder);
        for (kind, text) in &found.missed {
            if strictness.forbids(*kind) {
                self.lines.is_refused = true;
                let place = self.place;
                self.complain(
                    Complaint::new(Kind::Strict, text.clone())
                        .at(place)
                        .weight(Weight::Security),
                );
            } else if *kind != Missed::NoMatch {
                self.miss(*kind, text);
            }
        }
        let mut paths = found.paths;
        paths.reverse();
        if self.inputs.len() >= DEEPEST {
            let place = self.place;
            self.complain(
                Complaint::new(Kind::Other, "files include each other without end").at(place),
            );
            return;
        }
        self.open_first(paths, self.strictness);
    }

    /// Records a file of an include that does not exist or cannot be read.
    fn miss(&mut self, kind: Missed, text: &str) {
        let place = self.place;
        let weight = if kind == Missed::Unreadable && self.strictness.forbids(kind) {
            self.lines.is_refused = true;
            Weight::Security
        } else {
            Weight::Notice
        };
        self.complain(
            Complaint::new(Kind::ConfigFiles, text)
                .at(place)
                .weight(weight),
        );
    }

    /// Emits a line, split at each brace outside quotes. Each brace is a line of its own.
    fn split_at_braces(&mut self, text: String) {
        let blanks = [' ', '\t'];
        let mut at = find_brace(&text);
        let is_whole = at.is_none() || text.len() == 1;
        if is_whole && !text.starts_with(blanks) && !text.ends_with(blanks) {
            if !text.is_empty() {
                self.give(text);
            }
            return;
        }
        let mut rest = text.as_str();
        loop {
            let (before, behind) = match at {
                Some(at) => (rest.get(..at), rest.get(at..)),
                None => (Some(rest), None),
            };
            let before = before.unwrap_or_default().trim_matches(blanks);
            if !before.is_empty() {
                self.give(before.to_owned());
            }
            let Some(behind) = behind.filter(|behind| !behind.is_empty()) else {
                return;
            };
            let (brace, further) = behind.split_at(1);
            self.give(brace.to_owned());
            rest = further.trim_start_matches(blanks);
            at = find_brace(rest);
        }
    }

    fn give(&mut self, text: String) {
        match text.as_str() {
            "{" => self.depth += 1,
            "}" if self.depth == 0 => {
                let place = self.place;
                self.complain(
                    Complaint::new(Kind::ExtraBlockEnd, "this '}' closes no block").at(place),
                );
            }
            "}" => self.depth -= 1,
            _ if self.depth == 0 => {
                let first = text.split([' ', '\t']).next();
                first.unwrap_or_default().clone_into(&mut self.block);
            }
            _ if self.depth == 1 && self.block == "global_defs" => {
                // This statement determines how later includes are read.
                if let Some(strictness) = Strictness::of_statement(&text) {
                    self.strictness = strictness;
                }
            }
            _ => {}
        }
        if self.lines.lines.len() >= MOST_LINES {
            self.is_over = true;
            let place = self.place;
            self.complain(
                Complaint::new(
                    Kind::Other,
                    format!(
                        "the configuration has more than {MOST_LINES} lines; the rest is not read"
                    ),
                )
                .at(place),
            );
            return;
        }
        // A brace outside quotes is a line of its own.
        let is_plain = !matches!(text.as_str(), "{" | "}") && !text.contains('"');
        self.lines.lines.push(Line {
            text,
            place: self.place,
            is_plain,
        });
    }
}

/// The largest position up to `at` at which a character begins.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The position of the first brace outside double quotes. A brace at the very start always counts.
fn find_brace(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    // Quotes and braces are no part of a longer character.
    text.bytes().position(|byte| {
        is_quoted ^= byte == b'"';
        !is_quoted && matches!(byte, b'{' | b'}')
    })
}

/// Whether a line has a character that begins a comment, a quote or an escape. Without one, only
/// the blanks around it are removed.
fn may_change(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.any(|byte| matches!(byte, b'#' | b'!' | b'"' | b'\\'))
}

/// A line without its comment and the blanks around it, and whether a quote is open at its end.
///
/// `#` and `!` begin a comment anywhere outside double quotes, unless a backslash stands before
/// them, which is then dropped.
fn strip_comment(text: &str) -> (String, bool) {
    let text = text.trim_start_matches([' ', '\t']);
    let mut result = String::with_capacity(text.len());
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    // In a comment, only a backslash at the very end counts.
    let mut is_comment = false;
    let mut goes_on = false;
    while let Some(c) = characters.next() {
        match c {
            '"' if !is_comment => {
                is_quoted = !is_quoted;
                result.push(c);
            }
            '\\' => match characters.next() {
                None => goes_on = true,
                Some(next @ ('#' | '!')) if !is_quoted => {
                    if !is_comment {
                        result.push(next);
                    }
                }
                Some(next) => {
                    if !is_comment {
                        result.push(c);
                        result.push(next);
                    }
                }
            },
            '#' | '!' if !is_quoted => is_comment = true,
            _ if is_comment => {}
            _ => result.push(c),
        }
    }
    let trimmed = result.trim_end_matches([' ', '\t']).len();
    result.truncate(trimmed);
    if goes_on {
        result.push('\\');
    }
    (result, is_quoted)
}

#[cfg(test)]
mod tests;
