//! The cases of the bench `side_by_side`, and the chart of its results.

#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path};

use vrrp_benches::side_by_side::{case::Case, chart};

fn chosen(arguments: &[&str]) -> Result<Vec<String>, String> {
    let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
    let cases = Case::choose(&arguments).map_err(|error| error.to_string())?;
    Ok(cases.iter().map(ToString::to_string).collect())
}

#[test]
fn all_cases_are_taken_unless_some_are_named() {
    assert_eq!(chosen(&["--bench"]).unwrap().len(), 13);
    assert_eq!(
        chosen(&["--bench", "5000 x 10 ms", "1 x 1000 ms"]).unwrap(),
        ["5000 x 10 ms", "1 x 1000 ms"]
    );
    assert_eq!(
        chosen(&["--quick", "--bench"]).unwrap(),
        ["1 x 100 ms", "100 x 10 ms"]
    );
    assert_eq!(
        chosen(&["--quick", "1000 x 100 ms"]).unwrap(),
        ["1000 x 100 ms"]
    );
    let flapping = "1 x 100 ms, flapping link";
    assert_eq!(chosen(&[flapping]).unwrap(), [flapping]);
}

#[test]
fn an_unknown_name_is_refused_with_the_names_of_the_cases() {
    for unknown in ["1000 x 100", "1000", "", "--fast"] {
        let error = chosen(&["--bench", "1 x 10 ms", unknown]).unwrap_err();
        let expected =
            format!("{unknown:?} is not the name of a case: \"1 x 1000 ms\", \"100 x 1000 ms\", ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

/// `UPDATE_CHART=1` writes the chart.
#[test]
fn the_chart_of_the_documentation_shows_its_table() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = fs::read_to_string(docs.join("performance.md")).unwrap();
    let (_, table) = text.split_once("```text\nrouters x interval").unwrap();
    let (table, _) = table.split_once("```").unwrap();
    let expected = chart::draw(table).unwrap();
    let path = docs.join("side-by-side.svg");
    if env::var_os("UPDATE_CHART").is_some() {
        fs::write(path, expected).unwrap();
    } else {
        let shown = fs::read_to_string(path).unwrap();
        assert!(
            shown == expected,
            "run UPDATE_CHART=1 cargo test -p vrrp-benches --test side_by_side"
        );
    }
}
