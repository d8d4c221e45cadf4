//! The files of this repository, for tests that read its sources and documents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The paths of all files, except those of git, of builds, and of fuzzing.
///
/// # Errors
///
/// The error of reading a folder.
pub fn files() -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !path.is_dir() {
                files.push(path);
            } else if !is_foreign(&path) {
                folders.push(path);
            }
        }
    }
    Ok(files)
}

/// Whether a folder has no hand-written text.
fn is_foreign(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("target") || matches!(name.as_ref(), ".git" | "corpus" | "artifacts" | "book")
}
