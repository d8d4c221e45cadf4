//! Threads that watch tracked scripts, files and processes.

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use vrrp_examples::{
    command::{self, Limits},
    keepalived::translate::{Parameters, Probe},
    keepalived_conf::script::Script,
    tracked::{self, LONGEST_NAME, Process},
    worker::{Stop, Worker},
};
use vrrp_fsm::track::{ObjectId, Report};
use vrrp_net::DriverHandle;

use crate::log::Log;

/// How long a script may take to end after SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The time between two reads of a file.
const FILE_PERIOD: Duration = Duration::from_millis(100);

/// The time between two counts of the processes.
const PROCESS_PERIOD: Duration = Duration::from_millis(200);

/// The command of a script, set up to run as the user of the script.
pub(crate) fn command_of(script: &Script) -> Option<Command> {
    let (program, arguments) = script.arguments.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    if rustix::process::geteuid().is_root() && script.account.uid != 0 {
        command.uid(script.account.uid).gid(script.account.gid);
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
                    Ok(number) => self.report(Report::Number(number)),
                    Err(problem) => self.log_problem(problem),
                }
                FILE_PERIOD
            }
            Probe::Processes {
                command,
                parameters,
                is_full,
            } => {
                match count(command, *parameters, *is_full) {
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

/// Reads the number of a file. A file that does not exist, or that has no number in it, counts as
/// 0.
fn number_in(path: &Path) -> Result<i32, String> {
    match tracked::text_of_number(path) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}

/// Counts the living processes of a program.
fn count(command: &[String], parameters: Parameters, is_full: bool) -> io::Result<u32> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(0);
    };
    let is_one = |process: &Process| {
        (is_full || has_name(&process.name, program))
            && ((!is_full && parameters == Parameters::Any)
                || fs::read(process.folder.join("cmdline"))
                    .is_ok_and(|line| matches(&line, program, arguments, parameters, is_full)))
    };
    let count = tracked::processes()?.iter().filter(|it| is_one(it)).count();
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn has_name(name: &[u8], program: &str) -> bool {
    let base = program.rsplit('/').next().unwrap_or(program).as_bytes();
    name == base.get(..LONGEST_NAME).unwrap_or(base)
}

/// Whether a command line is that of the program, with the parameters.
fn matches(
    line: &[u8],
    program: &str,
    parameters: &[String],
    how: Parameters,
    is_full: bool,
) -> bool {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    let mut words = line.split(|byte| *byte == 0);
    let first = words.next().unwrap_or_default();
    if is_full && first != program.as_bytes() {
        return false;
    }
    let words: Vec<&[u8]> = words.collect();
    let wanted: Vec<&[u8]> = parameters.iter().map(String::as_bytes).collect();
    match how {
        Parameters::Any => true,
        Parameters::Exact => words == wanted,
        Parameters::Initial => words.starts_with(&wanted),
        Parameters::Partial => {
            let Some((last, before)) = wanted.split_last() else {
                return true;
            };
            let at_last = words.get(before.len());
            words.starts_with(before) && at_last.is_some_and(|word| word.starts_with(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_name_and_parameters() {
        assert!(has_name(
            b"a-very-long-pro",
            "/usr/sbin/a-very-long-program"
        ));
        assert!(!has_name(b"haproxy", "haproxy2"));
        let line = b"/usr/sbin/x\0-f\0file\0";
        let is = |words: &[&str], how| {
            let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
            matches(line, "/usr/sbin/x", &words, how, true)
        };
        assert!(is(&["-f", "file"], Parameters::Exact));
        assert!(!is(&["-f"], Parameters::Exact));
        assert!(is(&["-f"], Parameters::Initial));
        assert!(is(&["-f", "fi"], Parameters::Partial));
        assert!(!is(&["-g"], Parameters::Partial));
        assert!(!matches(line, "x", &[], Parameters::Any, true));
    }

    #[test]
    fn a_file_without_a_number_counts_as_0() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weight");
        assert_eq!(number_in(&path), Ok(0));
        fs::write(&path, " -12\n").unwrap();
        assert_eq!(number_in(&path), Ok(-12));
        fs::write(&path, "x").unwrap();
        assert_eq!(number_in(&path), Ok(0));
        initialise(path.to_str().unwrap(), (7, false)).unwrap();
        assert_eq!(number_in(&path), Ok(0));
        initialise(path.to_str().unwrap(), (7, true)).unwrap();
        assert_eq!(number_in(&path), Ok(7));
    }
}
