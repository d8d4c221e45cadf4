//! The file of `reload_time_file`: a thread watches it, and requests a reload at its time.

use std::{
    ffi::OsString,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use inotify::{EventMask, Inotify, WatchMask};
use jiff::{Timestamp, tz::TimeZone};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use vrrp_examples::{
    keepalived_conf::reload::TimeFile,
    tracked,
    worker::{Stop, Worker},
};

use crate::{
    log::Log,
    reload_time,
    signals::{Request, Requester},
};

/// Room for the events of one system call.
const EVENTS: usize = 4096;

/// Starts the thread. Dropping the result ends it.
///
/// The thread also ends with the folder of the file. Errors are those of the folder, and of making
/// a timer and a thread.
pub(crate) fn watch(file: &TimeFile, requester: Requester, log: Log) -> io::Result<Worker> {
    let folder = file.path.parent();
    let folder = folder.filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let name = file.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let events = Inotify::init()?;
    events.watches().add(
        &folder,
        WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR,
    )?;
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let watch = Watch {
        name: name.to_owned(),
        path: file.path.clone(),
        is_kept: file.is_kept,
        events,
        timer: TimerFd::new(ClockId::CLOCK_REALTIME, flags)?,
        scheduled: None,
        problem: None,
        requester,
        log,
    };
    Worker::start("reload-time", move |stop| watch.run(&stop))
}

struct Watch {
    name: OsString,
    path: PathBuf,
    /// Whether the file stays after a reload.
    is_kept: bool,
    events: Inotify,
    timer: TimerFd,
    /// The line with the time, and the time.
    scheduled: Option<(String, Timestamp)>,
    /// The problem that was logged last.
    problem: Option<String>,
    requester: Requester,
    log: Log,
}

/// The part of the folder that events are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Nothing,
    File,
    Folder,
}

impl Watch {
    fn run(mut self, stop: &Stop) {
        self.look();
        loop {
            let mut sources = [
                PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
            ];
            match poll(&mut sources, None) {
                Err(Errno::INTR) => continue,
                Err(error) => {
                    self.log
                        .warning(&format!("{}: {error}", self.path.display()));
                    return;
                }
                Ok(_) => {}
            }
            let [stopped, _, timer] = sources.map(|it| !it.revents().is_empty());
            if stopped {
                return;
            }
            // The timer also expires when the clock is set.
            let has_expired = timer && self.timer.wait().is_ok();
            match self.read_events() {
                Changed::Folder => {
                    let path = self.path.display();
                    self.log.warning(&format!(
                        "the folder of {path} is gone: no reload is scheduled until the next one"
                    ));
                    return;
                }
                Changed::Nothing if !has_expired => {}
                Changed::Nothing | Changed::File => self.look(),
            }
        }
    }

    fn read_events(&mut self) -> Changed {
        let gone =
            EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT | EventMask::IGNORED;
        let mut changed = Changed::Nothing;
        let mut room = [0; EVENTS];
        // An empty queue is an error to the library.
        while let Ok(events) = self.events.read_events(&mut room) {
            for event in events {
                if event.mask.intersects(gone) {
                    return Changed::Folder;
                }
                let is_lost = event.mask.contains(EventMask::Q_OVERFLOW);
                if is_lost || event.name == Some(self.name.as_os_str()) {
                    changed = Changed::File;
                }
            }
        }
        changed
    }

    /// Reads the file, requests the reload if its time has come, and schedules the next one.
    fn look(&mut self) {
        let mut line = self.line();
        if let Some((scheduled, due)) = &self.scheduled
            && line.as_ref() == Some(scheduled)
            && *due <= Timestamp::now()
        {
            self.reload();
            line = self.line();
        }
        let found = line.and_then(|line| {
            match reload_time::due(&line, Timestamp::now(), &TimeZone::system()) {
                Ok(due) => due.map(|due| (line, due)),
                Err(error) => {
                    self.report(error.to_string());
                    None
                }
            }
        });
        self.schedule(found);
    }

    /// The first line of the file. `None` without a file, and for a file that is empty because it
    /// is not written yet.
    fn line(&mut self) -> Option<String> {
        let text = match tracked::text_of_number(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.report(error.to_string());
                }
                return None;
            }
        };
        let line = text.split('\n').next().filter(|_| !text.is_empty());
        line.map(str::to_owned)
    }

    /// Requests the reload. The file goes first, so a file that is written afterwards stays.
    fn reload(&mut self) {
        self.scheduled = None;
        let path = self.path.display();
        self.log.info(&format!("the time in {path} has come"));
        if !self.is_kept
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.report(error.to_string());
        }
        self.requester.request(Request::Reload);
    }

    /// Sets the timer for a line with its time.
    fn schedule(&mut self, found: Option<(String, Timestamp)>) {
        if found.is_some() {
            self.problem = None;
        }
        let set = match &found {
            None => self.timer.unset(),
            Some((_, due)) => {
                let at = TimeSpec::from(due.as_duration().unsigned_abs());
                let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME
                    | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
                self.timer.set(Expiration::OneShot(at), flags)
            }
        };
        if let Err(error) = set {
            self.report(error.to_string());
        }
        if found != self.scheduled {
            match &found {
                Some((_, due)) => self.log.info(&format!("a reload is scheduled for {due}")),
                None => self.log.info("the scheduled reload is cancelled"),
            }
            self.scheduled = found;
        }
    }

    /// Logs a problem once, until a time is scheduled or a different problem occurs.
    fn report(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            let path = self.path.display();
            self.log.warning(&format!("{path}: {problem}"));
        }
        self.problem = Some(problem);
    }
}
