//! The programs that run the configuration, and the resources that they use.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use vrrp_benches::{
    Error,
    process::{family, memory},
};
use vrrp_lab::{Namespace, example, wait_for};

use crate::LIMIT;

/// Debian installs it outside a normal user's PATH.
const KEEPALIVED: &str = "/usr/sbin/keepalived";

/// Names a recent keepalived where the installed one is older.
const RECENT: &str = "RECENT_KEEPALIVED";

/// Begins the argument of a guest that names a program.
const MARK: &str = "program=";

/// A program that runs a keepalived.conf.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    name: String,
    path: PathBuf,
}

impl Program {
    /// The program of this workspace, then each keepalived.
    pub(crate) fn all() -> Result<Vec<Self>, Error> {
        let ours = Self {
            name: "this program".into(),
            path: example("keepalived")?,
        };
        let mut all = vec![ours, Self::keepalived(KEEPALIVED.into())?];
        if let Some(recent) = env::var_os(RECENT) {
            all.push(Self::keepalived(recent.into())?);
        }
        Ok(all)
    }

    fn keepalived(path: PathBuf) -> Result<Self, Error> {
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        // "Keepalived v2.2.7 (01/16,2022)"
        let version = text.split(' ').nth(1).unwrap_or("of unknown version");
        Ok(Self {
            name: format!("keepalived {}", version.trim_start_matches('v')),
            path,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The program as an argument of a guest.
    pub(crate) fn argument(&self) -> OsString {
        format!("{MARK}{}={}", self.name, self.path.display()).into()
    }

    /// The programs that the arguments of this guest name.
    pub(crate) fn of_guest() -> Vec<Self> {
        let arguments = env::args().skip(1);
        arguments
            .filter_map(|argument| {
                let (name, path) = argument.strip_prefix(MARK)?.split_once('=')?;
                Some(Self {
                    name: name.into(),
                    path: path.into(),
                })
            })
            .collect()
    }

    /// The time that `-t` takes for a file, which has to be without faults.
    pub(crate) fn check(&self, namespace: &Namespace, file: &Path) -> Result<Duration, Error> {
        let mut command = namespace.command(&self.path);
        command.args(["-t", "-G", "-l", "-f"]).arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        let start = Instant::now();
        let output = command.output()?;
        let took = start.elapsed();
        if output.status.success() {
            Ok(took)
        } else {
            Err(format!("{} -t: {output:?}", self.name).into())
        }
    }

    /// Starts it with a configuration.
    pub(crate) fn start(
        &self,
        namespace: &Namespace,
        text: &str,
        options: &[&str],
    ) -> Result<Running, Error> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("conf"), text)?;
        let log = fs::File::create(file("log"))?;
        let mut command = namespace.command(&self.path);
        command.args(["-n", "-G", "-l", "-R"]).args(options);
        for (option, name) in [
            ("-f", "conf"),
            ("-p", "pid"),
            ("-r", "vrrp.pid"),
            ("-c", "checkers.pid"),
        ] {
            command.arg(option).arg(file(name));
        }
        command.stdin(Stdio::null()).env("TMPDIR", folder.path());
        if !self.name.starts_with("keepalived") {
            command.arg("--replace-socket").arg(file("socket"));
        }
        command.stdout(log.try_clone()?).stderr(log);
        Ok(Running {
            child: command.spawn()?,
            folder,
        })
    }
}

/// A program that runs. Dropping this kills it with its children.
pub(crate) struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    /// The process that takes signals.
    fn main(&self) -> Result<u32, Error> {
        let text = fs::read_to_string(self.folder.path().join("pid"))?;
        Ok(text.trim().parse()?)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        Ok(kill(Pid::from_raw(self.main()?.cast_signed()), signal)?)
    }

    /// Makes it read another configuration.
    pub(crate) fn reload(&self, text: &str) -> Result<(), Error> {
        fs::write(self.folder.path().join("conf"), text)?;
        self.signal(Signal::SIGHUP)
    }

    /// The written pages of all its processes, in KiB.
    pub(crate) fn memory(&self) -> Result<f64, Error> {
        Ok(memory(&family(self.main()?)?)?.program)
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        self.signal(Signal::SIGTERM)?;
        let ended = || self.child.try_wait().transpose();
        let status = wait_for("the end of the program", LIMIT, ended)??;
        // A wrapper reports the signal.
        if status.success() || status.code().is_none() {
            Ok(())
        } else {
            Err(format!("{status}: {}", self.log()).into())
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Processes that have ended already are no fault.
        for process in family(self.child.id()).unwrap_or_default() {
            let _ = kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        // Its children close their files in their own time.
        thread::yield_now();
    }
}
