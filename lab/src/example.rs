//! Example programs of the workspace.

use std::{env, io, path::PathBuf};

use crate::Error;

/// Finds the example program of this name, which cargo builds beside the test that runs.
///
/// # Errors
///
/// [`Error::NoExample`] if the program has not been built.
pub fn example(name: &str) -> Result<PathBuf, Error> {
    let test = env::current_exe().map_err(Error::os("find the running test"))?;
    // target/PROFILE/deps/TEST and target/PROFILE/examples/NAME.
    let profile = test.ancestors().nth(2).ok_or_else(|| {
        Error::os("find the build folder")(io::Error::from(io::ErrorKind::NotFound))
    })?;
    let path = profile.join("examples").join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::NoExample { path })
    }
}
