use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{Capture, Error, Frame, Host};

/// An answer that takes longer counts as none. On a bridge an answer takes some tens of
/// microseconds; a slow one belongs to a request that waited for the target's Ethernet address.
const PATIENCE: Duration = Duration::from_millis(20);

/// Asks an address for an ICMP or ICMPv6 echo at a steady pace, and records which requests were
/// answered, when, and by whom. Times are the kernel's, taken where the frames leave and enter the
/// host.
///
/// ```no_run
/// # use std::time::{Duration, Instant};
/// # fn main() -> Result<(), vrrp_lab::Error> {
/// # let lan = vrrp_lab::Lan::new()?;
/// let client = lan.host("client", &["192.0.2.100/24"])?;
/// let probe = vrrp_lab::Probe::start(&client, [192, 0, 2, 254].into(), Duration::from_millis(1))?;
/// probe.wait_for_answer(Instant::now(), Duration::from_secs(5))?;
/// // … a router fails …
/// for outage in probe.stop()?.outages() {
///     println!("{:?}", outage.length);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Probe {
    target: IpAddr,
    identifier: u16,
    sender: Sender,
    capture: Capture,
}

impl Probe {
    /// Starts to ask `target` every `interval` from a host's interface.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] without `CAP_NET_RAW`.
    pub fn start(host: &Host, target: IpAddr, interval: Duration) -> Result<Self, Error> {
        // Distinguishes the probes of this process. Other processes do not see the lab.
        static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
        let identifier = IDENTIFIER.fetch_add(1, Ordering::Relaxed);

        let socket = host
            .namespace()
            .run(|| echo_socket(target))
            .map_err(Error::os("open an ICMP socket"))?;
        let destination = match target {
            IpAddr::V4(target) => SocketAddr::new(target.into(), 0),
            // The scope matters for link-local addresses only.
            IpAddr::V6(target) => SocketAddrV6::new(target, 0, 0, host.index()).into(),
        };
        let capture = Capture::start(host.namespace(), host.interface())?;
        let sender = Sender::start(socket, destination, identifier, interval);
        Ok(Self {
            target,
            identifier,
            sender,
            capture,
        })
    }

    /// Waits until the target answers at or after `since`; returns the time of that answer.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`].
    pub fn wait_for_answer(&self, since: Instant, limit: Duration) -> Result<Instant, Error> {
        let what = format!("an answer of {}", self.target);
        let frame = self.capture.wait_for(&what, limit, |frame| {
            frame.at >= since
                && Echo::read(frame).is_some_and(|echo| echo.is_reply(self.target, self.identifier))
        })?;
        Ok(frame.at)
    }

    /// Stops asking, waits for the last answers and returns everything.
    ///
    /// # Errors
    ///
    /// [`Error::FramesLost`] if the kernel had to drop frames of the recording, which would look
    /// like outages.
    pub fn stop(self) -> Result<Pings, Error> {
        let Self {
            target,
            identifier,
            mut sender,
            capture,
        } = self;
        let sent = sender.stop();
        thread::sleep(PATIENCE);

        let mut requests = HashMap::new();
        let mut answers = HashMap::new();
        for frame in capture.stop()? {
            let Some(echo) = Echo::read(&frame) else {
                continue;
            };
            if echo.is_request(target, identifier) {
                requests.entry(echo.number).or_insert(frame.at);
            } else if echo.is_reply(target, identifier) {
                answers.entry(echo.number).or_insert(Answer {
                    at: frame.at,
                    mac: echo.from,
                });
            }
        }
        let pings = (0..).zip(sent).map(|(number, (before, after))| {
            // Within the call: the request left at once. Later or never: it waited for a neighbour
            // or found no route.
            let left = requests
                .get(&number)
                .copied()
                .filter(|left| (before..=after).contains(left));
            let sent = left.unwrap_or(before);
            let answer = answers.get(&number).copied();
            Ping {
                sent,
                answer: answer
                    .filter(|answer| answer.at.saturating_duration_since(sent) <= PATIENCE),
            }
        });
        Ok(Pings(pings.collect()))
    }
}

/// What a [`Probe`] recorded: one entry for each request, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pings(pub Vec<Ping>);

/// A request, and its answer if there was one within 20 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// When the request left the host; if it never did, when it should have.
    pub sent: Instant,
    /// The first answer.
    pub answer: Option<Answer>,
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it reached the host.
    pub at: Instant,
    /// The Ethernet address that it came from.
    pub mac: [u8; 6],
}

/// A time without answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the last answered request before the outage was sent, or else the very first request.
    pub start: Instant,
    /// The time from `start` until the first answered request after the outage was sent, or else
    /// the very last request. It is no shorter than the outage, and at most two intervals of the
    /// probe longer.
    pub length: Duration,
    /// Whether answers came again.
    pub recovered: bool,
}

impl Pings {
    /// The times without answers, in order.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        let mut outages = Vec::new();
        let mut last_answered = None;
        let mut start = None;
        for ping in &self.0 {
            if ping.answer.is_none() {
                start = start.or(last_answered).or(Some(ping.sent));
            } else {
                if let Some(start) = start.take() {
                    outages.push(Outage {
                        start,
                        length: ping.sent - start,
                        recovered: true,
                    });
                }
                last_answered = Some(ping.sent);
            }
        }
        if let (Some(start), Some(last)) = (start, self.0.last()) {
            outages.push(Outage {
                start,
                length: last.sent - start,
                recovered: false,
            });
        }
        outages
    }

    /// The longest time between two requests. It shows how much a busy machine held the probe up,
    /// and so the precision of [`outages`](Self::outages).
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.0
            .windows(2)
            .map(|pair| pair[1].sent - pair[0].sent)
            .max()
            .unwrap_or_default()
    }
}

/// The thread that sends; it ends with this value.
#[derive(Debug)]
struct Sender {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<(Instant, Instant)>>>,
}

impl Sender {
    fn start(socket: Socket, destination: SocketAddr, identifier: u16, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut sent = Vec::new();
                let mut next = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let request = request(destination.ip(), identifier, sent.len() as u64);
                    let before = Instant::now();
                    // A request that cannot be sent counts as unanswered.
                    let _ = socket.send_to(&request, &destination.into());
                    let after = Instant::now();
                    sent.push((before, after));
                    // After a pause it continues from now: a burst would show nothing.
                    next = (next + interval).max(before);
                    thread::sleep(next.saturating_duration_since(after));
                }
                sent
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// For each request the time before and after the system call.
    fn stop(&mut self) -> Vec<(Instant, Instant)> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(sent)) => sent,
            None => Vec::new(),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
    }
}

fn echo_socket(target: IpAddr) -> io::Result<Socket> {
    let socket = match target {
        IpAddr::V4(_) => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)),
        IpAddr::V6(_) => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)),
    }?;
    // A send must never wait for buffer space, which is short while requests wait for a neighbour.
    socket.set_nonblocking(true)?;
    // The answers are taken from the capture.
    socket.set_recv_buffer_size(0)?;
    Ok(socket)
}

/// Types of echo messages: RFC 792 and RFC 4443 section 4.
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// An echo request: type, code, checksum, identifier, sequence number, and the full number as its
/// data.
fn request(target: IpAddr, identifier: u16, number: u64) -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = if target.is_ipv4() {
        ECHO_REQUEST
    } else {
        ECHO_REQUEST_V6
    };
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    let number = number.to_be_bytes();
    message[6..8].copy_from_slice(&number[6..]);
    message[8..].copy_from_slice(&number);
    // The kernel fills the checksum of ICMPv6 in, but not that of ICMP.
    if target.is_ipv4() {
        let (words, _) = message.as_chunks::<2>();
        let sum = words.iter().fold(0_u16, |sum, word| {
            let (sum, carry) = sum.overflowing_add(u16::from_be_bytes(*word));
            sum + u16::from(carry)
        });
        message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    }
    message
}

/// An echo message as it is found in a frame.
struct Echo {
    /// The Ethernet address of the sender.
    from: [u8; 6],
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    identifier: u16,
    number: u64,
}

impl Echo {
    fn read(frame: &Frame) -> Option<Self> {
        let (ethernet, packet) = frame.bytes.split_first_chunk::<14>()?;
        let (source, destination, message): (IpAddr, IpAddr, &[u8]) = match ethernet[12..] {
            [0x08, 0x00] => {
                let (header, _) = packet.split_first_chunk::<20>()?;
                let length = usize::from(header[0] & 0xf) * 4;
                let icmp = header[9] == 1;
                let message = packet.get(length..).filter(|_| icmp)?;
                (ipv4(header, 12)?.into(), ipv4(header, 16)?.into(), message)
            }
            [0x86, 0xdd] => {
                let (header, message) = packet.split_first_chunk::<40>()?;
                if header[6] != 58 {
                    return None;
                }
                (ipv6(header, 8)?.into(), ipv6(header, 24)?.into(), message)
            }
            _ => return None,
        };
        let (message, _) = message.split_first_chunk::<16>()?;
        Some(Self {
            from: *ethernet[6..].first_chunk()?,
            source,
            destination,
            kind: message[0],
            identifier: u16::from_be_bytes(*message[4..].first_chunk()?),
            number: u64::from_be_bytes(*message[8..].first_chunk()?),
        })
    }

    fn is_request(&self, target: IpAddr, identifier: u16) -> bool {
        let kind = if target.is_ipv4() {
            ECHO_REQUEST
        } else {
            ECHO_REQUEST_V6
        };
        (self.kind, self.destination, self.identifier) == (kind, target, identifier)
    }

    fn is_reply(&self, target: IpAddr, identifier: u16) -> bool {
        let kind = if target.is_ipv4() {
            ECHO_REPLY
        } else {
            ECHO_REPLY_V6
        };
        (self.kind, self.source, self.identifier) == (kind, target, identifier)
    }
}

fn ipv4(header: &[u8], offset: usize) -> Option<Ipv4Addr> {
    header
        .get(offset..)?
        .first_chunk::<4>()
        .copied()
        .map(Ipv4Addr::from)
}

fn ipv6(header: &[u8], offset: usize) -> Option<Ipv6Addr> {
    header
        .get(offset..)?
        .first_chunk::<16>()
        .copied()
        .map(Ipv6Addr::from)
}
