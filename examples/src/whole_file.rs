//! Files that are written whole or not at all.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// The users that can read a written file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner only.
    Owner,
    /// All users that the umask of the process allows.
    AllInUmask,
}

/// The crashes after which a file has its old or its new content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Those of the program.
    Program,
    /// Those of the host too. Each write waits for the disk.
    Host,
}

/// Replaces the file `path`, or makes it: writes `content` to another file of the same folder,
/// which then gets the name. Readers see the old or the new content, and a failure changes nothing.
///
/// # Errors
///
/// The system's.
///
/// # Examples
///
/// ```
/// use vrrp_examples::whole_file::{Durability, Readers, replace};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("state");
/// replace(&path, b"old", Readers::Owner, Durability::Program)?;
/// replace(&path, b"new", Readers::Owner, Durability::Host)?;
/// assert_eq!(std::fs::read(&path)?, b"new");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn replace(
    path: &Path,
    content: &[u8],
    readers: Readers,
    durability: Durability,
) -> io::Result<()> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::AllInUmask => 0o666,
    };
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    if durability == Durability::Host {
        file.as_file().sync_data()?;
    }
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_gets_the_mode_of_its_readers() {
        let folder = tempfile::tempdir().unwrap();
        // The mode of an ordinary file has the umask.
        let ordinary = folder.path().join("ordinary");
        fs::write(&ordinary, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = folder.path().join("state");
        for (readers, expected) in [
            (Readers::AllInUmask, mode(&ordinary)),
            (Readers::Owner, 0o600),
        ] {
            replace(&path, b"a longer text", readers, Durability::Host).unwrap();
            replace(&path, b"text", readers, Durability::Program).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"text");
            assert_eq!(mode(&path), expected, "{readers:?}");
        }
    }

    #[test]
    fn a_failure_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::create_dir(&path).unwrap();
        replace(&path, b"text", Readers::Owner, Durability::Program).unwrap_err();
        let names = fs::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
        assert_eq!(names, ["state"]);
        assert!(path.is_dir());
    }
}
