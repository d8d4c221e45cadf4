//! The log of events, one JSON object a line.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};
use vrrp_net::{DriverEvent, Notification, RouterConfig, Subject};

/// The time for which the end of the program waits for a reader of the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of lines that wait for a reader.
const ROOM: usize = 16 << 20;

/// Writes to standard output on a thread of its own, so the routers never wait for a reader. Lines
/// for which there is no room are left out.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Sender<String>,
    backlog: Arc<Mutex<Backlog>>,
}

/// The lines that wait to be written.
#[derive(Default)]
struct Backlog {
    octets: usize,
    /// The number of lines left out since the last line for which there was room.
    left_out: u64,
}

/// Disconnected once all lines are written.
pub(crate) struct Written(Receiver<()>);

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    /// `None` for a line about the whole program.
    #[serde(flatten)]
    subject: Option<&'a Subject>,
    #[serde(flatten)]
    detail: Value,
}

/// An event of the driver, in the form of its serde derive, except for the time.
#[derive(Serialize)]
struct NotificationLine<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a DriverEvent,
    #[serde(flatten)]
    subject: Option<&'a Subject>,
    sequence: u64,
}

/// The subject of lines about a virtual router.
pub(crate) fn router_subject(config: &RouterConfig) -> Subject {
    Subject::Router {
        interface: config.interface.clone(),
        family: config.fsm.family,
        vrid: config.fsm.vrid,
    }
}

impl Log {
    pub(crate) fn start() -> io::Result<(Self, Written)> {
        let (lines, queue) = mpsc::channel::<String>();
        let (done, written) = mpsc::channel();
        let backlog: Arc<Mutex<Backlog>> = Arc::default();
        let log = Self {
            lines,
            backlog: Arc::clone(&backlog),
        };
        thread::Builder::new().name("log".into()).spawn(move || {
            let mut stdout = io::stdout();
            for line in queue {
                // Without a reader the routers continue.
                let _ = writeln!(stdout, "{line}");
                lock(&backlog).octets -= line.len();
            }
            let _ = done.send(());
        })?;
        Ok((log, Written(written)))
    }

    /// Logs an event of the program.
    pub(crate) fn write(&self, subject: Option<&Subject>, event: &str, detail: Value) {
        self.write_line(render(subject, event, detail));
    }

    /// Logs an event of the driver.
    pub(crate) fn write_notification(&self, notification: &Notification) {
        let line = NotificationLine {
            time: format_time(notification.time),
            event: &notification.event,
            subject: notification.subject.as_ref(),
            sequence: notification.sequence,
        };
        // It does not fail: every event is an object whose keys are strings.
        self.write_line(serde_json::to_string(&line).unwrap_or_default());
    }

    fn write_line(&self, line: String) {
        let mut backlog = lock(&self.backlog);
        if backlog.octets > ROOM {
            backlog.left_out += 1;
            return;
        }
        self.write_left_out(&mut backlog);
        self.push(&mut backlog, line);
    }

    fn write_left_out(&self, backlog: &mut Backlog) {
        let lines = mem::take(&mut backlog.left_out);
        if lines > 0 {
            let detail = json!({"lines": lines});
            let line = render(None, "lines-left-out", detail);
            self.push(backlog, line);
        }
    }

    fn push(&self, backlog: &mut Backlog, line: String) {
        backlog.octets += line.len();
        // It does not fail: the thread lives as long as this.
        let _ = self.lines.send(line);
    }

    /// Logs the last line, for which there is always room. Returns when all lines are written, or
    /// after a while without a reader.
    pub(crate) fn stopped(self, written: &Written) {
        let line = render(None, "stopped", json!({}));
        let mut backlog = lock(&self.backlog);
        self.write_left_out(&mut backlog);
        self.push(&mut backlog, line);
        drop(backlog);
        drop(self);
        let _ = written.0.recv_timeout(PATIENCE);
    }
}

fn lock(backlog: &Mutex<Backlog>) -> MutexGuard<'_, Backlog> {
    backlog.lock().unwrap_or_else(PoisonError::into_inner)
}

fn format_time(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

fn render(subject: Option<&Subject>, event: &str, detail: Value) -> String {
    let line = Line {
        time: format_time(SystemTime::now()),
        event,
        subject,
        detail,
    };
    // It does not fail: the names are strings.
    serde_json::to_string(&line).unwrap_or_default()
}
