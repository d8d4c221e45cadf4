//! Which cases the bench `side_by_side` takes.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "../side_by_side/case.rs"]
mod case;

use case::Case;

fn chosen(arguments: &[&str]) -> Result<Vec<String>, String> {
    let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
    let cases = Case::choose(&arguments).map_err(|error| error.to_string())?;
    Ok(cases.iter().map(ToString::to_string).collect())
}

#[test]
fn all_cases_are_taken_unless_some_are_named() {
    assert_eq!(chosen(&["--bench"]).unwrap().len(), 12);
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
}

#[test]
fn what_is_not_the_name_of_a_case_is_refused_with_the_names() {
    for unknown in ["1000 x 100", "1000", "", "--fast"] {
        let error = chosen(&["--bench", "1 x 10 ms", unknown]).unwrap_err();
        let expected =
            format!("{unknown:?} is not the name of a case: \"1 x 1000 ms\", \"100 x 1000 ms\", ");
        assert!(error.starts_with(&expected), "{error}");
    }
}
