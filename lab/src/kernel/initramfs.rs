use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::Error;

/// The types of a file in its mode, of stat.h.
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Each of these is a link to its namesake in `/usr`, as in Debian.
const MERGED: &[&str] = &["bin", "lib", "lib64", "sbin"];

/// An archive with which a kernel fills its first file system: cpio in the format "newc" (initramfs
/// buffer format, `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux), not
/// compressed.
pub(crate) struct Initramfs {
    path: PathBuf,
    out: BufWriter<File>,
    entries: u32,
    present: HashSet<PathBuf>,
}

impl Initramfs {
    /// Begins an archive in the new file `path`, with the folders that are mount points.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let out = File::create(path).map_err(Error::os(format!("make {}", path.display())))?;
        let mut archive = Self {
            path: path.into(),
            out: BufWriter::new(out),
            entries: 0,
            present: HashSet::from(["/".into()]),
        };
        for name in MERGED {
            let target = Path::new("usr").join(name);
            archive.folder(&Path::new("/").join(&target))?;
            let link = Path::new("/").join(name);
            archive.entry(&link, LINK | 0o777, target.as_os_str().as_bytes())?;
            archive.present.insert(link);
        }
        for name in ["/dev", "/proc", "/run", "/sys", "/tmp"] {
            archive.folder(name.as_ref())?;
        }
        Ok(archive)
    }

    /// Adds a file of the host at its own path; a program with its shared libraries, a folder with
    /// its content.
    pub(crate) fn add(&mut self, path: &Path) -> Result<(), Error> {
        let metadata = fs::metadata(path).map_err(reading(path))?;
        if metadata.is_dir() {
            let entries = fs::read_dir(path).map_err(reading(path))?;
            for entry in entries {
                self.add(&entry.map_err(reading(path))?.path())?;
            }
            return Ok(());
        }
        let content = fs::read(path).map_err(reading(path))?;
        let is_program =
            content.starts_with(b"\x7fELF") && metadata.permissions().mode() & 0o111 != 0;
        self.file(path, metadata.permissions().mode(), &content)?;
        if is_program {
            self.libraries(path)?;
        }
        Ok(())
    }

    /// Adds a program of the host as [`Initramfs::add`] does, but without the debug information
    /// that makes most of a test. Anything but a program is added as it is.
    pub(crate) fn add_stripped(&mut self, path: &Path) -> Result<(), Error> {
        let stripped = self.path.with_extension("stripped");
        let output = Command::new("strip")
            .arg("-o")
            .args([&stripped, path])
            .output()
            .map_err(starting("strip", "binutils"))?;
        if !output.status.success() {
            return self.add(path);
        }
        let content = fs::read(&stripped).map_err(reading(&stripped))?;
        fs::remove_file(&stripped).map_err(Error::os(format!("remove {}", stripped.display())))?;
        self.file(path, 0o755, &content)?;
        self.libraries(path)
    }

    /// Adds a regular file, unless the archive has the path already.
    pub(crate) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), Error> {
        if !self.present.insert(path.into()) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        self.entry(path, REGULAR | mode & 0o7777, content)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.entry("TRAILER!!!".as_ref(), 0, &[])?;
        self.out
            .flush()
            .map_err(Error::os(format!("write {}", self.path.display())))
    }

    /// Adds a folder and those above it, unless the archive has them.
    fn folder(&mut self, path: &Path) -> Result<(), Error> {
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|path| !self.present.contains(*path))
            .collect();
        for path in missing.into_iter().rev() {
            self.present.insert(path.into());
            self.entry(path, FOLDER | 0o755, &[])?;
        }
        Ok(())
    }

    /// Adds the libraries that the dynamic linker loads with `program`.
    fn libraries(&mut self, program: &Path) -> Result<(), Error> {
        let output = Command::new("ldd")
            .arg(program)
            .output()
            .map_err(starting("ldd", "libc-bin"))?;
        // It fails for a static program, which needs nothing. Lines are `name => /path (address)`
        // or `/path (address)`.
        let text = String::from_utf8_lossy(&output.stdout);
        let libraries: BTreeSet<_> = text
            .split_ascii_whitespace()
            .filter(|word| word.starts_with('/') && !word.ends_with(':'))
            .collect();
        for library in libraries {
            let path = Path::new(library);
            if !self.present.contains(path) {
                let content = fs::read(path).map_err(reading(path))?;
                self.file(path, 0o755, &content)?;
            }
        }
        Ok(())
    }

    /// Writes a header of 13 fields in hexadecimal, the name and the content, each padded to a
    /// multiple of four octets.
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), Error> {
        self.write_entry(path.as_os_str(), mode, content)
            .map_err(Error::os(format!(
                "add {} to {}",
                path.display(),
                self.path.display()
            )))
    }

    fn write_entry(&mut self, path: &OsStr, mode: u32, content: &[u8]) -> io::Result<()> {
        const HEADER: usize = 110;
        const ZEROS: [u8; 3] = [0; 3];
        let padding = |length: usize| &ZEROS[..length.next_multiple_of(4) - length];
        let name = path.as_bytes();
        let name = name.strip_prefix(b"/").unwrap_or(name);
        // With the NUL that ends it.
        let name_size = name.len() + 1;
        let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.entries += 1;
        write!(self.out, "070701{:08x}{mode:08x}", self.entries)?;
        // Owner, group, one link, time.
        write!(self.out, "{:08x}{:08x}{:08x}{:08x}", 0, 0, 1, 0)?;
        write!(self.out, "{size:08x}")?;
        // The device that it is on, and the device that it is.
        write!(self.out, "{:08x}{:08x}{:08x}{:08x}", 0, 0, 0, 0)?;
        // A checksum that this format does not use.
        write!(self.out, "{name_size:08x}{:08x}", 0)?;
        self.out.write_all(name)?;
        self.out.write_all(b"\0")?;
        self.out.write_all(padding(HEADER + name_size))?;
        self.out.write_all(content)?;
        self.out.write_all(padding(content.len()))
    }
}

fn reading(path: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::os(format!("read {}", path.display()))
}

fn starting(program: &'static str, package: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::starting(program, package, source)
}
