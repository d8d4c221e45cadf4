//! Commands from the standard input (`-R`), one a line.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

use ipvs_netlink::{
    message::Change,
    rules::{Command, Form, Line},
};

use vrrp_examples::ipvsadm::names;

use crate::{failure::Failure, session::Session};

/// Runs the commands of the standard input up to the first line that is not a command. A change
/// that the kernel refuses is reported with its line, and the other commands still run.
pub(crate) fn restore(session: &mut Session<impl Write>) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    let mut batch = Batch::default();
    let mut status = ExitCode::SUCCESS;
    for line in names::grammar(Form::Ipvsadm).lines(&text) {
        match line {
            Ok(Line {
                number,
                command: Command::Change(change),
            }) => batch.push(number, change),
            Ok(Line { number, command }) => {
                // A list shows the changes of the lines before it.
                status = batch.apply(session, status)?;
                match session.obey(&command) {
                    Ok(()) => {}
                    Err(failure @ Failure::NotListed(_)) => {
                        let _ = writeln!(io::stderr(), "ipvsadm: line {number}: {failure}");
                        status = failure.status();
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Err(error) => {
                batch.apply(session, status)?;
                return Err(Failure::Usage(Box::new(error)));
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

    /// Sends the gathered changes. Returns `status`, or the status of a failure if one failed.
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
                // Every other line would fail in the same way.
                Err(error) if error.is_permission_denied() => return Err(error.into()),
                Err(error) => {
                    let _ = writeln!(io::stderr(), "ipvsadm: line {number}: {error}");
                    status = Failure::from(error).status();
                }
            }
        }
        self.numbers.clear();
        self.changes.clear();
        Ok(status)
    }
}
