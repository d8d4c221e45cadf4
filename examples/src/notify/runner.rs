//! The thread that runs the commands.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::{Errno, read, write},
};

use super::schedule::{Action, Order, Schedule};
use crate::command::{Failure, Limits, Process, Step, Waited};

/// A report of the thread.
#[derive(Debug)]
pub enum Report<'a, T> {
    /// The command for an item failed; the text is the last lines of its output.
    Failed(&'a T, Failure, String),
    /// A newer item overtook this one, whose command was not run.
    Overtaken(&'a T),
    /// There was no time left for this item, whose command was not run.
    LeftOut(&'a T),
    /// Everything is done after [`Notifier::stop`].
    Finished,
}

/// A thread that runs a command for each item, one at a time.
///
/// Dropping this kills the command that runs, leaves out those that wait, and waits for the thread.
#[derive(Debug)]
pub struct Notifier<T: Clone + Send + 'static> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<T> {
    schedule: Mutex<Schedule<T>>,
    /// An eventfd: the schedule has changed.
    wake: OwnedFd,
    is_finished: AtomicBool,
}

impl<T: Clone + Send + 'static> Notifier<T> {
    /// Starts the thread. `command` makes the command of an item; `report` is called on the thread.
    ///
    /// # Errors
    ///
    /// The system's, if there are too few descriptors or threads.
    pub fn start(
        order: Order,
        limits: Limits,
        command: impl Fn(&T) -> Command + Send + 'static,
        report: impl Fn(Report<'_, T>) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            schedule: Mutex::new(Schedule::new(order, limits)),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            is_finished: AtomicBool::new(false),
        });
        let mut runner = Runner {
            shared: Arc::clone(&shared),
            limits,
            command,
            report,
            process: None,
        };
        let thread = thread::Builder::new()
            .name("notify".into())
            .spawn(move || runner.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues an item, whose command runs in its turn.
    pub fn push(&self, item: T) {
        self.change(|schedule| schedule.push(Instant::now(), item));
    }

    /// Ends everything within `bound`, without waiting: [`Report::Finished`] follows. Another call
    /// can only shorten the time; a bound of 0 kills the running command.
    pub fn stop(&self, bound: Duration) {
        self.change(|schedule| schedule.stop(Instant::now(), bound));
    }

    /// Whether no command runs and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.schedule().is_idle()
    }

    /// Whether everything is done after [`Notifier::stop`]. [`Report::Finished`] comes after that.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.is_finished.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut Schedule<T>)) {
        change(&mut self.shared.schedule());
        // It fails only where the eventfd is readable already.
        let _ = write(&self.shared.wake, &1_u64.to_ne_bytes());
    }
}

impl<T: Clone + Send + 'static> Drop for Notifier<T> {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl<T> Shared<T> {
    fn schedule(&self) -> MutexGuard<'_, Schedule<T>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Runner<T, C, R> {
    shared: Arc<Shared<T>>,
    limits: Limits,
    command: C,
    report: R,
    process: Option<Process>,
}

impl<T: Clone, C: Fn(&T) -> Command, R: Fn(Report<'_, T>)> Runner<T, C, R> {
    fn run(&mut self) {
        loop {
            let action = self.shared.schedule().poll_action();
            match action {
                Some(Action::Finished) => {
                    self.shared.is_finished.store(true, Ordering::Release);
                    return (self.report)(Report::Finished);
                }
                Some(action) => self.act(action),
                None => self.wait(),
            }
        }
    }

    fn act(&mut self, action: Action<T>) {
        match action {
            Action::Start(item) => match Process::start((self.command)(&item)) {
                Ok(process) => self.process = Some(process),
                Err(error) => self.fail(&item, Failure::Start(error)),
            },
            Action::Step(item, step) => self.take(&item, step),
            Action::Overtaken(item) => (self.report)(Report::Overtaken(&item)),
            Action::LeftOut(item) => (self.report)(Report::LeftOut(&item)),
            Action::Finished => {}
        }
    }

    fn take(&mut self, item: &T, step: Step) {
        let Some(process) = &mut self.process else {
            return;
        };
        let refusal = process.take(step).err();
        let failure = match step {
            // At the end of the program, this is less than the limit.
            Step::Terminate => {
                let elapsed = self.shared.schedule().elapsed(Instant::now());
                Failure::TimedOut(elapsed.unwrap_or_default().min(self.limits.run))
            }
            Step::Kill => return,
            Step::GiveUp => Failure::Stuck(refusal),
        };
        (self.report)(Report::Failed(item, failure, process.output()));
    }

    /// Waits until the command ends, a step is due, or the schedule has changed.
    fn wait(&mut self) {
        let (until, is_ending) = {
            let schedule = self.shared.schedule();
            (schedule.poll_timeout(), schedule.is_ending_one())
        };
        let wake = self.shared.wake.as_fd();
        let waited = match &mut self.process {
            Some(process) => process.wait(until, Some(wake), is_ending),
            None => wait_for(wake).map(|()| Waited::Woken),
        };
        match waited {
            Ok(Waited::Ended) => self.finish(),
            Ok(Waited::Due) => self.shared.schedule().handle_timeout(Instant::now()),
            Ok(Waited::Woken) => {
                // The number of writes does not matter.
                let _ = read(wake, &mut [0; 8]);
            }
            Err(error) => {
                // Dropping the process kills it.
                self.process = None;
                let item = self.shared.schedule().ended(Instant::now());
                if let Some((item, _)) = item {
                    (self.report)(Report::Failed(&item, Failure::Start(error), String::new()));
                }
            }
        }
    }

    /// Handles the end of the command.
    fn finish(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let result = process.finish();
        let ended = self.shared.schedule().ended(Instant::now());
        // A command that did not end in time has been reported.
        if let Some((item, false)) = ended {
            let failure = match result {
                Ok(status) if status.success() => return,
                Ok(status) => Failure::Status(status),
                Err(error) => Failure::Start(error),
            };
            (self.report)(Report::Failed(&item, failure, process.output()));
        }
    }

    fn fail(&self, item: &T, failure: Failure) {
        self.shared.schedule().ended(Instant::now());
        (self.report)(Report::Failed(item, failure, String::new()));
    }
}

/// Waits until a descriptor is readable.
fn wait_for(wake: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
