//! Threads that watch tracked scripts, files and processes.

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{getegid, geteuid};
use vrrp_examples::{
    command::{self, Limits},
    keepalived::translate::Probe,
    keepalived_conf::{configuration::CommandMatch, script::Script},
    tracked::{self, Process},
    worker::{Stop, Worker},
};
use vrrp_fsm::track::{ObjectId, Report};
use vrrp_net::DriverHandle;

use crate::log::Log;

/// How long a script may take to end after SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How long a file may be empty while a program replaces its content.
const WRITING: Duration = Duration::from_secs(1);

/// The time between two reads of a file.
const FILE_PERIOD: Duration = Duration::from_millis(100);

/// The time between two counts of the processes.
const PROCESS_PERIOD: Duration = Duration::from_millis(200);

/// The command of a script, set up to run as the user of the script.
pub(crate) fn command_of(script: &Script) -> Option<Command> {
    let (program, arguments) = script.arguments.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    let own = (geteuid().as_raw(), getegid().as_raw());
    let account = (script.account.uid, script.account.gid);
    if geteuid().is_root() && account != own {
        // The user counts for root too: with it, all other groups are removed, as in keepalived.
        command.uid(account.0).gid(account.1);
    }
    Some(command)
}

/// Starts a thread that watches an object. Dropping the result ends the thread, and the script that
/// it may be running.
pub(crate) fn start(
    name: String,
    probe: Probe,
    object: ObjectId,
    driver: DriverHandle,
    log: Log,
) -> io::Result<Worker> {
    Worker::start("watch", move |stop| {
        let mut watch = Watch {
            name,
            object,
            driver,
            log,
            stop,
            logged: None,
            is_good: None,
            last: Contents::default(),
        };
        while watch.look(&probe) {}
    })
}

struct Watch {
    name: String,
    object: ObjectId,
    driver: DriverHandle,
    log: Log,
    stop: Stop,
    /// The problem that was logged last.
    logged: Option<String>,
    /// The last result of the script.
    is_good: Option<bool>,
    /// The content of the file so far.
    last: Contents,
}

impl Watch {
    /// Probes once, and waits until the next probe is due. Returns false when the thread has to
    /// end.
    fn look(&mut self, probe: &Probe) -> bool {
        let started = Instant::now();
        let period = match probe {
            Probe::Script {
                script,
                interval,
                timeout,
                ..
            } => {
                self.run(script, *timeout);
                *interval
            }
            Probe::File { path, .. } => {
                match number_in(Path::new(path)) {
                    Ok(content) => self.report_content(content, started),
                    Err(problem) => self.log_problem(problem),
                }
                FILE_PERIOD
            }
            Probe::Processes {
                command,
                command_match,
            } => {
                match count(command, *command_match) {
                    Ok(count) => self.report(Report::Count(count)),
                    Err(error) => self.log_problem(error.to_string()),
                }
                PROCESS_PERIOD
            }
        };
        self.stop.sleep(period.saturating_sub(started.elapsed()))
    }

    fn run(&mut self, script: &Script, timeout: Duration) {
        let Some(command) = command_of(script) else {
            return;
        };
        let limits = Limits {
            run: timeout,
            grace: GRACE,
        };
        let mut results = Vec::new();
        command::run(command, limits, self.stop.as_fd(), |result, _| {
            // A script that cannot be ended has already failed.
            results.push(result.map_err(|failure| failure.to_string()));
            let is_good = matches!(results.last(), Some(Ok(())));
            let report = if is_good { Report::Up } else { Report::Down };
            // It fails only when the driver has stopped.
            let _ = self.driver.report(self.object, report);
        });
        if let Some(result) = results.into_iter().next_back() {
            let is_good = result.is_ok();
            if self.is_good.replace(is_good) != Some(is_good) {
                let text = match result {
                    Ok(()) => "succeeded".to_owned(),
                    Err(problem) => format!("failed: {problem}"),
                };
                self.log.info(&format!("{} {text}", self.name));
            }
        }
    }

    /// Reports the number of a file.
    fn report_content(&mut self, content: Content, now: Instant) {
        match self.last.number(content, now) {
            Some(number) => self.report(Report::Number(number)),
            None if content == Content::OutOfRange => {
                self.log_problem("the number is out of range".to_owned());
            }
            None => {}
        }
    }

    /// Reports a result, which holds until the next report.
    fn report(&mut self, report: Report) {
        self.logged = None;
        // It fails only when the driver has stopped.
        let _ = self.driver.report(self.object, report);
    }

    /// Logs a problem once, until a different problem occurs.
    fn log_problem(&mut self, problem: String) {
        if self.logged.as_ref() != Some(&problem) {
            self.log.warning(&format!("{}: {problem}", self.name));
        }
        self.logged = Some(problem);
    }
}

/// Writes the number that a tracked file has at the start.
pub(crate) fn initialise(path: &str, (number, overwrites): (i64, bool)) -> io::Result<()> {
    if !overwrites && Path::new(path).exists() {
        return Ok(());
    }
    fs::write(path, format!("{number}\n"))
}

/// The content of a tracked file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// A number, or 0 for a text without one and for a file that does not exist.
    Number(i32),
    /// A number that is too large: the one before stays.
    OutOfRange,
    /// Nothing. A program that replaces the content may be about to write it.
    Empty,
}

/// The content of a tracked file in the course of time.
#[derive(Clone, Copy, Debug, Default)]
struct Contents {
    /// Whether there was a number.
    has_number: bool,
    /// Since when the file is empty.
    empty_since: Option<Instant>,
}

impl Contents {
    /// The number that counts now; `None` for the one before. An empty file counts as 0 once it
    /// stays empty. A file that never had a number counts as 0, because the router could not start
    /// without one.
    fn number(&mut self, content: Content, now: Instant) -> Option<i32> {
        let since = match content {
            Content::Empty => Some(*self.empty_since.get_or_insert(now)),
            _ => None,
        };
        self.empty_since = since;
        let number = match content {
            Content::Number(number) => Some(number),
            Content::OutOfRange => (!self.has_number).then_some(0),
            Content::Empty => {
                let since = since.unwrap_or(now);
                (now.duration_since(since) >= WRITING).then_some(0)
            }
        };
        self.has_number |= number.is_some();
        number
    }
}

/// Reads the number of a file.
fn number_in(path: &Path) -> Result<Content, String> {
    match tracked::text_of_number(path) {
        Ok(text) if text.is_empty() => Ok(Content::Empty),
        Ok(text) => {
            let number = tracked::leading_number(&text).map(i32::try_from);
            Ok(match number {
                Some(Ok(number)) => Content::Number(number),
                _ => Content::OutOfRange,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::Number(0)),
        Err(error) => Err(error.to_string()),
    }
}

/// Counts the living processes that run a command.
fn count(command: &[String], how: CommandMatch) -> io::Result<u32> {
    let is_one = |process: &Process| {
        if how == CommandMatch::Name {
            return command
                .first()
                .is_some_and(|it| process.name == it.as_bytes());
        }
        // A process that has ended since has no command line.
        fs::read(process.folder.join("cmdline")).is_ok_and(|line| matches(&line, command, how))
    };
    let count = tracked::processes()?.iter().filter(|it| is_one(it)).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Whether a command line, whose arguments end with a 0, is that of the command.
fn matches(line: &[u8], command: &[String], how: CommandMatch) -> bool {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let wanted: Vec<&[u8]> = command.iter().map(String::as_bytes).collect();
    match how {
        CommandMatch::Name => false,
        CommandMatch::Program => words.first() == wanted.first(),
        CommandMatch::Exact => words == wanted,
        CommandMatch::Partial => words.starts_with(&wanted),
        CommandMatch::Initial => match wanted.split_last() {
            // The program itself is never shortened.
            Some((last, before @ [_, ..])) => {
                let at_last = words.get(before.len());
                words.starts_with(before) && at_last.is_some_and(|word| word.starts_with(last))
            }
            _ => words.first() == wanted.first(),
        },
    }
}

#[cfg(test)]
mod tests {
    use vrrp_examples::keepalived_conf::host::Account;

    use super::*;

    #[test]
    fn a_command_line_counts_as_in_keepalived() {
        // Each row was observed with 2.2.7.
        use CommandMatch::{Exact, Initial, Partial, Program};
        for (command, how, line, expected) in [
            ("x", Program, "x\x001000\0", true),
            ("x", Program, "/usr/bin/x\x001000\0", false),
            ("/usr/bin/x", Program, "/usr/bin/x\x001000\0", true),
            ("xy", Program, "x\0", false),
            ("x 1000", Exact, "x\x001000\0", true),
            ("x 1000", Exact, "/usr/bin/x\x001000\0", false),
            ("x 1000", Exact, "x\x001000\x000\0", false),
            ("x", Exact, "x\x001000\0", false),
            ("x 1000", Partial, "x\x001000\x000\0", true),
            ("x 10", Partial, "x\x001000\0", false),
            ("x 1000 100", Partial, "x\x001000\0", false),
            ("x", Partial, "x\0", true),
            ("x", Partial, "xyz\x001000\0", false),
            ("x 10", Initial, "x\x001000\0", true),
            ("x 10", Initial, "x\x001000\x000\0", true),
            ("x 1000 10", Initial, "x\x001000\x00100\0", true),
            ("x 10 10", Initial, "x\x001000\x00100\0", false),
            ("x 1000 0", Initial, "x\x001000\0", false),
            ("x", Initial, "x\x001000\0", true),
            ("x", Initial, "xyz\x001000\0", false),
        ] {
            let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
            let found = matches(line.as_bytes(), &words, how);
            assert_eq!(found, expected, "{command} {how:?} {line:?}");
        }
    }

    #[test]
    fn a_script_runs_with_the_group_of_its_account_alone_for_root_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups");
        for (uid, gid) in [(0, 1), (65534, 1)] {
            let arguments = ["/bin/sh", "-c", "id -u; id -g; id -G"];
            let script = Script {
                arguments: arguments.map(str::to_owned).to_vec(),
                account: Account { uid, gid },
            };
            let output = fs::File::create(&path).unwrap();
            let status = command_of(&script).unwrap().stdout(output).status();
            assert!(status.unwrap().success());
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{uid}\n{gid}\n{gid}\n"));
        }
    }

    #[test]
    fn an_empty_file_counts_once_it_stays_empty_and_a_number_out_of_range_never() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut contents = Contents::default();
        assert_eq!(contents.number(Content::OutOfRange, at(0)), Some(0));
        assert_eq!(contents.number(Content::Number(7), at(0)), Some(7));
        assert_eq!(contents.number(Content::OutOfRange, at(0)), None);
        assert_eq!(contents.number(Content::Empty, at(100)), None);
        assert_eq!(contents.number(Content::Empty, at(1099)), None);
        assert_eq!(contents.number(Content::Number(8), at(1100)), Some(8));
        assert_eq!(contents.number(Content::Empty, at(1200)), None);
        assert_eq!(contents.number(Content::Empty, at(2200)), Some(0));
    }

    #[test]
    fn a_file_counts_by_the_number_at_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weight");
        let is = |number| assert_eq!(number_in(&path), Ok(Content::Number(number)));
        is(0);
        fs::write(&path, " -12\n").unwrap();
        is(-12);
        fs::write(&path, "x").unwrap();
        is(0);
        fs::write(&path, "5000000000\n").unwrap();
        assert_eq!(number_in(&path), Ok(Content::OutOfRange));
        fs::write(&path, "").unwrap();
        assert_eq!(number_in(&path), Ok(Content::Empty));
        fs::write(&path, "10 # note\n").unwrap();
        is(10);
        initialise(path.to_str().unwrap(), (7, false)).unwrap();
        is(10);
        initialise(path.to_str().unwrap(), (7, true)).unwrap();
        is(7);
    }
}
