//! What is told, as one JSON object a line.

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
use vrrp_net::RouterConfig;

/// How long the end waits for somebody to read what was told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Octets of lines that wait for somebody to read them, at most.
const ROOM: usize = 16 << 20;

/// Writes to standard output on a thread of its own, so that the routers never wait for whoever reads. What there is no room for is left out.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Sender<String>,
    backlog: Arc<Mutex<Backlog>>,
}

/// What waits to be written.
#[derive(Default)]
struct Backlog {
    octets: usize,
    /// Lines that there was no room for, since the last one for which there was.
    left_out: u64,
}

/// Tells when all that was told is written.
pub(crate) struct Written(Receiver<()>);

/// What a line is about.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Subject {
    Router {
        interface: String,
        family: String,
        vrid: u8,
    },
    SyncGroup {
        sync_group: String,
    },
    Object {
        object: String,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    /// Without one it is about the whole program.
    #[serde(flatten)]
    subject: Option<&'a Subject>,
    #[serde(flatten)]
    detail: Value,
}

impl Subject {
    pub(crate) fn router(config: &RouterConfig) -> Self {
        Self::Router {
            interface: config.interface.clone(),
            family: config.fsm.family.to_string(),
            vrid: config.fsm.vrid.get(),
        }
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
                // Where nobody reads any more, the routers go on all the same.
                let _ = writeln!(stdout, "{line}");
                lock(&backlog).octets -= line.len();
            }
            let _ = done.send(());
        })?;
        Ok((log, Written(written)))
    }

    /// Something that happens now.
    pub(crate) fn tell(&self, subject: Option<&Subject>, event: &str, detail: Value) {
        self.tell_of(SystemTime::now(), subject, event, detail);
    }

    /// Something that has happened at this time.
    pub(crate) fn tell_of(
        &self,
        time: SystemTime,
        subject: Option<&Subject>,
        event: &str,
        detail: Value,
    ) {
        let line = render(time, subject, event, detail);
        let mut backlog = lock(&self.backlog);
        if backlog.octets > ROOM {
            backlog.left_out += 1;
            return;
        }
        self.tell_left_out(&mut backlog);
        self.push(&mut backlog, line);
    }

    fn tell_left_out(&self, backlog: &mut Backlog) {
        let lines = mem::take(&mut backlog.left_out);
        if lines > 0 {
            let detail = json!({"lines": lines});
            let line = render(SystemTime::now(), None, "lines-left-out", detail);
            self.push(backlog, line);
        }
    }

    fn push(&self, backlog: &mut Backlog, line: String) {
        backlog.octets += line.len();
        // It does not fail: the thread lives as long as this.
        let _ = self.lines.send(line);
    }

    /// The last line, for which there always is room. Returns when all are written, or nobody reads them for a while.
    pub(crate) fn stopped(self, written: &Written) {
        let line = render(SystemTime::now(), None, "stopped", json!({}));
        let mut backlog = lock(&self.backlog);
        self.tell_left_out(&mut backlog);
        self.push(&mut backlog, line);
        drop(backlog);
        drop(self);
        let _ = written.0.recv_timeout(PATIENCE);
    }
}

fn lock(backlog: &Mutex<Backlog>) -> MutexGuard<'_, Backlog> {
    backlog.lock().unwrap_or_else(PoisonError::into_inner)
}

fn render(time: SystemTime, subject: Option<&Subject>, event: &str, detail: Value) -> String {
    let line = Line {
        time: humantime::format_rfc3339_micros(time).to_string(),
        event,
        subject,
        detail,
    };
    // It does not fail: the names are strings.
    serde_json::to_string(&line).unwrap_or_default()
}
