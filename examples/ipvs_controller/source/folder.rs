//! A folder whose files are read when they change.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use inotify::{EventMask, Events, Inotify, WatchMask};
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
    /// Links and folders by the last list. Events do not show a change behind a link.
    links: BTreeSet<OsString>,
    faulty: BTreeSet<PathBuf>,
}

/// The parts of a folder to look at after events.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    /// The files with these names.
    Names(BTreeSet<OsString>),
    /// All files.
    All,
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
            links: BTreeSet::new(),
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
            let mut extent = Extent::Names(BTreeSet::new());
            match self.watch.read_events_blocking(&mut room) {
                Ok(events) => extent.add(events),
                Err(error) => return send(updates, Update::Ended(self.describe(&error))),
            }
            thread::sleep(GROUP);
            // An empty queue is an error to the library.
            while let Ok(events) = self.watch.read_events(&mut room) {
                extent.add(events);
            }
            if let Err(error) = self.read_changed(extent, updates)? {
                return send(updates, Update::Ended(self.describe(&error)));
            }
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    /// Reads the files that are new, changed or gone.
    fn read(&mut self, updates: &Updates) -> Result<io::Result<()>, Closed> {
        let found = match self.list() {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let gone = self.files.keys().filter(|path| !found.contains_key(*path));
        let gone: Vec<_> = gone.cloned().collect();
        for path in gone {
            self.read_version(&path, None, updates)?;
        }
        for (path, version) in found {
            self.read_version(&path, Some(version), updates)?;
        }
        Ok(Ok(()))
    }

    /// Reads the files that events named, if they are new, changed or gone. The cost does not
    /// depend on the number of the other files.
    fn read_changed(
        &mut self,
        extent: Extent,
        updates: &Updates,
    ) -> Result<io::Result<()>, Closed> {
        let Extent::Names(names) = extent else {
            return self.read(updates);
        };
        // A volume of Kubernetes changes all its files by one hidden link.
        let is_or_was_link = |name| self.links.contains(name) || is_link(&self.path.join(name));
        if names.iter().any(is_or_was_link) {
            return self.read(updates);
        }
        let mut paths: BTreeSet<_> = self.links.iter().chain(&names).collect();
        paths.retain(|name| Format::of(name).is_some());
        let paths: Vec<_> = paths.into_iter().map(|name| self.path.join(name)).collect();
        for path in paths {
            let version = Version::of(&path);
            self.read_version(&path, version, updates)?;
        }
        Ok(Ok(()))
    }

    /// Reads a file that has another version than before. `None` is a file that is gone.
    fn read_version(
        &mut self,
        path: &Path,
        version: Option<Version>,
        updates: &Updates,
    ) -> Result<(), Closed> {
        if self.files.get(path) == version.as_ref() {
            return Ok(());
        }
        let Some(version) = version else {
            self.files.remove(path);
            return self.replace(updates, path, Vec::new());
        };
        self.files.insert(path.to_owned(), version);
        self.read_file(updates, path)
    }

    /// The files with objects, in order.
    fn list(&mut self) -> io::Result<BTreeMap<PathBuf, Version>> {
        let mut found = BTreeMap::new();
        self.links.clear();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            // A file may vanish between the list and this.
            if entry.file_type().is_ok_and(|kind| !kind.is_file()) {
                self.links.insert(name.clone());
            }
            if Format::of(&name).is_none() {
                continue;
            }
            let path = entry.path();
            if let Some(version) = Version::of(&path) {
                found.insert(path, version);
            }
        }
        Ok(found)
    }

    /// Reads a file. One with a fault keeps its former objects.
    fn read_file(&mut self, updates: &Updates, path: &Path) -> Result<(), Closed> {
        let read = || -> Result<_, ReadError> {
            let text = read_text(fs::File::open(path)?)?;
            match path.file_name().and_then(Format::of) {
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
    /// The format of a file by its name. `None` for a file without objects: names that begin with a
    /// dot are left out.
    fn of(name: &OsStr) -> Option<Self> {
        if name.as_encoded_bytes().starts_with(b".") {
            return None;
        }
        match Path::new(name).extension().and_then(OsStr::to_str) {
            Some("json") => Some(Self::Json),
            Some("yaml" | "yml") => Some(Self::Yaml),
            _ => None,
        }
    }
}

impl Version {
    /// The version of a file; `None` if there is none. Links are followed.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        metadata.is_file().then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Extent {
    fn add(&mut self, events: Events<'_>) {
        for event in events {
            match (&mut *self, event.name) {
                (Self::Names(names), Some(name)) if !event.mask.contains(EventMask::Q_OVERFLOW) => {
                    names.insert(name.to_owned());
                }
                // Events were lost, or the folder itself has changed.
                _ => *self = Self::All,
            }
        }
    }
}

/// Whether a path is a link or a folder.
fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::sync::mpsc;

    use super::*;

    fn text(number: u8) -> String {
        format!("kind: Service\nmetadata: {{name: s{number}}}\nspec: {{clusterIP: 10.0.0.1}}\n")
    }

    /// A folder with two files that have been read, and the receiver of updates.
    struct Fixture {
        directory: tempfile::TempDir,
        folder: Folder,
        updates: Updates,
        received: mpsc::Receiver<Update>,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let folder = Folder::open(directory.path()).unwrap();
            let (updates, received) = mpsc::channel(100);
            let mut new = Self {
                directory,
                folder,
                updates,
                received,
            };
            new.write("a.yaml", &text(1));
            new.write("b.yaml", &text(2));
            new.read_all();
            assert_eq!(new.read_files(), ["a.yaml", "b.yaml"]);
            new
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn remove(&self, name: &str) {
            fs::remove_file(self.directory.path().join(name)).unwrap();
        }

        fn link(&self, target: &Path, name: &str) {
            let temporary = self.directory.path().join("..tmp");
            symlink(target, &temporary).unwrap();
            fs::rename(temporary, self.directory.path().join(name)).unwrap();
        }

        fn read_all(&mut self) {
            self.folder.read(&self.updates).unwrap().unwrap();
            // Later events concern later changes.
            let mut room = [0; EVENTS];
            while self.folder.watch.read_events(&mut room).is_ok() {}
        }

        /// Reads after the events that have arrived.
        fn read_changed(&mut self) {
            let mut extent = Extent::Names(BTreeSet::new());
            let mut room = [0; EVENTS];
            while let Ok(events) = self.folder.watch.read_events(&mut room) {
                extent.add(events);
            }
            let result = self.folder.read_changed(extent, &self.updates);
            result.unwrap().unwrap();
        }

        /// The names of the files whose objects were sent since the last call.
        fn read_files(&mut self) -> Vec<String> {
            let mut names = Vec::new();
            while let Ok(update) = self.received.try_recv() {
                if let Update::Change(Change::Replace { source, .. }) = update {
                    let name = Path::new(&source).file_name().unwrap();
                    names.push(name.to_str().unwrap().to_owned());
                }
            }
            names
        }
    }

    #[test]
    fn only_files_that_events_name_are_looked_at() {
        let mut fixture = Fixture::new();
        // No event comes before the writer closes the file.
        let mut unfinished = fs::File::options()
            .append(true)
            .open(fixture.directory.path().join("b.yaml"))
            .unwrap();
        io::Write::write_all(&mut unfinished, b"# more\n").unwrap();
        fixture.write("a.yaml", &text(3));
        fixture.write("notes.txt", "");
        fixture.write(".hidden.yaml", &text(4));
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["a.yaml"]);
        drop(unfinished);
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["b.yaml"]);
    }

    #[test]
    fn a_removed_file_and_a_renamed_one_lose_their_objects() {
        let mut fixture = Fixture::new();
        fixture.remove("a.yaml");
        let path = |name| fixture.directory.path().join(name);
        fs::rename(path("b.yaml"), path("c.yaml")).unwrap();
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["a.yaml", "b.yaml", "c.yaml"]);
        assert_eq!(fixture.folder.files.len(), 1);
    }

    #[test]
    fn files_behind_a_hidden_link_are_read_when_the_link_changes() {
        let mut fixture = Fixture::new();
        let elsewhere = tempfile::tempdir().unwrap();
        for (version, number) in [("one", 5), ("two", 6), ("three", 7)] {
            let folder = elsewhere.path().join(version);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("c.yaml"), text(number)).unwrap();
            fixture.link(&folder, "..data");
            if version == "one" {
                fixture.link(Path::new("..data/c.yaml"), "c.yaml");
            }
            fixture.read_changed();
            assert_eq!(fixture.read_files(), ["c.yaml"], "{version}");
        }
        // The link itself is gone, and the file with it.
        fixture.remove("..data");
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["c.yaml"]);
        assert!(
            fixture
                .folder
                .files
                .keys()
                .all(|path| !path.ends_with("c.yaml"))
        );
    }

    #[test]
    fn a_link_to_a_file_follows_that_file() {
        let mut fixture = Fixture::new();
        fixture.link(Path::new("a.yaml"), "c.yaml");
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["c.yaml"]);
        fixture.write("a.yaml", &text(30));
        fixture.read_changed();
        assert_eq!(fixture.read_files(), ["a.yaml", "c.yaml"]);
    }

    #[test]
    fn lost_events_make_the_whole_folder_be_read() {
        let mut fixture = Fixture::new();
        fixture.write("a.yaml", &text(30));
        let all = fixture.folder.read_changed(Extent::All, &fixture.updates);
        all.unwrap().unwrap();
        assert_eq!(fixture.read_files(), ["a.yaml"]);
    }
}
