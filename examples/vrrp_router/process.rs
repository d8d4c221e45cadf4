//! How many processes of a name there are.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt};

/// What the kernel keeps of a name, in octets (proc(5), `comm`).
const LONGEST: usize = 15;

/// The processes that run a program of this name. Those that have ended and that nobody has waited
/// for do not count.
pub(crate) fn count(name: &str) -> io::Result<u32> {
    let name = name.as_bytes();
    let name = name.get(..LONGEST).unwrap_or(name);
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !is_number(&entry.file_name()) {
            continue;
        }
        // One that ends meanwhile has no file any more.
        if let Ok(stat) = fs::read(entry.path().join("stat"))
            && runs(&stat, name)
        {
            count += 1;
        }
    }
    Ok(count)
}

fn is_number(name: &OsStr) -> bool {
    name.as_bytes().iter().all(u8::is_ascii_digit)
}

/// Whether `/proc/PID/stat`, `PID (NAME) STATE …`, is of a process of this name that lives. The
/// name may have any character in it.
fn runs(stat: &[u8], name: &[u8]) -> bool {
    let open = stat.iter().position(|octet| *octet == b'(');
    let close = stat.iter().rposition(|octet| *octet == b')');
    let (Some(open), Some(close)) = (open, close) else {
        return false;
    };
    let is_alive = !matches!(stat.get(close + 2), Some(b'Z' | b'X') | None);
    is_alive && stat.get(open + 1..close) == Some(name)
}
