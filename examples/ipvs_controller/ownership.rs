//! The services that belong to this program, remembered across restarts.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipvs_netlink::ServiceKey;
use vrrp_examples::{
    kubernetes::keys_at,
    whole_file::{Durability, Readers, replace},
};

/// The services of IPVS that this program has made, in a file of one key a line. Without a file the
/// program forgets them at its end, and a later run leaves services alone that are no longer
/// wanted.
#[derive(Debug)]
pub(crate) struct Ownership {
    file: Option<PathBuf>,
    keys: BTreeSet<ServiceKey>,
    /// Whether the file differs, because it could not be written.
    is_unsaved: bool,
}

impl Ownership {
    /// Reads the file, if there is one.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        let text = match file.map(fs::read_to_string) {
            None => String::new(),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Some(read) => read?,
        };
        let mut keys = BTreeSet::new();
        for (number, line) in (1..).zip(text.lines()) {
            let key = line.parse().map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {number}: {error}"),
                )
            })?;
            keys.insert(key);
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            keys,
            is_unsaved: false,
        })
    }

    pub(crate) fn contains(&self, key: &ServiceKey) -> bool {
        self.keys.contains(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.keys.iter()
    }

    /// Adds keys before their services are made, so that no service is forgotten after a crash.
    pub(crate) fn claim(&mut self, keys: impl Iterator<Item = ServiceKey>) -> io::Result<()> {
        let before = self.keys.len();
        self.keys.extend(keys);
        self.is_unsaved |= self.keys.len() != before;
        self.save()
    }

    /// The services of an address that belong to this program.
    pub(crate) fn keys_at(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        let ranges = keys_at(address).into_iter();
        ranges.flat_map(|keys| self.keys.range(keys))
    }

    /// Gives up keys after their services are gone.
    pub(crate) fn release(&mut self, keys: impl Iterator<Item = ServiceKey>) -> io::Result<()> {
        let before = self.keys.len();
        for key in keys {
            self.keys.remove(&key);
        }
        self.is_unsaved |= self.keys.len() != before;
        self.save()
    }

    /// Replaces the file in one step, if it differs.
    fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.file.as_ref().filter(|_| self.is_unsaved) else {
            return Ok(());
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = String::new();
        for key in &self.keys {
            text.push_str(&key.to_string());
            text.push('\n');
        }
        replace(path, text.as_bytes(), Readers::Owner, Durability::Program)?;
        self.is_unsaved = false;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(number: u8) -> ServiceKey {
        ServiceKey::tcp(([10, 0, 0, number], 80))
    }

    #[test]
    fn claimed_services_are_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/services");
        let mut first = Ownership::open(Some(&path)).unwrap();
        first.claim([key(1), key(2), key(3)].into_iter()).unwrap();
        first.release([key(2)].into_iter()).unwrap();
        let second = Ownership::open(Some(&path)).unwrap();
        assert_eq!(second.keys().copied().collect::<Vec<_>>(), [key(1), key(3)]);
    }

    #[test]
    fn a_file_that_could_not_be_written_is_written_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let path = state.join("services");
        let saved = || {
            let saved = Ownership::open(Some(&path)).unwrap();
            saved.keys().copied().collect::<Vec<_>>()
        };
        let mut ownership = Ownership::open(Some(&path)).unwrap();
        // A file in the place of the folder.
        fs::write(&state, "").unwrap();
        let claimed = || [key(1), key(2)].into_iter();
        ownership.claim(claimed()).unwrap_err();
        ownership.claim(claimed()).unwrap_err();
        fs::remove_file(&state).unwrap();
        ownership.claim(claimed()).unwrap();
        assert_eq!(saved(), [key(1), key(2)]);

        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        ownership.release([key(1)].into_iter()).unwrap_err();
        fs::remove_file(&state).unwrap();
        ownership.release([].into_iter()).unwrap();
        assert_eq!(saved(), [key(2)]);
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("services");
        fs::write(&path, "tcp 10.0.0.1:80\nnonsense\n").unwrap();
        let error = Ownership::open(Some(&path)).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }

    #[test]
    fn without_a_file_nothing_is_written() {
        let mut ownership = Ownership::open(None).unwrap();
        ownership.claim([key(1)].into_iter()).unwrap();
        assert!(ownership.contains(&key(1)));
    }
}
