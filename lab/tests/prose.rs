//! Checks the English of comments, string literals and Markdown for phrases that make a reader
//! stop, and for lines that are too long.
//!
//! `lab/tests/prose/unclean.txt` lists the files that still have findings, with their number. A
//! number may only fall, and a clean file has no entry:
//! `UPDATE_PROSE=1 cargo test -p vrrp-lab --test prose` lowers the numbers and never raises one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, env, fmt::Write, fs};

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
    let mut findings: Vec<Finding> = paragraphs.iter().flat_map(phrases).collect();
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

fn phrases(paragraph: &Paragraph) -> Vec<Finding> {
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
            .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '_' && c != '-')
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        let contains = |phrase: &str| {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            words.windows(phrase.len()).any(|window| window == phrase)
        };
        for (phrase, remedy) in PHRASES {
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
    let mut found = Vec::new();
    let mut rest = text;
    let line_of = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    while let Some(at) = rest.find(['/', '"', '\'', 'r']) {
        let before = rest[..at].chars().next_back();
        rest = &rest[at..];
        let is_raw = |rest: &str| {
            let hashes = rest[1..].trim_start_matches('#');
            hashes.starts_with('"') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
        };
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with('r') && is_raw(rest) {
            let hashes = rest[1..].find('"').unwrap();
            let begin = hashes + 2;
            let end = format!("\"{}", "#".repeat(hashes));
            let length = rest[begin..].find(&end).unwrap_or(rest.len() - begin);
            found.push((line_of(rest), rest[begin..begin + length].to_owned()));
            rest = &rest[(begin + length + end.len()).min(rest.len())..];
        } else if rest.starts_with('"') {
            let mut is_escaped = false;
            let length = rest[1..].find(|c| match c {
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
            let length = length.unwrap_or(rest.len() - 1);
            found.push((line_of(rest), rest[1..=length].to_owned()));
            rest = &rest[(length + 2).min(rest.len())..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'/'") {
            rest = &rest[3..];
        } else {
            rest = &rest[1..];
        }
    }
    found
        .into_iter()
        .map(|(line, text)| Paragraph {
            line,
            text: text.replace("\\n", " "),
            is_documentation: false,
        })
        .collect()
}

const LIST: &str = "lab/tests/prose/unclean.txt";

/// The accepted number of findings by path.
fn accepted() -> BTreeMap<String, usize> {
    let list = fs::read_to_string(root().join(LIST)).unwrap();
    list.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (count, path) = line.split_once(' ').unwrap();
            (path.to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn write_accepted(counts: &BTreeMap<String, usize>) {
    let mut list = String::from(
        "# Findings of lab/tests/prose.rs that are still there. Numbers only fall:\n\
         # UPDATE_PROSE=1 cargo test -p vrrp-lab --test prose\n",
    );
    for (path, count) in counts {
        writeln!(list, "{count} {path}").unwrap();
    }
    fs::write(root().join(LIST), list).unwrap();
}

#[test]
fn no_text_has_more_findings_than_the_list_accepts() {
    let accepted = accepted();
    let mut lowered = BTreeMap::new();
    let mut worse = String::new();
    let mut stale = Vec::new();
    let texts = texts();
    for (path, text) in &texts {
        let findings = check(path, text);
        let limit = accepted.get(path).copied().unwrap_or(0);
        if findings.len() > limit {
            writeln!(worse, "{path}: {} findings, of {limit}", findings.len()).unwrap();
            for finding in &findings {
                writeln!(worse, "  {path}:{}: {}", finding.line, finding.reason).unwrap();
            }
        }
        let count = findings.len().min(limit);
        if count > 0 {
            lowered.insert(path.clone(), count);
        } else if limit > 0 {
            stale.push(path.clone());
        }
    }
    stale.extend(
        accepted
            .into_keys()
            .filter(|path| !texts.contains_key(path)),
    );
    if env::var_os("UPDATE_PROSE").is_some() {
        write_accepted(&lowered);
        stale.clear();
    }
    assert!(worse.is_empty(), "text got worse:\n{worse}");
    assert!(
        stale.is_empty(),
        "clean now, so run UPDATE_PROSE=1 cargo test -p vrrp-lab --test prose: {stale:?}"
    );
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
        "let quote = '\"'; // And the router bears it.\nlet news = \"no news\";\n",
    ] {
        assert_eq!(reasons(text).len(), 1, "{text}: {:?}", reasons(text));
    }
}

#[test]
fn code_and_questions_are_no_findings() {
    for text in [
        "/// Reads `what is` from `news`.\n",
        "// What is a VRID? A number.\n",
        "let told = settle(news, beneath);\n",
        "/// ```\n/// // The driver tells it.\n/// ```\nfn f() {}\n",
        "/// Returns the state.\n",
    ] {
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
