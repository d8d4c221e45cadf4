//! What is told, as one JSON object a line.

use std::{
    io::{self, Write},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};
use vrrp_net::RouterConfig;

/// How long the end waits for somebody to read what was told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes to standard output on a thread of its own, so that the routers never wait for whoever reads.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Sender<String>,
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
        thread::Builder::new().name("log".into()).spawn(move || {
            let mut stdout = io::stdout();
            for line in queue {
                // Where nobody reads any more, the routers go on all the same.
                let _ = writeln!(stdout, "{line}");
            }
            let _ = done.send(());
        })?;
        Ok((Self { lines }, Written(written)))
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
        let line = Line {
            time: humantime::format_rfc3339_micros(time).to_string(),
            event,
            subject,
            detail,
        };
        // Neither fails: the names are strings, and the thread lives as long as this.
        if let Ok(line) = serde_json::to_string(&line) {
            let _ = self.lines.send(line);
        }
    }

    /// The last line. Returns when all are written, or nobody reads them for a while.
    pub(crate) fn stopped(self, written: &Written) {
        self.tell(None, "stopped", json!({}));
        drop(self);
        let _ = written.0.recv_timeout(PATIENCE);
    }
}
