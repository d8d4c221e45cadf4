//! Lines to blocks: which statement belongs to which block.
//!
//! keepalived's processes read the file one after the other, each with the blocks of the others
//! switched off: a process skips the blocks of other processes by counting braces. If the braces of
//! a file do not match, the processes therefore see different blocks, and so do the passes here.

use std::collections::HashSet;

use super::{
    complaint::{Complaint, Kind, Weight},
    effect::{self, Effect, Effects},
    grammar::{Keyword, Missing, ROOTS, Reader, Takes},
    route, rule,
    source::{Like, Line, Lines, Place},
    value::{self, Range},
    word,
};

/// A statement with its words and its block.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) word: &'static str,
    /// The words after the keyword.
    pub(super) words: Vec<String>,
    pub(super) value: Value,
    pub(super) place: Place,
    /// Where its block ends, if it has one.
    pub(super) end: Place,
    /// The statements of its block.
    pub(super) children: Vec<Node>,
    /// The lines of its block.
    pub(super) entries: Vec<Entry>,
}

/// A line of a block of lines.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) words: Vec<String>,
    pub(super) place: Place,
}

/// The value of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// No value: the statement takes none, or its value is invalid.
    None,
    Switch(bool),
    Number(i64),
}

impl Node {
    pub(super) fn word_at(&self, index: usize) -> Option<&str> {
        self.words.get(index).map(String::as_str)
    }

    pub(super) fn children_of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |node| node.word == word)
    }

    /// The statement of this keyword that counts: the last one.
    pub(super) fn last(&self, word: &str) -> Option<&Self> {
        self.children.iter().rev().find(|node| node.word == word)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.last(word).is_some()
    }

    /// The number of the last statement of this keyword that has one.
    pub(super) fn number(&self, word: &str) -> Option<i64> {
        let mut nodes = self.children.iter().rev();
        nodes.find_map(|node| match node.value {
            Value::Number(number) if node.word == word => Some(number),
            _ => None,
        })
    }

    pub(super) fn switch(&self, word: &str) -> Option<bool> {
        let mut nodes = self.children.iter().rev();
        nodes.find_map(|node| match node.value {
            Value::Switch(is_on) if node.word == word => Some(is_on),
            _ => None,
        })
    }

    /// The first word of the last statement of this keyword.
    pub(super) fn text(&self, word: &str) -> Option<&str> {
        self.last(word)?.word_at(0)
    }
}

/// The result of reading as one process.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) nodes: Vec<Node>,
    pub(super) complaints: Vec<Complaint>,
    /// A required parameter was missing, which ends the reading.
    pub(super) is_broken_off: bool,
}

/// Reads the lines as one of the processes does.
pub(super) fn read(lines: &Lines, reader: Reader) -> Reading {
    let mut walker = Walker {
        lines: &lines.lines,
        at: 0,
        reader,
        like: lines.like,
        names: HashSet::new(),
        reading: Reading::default(),
    };
    let mut nodes = Vec::new();
    if walker.root(&mut nodes).is_err() {
        walker.reading.is_broken_off = true;
    }
    walker.reading.nodes = nodes;
    walker.reading
}

/// Reading cannot go on.
struct BrokenOff;

struct Walker<'a> {
    lines: &'a [Line],
    at: usize,
    reader: Reader,
    like: Like,
    /// The blocks that have a name of their own, by keyword and name.
    names: HashSet<(&'static str, String)>,
    reading: Reading,
}

impl<'a> Walker<'a> {
    /// The words and the place of the next line that has words.
    fn next(&mut self, words: &mut Vec<&'a str>) -> Option<Place> {
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            words.clear();
            if word::split_into(&line.text, words).is_err() {
                self.complain(
                    Complaint::new(Kind::UnmatchedQuote, "a double quote is not closed")
                        .at(line.place)
                        .help("add the missing '\"'"),
                );
            }
            if !words.is_empty() {
                return Some(line.place);
            }
        }
        None
    }

    /// Whether the next line that has words is this one.
    fn next_is(&self, word: &str) -> bool {
        let rest = self.lines.get(self.at..).unwrap_or_default();
        rest.iter()
            .find_map(|line| word::split(&line.text).0.first().copied())
            == Some(word)
    }

    fn complain(&mut self, complaint: Complaint) {
        self.reading.complaints.push(complaint);
    }

    fn root(&mut self, nodes: &mut Vec<Node>) -> Result<(), BrokenOff> {
        let effects = effect::of_block("");
        let mut words = Vec::new();
        while let Some(place) = self.next(&mut words) {
            let Some((first, rest)) = words.split_first() else {
                continue;
            };
            if *first == "{" {
                self.unexpected_open(place);
                continue;
            }
            let mut known = ROOTS.iter().filter(|root| root.keyword.is_known(self.like));
            match known.find(|root| root.keyword.word == *first) {
                Some(root) if root.readers.contains(&self.reader) => {
                    self.remark(effects, first, place);
                    self.statement(&root.keyword, rest, place, nodes)?;
                }
                Some(_) => self.pass_over(),
                None => {
                    let known = ROOTS.iter().map(|root| &root.keyword);
                    self.unknown(first, place, known);
                }
            }
        }
        Ok(())
    }

    /// Whether to read a block: it has the name that it needs, no other block has that name, and
    /// its words are valid.
    fn is_wanted(&mut self, node: &Node) -> Result<bool, BrokenOff> {
        let name = node.word_at(0);
        match (node.word, name) {
            // A second word, like none, is no name.
            ("vrrp_instance" | "vrrp_sync_group" | "track_group", _) if node.words.len() != 1 => {
                self.complain(
                    Complaint::new(
                        Kind::MissingParameter,
                        format!(
                            "{} needs one word as its name; the block is ignored",
                            node.word
                        ),
                    )
                    .at(node.place)
                    .help("put a name of several words into double quotes"),
                );
                Ok(false)
            }
            (
                "vrrp_script" | "track_file" | "vrrp_track_file" | "vrrp_track_process"
                | "bfd_instance",
                None,
            ) => {
                self.complain(
                    Complaint::new(
                        Kind::MissingParameter,
                        format!("{} needs a name", node.word),
                    )
                    .at(node.place)
                    .token(node.word),
                );
                Err(BrokenOff)
            }
            ("vrrp_instance" | "vrrp_sync_group", Some(name)) => {
                let is_known = !self.names.insert((node.word, name.to_owned()));
                if is_known {
                    self.complain(
                        Complaint::new(
                            Kind::Duplicate,
                            format!(
                                "there is a {} {name} already; this one is ignored",
                                node.word
                            ),
                        )
                        .at(node.place)
                        .help("give it another name"),
                    );
                }
                Ok(!is_known)
            }
            ("virtual_server" | "real_server", None) => {
                self.missing(node.word, Missing::Fatal, node.place)?;
                Ok(false)
            }
            ("virtual_server" | "real_server", Some(_)) => {
                if let Some(complaint) = super::lvs::fault(node) {
                    self.complain(complaint);
                }
                Ok(super::lvs::is_usable(node))
            }
            _ => Ok(true),
        }
    }

    /// Skips a block by counting its braces.
    fn pass_over(&mut self) {
        if !self.next_is("{") {
            return;
        }
        let mut depth = 0_usize;
        let mut words = Vec::new();
        loop {
            // Most lines have neither braces nor quotes.
            while self.lines.get(self.at).is_some_and(|line| line.is_plain) {
                self.at += 1;
            }
            if self.next(&mut words).is_none() {
                return;
            }
            for word in &words {
                match *word {
                    "{" => depth += 1,
                    "}" => {
                        depth -= 1;
                        if depth == 0 {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The statements of a block, up to its closing brace.
    fn block(
        &mut self,
        name: &'static str,
        keywords: &'static [Keyword],
        nodes: &mut Vec<Node>,
        begin: Place,
    ) -> Result<Place, BrokenOff> {
        let effects = effect::of_block(name);
        let mut is_open = false;
        let mut last = begin;
        let mut words = Vec::new();
        while let Some(place) = self.next(&mut words) {
            last = place;
            let Some((first, rest)) = words.split_first() else {
                continue;
            };
            if !is_open {
                is_open = true;
                if *first == "{" {
                    continue;
                }
                self.complain(
                    Complaint::new(Kind::MissingBlockStart, "the block does not begin with '{'")
                        .at(place),
                );
            } else if *first == "{" {
                self.unexpected_open(place);
                continue;
            }
            if *first == "}" {
                return Ok(place);
            }
            let mut known = keywords.iter().filter(|it| it.is_known(self.like));
            if let Some(keyword) = known.find(|keyword| keyword.word == *first) {
                self.remark(effects, first, place);
                self.statement(keyword, rest, place, nodes)?;
            } else {
                self.unknown(first, place, keywords.iter());
                if self.next_is("{") {
                    self.unknown_block(first, name, place);
                }
            }
        }
        Ok(last)
    }

    fn statement(
        &mut self,
        keyword: &'static Keyword,
        words: &[&str],
        place: Place,
        nodes: &mut Vec<Node>,
    ) -> Result<(), BrokenOff> {
        let mut node = Node {
            word: keyword.word,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            value: Value::None,
            place,
            end: place,
            children: Vec::new(),
            entries: Vec::new(),
        };
        match keyword.takes {
            Takes::Nothing => {}
            Takes::Switch => match words.first() {
                None => node.value = Value::Switch(true),
                Some(text) => match value::boolean(text) {
                    Some(is_on) => node.value = Value::Switch(is_on),
                    None => self.complain(
                        Complaint::new(
                            Kind::UnknownValue,
                            format!(
                                "{}: {text:?} is no boolean; the setting stays as it was",
                                keyword.word
                            ),
                        )
                        .at(place)
                        .token(*text)
                        .help("write true, on or yes, or false, off or no, in lower case"),
                    ),
                },
            },
            Takes::Number(range, missing) => match words.first() {
                None => self.missing(keyword.word, missing, place)?,
                Some(text) => {
                    if let Some(number) = self.number(keyword.word, text, range, place) {
                        node.value = Value::Number(number);
                    }
                }
            },
            Takes::Words(missing) => {
                if words.is_empty() {
                    self.missing(keyword.word, missing, place)?;
                }
            }
            Takes::Command(missing) => {
                // A command is split by other rules than the rest of the language.
                let line = self.lines.get(self.at.wrapping_sub(1));
                match word::split_command(line.map_or("", |line| &line.text)) {
                    Ok(words) if words.len() < 2 => self.missing(keyword.word, missing, place)?,
                    Ok(words) => node.words = words.get(1..).unwrap_or_default().to_vec(),
                    Err(word::UnmatchedQuote) => {
                        node.words.clear();
                        self.complain(
                            Complaint::new(
                                Kind::UnmatchedQuote,
                                "a quote of the command is not closed; the command is not used",
                            )
                            .at(place),
                        );
                    }
                }
            }
            Takes::Deprecated(instead) => self.complain(
                Complaint::new(Kind::Deprecated, format!("{} is deprecated", keyword.word))
                    .at(place)
                    .help(format!("write {instead}")),
            ),
            Takes::Block(_) if !self.is_wanted(&node)? => {
                self.pass_over();
                return Ok(());
            }
            Takes::Block(keywords) => {
                let mut children = Vec::new();
                let result = self.block(keyword.word, keywords, &mut children, place);
                node.children = children;
                if let Ok(end) = result {
                    node.end = end;
                } else {
                    nodes.push(node);
                    return Err(BrokenOff);
                }
            }
            Takes::Lines | Takes::List => {
                let result = self.lines(&mut node);
                nodes.push(node);
                return result;
            }
        }
        nodes.push(node);
        Ok(())
    }

    /// The lines of a block of lines, up to a closing brace.
    fn lines(&mut self, node: &mut Node) -> Result<(), BrokenOff> {
        // A name may stand before the brace of a named list.
        let is_named = matches!(node.word, "virtual_server_group");
        if is_named && node.words.is_empty() {
            self.missing(node.word, Missing::Fatal, node.place)?;
        }
        if !is_named && !node.words.is_empty() {
            self.complain(
                Complaint::new(
                    Kind::BlockExtraWords,
                    format!(
                        "{}: nothing may stand between the keyword and '{{'",
                        node.word
                    ),
                )
                .at(node.place)
                .object(node.word),
            );
        }
        let mut is_open = false;
        let mut words = Vec::new();
        while let Some(place) = self.next(&mut words) {
            node.end = place;
            let first = words.first().copied();
            if !is_open {
                is_open = true;
                if first == Some("{") {
                    continue;
                }
                self.complain(
                    Complaint::new(
                        Kind::MissingBlockStart,
                        format!("{}: its list does not begin with '{{'", node.word),
                    )
                    .weight(Weight::Notice),
                );
            }
            if first == Some("}") {
                return Ok(());
            }
            let lacking = match node.word {
                "virtual_routes" | "static_routes" => route::lacks_value(&words),
                "virtual_rules" | "static_rules" => rule::lacks_value(&words),
                "virtual_server_group" if words == ["fwmark"] => Some("fwmark"),
                _ => None,
            };
            if let Some(word) = lacking {
                self.complain(
                    Complaint::new(Kind::MissingParameter, format!("{word} needs a value"))
                        .at(place)
                        .token(word),
                );
                return Err(BrokenOff);
            }
            node.entries.push(Entry {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                place,
            });
        }
        Ok(())
    }

    fn missing(&mut self, word: &str, missing: Missing, place: Place) -> Result<(), BrokenOff> {
        if missing == Missing::Allowed {
            return Ok(());
        }
        self.complain(
            Complaint::new(Kind::MissingParameter, format!("{word} needs a value"))
                .at(place)
                .token(word),
        );
        match missing {
            Missing::Fatal => Err(BrokenOff),
            _ => Ok(()),
        }
    }

    /// Reads a number. An invalid number gives a complaint.
    fn number(&mut self, word: &str, text: &str, range: Range, place: Place) -> Option<i64> {
        let number = value::number(text, range);
        if let Some(problem) = number.problem {
            let used = match number.value {
                Some(value) => format!("{value} is used"),
                None => "the setting stays as it was".into(),
            };
            self.complain(
                Complaint::new(
                    problem,
                    format!(
                        "{word}: {text:?} is not a number in {}; {used}",
                        range.describe()
                    ),
                )
                .at(place)
                .token(text)
                .help(format!("write a number in {}", range.describe())),
            );
        }
        number.value
    }

    fn unexpected_open(&mut self, place: Place) {
        self.complain(
            Complaint::new(
                Kind::UnexpectedBlockStart,
                "this '{' opens no block; it is ignored",
            )
            .at(place),
        );
    }

    /// Reports how a keyword that is not obeyed is treated.
    fn remark(&mut self, effects: Effects, word: &str, place: Place) {
        let (weight, message) = match effects.of(word) {
            Effect::Obeyed => return,
            Effect::Without(reason) => (
                Weight::Remark,
                format!("{word} is accepted without effect: {reason}"),
            ),
            Effect::Refused(reason) => {
                (Weight::Advice, format!("{word} is not supported: {reason}"))
            }
        };
        self.complain(
            Complaint::new(Kind::Other, message)
                .at(place)
                .token(word)
                .weight(weight),
        );
    }

    /// Reports the effect of an unknown block on the block around it.
    fn unknown_block(&mut self, word: &str, outer: &str, place: Place) {
        self.complain(
            Complaint::new(
                Kind::Other,
                format!(
                    "the lines of the unknown block {word} are taken as those of {outer}, and its '}}' ends {outer}"
                ),
            )
            .at(place)
            .token(word)
            .weight(Weight::Advice)
            .help("correct the word, or remove the block with its braces"),
        );
    }

    fn unknown(&mut self, word: &str, place: Place, all: impl Iterator<Item = &'static Keyword>) {
        let all: Vec<&Keyword> = all.collect();
        let mut complaint = Complaint::new(
            Kind::UnknownKeyword,
            format!("{word:?} is no keyword here; the line is ignored"),
        )
        .at(place)
        .token(word);
        let like = self.like;
        let mut known = all.iter().filter(|it| it.is_known(like)).map(|it| it.word);
        if all.iter().any(|it| it.word == word) {
            complaint = complaint.help("keepalived 2.4 knows it: use --like 2.4");
        } else if let Some(near) = super::nearest::nearest(word, &mut known) {
            complaint = complaint.help(format!("did you mean {near:?}?"));
        }
        self.complain(complaint);
    }
}
