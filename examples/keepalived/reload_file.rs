//! The file of `reload_file`: it exists while a reload reads the configuration, so programs that
//! write the configuration know when to wait.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::log::Log;

/// The file during a reload. Dropping this removes the file.
pub(crate) struct ReloadFile {
    path: PathBuf,
    log: Log,
}

impl ReloadFile {
    /// Creates the file. A file that exists becomes empty.
    pub(crate) fn create(path: PathBuf, log: Log) -> Self {
        let result = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            // A link must not empty another file, and a FIFO must not block.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path);
        if let Err(error) = result {
            log.warning(&format!("reload_file {}: {error}", path.display()));
        }
        Self { path, log }
    }
}

impl Drop for ReloadFile {
    fn drop(&mut self) {
        remove(&self.path, &self.log);
    }
}

/// Removes the file, if it exists.
pub(crate) fn remove(path: &Path, log: &Log) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log.warning(&format!("reload_file {}: {error}", path.display()));
        }
        _ => {}
    }
}
