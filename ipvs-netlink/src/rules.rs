//! The text form of ipvsadm: its saved tables and its command line, which share one language. No
//! I/O.
//!
//! A [`Grammar`] reads: a whole text into the table that it describes
//! ([`servers`](Grammar::servers)) or into changes ([`parse`](Grammar::parse)), line by line
//! ([`lines`](Grammar::lines)), or the words of a command line ([`command`](Grammar::command)).
//! [`print()`] writes. [`sort_services`] and [`sort_destinations`] put things into the order of
//! ipvsadm's lists.
//!
//! ```
//! use ipvs_netlink::rules::{self, Form, Grammar};
//!
//! let text = "
//! -A -t 192.0.2.1:80 -s rr -p   # persistent for 360 seconds
//! -a -t 192.0.2.1:80 -r 10.0.0.1 -mw 3
//! ";
//! let servers = Grammar::default().servers(text)?;
//! assert_eq!(
//!     rules::print(&servers, Form::Ipvsadm),
//!     "-A -t 192.0.2.1:80 -s rr -p 360\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 3\n",
//! );
//! # Ok::<(), rules::ParseError>(())
//! ```
//!
//! # The language
//!
//! A line is one command of ipvsadm 1.31 with its options, after the program's name or without it:
//! `-A`, `-E`, `-D` (services), `-a`, `-e`, `-d` (destinations), `-C`, `-Z`, `--set`,
//! `--start-daemon`, `--stop-daemon`. Blanks, tabs and carriage returns separate words; there are
//! no quotes. Long options are written out, `--weight 3` or `--weight=3`; short ones can be
//! bundled, `-mw3`. Beyond ipvsadm, a word that starts with `#` starts a comment, `(null)` is the
//! forwarding method that `ipvsadm -S` prints for bypass destinations, and options have the same
//! meaning in every order, apart from `-6`, which follows its `-f`. Where ipvsadm silently drops a
//! part of a word (`-M 64x`, `[192.0.2.1]:80`), the word is refused.
//!
//! # Additions of [`Form::Lossless`]
//!
//! | in a text | meaning |
//! |---|---|
//! | `-x`, `-y` | limits, which ipvsadm reads and does not save |
//! | `-f 4294967295` | a mark from 2³¹ on, which ipvsadm reads and saves as a negative number |
//! | `--local`, `--bypass` | forwarding methods that ipvsadm cannot name |
//! | `--own-port` | the port of `-r` holds; otherwise `-g` and `-i` take the port of the service, unless that is a mark |
//! | `-p 0` to `-p 4294967` | persistence for as long as kernels can hold it; ipvsadm accepts 1 to 2678400 |
//! | `-b sh-port,flag-3` | the third flag with the schedulers sh and mh |
//! | `-o` with `-t`, port 0 without `-p`, `-r` of another family without `-i` | what ipvsadm refuses |

mod command;
mod error;
mod options;
mod order;
mod print;
mod servers;
#[cfg(test)]
mod tests;
mod value;
mod word;

use std::net::IpAddr;

pub use self::{
    command::{Command, List, Listing},
    error::{ParseError, Place, Problem},
    order::{sort_destinations, sort_services},
    print::{endpoint, print, print_named},
};
use crate::{Protocol, VirtualServer, message::Change};

/// The language of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The language of ipvsadm 1.31, with its refusals. A printed table is the output of `ipvsadm
    /// -Sn`, byte for byte.
    Ipvsadm,
    /// The same with words for everything that a table can hold, so a printed table can be read
    /// back.
    #[default]
    Lossless,
}

/// The lookup of names.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The address of a host.
    pub host: &'a dyn Fn(&str) -> Option<IpAddr>,
    /// The port of a service of a protocol.
    pub port: &'a dyn Fn(&str, Protocol) -> Option<u16>,
}

/// Reads texts and command lines.
///
/// By default it reads [`Form::Lossless`] and refuses names.
#[derive(Clone, Copy, Default)]
pub struct Grammar<'a> {
    /// The accepted words.
    pub form: Form,
    /// The lookup of names; without it a name is an error.
    pub names: Option<Names<'a>>,
}

/// A line of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1 on.
    pub number: usize,
    /// The command.
    pub command: Command,
}

/// A line of a text that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The number of its line, from 1 on.
    pub line: usize,
    /// The change.
    pub change: Change,
}

/// The content of a line, with its number and its first word.
type Numbered<'t, T> = (usize, word::Word<'t>, T);

impl Grammar<'_> {
    /// Reads the words of a command line, without the name of the program. No word at all lists the
    /// table.
    ///
    /// # Errors
    ///
    /// A [`ParseError`] with the number of the word.
    pub fn command(&self, words: &[&str]) -> Result<Command, ParseError> {
        command::read(self, &word::of_command_line(words))
    }

    /// Reads a text line by line, skipping those without a command. As in ipvsadm, it may have any
    /// command except `-R`.
    pub fn lines(&self, text: &str) -> impl Iterator<Item = Result<Line, ParseError>> {
        self.commands(text).map(|line| {
            let (number, _, command) = line?;
            Ok(Line { number, command })
        })
    }

    /// Reads the changes of a text.
    ///
    /// # Errors
    ///
    /// A [`ParseError`] for the first line that is wrong, or that has a command that changes
    /// nothing, such as `-L`.
    pub fn parse(&self, text: &str) -> Result<Vec<Rule>, ParseError> {
        self.changes(text)
            .map(|change| {
                let (line, _, change) = change?;
                Ok(Rule { line, change })
            })
            .collect()
    }

    /// Reads the table that a text describes, as if it were restored onto an empty table. Services
    /// and destinations are in the order in which the text adds them. Counters, timeouts and
    /// daemons are no part of a table; lines about them are read and skipped.
    ///
    /// # Errors
    ///
    /// The [`ParseError`]s of [`parse`](Self::parse), and one for the first line that the kernel
    /// would refuse because of the lines before it: a service or destination that is added twice,
    /// or changed or deleted where there is none.
    pub fn servers(&self, text: &str) -> Result<Vec<VirtualServer>, ParseError> {
        servers::of(self.changes(text))
    }

    /// The changes of a text.
    fn changes<'t>(
        &self,
        text: &'t str,
    ) -> impl Iterator<Item = Result<Numbered<'t, Change>, ParseError>> {
        self.commands(text).map(|line| match line? {
            (number, first, Command::Change(change)) => Ok((number, first, change)),
            (_, first, _) => Err(first.refused(Problem::NoChange)),
        })
    }

    /// The commands of a text.
    fn commands<'t>(
        &self,
        text: &'t str,
    ) -> impl Iterator<Item = Result<Numbered<'t, Command>, ParseError>> {
        (1..).zip(text.lines()).filter_map(|(number, line)| {
            let words = word::of_line(number, line);
            let first = words.first().copied()?;
            Some(match command::read(self, &words) {
                Ok(Command::Restore) => Err(first.refused(Problem::Nested)),
                Ok(command) => Ok((number, first, command)),
                Err(error) => Err(error),
            })
        })
    }
}
