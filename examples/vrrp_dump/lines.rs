//! Packets as lines of text.

use std::{
    fmt,
    io::{self, BufRead, Read},
    str::FromStr,
};

use vrrp_proto::{Endpoints, Family};

use crate::{
    Output,
    packet::{Content, Layer},
    record::{Place, Record},
};

/// Octets of the longest line: an IP packet of 65 535 octets, with a blank after each.
const LONGEST: u64 = 256 * 1024;

/// Shows the packet of each line. A line that cannot be read does not prevent the others from being
/// shown.
pub(crate) fn show(output: &mut Output, mut input: impl BufRead, lenient: bool) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        input.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        let is_whole = line.ends_with(b"\n");
        let content = if is_whole || (line.len() as u64) < LONGEST {
            read(&line, lenient)
        } else {
            input.skip_until(b'\n')?;
            Err(Malformed {
                column: line.len(),
                problem: format!("longer than {LONGEST} octets"),
            })
        };
        match content {
            Ok(Some(content)) => output.show(&Record {
                place: Place::Line { line: number },
                content,
            })?,
            Ok(None) => {}
            Err(malformed) => output.fail(format_args!("line {number}, {malformed}")),
        }
    }
    Ok(())
}

/// The fault of a line, and its position.
struct Malformed {
    /// Counted from 1, in octets.
    column: usize,
    problem: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.problem)
    }
}

/// The content of a line; `None` for a blank line and for a comment.
fn read(line: &[u8], lenient: bool) -> Result<Option<Content>, Malformed> {
    let mut words = Words { line, at: 0 };
    let Some(form) = words.next() else {
        return Ok(None);
    };
    let content = match form.octets {
        [b'#', ..] => return Ok(None),
        b"ether" => Content::read(Layer::Ethernet, &words.hex()?, lenient),
        b"ipv4" => Content::read(Layer::Ipv4, &words.hex()?, lenient),
        b"ipv6" => Content::read(Layer::Ipv6, &words.hex()?, lenient),
        b"vrrp4" => {
            let endpoints = Endpoints::Ipv4 {
                source: words.address("SRC", Family::Ipv4)?,
                destination: words.address("DST", Family::Ipv4)?,
            };
            Content::bare_message(endpoints, &words.hex()?, lenient)
        }
        b"vrrp6" => {
            let endpoints = Endpoints::Ipv6 {
                source: words.address("SRC", Family::Ipv6)?,
                destination: words.address("DST", Family::Ipv6)?,
            };
            Content::bare_message(endpoints, &words.hex()?, lenient)
        }
        other => {
            return Err(form.malformed(format!(
                "{:?} is not ether, ipv4, ipv6, vrrp4 or vrrp6",
                String::from_utf8_lossy(other)
            )));
        }
    };
    Ok(Some(content))
}

/// The words of a line, in order.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

struct Word<'a> {
    octets: &'a [u8],
    column: usize,
}

impl Word<'_> {
    fn malformed(&self, problem: String) -> Malformed {
        Malformed {
            column: self.column,
            problem,
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|octet| !octet.is_ascii_whitespace())?;
        let octets = self.line[start..]
            .split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default();
        self.at = start + octets.len();
        Some(Word {
            octets,
            column: start + 1,
        })
    }
}

impl Words<'_> {
    fn malformed_at_end(&self, problem: String) -> Malformed {
        Malformed {
            column: self.line.trim_ascii_end().len() + 1,
            problem,
        }
    }

    fn address<A: FromStr>(&mut self, field: &str, family: Family) -> Result<A, Malformed> {
        let Some(word) = self.next() else {
            return Err(self.malformed_at_end(format!("{field} is missing")));
        };
        let text = String::from_utf8_lossy(word.octets);
        text.parse()
            .map_err(|_| word.malformed(format!("{field} {text:?} is not an {family} address")))
    }

    /// The octets that the rest of the line spells.
    fn hex(&self) -> Result<Vec<u8>, Malformed> {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let mut octets = Vec::with_capacity(rest.len() / 2);
        let mut first_digit = None;
        for (place, octet) in rest.iter().enumerate() {
            if octet.is_ascii_whitespace() {
                continue;
            }
            let Some(digit) = hex_digit(*octet) else {
                return Err(Malformed {
                    column: self.at + place + 1,
                    problem: format!("'{}' is not a hexadecimal digit", octet.escape_ascii()),
                });
            };
            match first_digit.take() {
                None => first_digit = Some(digit),
                Some(first) => octets.push(first << 4 | digit),
            }
        }
        if first_digit.is_some() {
            let problem = format!(
                "the last octet, after {} whole ones, has one digit",
                octets.len()
            );
            return Err(self.malformed_at_end(problem));
        }
        if octets.is_empty() {
            return Err(self.malformed_at_end("HEX is missing".into()));
        }
        Ok(octets)
    }
}

fn hex_digit(octet: u8) -> Option<u8> {
    // Below 16.
    #[allow(clippy::cast_possible_truncation)]
    char::from(octet).to_digit(16).map(|digit| digit as u8)
}
