//! A folder whose files are read when they change.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use inotify::{Inotify, WatchMask};
use vrrp_examples::kubernetes::{Change, ReadError, read_json, read_text, read_yaml};

use super::{Closed, Update, Updates, send};

/// Files change together: the rest of a group is awaited for this time.
const GROUP: Duration = Duration::from_millis(20);

/// Room for the events of one system call.
const EVENTS: usize = 4096;

/// A folder. Editors and volume mounts replace files by renaming, so the folder is watched, not its
/// files.
pub(crate) struct Folder {
    path: PathBuf,
    watch: Inotify,
    files: BTreeMap<PathBuf, Version>,
    faulty: BTreeSet<PathBuf>,
}

/// The version of a file, as far as the file system shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let watch = Inotify::init()?;
        watch.watches().add(
            path,
            WatchMask::CLOSE_WRITE
                | WatchMask::MOVED_TO
                | WatchMask::MOVED_FROM
                | WatchMask::DELETE
                | WatchMask::DELETE_SELF
                | WatchMask::CREATE
                | WatchMask::ONLYDIR,
        )?;
        Ok(Self {
            path: path.to_owned(),
            watch,
            files: BTreeMap::new(),
            faulty: BTreeSet::new(),
        })
    }

    /// Sends all objects, and then each change, until the program or the folder ends.
    pub(crate) fn follow(mut self, updates: &Updates) -> Result<(), Closed> {
        if let Err(error) = self.read(updates)? {
            return send(updates, Update::Ended(self.describe(&error)));
        }
        send(updates, Update::Ready)?;
        let mut room = [0; EVENTS];
        loop {
            if let Err(error) = self.watch.read_events_blocking(&mut room) {
                return send(updates, Update::Ended(self.describe(&error)));
            }
            thread::sleep(GROUP);
            // Only the fact that something changed counts. An empty queue is an error to the
            // library.
            while self.watch.read_events(&mut room).is_ok() {}
            if let Err(error) = self.read(updates)? {
                return send(updates, Update::Ended(self.describe(&error)));
            }
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    /// Reads the files that are new, changed or gone.
    pub(crate) fn read(&mut self, updates: &Updates) -> Result<io::Result<()>, Closed> {
        let found = match self.list() {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let gone: Vec<_> = self
            .files
            .keys()
            .filter(|path| !found.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            self.files.remove(&path);
            self.replace(updates, &path, Vec::new())?;
        }
        for (path, version) in found {
            if self.files.get(&path) == Some(&version) {
                continue;
            }
            self.files.insert(path.clone(), version);
            self.read_file(updates, &path)?;
        }
        Ok(Ok(()))
    }

    /// The files with objects, in order. Names that begin with a dot are left out.
    fn list(&self) -> io::Result<BTreeMap<PathBuf, Version>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden || Format::of(&path).is_none() {
                continue;
            }
            // A file may vanish between the list and this. Links are followed.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    let version = Version {
                        device: metadata.dev(),
                        inode: metadata.ino(),
                        size: metadata.size(),
                        modified: (metadata.mtime(), metadata.mtime_nsec()),
                    };
                    found.insert(path, version);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Reads a file. One with a fault keeps its former objects.
    fn read_file(&mut self, updates: &Updates, path: &Path) -> Result<(), Closed> {
        let read = || -> Result<_, ReadError> {
            let text = read_text(fs::File::open(path)?)?;
            match Format::of(path) {
                Some(Format::Json) => read_json(&text),
                _ => read_yaml(&text),
            }
        };
        let objects = read().map_err(|error| error.to_string());
        match objects {
            Ok(objects) => self.replace(updates, path, objects),
            Err(error) => {
                self.faulty.insert(path.to_owned());
                let part = path.display().to_string();
                let error = Some(error);
                send(updates, Update::Fault { part, error })
            }
        }
    }

    fn replace(
        &mut self,
        updates: &Updates,
        path: &Path,
        objects: Vec<vrrp_examples::kubernetes::Object>,
    ) -> Result<(), Closed> {
        let source = path.display().to_string();
        if self.faulty.remove(path) {
            let part = source.clone();
            send(updates, Update::Fault { part, error: None })?;
        }
        send(updates, Update::Change(Change::Replace { source, objects }))
    }
}

/// The format of a file, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("json") => Some(Self::Json),
            Some("yaml" | "yml") => Some(Self::Yaml),
            _ => None,
        }
    }
}
