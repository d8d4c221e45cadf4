//! A list that is written again every second (`--watch`).

use std::{
    io::{self, ErrorKind, IsTerminal, Read, Write},
    mem,
    os::{fd::AsRawFd, unix::net::UnixStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};

use ipvs_netlink::rules::{Command, Form, Listing};

use vrrp_examples::ipvsadm::names;

use crate::{failure::Failure, session::Session};

/// The time from one list to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the list that the options name, by default rates, and ends after `--count N` lists.
pub(crate) fn run(options: &[&str]) -> Result<ExitCode, Failure> {
    let mut words = vec!["-L"];
    let mut count = None;
    let mut options = options.iter();
    while let Some(&option) = options.next() {
        if option == "--count" {
            let number = options.next().and_then(|text| text.parse().ok());
            let number = number.filter(|number| *number > 0);
            count = Some(number.ok_or(Failure::Option("--count: a number from 1 on"))?);
        } else {
            words.push(option);
        }
    }
    let Command::List(mut list) = names::grammar(Form::Ipvsadm)
        .command(&words)
        .map_err(Box::new)?
    else {
        return Err(Failure::Option("--watch: a list only"));
    };
    match list.listing {
        Listing::Table => list.listing = Listing::Rates,
        Listing::Connections { .. } | Listing::Timeouts | Listing::Daemons => {
            return Err(Failure::Option("--watch: services only"));
        }
        _ => {}
    }
    let command = Command::List(list);
    let mut session = Session::new(Vec::new());
    watch(count, || {
        session.obey(&command)?;
        Ok(mem::take(session.out()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the output of `draw` to the standard output every second, until `count` lists are written
/// or SIGINT or SIGTERM comes. On a terminal each replaces the one before; elsewhere a blank line
/// separates them.
fn watch(
    count: Option<u64>,
    mut draw: impl FnMut() -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut stdout = io::stdout().lock();
    let terminal = stdout.is_terminal();
    let mut next = Instant::now();
    let mut written = 0;
    while count.is_none_or(|count| written < count) {
        if written > 0 && signals.come_before(next)? {
            break;
        }
        let list = draw()?;
        if terminal {
            stdout.write_all(&screen(&list, height(&stdout)))?;
        } else {
            if written > 0 {
                stdout.write_all(b"\n")?;
            }
            stdout.write_all(&list)?;
        }
        stdout.flush()?;
        written += 1;
        next += INTERVAL;
        // Lists that were due while the program was stopped are skipped.
        let now = Instant::now();
        if next < now {
            next = now + INTERVAL;
        }
    }
    Ok(())
}

/// SIGINT and SIGTERM, which no longer end the program by themselves.
struct Signals(UnixStream);

impl Signals {
    fn new() -> io::Result<Self> {
        let (signals, ring) = UnixStream::pair()?;
        pipe::register(SIGINT, ring.try_clone()?)?;
        pipe::register(SIGTERM, ring)?;
        Ok(Self(signals))
    }

    /// Waits until `time`, and returns whether a signal came before it.
    fn come_before(&mut self, time: Instant) -> io::Result<bool> {
        loop {
            let left = time.saturating_duration_since(Instant::now());
            // A time limit of zero would mean no limit.
            self.0
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.0.read(&mut [0; 16]) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= time {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The number of lines of a terminal, if it reports one.
fn height(terminal: &impl AsRawFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request fills in a `winsize`.
    let status = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (status == 0 && size.ws_row > 1).then_some(size.ws_row.into())
}

/// The output that replaces the screen of a terminal by a list: as many lines as fit, and the
/// number of those that do not.
fn screen(list: &[u8], height: Option<usize>) -> Vec<u8> {
    const HOME: &[u8] = b"\x1b[H";
    const END_OF_LINE: &[u8] = b"\x1b[K\r\n";
    const BELOW: &[u8] = b"\x1b[J";

    let lines: Vec<_> = list.split_inclusive(|&octet| octet == b'\n').collect();
    // The last line of the screen is where the cursor stays.
    let room = height.map_or(lines.len(), |height| height - 1);
    let shown = if lines.len() > room {
        room.saturating_sub(1)
    } else {
        lines.len()
    };
    let mut octets = HOME.to_vec();
    for line in &lines[..shown] {
        octets.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        octets.extend_from_slice(END_OF_LINE);
    }
    if shown < lines.len() {
        octets.extend_from_slice(format!("… {} more lines", lines.len() - shown).as_bytes());
        octets.extend_from_slice(END_OF_LINE);
    }
    octets.extend_from_slice(BELOW);
    octets
}
