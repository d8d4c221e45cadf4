//! Compares the conformance list with the tests: a row that can be tested must have a test named
//! after it, and the table in the README must be right.
//!
//! `UPDATE_README=1 cargo test -p vrrp-lab --test conformance` writes the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use vrrp_lab::repository::{files, root};

const BEGIN: &str = "<!-- coverage: written by lab/tests/conformance.rs -->\n";
const END: &str = "<!-- end of coverage -->";

/// One requirement: a row of section 3 of the list.
struct Row {
    id: String,
    /// The letters of the test column: C, CV, F, B, N, D.
    layers: BTreeSet<String>,
}

impl Row {
    fn group(&self) -> &str {
        self.id.split('-').next().unwrap()
    }

    /// Whether a test can show it: everything except documentation.
    fn is_testable(&self) -> bool {
        let layers = ["C", "CV", "F", "B", "N"];
        layers.iter().any(|layer| self.layers.contains(*layer))
    }
}

fn rows() -> Vec<Row> {
    let list = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let section = list
        .split("\n## ")
        .find(|section| section.starts_with("3 ") || section.starts_with("3. "))
        .unwrap();
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line
                .trim()
                .trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect();
            let (id, test) = (*cells.first()?, *cells.last()?);
            let (group, number) = id.split_once('-')?;
            let is_row = group.len() == 1
                && number.len() == 2
                && number.bytes().all(|digit| digit.is_ascii_digit());
            is_row.then(|| Row {
                id: id.to_owned(),
                layers: test
                    .split(|c: char| !c.is_ascii_uppercase())
                    .map(str::to_owned)
                    .collect(),
            })
        })
        .collect()
}

/// The rows of section 13: those that no test of ours shows, each with a reason.
fn exempt() -> BTreeSet<String> {
    let list = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let (_, section) = list.split_once("\n## 13. ").unwrap();
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [id, reason] = cells[..] else { return None };
            (id.contains('-') && !id.starts_with('-')).then(|| {
                assert!(reason.len() > 20, "{id}: {reason:?}");
                id.to_owned()
            })
        })
        .collect()
}

/// Every `fn x_01_…` that stands under a `#[test]`, by its ID.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let packages =
        ["vrrp-proto", "vrrp-fsm", "vrrp-net", "lab", "examples"].map(|name| root().join(name));
    for path in files().unwrap() {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if is_rust && packages.iter().any(|package| path.starts_with(package)) {
            collect(&fs::read_to_string(path).unwrap(), &mut found);
        }
    }
    found
}

fn collect(source: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("fn ") {
            let name = name.split('(').next().unwrap();
            let mut parts = name.splitn(3, '_');
            if let (true, Some(group), Some(number), Some(_)) =
                (is_test, parts.next(), parts.next(), parts.next())
                && group.len() == 1
                && number.len() == 2
            {
                let id = format!("{}-{number}", group.to_uppercase());
                found.entry(id).or_default().insert(name.to_owned());
            }
            is_test = false;
        }
    }
}

#[test]
fn the_list_has_the_rows_that_it_counts() {
    let mut count = BTreeMap::<String, usize>::new();
    for row in rows() {
        *count.entry(row.group().to_owned()).or_default() += 1;
    }
    let expected = [
        ("A", 32),
        ("M", 13),
        ("O", 27),
        ("P", 57),
        ("S", 34),
        ("T", 16),
    ];
    assert_eq!(
        count,
        expected
            .map(|(group, rows)| (group.to_owned(), rows))
            .into()
    );
}

#[test]
fn every_testable_row_has_a_test_named_after_it() {
    let (tests, exempt) = (tests(), exempt());
    let missing: Vec<String> = rows()
        .into_iter()
        .filter(|row| row.is_testable() && !exempt.contains(&row.id))
        .filter(|row| !tests.contains_key(&row.id))
        .map(|row| row.id)
        .collect();
    assert!(
        missing.is_empty(),
        "rows of docs/conformance.md without a test: {}",
        missing.join(", ")
    );
}

#[test]
fn the_rows_without_a_test_are_testable_and_have_none() {
    let tests = tests();
    let testable: BTreeSet<String> = rows()
        .into_iter()
        .filter(|row| row.is_testable() && !tests.contains_key(&row.id))
        .map(|row| row.id)
        .collect();
    let strays: Vec<String> = exempt().difference(&testable).cloned().collect();
    assert!(
        strays.is_empty(),
        "section 13 of docs/conformance.md has rows that do not belong there: {}",
        strays.join(", ")
    );
}

#[test]
fn no_test_is_named_after_a_row_that_does_not_exist() {
    let rows: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    let groups = ["A", "M", "O", "P", "S", "T"];
    let strays: Vec<String> = tests()
        .into_iter()
        .filter(|(id, _)| groups.contains(&&id[..1]) && !rows.contains(id))
        .flat_map(|(_, names)| names)
        .collect();
    assert!(
        strays.is_empty(),
        "tests named after no row: {}",
        strays.join(", ")
    );
}

#[test]
fn the_readme_shows_the_coverage_that_there_is() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme
        .split_once(BEGIN)
        .expect("README.md has the first coverage mark");
    let (shown, after) = rest
        .split_once(END)
        .expect("README.md has the last coverage mark");
    let table = table();
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            shown, table,
            "run UPDATE_README=1 cargo test -p vrrp-lab --test conformance"
        );
    }
}

/// The codes of requirements and ambiguities, such as `S-11` and `AMB-22`, in a text.
fn codes(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| {
            let Some((group, number)) = word.split_once('-') else {
                return false;
            };
            ["P", "S", "T", "A", "M", "O", "AMB"].contains(&group)
                && number.len() == 2
                && number.bytes().all(|digit| digit.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_cited_requirement_is_a_row_of_the_list() {
    let list = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let first_cells = list.lines().filter_map(|line| line.strip_prefix("| "));
    let rows: BTreeSet<String> = first_cells
        .filter_map(|line| line.split_once(" |"))
        .flat_map(|(cell, _)| codes(cell))
        .collect();
    assert_eq!(codes("see S-11/AMB-22, not S-1 or XS-11"), {
        ["AMB-22", "S-11"].map(str::to_owned).into()
    });
    let mut strays = Vec::new();
    for path in files().unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if [".rs", ".md"].iter().any(|end| name.ends_with(end)) && name != "conformance.rs" {
            let cited = codes(&fs::read_to_string(&path).unwrap());
            let unknown = cited.difference(&rows);
            strays.extend(unknown.map(|code| format!("{}: {code}", path.display())));
        }
    }
    assert!(
        strays.is_empty(),
        "codes without a row in docs/conformance.md:\n{}",
        strays.join("\n")
    );
}

fn table() -> String {
    let (rows, tests, exempt) = (rows(), tests(), exempt());
    let mut table = String::from(
        "| group | subject | requirements | must be tested | are tested | tests |\n|---|---|---|---|---|---|\n",
    );
    let subjects = [
        ("P", "packet format and validation"),
        ("S", "state machine"),
        ("T", "timers"),
        ("A", "ARP and neighbor discovery"),
        ("M", "virtual MAC, forwarding, accepting"),
        ("O", "operation, security, management"),
    ];
    for (group, subject) in subjects {
        let group_rows: Vec<&Row> = rows.iter().filter(|row| row.group() == group).collect();
        let testable = group_rows.iter().filter(|row| row.is_testable());
        let needed = testable.filter(|row| !exempt.contains(&row.id)).count();
        let covered = group_rows
            .iter()
            .filter(|row| tests.contains_key(&row.id))
            .count();
        let names: usize = group_rows
            .iter()
            .filter_map(|row| tests.get(&row.id))
            .map(BTreeSet::len)
            .sum();
        writeln!(
            table,
            "| {group} | {subject} | {} | {needed} | {covered} | {names} |",
            group_rows.len()
        )
        .unwrap();
    }
    table
}
