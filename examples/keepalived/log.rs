//! The destinations of the log: standard error, a file, syslog.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Where the syslog daemon listens.
const SYSLOG: &str = "/dev/log";

/// The severity of a line, with syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Warning = 4,
    Info = 6,
    Detail = 7,
}

/// The log. Each line is written immediately.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Outputs>);

#[derive(Debug)]
struct Outputs {
    console: bool,
    file: Option<Mutex<File>>,
    syslog: Option<(UnixDatagram, u8)>,
    is_detailed: bool,
}

impl Log {
    /// Opens the outputs. Syslog is left out where no syslog daemon runs.
    pub(crate) fn open(
        console: bool,
        file: Option<&Path>,
        facility: Option<u8>,
        is_detailed: bool,
    ) -> io::Result<Self> {
        let file = file
            .map(|path| File::options().create(true).append(true).open(path))
            .transpose()?;
        let syslog = facility.and_then(|facility| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect(SYSLOG).ok()?;
            // A syslog daemon that does not read must not delay advertisements.
            socket.set_nonblocking(true).ok()?;
            Some((socket, facility))
        });
        Ok(Self(Arc::new(Outputs {
            console,
            file: file.map(Mutex::new),
            syslog,
            is_detailed,
        })))
    }

    pub(crate) fn info(&self, text: &str) {
        self.write(Level::Info, text);
    }

    pub(crate) fn warning(&self, text: &str) {
        self.write(Level::Warning, text);
    }

    /// A line that only `--log-detail` shows.
    pub(crate) fn detail(&self, text: &str) {
        if self.0.is_detailed {
            self.write(Level::Detail, text);
        }
    }

    /// Writes a line. Failures are ignored, because there is nowhere to report them.
    fn write(&self, level: Level, text: &str) {
        let outputs = &*self.0;
        let time = || humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        if outputs.console {
            let _ = writeln!(io::stderr(), "{}: {text}", time());
        }
        if let Some(file) = &outputs.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(file, "{}: {text}", time());
        }
        if let Some((socket, facility)) = &outputs.syslog {
            let priority = facility * 8 + level as u8;
            let process = std::process::id();
            let line = format!("<{priority}>Keepalived[{process}]: {text}");
            let _ = socket.send(line.as_bytes());
        }
    }
}

/// The number of a facility of syslog.
pub(crate) fn facility(text: &str) -> Option<u8> {
    match text {
        "user" => Some(1),
        "daemon" => Some(3),
        _ => {
            let number = text.strip_prefix("local").unwrap_or(text);
            let number: u8 = number.parse().ok()?;
            (number < 8).then_some(16 + number)
        }
    }
}
