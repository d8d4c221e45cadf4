//! The start without `--dont-fork`: the program starts itself once more in the background.
//!
//! It ends when that process is ready, or with the exit status of that process.

use std::{
    env,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, ExitCode, Stdio},
};

use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid, write};

/// The option of the process in the background. Its standard input is a socket on which it reports
/// that it is ready.
pub(crate) const OPTION: &str = "--in-background";

/// Starts the program with the same arguments in the background, and waits until it is ready or
/// ends. Returns the exit status of this process.
pub(crate) fn start() -> io::Result<ExitCode> {
    let (mut readiness, socket) = UnixStream::pair()?;
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.arg(OPTION).args(arguments);
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    let mut daemon = command.spawn()?;
    // It has the other end, too.
    drop(command);
    if readiness.read(&mut [0]).is_ok_and(|count| count == 1) {
        return Ok(ExitCode::SUCCESS);
    }
    let status = daemon.wait()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Leaves the terminal and the folder of the process that started this one.
pub(crate) fn detach() -> io::Result<()> {
    setsid()?;
    chdir("/")?;
    Ok(())
}

/// Reports to the process that started this one that the daemon is ready, and leaves its standard
/// input and outputs.
pub(crate) fn report_ready() -> io::Result<()> {
    // It fails if that process has ended, which changes nothing.
    let _ = write(io::stdin().as_fd(), b"\n");
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}
