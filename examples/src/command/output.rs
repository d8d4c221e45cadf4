//! The last lines of a command's output.

use std::collections::VecDeque;

/// Bytes that are kept.
const ROOM: usize = 1024;

/// Lines that are shown.
const LINES: usize = 3;

/// The last bytes of an output of any length.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(ROOM);
        self.0.drain(..surplus);
    }

    /// Returns the last lines that have text, with other control characters than the ends of lines
    /// left out.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(|line| line.chars().filter(|it| !it.is_control()).collect())
            .filter(|line: &String| !line.trim().is_empty())
            .take(LINES)
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_the_room_is_bounded() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}\r\n\n").as_bytes());
            assert!(tail.0.len() <= ROOM);
        }
        assert_eq!(tail.text(), "line 9997\nline 9998\nline 9999");
        tail.push(&[b'x'; 5000]);
        assert_eq!(tail.text(), "x".repeat(ROOM));
        assert_eq!(Tail::default().text(), "");
    }

    #[test]
    fn bytes_that_are_no_text_and_control_characters_do_no_harm() {
        let mut tail = Tail::default();
        tail.push(b"\x1b[31mred\x07\xff\n");
        assert_eq!(tail.text(), "[31mred\u{fffd}");
    }
}
