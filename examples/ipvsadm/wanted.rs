//! The table that a file describes: how the kernel's differs from it (`--diff`), and how it becomes the same (`--apply`).

use std::{
    io::{self, Write},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{ListedDestination, VirtualServer, message::Change};

use crate::{difference::Difference, failure::Failure, grammar, session::Session, table_file};

/// How long servers that go may keep connections, unless `--drain` says otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// The time from one look at the connections of servers that go to the next.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often another program may get in the way before it is a failure.
const ROUNDS: usize = 10;

/// Prints what would have to change, one change a line. The exit status is 1 if anything would.
pub(crate) fn diff(words: &[&str]) -> Result<ExitCode, Failure> {
    let [path] = words else {
        return Err(grammar::wrong("--diff: one FILE is needed").into());
    };
    let wanted = table_file::read(path)?;
    let mut session = Session::new(io::stdout().lock());
    let difference = Difference::of(&session.table()?, &wanted, |_| true);
    for change in &difference.changes {
        writeln!(session.out(), "{change}")?;
    }
    Ok(u8::from(!difference.changes.is_empty()).into())
}

/// Makes the kernel's table the wanted one, and prints each change.
pub(crate) fn apply(words: &[&str]) -> Result<ExitCode, Failure> {
    let (path, drain) = match *words {
        [path] => (path, DRAIN),
        [path, "--drain", seconds] | ["--drain", seconds, path] => {
            let seconds = seconds.parse::<u32>().ok();
            let seconds = seconds.ok_or_else(|| grammar::wrong("--drain: a number of seconds"))?;
            (path, Duration::from_secs(seconds.into()))
        }
        _ => {
            return Err(
                grammar::wrong("--apply: one FILE is needed, and perhaps --drain SECONDS").into(),
            );
        }
    };
    let wanted = table_file::read(path)?;
    reconcile(&mut Session::new(io::stdout().lock()), &wanted, drain)
}

/// Reads the table, changes what differs, and does so again while servers that go have connections, or another program got in the way.
fn reconcile(
    session: &mut Session<impl Write>,
    wanted: &[VirtualServer],
    drain: Duration,
) -> Result<ExitCode, Failure> {
    let deadline = Instant::now() + drain;
    let mut contested = 0;
    loop {
        let in_time = Instant::now() < deadline;
        let may_go = |listed: &ListedDestination| {
            !in_time || listed.active_connections + listed.inactive_connections == 0
        };
        let difference = Difference::of(&session.table()?, wanted, may_go);
        match change(session, &difference.changes)? {
            Outcome::Done if !difference.is_waiting => return Ok(ExitCode::SUCCESS),
            Outcome::Done => thread::sleep(PATIENCE),
            Outcome::Contested if contested < ROUNDS => contested += 1,
            Outcome::Contested | Outcome::Refused => return Ok(ExitCode::from(255)),
        }
    }
}

/// What came of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All were made.
    Done,
    /// Some were not made, because the table is no longer the one that was read.
    Contested,
    /// The kernel does not take some.
    Refused,
}

/// Makes changes and prints those that were made.
fn change(session: &mut Session<impl Write>, changes: &[Change]) -> Result<Outcome, Failure> {
    if changes.is_empty() {
        return Ok(Outcome::Done);
    }
    let mut outcome = Outcome::Done;
    let results = session.apply(changes)?;
    for (change, result) in changes.iter().zip(results) {
        match result {
            Ok(()) => writeln!(session.out(), "{change}")?,
            Err(error) if error.is_permission_denied() => return Err(error.into()),
            Err(error) => {
                eprintln!("ipvsadm: {error}");
                let contested = error.is_missing() || error.already_exists();
                if !contested {
                    outcome = Outcome::Refused;
                } else if outcome == Outcome::Done {
                    outcome = Outcome::Contested;
                }
            }
        }
    }
    session.out().flush()?;
    Ok(outcome)
}
