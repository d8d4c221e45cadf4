//! This program once more, in another role.

use std::{
    io::{self, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use crate::Error;

/// A copy of this program that works beside it until its input closes. It is killed on drop.
#[derive(Debug)]
pub struct Subprocess {
    child: Child,
    input: Option<ChildStdin>,
}

impl Subprocess {
    /// Starts it by a command whose arguments name its role, and returns when it is [`ready`].
    ///
    /// # Errors
    ///
    /// The system's error if it cannot be started, or ends before; the reason is on its standard
    /// error.
    pub fn start(mut command: Command) -> Result<Self, Error> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let subprocess = Self { child, input };
        output.ok_or("no standard output")?.read_exact(&mut [0])?;
        Ok(subprocess)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGKILL.
    ///
    /// # Errors
    ///
    /// The system's error if it has ended already.
    pub fn kill(mut self) -> Result<(), Error> {
        Ok(self.child.kill()?)
    }

    /// Closes its input, and waits until it ends.
    ///
    /// # Errors
    ///
    /// If it ends with an error.
    pub fn stop(mut self) -> Result<(), Error> {
        drop(self.input.take());
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("helper: {status}").into())
        }
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// In the copy: reports that it is ready, and calls `end` on another thread when the input closes.
///
/// # Errors
///
/// The system's error if no process listens.
pub fn ready(end: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    io::stdout().write_all(&[0])?;
    io::stdout().flush()?;
    thread::spawn(move || {
        let _octets = io::copy(&mut io::stdin(), &mut io::sink());
        end();
    });
    Ok(())
}
