//! The programs under test.

use std::{env, path::PathBuf};

/// The example program of this name, which cargo builds beside the tests.
pub(crate) fn path(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.is_file(),
        "there is no {}: `cargo build --examples` makes it",
        path.display()
    );
    path
}
