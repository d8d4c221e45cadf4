//! Threads that watch tracked scripts, files and processes.

use std::{
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read as _},
    os::{
        fd::AsFd as _,
        unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    },
    path::Path,
    process::Command,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use vrrp_examples::{
    command::{self, Limits},
    keepalived::translate::{Parameters, Probe},
    keepalived_conf::script::Script,
};
use vrrp_fsm::track::{ObjectId, Report};
use vrrp_net::DriverHandle;

use crate::log::Log;

/// How long a script may take to end after SIGTERM, and again after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// From one look at a file to the next.
const FILE_PERIOD: Duration = Duration::from_millis(100);

/// From one look at the processes to the next.
const PROCESS_PERIOD: Duration = Duration::from_millis(200);

/// What the kernel keeps of a process name, in bytes (proc(5), `comm`).
const LONGEST_NAME: usize = 15;

/// More bytes than a number takes, with what may stand around it.
const LONGEST_NUMBER: u64 = 128;

/// The command of a script, as its user.
pub(crate) fn command_of(script: &Script) -> Option<Command> {
    let (program, arguments) = script.arguments.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    if rustix::process::geteuid().is_root() && script.account.uid != 0 {
        command.uid(script.account.uid).gid(script.account.gid);
    }
    Some(command)
}

/// A thread that looks. Dropping this ends it, and the script that it may be running.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(
        name: String,
        probe: Probe,
        object: ObjectId,
        driver: DriverHandle,
        log: Log,
    ) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let mut watch = Watch {
            name,
            object,
            driver,
            log,
            stopped,
            logged: None,
            is_good: None,
        };
        let thread = thread::Builder::new()
            .name("watch".into())
            .spawn(move || while watch.look(&probe) {})?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends the thread, without waiting for that.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Watch {
    name: String,
    object: ObjectId,
    driver: DriverHandle,
    log: Log,
    /// Readable once the thread is to end.
    stopped: PipeReader,
    /// The problem that was logged last.
    logged: Option<String>,
    /// The last result of the script.
    is_good: Option<bool>,
}

impl Watch {
    /// Looks once, and waits for the next time. Returns whether there is one.
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
        self.sleep(period.saturating_sub(started.elapsed()))
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
        command::run(command, limits, self.stopped.as_fd(), |result, _| {
            // A script that cannot be ended has failed already.
            results.push(result.map_err(|failure| failure.to_string()));
            let is_good = matches!(results.last(), Some(Ok(())));
            let report = if is_good { Report::Up } else { Report::Down };
            // It fails where the driver has stopped.
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

    /// Sleeps so long, or until the end; returns whether to go on.
    fn sleep(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let stopped = self.stopped.as_fd();
            let mut source = [PollFd::from_borrowed_fd(stopped, PollFlags::IN)];
            match poll(&mut source, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return true,
                Err(Errno::INTR) => {}
                // At the end it hangs up.
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Without a report the last one holds.
    fn report(&mut self, report: Report) {
        self.logged = None;
        // It fails where the driver has stopped.
        let _ = self.driver.report(self.object, report);
    }

    /// Logs a problem once, until it is another one.
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

/// A file that does not exist, or that has no number in it, counts as 0.
fn number_in(path: &Path) -> Result<i32, String> {
    let mut text = String::new();
    // Without waiting: the path may be a FIFO without a writer.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    match file.and_then(|file| file.take(LONGEST_NUMBER).read_to_string(&mut text)) {
        Ok(_) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}

/// The processes of a program that live.
fn count(command: &[String], parameters: Parameters, is_full: bool) -> io::Result<u32> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(0);
    };
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        // One that ends in the meantime has no file any more.
        if is_process
            && let Ok(stat) = fs::read(entry.path().join("stat"))
            && let Some(name) = name_of_living(&stat)
            && (is_full || has_name(name, program))
            && ((!is_full && parameters == Parameters::Any)
                || fs::read(entry.path().join("cmdline"))
                    .is_ok_and(|line| matches(&line, program, arguments, parameters, is_full)))
        {
            count += 1;
        }
    }
    Ok(count)
}

/// The name in `/proc/PID/stat`, `PID (NAME) STATE ...`, of a process that has not ended. The name
/// may have any character in it.
fn name_of_living(stat: &[u8]) -> Option<&[u8]> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let is_alive = !matches!(stat.get(close + 2), Some(b'Z' | b'X') | None);
    stat.get(open + 1..close).filter(|_| is_alive)
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
        assert_eq!(name_of_living(b"12 (a) b) S 1"), Some(&b"a) b"[..]));
        assert_eq!(name_of_living(b"12 (haproxy) Z 1"), None);
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
