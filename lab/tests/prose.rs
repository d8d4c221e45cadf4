//! Checks the English of comments, string literals and Markdown for phrases that make a reader
//! stop, for names that are not words of the field, and for lines that are too long.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    fs,
};

use vrrp_lab::repository::{files, root};

/// A comment or a paragraph has at most this many columns. Code is the business of rustfmt.
const COLUMNS: usize = 100;
/// Every line of the front page, tables and code included.
const README_COLUMNS: usize = 120;

/// Phrases in lower case, each with a remedy.
const PHRASES: &[(&str, &str)] = &[
    ("told", "notify, report, log or return"),
    ("tells", "notifies, reports, logs or returns"),
    ("but for", "except"),
    ("all the same", "anyway, or nothing"),
    ("anew", "again"),
    ("as ever", "nothing"),
    ("in so far as", "where, or as far as"),
    ("meanwhile", "in the meantime, or nothing"),
    ("beneath", "parent, lower or below"),
    ("bears", "has, carries or uses"),
    ("news", "notifications or events"),
    ("judge", "validate, check or compare"),
    ("judges", "validates, checks or compares"),
    ("judged", "validated, checked or compared"),
    ("settle", "the verb of the effect"),
    ("settles", "the verb of the effect"),
    ("settled", "the verb of the effect"),
    ("is to be", "must, should or will"),
    ("are to be", "must, should or will"),
    ("whoever", "the noun: the caller, the host, the router"),
];

/// Further phrases in the documentation and the comments of the libraries.
const LIBRARY_PHRASES: &[(&str, &str)] = &[
    ("bear", "have, carry or use"),
    ("beside", "the relation: together with, next to, while"),
    ("hear", "receive or accept"),
    ("heard", "received or accepted"),
    ("hears", "receives or accepts"),
    ("nobody", "the noun: no program, no router"),
    ("somebody", "the noun: another program, another router"),
    ("station", "interface or host"),
    ("whom", "the noun"),
];

/// Free relative clauses. A question may have them.
const RELATIVES: &[&str] = &[
    "what is",
    "what are",
    "what was",
    "what were",
    "what has",
    "what comes",
    "what came",
    "what goes",
];

/// Words in names, in lower case, each with a remedy.
const NAMES: &[(&str, &str)] = &[
    ("anew", "again"),
    ("bears", "has or uses"),
    ("beneath", "parent or lower"),
    ("beside", "the relation"),
    ("hear", "receive or accept"),
    ("heard", "received or accepted"),
    ("hearing", "receiving or accepting"),
    ("hears", "receives or accepts"),
    ("helper", "its task"),
    ("judge", "check or compare"),
    ("judged", "checked or compared"),
    ("judgement", "assessment"),
    ("meanwhile", "the event"),
    ("news", "events or notifications"),
    ("settle", "the effect"),
    ("settled", "stable, or the effect"),
    ("settles", "the effect"),
    ("station", "MAC address or host"),
    ("stations", "MAC addresses or hosts"),
    ("tell", "report or notify"),
    ("telling", "reporting or notifying"),
    ("tells", "reports or notifies"),
    ("told", "reported or notified"),
    ("unheard", "missed or discarded"),
    ("unsettle", "the effect"),
    ("whoever", "the noun"),
    ("wish", "the state"),
];

/// The sources of the libraries.
const LIBRARIES: &[&str] = &[
    "ipvs-netlink/src/",
    "vrrp-fsm/src/",
    "vrrp-net/src/",
    "vrrp-proto/src/",
];

/// Something to rewrite: the line on which its paragraph begins, and the reason.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    reason: String,
}

/// Words for a reader: a run of comment lines, a string literal, or a paragraph of Markdown.
struct Paragraph {
    line: usize,
    text: String,
    is_documentation: bool,
}

/// The texts of this repository by their paths from its root.
fn texts() -> BTreeMap<String, String> {
    let root = root();
    let mut found = BTreeMap::new();
    for path in files().unwrap() {
        if kind(path.file_name().unwrap().to_str().unwrap()).is_some() {
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
            found.insert(relative.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rust,
    Markdown,
    /// Comments begin with `#`.
    Hash,
}

fn kind(path: &str) -> Option<Kind> {
    let (_, extension) = path.rsplit_once('.')?;
    match extension {
        // The test names the phrases.
        "rs" if path != "lab/tests/prose.rs" && path != "prose.rs" => Some(Kind::Rust),
        "md" => Some(Kind::Markdown),
        "txt" if path.ends_with("help.txt") => Some(Kind::Markdown),
        "toml" | "yml" | "sh" => Some(Kind::Hash),
        _ => None,
    }
}

fn check(path: &str, text: &str) -> Vec<Finding> {
    let Some(kind) = kind(path) else {
        return Vec::new();
    };
    let paragraphs = match kind {
        Kind::Rust => rust(text),
        Kind::Markdown => markdown(text),
        Kind::Hash => comments(text, &["#"]),
    };
    let is_library = LIBRARIES.iter().any(|library| path.starts_with(library));
    let findings = paragraphs.iter().flat_map(|it| phrases(it, is_library));
    let mut findings: Vec<Finding> = findings.collect();
    if kind == Kind::Rust {
        findings.extend(names(text));
    }
    findings.extend(long_lines(path, kind, text));
    findings.sort_by_key(|finding| finding.line);
    findings
}

fn long_lines(path: &str, kind: Kind, text: &str) -> Vec<Finding> {
    let mut is_code = false;
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.trim_start();
        if kind == Kind::Markdown && words.starts_with("```") {
            is_code = !is_code;
        }
        let is_prose = match kind {
            // A row of a table cannot be wrapped.
            Kind::Rust => {
                let text = words.trim_start_matches(['/', '!']).trim_start();
                words.starts_with("//") && !text.starts_with('|')
            }
            Kind::Markdown => !is_code && !words.starts_with('|'),
            Kind::Hash => words.starts_with('#'),
        };
        let limit = match path {
            "README.md" => README_COLUMNS,
            _ if is_prose => COLUMNS,
            _ => continue,
        };
        let columns = line.chars().count();
        // A long address cannot be wrapped.
        let is_address = line
            .split_whitespace()
            .any(|word| word.contains("://") && word.chars().count() > limit / 2);
        if columns > limit && !is_address {
            findings.push(Finding {
                line: index + 1,
                reason: format!("{columns} columns, of {limit} at most"),
            });
        }
    }
    findings
}

fn phrases(paragraph: &Paragraph, is_library: bool) -> Vec<Finding> {
    let text = without_code(&paragraph.text);
    let mut findings = Vec::new();
    let mut add = |phrase: &str, remedy: &str| {
        findings.push(Finding {
            line: paragraph.line,
            reason: format!("\"{phrase}\": write {remedy}"),
        });
    };
    for sentence in sentences(&text) {
        let words: Vec<String> = sentence
            // The name of a file is one word.
            .split(|c: char| !c.is_alphanumeric() && !['\'', '_', '-', '.'].contains(&c))
            .map(|word| word.trim_matches('.').to_lowercase())
            .filter(|word| !word.is_empty())
            .collect();
        let contains = |phrase: &str| {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            words.windows(phrase.len()).any(|window| window == phrase)
        };
        let further = if is_library { LIBRARY_PHRASES } else { &[] };
        for (phrase, remedy) in PHRASES.iter().chain(further) {
            if contains(phrase) {
                add(phrase, remedy);
            }
        }
        if !sentence.ends_with('?') {
            for phrase in RELATIVES {
                if contains(phrase) {
                    add(phrase, "the noun");
                }
            }
            if sentence.trim_start().starts_with("Who ") {
                add("Who", "the noun: the router, the caller, the host");
            }
            if is_library && sentence.trim_start().starts_with("What ") {
                add("What", "the noun");
            }
        }
    }
    let summary = text.trim_start();
    if paragraph.is_documentation
        && (summary.starts_with("Lets ") || summary.starts_with("Has the "))
    {
        add("Lets, Has the", "the verb of the effect");
    }
    findings
}

/// The text with the code between backticks left out.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join("code")
}

fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for (index, end) in text.match_indices(['.', '?', '!']) {
        let after = index + end.len();
        if text[after..].starts_with(char::is_whitespace) || after == text.len() {
            sentences.push(&text[start..after]);
            start = after;
        }
    }
    sentences.push(&text[start..]);
    sentences
}

/// Runs of lines that begin with one of these marks, without the code between fences.
fn comments(text: &str, marks: &[&str]) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let mut previous = None;
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let mark = marks.iter().find(|mark| line.starts_with(**mark));
        let Some(mark) = mark else {
            (previous, is_code) = (None, false);
            continue;
        };
        let words = line[mark.len()..].trim();
        if words.starts_with("```") {
            is_code = !is_code;
            previous = None;
        } else if words.is_empty() || is_code {
            previous = None;
        } else if previous == Some(mark) {
            let paragraph = paragraphs.last_mut().unwrap();
            paragraph.text.push(' ');
            paragraph.text.push_str(words);
        } else {
            paragraphs.push(Paragraph {
                line: index + 1,
                text: words.to_owned(),
                is_documentation: *mark != "//" && *mark != "#",
            });
            previous = Some(mark);
        }
    }
    paragraphs
}

fn markdown(text: &str) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    let (mut is_code, mut continues) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let words = line.trim();
        if words.starts_with("```") {
            (is_code, continues) = (!is_code, false);
        } else if is_code || words.is_empty() {
            continues = false;
        } else if continues && !words.starts_with('|') {
            let paragraph = paragraphs.last_mut().unwrap();
            paragraph.text.push(' ');
            paragraph.text.push_str(words);
        } else {
            paragraphs.push(Paragraph {
                line: index + 1,
                text: words.to_owned(),
                is_documentation: false,
            });
            continues = !words.starts_with('|');
        }
    }
    paragraphs
}

/// The comments and string literals of Rust code.
fn rust(text: &str) -> Vec<Paragraph> {
    let mut paragraphs = comments(text, &["///", "//!", "//"]);
    paragraphs.extend(literals(text));
    paragraphs
}

/// The string literals outside comments.
fn literals(text: &str) -> Vec<Paragraph> {
    let literals = pieces(text).into_iter().filter(|piece| !piece.is_code);
    literals
        .map(|piece| Paragraph {
            line: piece.line,
            text: piece.text.replace("\\n", " "),
            is_documentation: false,
        })
        .collect()
}

/// The names in code of which a part is no word of the field, each at its first use.
fn names(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Most names come often.
    let mut seen = HashSet::new();
    for piece in pieces(text).into_iter().filter(|piece| piece.is_code) {
        for (index, line) in piece.text.lines().enumerate() {
            let names = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            for name in names.filter(|name| seen.insert(*name)) {
                let parts = parts(name);
                let found = NAMES
                    .iter()
                    .filter(|(word, _)| parts.iter().any(|part| part == word));
                findings.extend(found.map(|(_, remedy)| Finding {
                    line: piece.line + index,
                    reason: format!("name {name}: write {remedy}"),
                }));
            }
        }
    }
    findings
}

/// The words of a name, in lower case.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = c.is_lowercase();
        if c != '_' {
            parts.last_mut().unwrap().extend(c.to_lowercase());
        }
    }
    parts
}

/// A part of a Rust file.
struct Piece<'a> {
    line: usize,
    text: &'a str,
    /// Or else the content of a string literal.
    is_code: bool,
}

/// The code and the string literals outside comments.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    // The start of the code.
    let mut code = 0;
    let (mut line, mut counted) = (1, 0);
    let mut add = |begin: usize, end: usize, is_code: bool| {
        line += text[counted..begin].matches('\n').count();
        counted = begin;
        found.push(Piece {
            line,
            text: &text[begin..end],
            is_code,
        });
    };
    while let Some(at) = rest.find(['/', '"', '\'', 'r']) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at..];
        let start = text.len() - rest.len();
        let is_raw = |rest: &str| {
            let hashes = rest[1..].trim_start_matches('#');
            hashes.starts_with('"') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        };
        let (literal, end) = if rest.starts_with("//") {
            (None, start + rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with('r') && is_raw(rest) {
            let hashes = rest[1..].find('"').unwrap();
            let begin = hashes + 2;
            let mark = format!("\"{}", "#".repeat(hashes));
            let length = rest[begin..].find(&mark).unwrap_or(rest.len() - begin);
            let literal = start + begin..start + begin + length;
            let end = (literal.end + mark.len()).min(text.len());
            (Some(literal), end)
        } else if let Some(literal) = rest.strip_prefix('"') {
            let mut is_escaped = false;
            let length = literal.find(|c| match c {
                _ if is_escaped => {
                    is_escaped = false;
                    false
                }
                '\\' => {
                    is_escaped = true;
                    false
                }
                c => c == '"',
            });
            let length = length.unwrap_or(literal.len());
            let literal = start + 1..start + 1 + length;
            let end = (literal.end + 1).min(text.len());
            (Some(literal), end)
        } else {
            let is_mark = rest.starts_with("'\"'") || rest.starts_with("'/'");
            rest = &rest[if is_mark { 3 } else { 1 }..];
            continue;
        };
        add(code, start, true);
        if let Some(literal) = literal {
            add(literal.start, literal.end, false);
        }
        (code, rest) = (end, &text[end..]);
    }
    add(code, text.len(), true);
    found
}

#[test]
fn no_text_has_a_finding() {
    let mut found = String::new();
    for (path, text) in &texts() {
        for finding in check(path, text) {
            writeln!(found, "{path}:{}: {}", finding.line, finding.reason).unwrap();
        }
    }
    assert!(found.is_empty(), "rewrite these:\n{found}");
}

/// The reasons for which this text of a Rust file is refused.
fn reasons(text: &str) -> Vec<String> {
    let findings = check("some.rs", text).into_iter();
    findings.map(|finding| finding.reason).collect()
}

#[test]
fn phrases_are_found_in_comments_and_literals_across_lines() {
    for text in [
        "/// The driver tells the host.\n",
        "// Nothing changes, but\n// for the counter.\n",
        "let error = \"the interface beneath is gone\";\n",
        "let error = r#\"what is \"wrong\" here\"#;\n",
        "/// Lets a router have the priority.\n",
        "//! Who joins adapts.\n",
        "let quote = '\"';\n// And the router bears it.\nlet text = \"no text\";\n",
    ] {
        assert_eq!(reasons(text).len(), 1, "{text}: {:?}", reasons(text));
    }
}

#[test]
fn words_that_are_no_words_of_the_field_are_found_in_names() {
    for (text, count) in [
        ("let told = settle(news, BENEATH);\n", 4),
        ("struct Judgement {\n    is_heard: bool,\n}\n", 2),
        ("enum Event {\n    RivalHeard,\n}\n", 1),
        ("let a = '\"'; let station = \"\";\n", 1),
        ("let shear = renews(tellers);\n", 0),
        ("let settlement = r#\"\"told\"#;\n", 1),
        ("let received = report(events);\n", 0),
    ] {
        assert_eq!(reasons(text).len(), count, "{text}: {:?}", reasons(text));
    }
    assert_eq!(check("some.rs", "fn a() {\n    hear(1);\n}\n")[0].line, 2);
}

#[test]
fn code_and_questions_are_no_findings() {
    for text in [
        "/// Reads `what is` from `news`.\n",
        "// What is a VRID? A number.\n",
        "/// Reads the corpus with judge.py.\n",
        "/// ```\n/// // The driver tells it.\n/// ```\nfn f() {}\n",
        "/// Returns the state.\n",
    ] {
        assert_eq!(reasons(text), [""; 0], "{text}");
    }
}

#[test]
fn libraries_have_further_phrases() {
    for text in [
        "// An Active never hears its Backups.\n",
        "/// Somebody removed the address.\n",
        "/// What counts.\n",
    ] {
        assert_eq!(check("vrrp-fsm/src/lib.rs", text).len(), 1, "{text}");
        assert_eq!(reasons(text), [""; 0], "{text}");
    }
}

#[test]
fn long_lines_are_found_where_they_can_be_wrapped() {
    let words = "word ".repeat(21);
    let table = format!("| {words} |\n");
    assert_eq!(check("a.rs", &format!("// {words}\n")).len(), 1);
    assert_eq!(check("a.rs", &format!("let a = \"{words}\";\n")).len(), 0);
    assert_eq!(check("a.md", &words).len(), 1);
    assert_eq!(check("a.md", &table).len(), 0);
    assert_eq!(check("a.rs", &format!("/// {table}")).len(), 0);
    assert_eq!(check("a.md", &format!("```\n{words}\n```\n")).len(), 0);
    assert_eq!(check("README.md", &words).len(), 0);
    assert_eq!(check("README.md", &format!("| {words}{words} |")).len(), 1);
    let address = format!("[a](https://example.com/{})", "a".repeat(90));
    assert_eq!(check("a.md", &address).len(), 0);
}
