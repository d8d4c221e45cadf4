//! Compares the guide with its programs: each chapter shows whole files of the repository. Checks
//! that the links of all Markdown files have a target.
//!
//! `UPDATE_GUIDE=1 cargo test -p vrrp-lab --test guide` writes the programs into the chapters.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{env, fmt::Write, fs, path::PathBuf};

use vrrp_lab::repository::{files, root};

const PROGRAM: &str = "<!-- program: ";

/// The chapter with the programs as they are, and their number.
fn with_programs(chapter: &str) -> (String, usize) {
    let mut parts = chapter.split(PROGRAM);
    let mut text = parts.next().unwrap().to_owned();
    let mut count = 0;
    for part in parts {
        let (path, rest) = part.split_once(" -->\n").unwrap();
        let (opening, rest) = rest.split_once('\n').unwrap();
        assert_eq!(opening, "```rust,no_run", "{path}");
        let (_, rest) = rest.split_once("```\n").unwrap();
        let program = fs::read_to_string(root().join(path)).unwrap();
        write!(text, "{PROGRAM}{path} -->\n{opening}\n{program}```\n{rest}").unwrap();
        count += 1;
    }
    (text, count)
}

#[test]
fn chapters_show_the_programs_as_they_are() {
    let folder = root().join("docs/guide");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    let chapters: Vec<&str> = summary
        .lines()
        .filter_map(|line| {
            line.strip_prefix("- [")?
                .split_once("](")?
                .1
                .strip_suffix(')')
        })
        .collect();
    assert_eq!(chapters.len(), 6, "{summary}");
    for name in chapters {
        let path = folder.join(name);
        let chapter = fs::read_to_string(&path).unwrap();
        let (expected, programs) = with_programs(&chapter);
        assert!(programs > 0, "{name} has no program");
        if env::var_os("UPDATE_GUIDE").is_some() {
            fs::write(path, expected).unwrap();
        } else {
            assert!(
                chapter == expected,
                "{name}: run UPDATE_GUIDE=1 cargo test -p vrrp-lab --test guide"
            );
        }
    }
}

fn markdown_files() -> Vec<PathBuf> {
    let all = files().unwrap().into_iter();
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The targets of links outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if !is_code {
            let prose = line.split('`').step_by(2).collect::<String>();
            let targets = prose.split("](").skip(1);
            found.extend(targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
        }
    }
    found
}

/// The anchors of a file's headings, as GitHub and mdbook make them.
fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    for path in markdown_files() {
        let text = fs::read_to_string(&path).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            let has_anchor = |anchor: &str| {
                let text = fs::read_to_string(&target).unwrap_or_default();
                anchors(&text).iter().any(|heading| heading == anchor)
                    || text.contains(&format!("<a id=\"{anchor}\">"))
            };
            if !target.exists() || !anchor.is_empty() && !has_anchor(anchor) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn links_and_anchors_are_found() {
    let text = "See [a](b.md#c-d) and [e](f).\n```\n[g](h)\n```\n`[i](j)`";
    assert_eq!(links(text), ["b.md#c-d", "f"]);
    assert_eq!(anchors("# One: two `three`\n"), ["one-two-three"]);
}
