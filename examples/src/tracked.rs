//! The sources of tracked objects on this host: files, and processes.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// The length of a process name that the kernel keeps, in bytes (proc(5), `comm`).
pub const LONGEST_NAME: usize = 15;

/// More bytes than a number and the blanks around it need.
const LONGEST_NUMBER: u64 = 128;

/// The text of a file that contains a number, at most 128 bytes. A FIFO without a writer is empty,
/// and reading it does not block.
///
/// # Errors
///
/// The errors of open(2) and read(2); [`io::ErrorKind::InvalidData`] for text that is not UTF-8.
pub fn text_of_number(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    file.take(LONGEST_NUMBER).read_to_string(&mut text)?;
    Ok(text)
}

/// The whole number at the start of a text, as C reads it: after blanks and a sign, decimal, or
/// octal after `0`, or hexadecimal after `0x`. The rest of the text does not matter, and a text
/// without a number is 0. `None` for a number that does not fit.
///
/// ```
/// use vrrp_examples::tracked::leading_number;
///
/// let texts = ["10 # note\n", " -0x1f", "010", "up", "99999999999999999999"];
/// let numbers = [Some(10), Some(-31), Some(8), Some(0), None];
/// assert_eq!(texts.map(leading_number), numbers);
/// ```
#[must_use]
pub fn leading_number(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(|it: char| it.is_ascii_whitespace() || it == '\x0B');
    let (sign, text) = match text.as_bytes().first() {
        Some(b'-') => (-1, text.get(1..).unwrap_or_default()),
        Some(b'+') => (1, text.get(1..).unwrap_or_default()),
        _ => (1, text),
    };
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hexadecimal = hexadecimal.filter(|it| it.starts_with(|it: char| it.is_ascii_hexdigit()));
    let (radix, digits) = match hexadecimal {
        Some(digits) => (16, digits),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let mut digits = digits.chars().map_while(|it| it.to_digit(radix));
    digits.try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit) * sign;
        number.checked_mul(radix.into())?.checked_add(digit)
    })
}

/// A process that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its folder in `/proc`.
    pub folder: PathBuf,
    /// Its name, of which the kernel keeps [`LONGEST_NAME`] bytes.
    pub name: Vec<u8>,
}

/// The processes of this host that have not ended. Zombies, for which only their parent still has
/// to wait, do not count.
///
/// # Errors
///
/// The errors of reading `/proc`.
pub fn processes() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let folder = entry.path();
        // The file of a process that has ended in the meantime is gone.
        if let Ok(stat) = fs::read(folder.join("stat"))
            && let Some(name) = name_of_living(&stat)
        {
            let name = name.to_owned();
            processes.push(Process { folder, name });
        }
    }
    Ok(processes)
}

/// The name in `/proc/PID/stat`, `PID (NAME) STATE ...`, of a process that has not ended. The name
/// may contain any character.
fn name_of_living(stat: &[u8]) -> Option<&[u8]> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let is_alive = !matches!(stat.get(close + 2), Some(b'Z' | b'X') | None);
    stat.get(open + 1..close).filter(|_| is_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_have_any_character() {
        assert_eq!(name_of_living(b"12 (a) b) S 1"), Some(&b"a) b"[..]));
        assert_eq!(name_of_living(b"12 (haproxy) Z 1"), None);
        assert_eq!(name_of_living(b"12 (haproxy)"), None);
    }

    #[test]
    fn this_process_is_among_the_living() {
        let folder = PathBuf::from(format!("/proc/{}", std::process::id()));
        let mut all = processes().unwrap().into_iter();
        assert!(all.any(|process| process.folder == folder));
    }
}
