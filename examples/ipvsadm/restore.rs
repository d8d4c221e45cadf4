//! Commands from the standard input (`-R`), one a line.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use ipvs_netlink::message::Change;

use crate::{
    failure::Failure,
    grammar::{self, Command},
    session::Session,
};

/// A line that is a command, with its number from 1.
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) command: Command,
}

/// The commands of a text. It ends with the first line that is none.
pub(crate) fn commands<'a>(
    name: &'a str,
    text: &'a str,
) -> impl Iterator<Item = Result<Line, Failure>> + 'a {
    let lines = text.lines().enumerate().filter_map(move |(index, line)| {
        let mut words = words(line);
        if words.first() == Some(&"ipvsadm") {
            words.remove(0);
        }
        if words.is_empty() {
            return None;
        }
        let number = index + 1;
        Some(match grammar::command(&words) {
            Ok(Command::Restore) => Err(Failure::Line {
                name: name.to_owned(),
                line: number,
                problem: "a text that is restored does not restore another".to_owned(),
                status: 255,
            }),
            Ok(command) => Ok(Line { number, command }),
            Err(error) => Err(Failure::Line {
                name: name.to_owned(),
                line: number,
                problem: error.to_string(),
                status: error.status,
            }),
        })
    });
    let mut ended = false;
    lines.take_while(move |line| !std::mem::replace(&mut ended, line.is_err()))
}

/// The words of a line up to a comment.
fn words(line: &str) -> Vec<&str> {
    let words = line.split([' ', '\t', '\r']);
    words
        .filter(|word| !word.is_empty())
        .take_while(|word| !word.starts_with('#'))
        .collect()
}

/// Obeys the commands of the standard input. What the kernel refuses is told with its line, and the rest is done all the same.
pub(crate) fn restore(session: &mut Session<impl Write>) -> Result<ExitCode, Failure> {
    const NAME: &str = "standard input";
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    let mut batch = Batch::default();
    let mut status = ExitCode::SUCCESS;
    for line in commands(NAME, &text) {
        match line {
            Ok(Line {
                number,
                command: Command::Change(change),
            }) => batch.push(number, change),
            Ok(Line { number, command }) => {
                // A list shows what was changed before it.
                status = batch.apply(session, status)?;
                match session.obey(&command) {
                    Ok(()) => {}
                    Err(failure @ Failure::NotListed(_)) => {
                        eprintln!("ipvsadm: line {number}: {failure}");
                        status = failure.status();
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Err(failure) => {
                batch.apply(session, status)?;
                return Err(failure);
            }
        }
    }
    batch.apply(session, status)
}

/// Changes that are sent together.
#[derive(Default)]
struct Batch {
    numbers: Vec<usize>,
    changes: Vec<Change>,
}

impl Batch {
    fn push(&mut self, number: usize, change: Change) {
        self.numbers.push(number);
        self.changes.push(change);
    }

    /// Sends what was gathered, and returns `status`, or that of a failure if there was one.
    fn apply(
        &mut self,
        session: &mut Session<impl Write>,
        mut status: ExitCode,
    ) -> Result<ExitCode, Failure> {
        if self.changes.is_empty() {
            return Ok(status);
        }
        let results = session.apply(&self.changes)?;
        for (number, result) in self.numbers.iter().zip(results) {
            match result {
                Ok(()) => {}
                // The same would be said of every line.
                Err(error) if error.is_permission_denied() => return Err(error.into()),
                Err(error) => {
                    eprintln!("ipvsadm: line {number}: {error}");
                    status = Failure::from(error).status();
                }
            }
        }
        self.numbers.clear();
        self.changes.clear();
        Ok(status)
    }
}
