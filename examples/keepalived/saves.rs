//! Copies of the configuration and of the state around reloads, for `config_save_dir`.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use vrrp_examples::{
    keepalived_conf::source::File,
    whole_file::{Durability, Readers, replace},
};

/// The folder of the copies. Its files have the process id and the number of reloads in their
/// names, as keepalived's have.
#[derive(Clone, Copy)]
pub(crate) struct Saves<'a> {
    folder: &'a Path,
    /// The number of reloads since the start.
    count: u32,
}

/// The time of a copy of the state.
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    BeforeReload,
    AfterReload,
}

impl<'a> Saves<'a> {
    pub(crate) const fn new(folder: &'a Path, count: u32) -> Self {
        Self { folder, count }
    }

    /// Saves the files of a configuration, one after the other.
    pub(crate) fn save_configuration(self, files: &[File]) -> io::Result<()> {
        let mut text = String::new();
        for file in files {
            text.extend(["# ", &file.path.to_string_lossy(), "\n", &file.text, "\n"]);
        }
        self.save("keepalived.conf", "", &text)
    }

    /// Saves the text of SIGUSR1.
    pub(crate) fn save_state(self, moment: Moment, text: &str) -> io::Result<()> {
        let ending = match moment {
            Moment::BeforeReload => ".pre",
            Moment::AfterReload => ".post",
        };
        self.save("keepalived_vrrp", ending, text)
    }

    /// Writes a file that only its owner can read: a configuration may contain passwords.
    fn save(self, name: &str, ending: &str, text: &str) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.path(name, ending);
        replace(&path, text.as_bytes(), Readers::Owner, Durability::Program)
    }

    fn path(self, name: &str, ending: &str) -> PathBuf {
        let name = format!("{name}.{}.{}{ending}", std::process::id(), self.count);
        self.folder.join(name)
    }
}
