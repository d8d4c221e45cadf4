use std::{
    fs::File,
    io::{self, BufWriter, IoSliceMut, Write},
    os::fd::AsRawFd,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
};
use pcap_file::{
    DataLink, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};
use socket2::Socket;

use crate::{Error, Namespace, netlink, sys};

/// How long the capturing thread waits for a frame before it checks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(10);

/// The distance of two readings of clocks that were not interrupted.
const TOGETHER: Duration = Duration::from_micros(20);

/// Further readings, for a machine that is slower than this.
const READINGS: usize = 10;

/// Octets of socket buffer: half a minute of a thousand small frames a second, should the thread
/// not get to run.
const BUFFER: usize = 32 << 20;

/// An Ethernet frame and when the kernel saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The kernel's time stamp.
    pub at: Instant,
    /// The frame from its destination address on, without check sequence.
    pub bytes: Vec<u8>,
}

/// Records every frame on an interface, sent or received, from [`start`](Self::start) to
/// [`stop`](Self::stop).
///
/// On a [`Lan`](crate::Lan) use [`Lan::capture`](crate::Lan::capture), which sees the traffic of
/// all hosts once.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    counts: Mutex<Counts>,
    frames: Mutex<Vec<Frame>>,
    more: Condvar,
    stop: AtomicBool,
}

/// The numbers of frames since the start that the socket took in, and that it lost.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    taken: usize,
    lost: u32,
}

impl Shared {
    /// A panic elsewhere does not spoil a list that is only ever appended to.
    fn frames(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds up the kernel's counters, which each reading sets to zero.
    fn counts(&self) -> Result<Counts, Error> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, lost) = sys::frames_taken_and_lost(&self.socket)
            .map_err(Error::os("read the statistics of a capture"))?;
        counts.taken += taken as usize;
        counts.lost = counts.lost.saturating_add(lost);
        Ok(*counts)
    }
}

impl Capture {
    /// Starts to record; frames that pass after this call are seen.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterface`]; [`Error::Os`] without `CAP_NET_RAW`.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self, Error> {
        let index = netlink::link(namespace, interface)?.index;
        let socket = namespace
            .run(|| open(index))
            .map_err(Error::os(format!("capture on {interface}")))?;

        let shared = Arc::new(Shared {
            socket,
            counts: Mutex::default(),
            frames: Mutex::default(),
            more: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || record(&shared)
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// A copy of the recording. It contains every frame that passed before this call, except frames
    /// that the kernel dropped: [`stop`](Self::stop) reports those.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        let taken = self.shared.counts().map_or(0, |counts| counts.taken);
        let has_ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let mut frames = self.shared.frames();
        // The recording thread may lag behind on a busy machine.
        while frames.len() < taken && !has_ended() {
            (frames, _) = self
                .shared
                .more
                .wait_timeout(frames, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
        }
        frames.clone()
    }

    /// Waits for a frame that `predicate` accepts, at most for `limit`, and returns it. The frames
    /// recorded already are checked first, each frame once; compare [`Frame::at`] to get a new one.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] naming `what`.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut predicate: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame, Error> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut frames = self.shared.frames();
        loop {
            if let Some(frame) = frames[seen..].iter().find(|frame| predicate(frame)) {
                return Ok(frame.clone());
            }
            seen = frames.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout {
                    what: what.into(),
                    limit,
                });
            }
            (frames, _) = self
                .shared
                .more
                .wait_timeout(frames, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the recording and returns it. Every frame that passed before this call is in it.
    ///
    /// # Errors
    ///
    /// [`Error::FramesLost`] if the kernel had to drop frames, so that a test which counts frames
    /// cannot be fooled; [`Error::Os`] if the interface went away.
    pub fn stop(mut self) -> Result<Vec<Frame>, Error> {
        self.join()?;
        Ok(std::mem::take(&mut *self.shared.frames()))
    }

    fn join(&mut self) -> Result<(), Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(result)) => result,
            None => Ok(()),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            // Nobody asked for the frames, so nobody was misled by their loss.
            eprintln!("capture: {error}");
        }
    }
}

fn open(index: u32) -> io::Result<Socket> {
    let socket = sys::packet_socket(index)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    // Only privileged users may exceed the system's limit; others get the largest buffer that it
    // allows.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket.set_recv_buffer_size(BUFFER)?;
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn record(shared: &Shared) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 16];
    let mut recorded = 0;
    // The number of frames that the socket had taken in when it had to stop. Time stamps do not
    // show it: the kernel makes up for a missing one when the frame is read.
    let mut wanted = None;
    loop {
        if wanted.is_none() && shared.stop.load(Ordering::Relaxed) {
            let counts = shared.counts()?;
            if counts.lost > 0 {
                return Err(Error::FramesLost { count: counts.lost });
            }
            wanted = Some(counts.taken);
        }
        if wanted.is_some_and(|wanted| recorded >= wanted) {
            return Ok(());
        }
        match receive(&shared.socket, &mut buffer) {
            Ok(frame) => {
                recorded += 1;
                shared.frames().push(frame);
                shared.more.notify_all();
            }
            // ENETDOWN: the interface was set down; the socket stays good.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => {}
            Err(error) => return Err(Error::os("receive a frame")(error)),
        }
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> Result<Frame, Errno> {
    let mut control = cmsg_space!(TimeSpec);
    let mut buffers = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(Duration::from(stamp)),
        _ => None,
    });
    // The kernel stamps in wall-clock time; its distance to now is the same on the monotonic clock.
    let (now, wall_clock) = clocks();
    let age = stamp
        .and_then(|stamp| {
            wall_clock
                .duration_since(SystemTime::UNIX_EPOCH + stamp)
                .ok()
        })
        .unwrap_or_default();
    let length = message.bytes;
    Ok(Frame {
        at: now.checked_sub(age).unwrap_or(now),
        bytes: buffer[..length].to_vec(),
    })
}

/// The time on both clocks, read together. A thread that is interrupted between the readings reads
/// again, and takes the closest readings of a few.
fn clocks() -> (Instant, SystemTime) {
    let read = || {
        let before = Instant::now();
        let wall_clock = SystemTime::now();
        (before.elapsed(), (before, wall_clock))
    };
    let mut closest = read();
    for _ in 0..READINGS {
        if closest.0 < TOGETHER {
            break;
        }
        closest = std::cmp::min_by_key(closest, read(), |(distance, _)| *distance);
    }
    closest.1
}

/// Writes frames as a pcap file with nanosecond time stamps, which Wireshark opens.
///
/// # Errors
///
/// [`Error::Os`] or [`Error::Pcap`] if the file cannot be written.
pub fn write_pcap(path: impl AsRef<Path>, frames: &[Frame]) -> Result<(), Error> {
    let path = path.as_ref();
    let action = || Error::os(format!("write {}", path.display()));
    let mut file = BufWriter::new(File::create(path).map_err(action())?);
    let header = PcapHeader {
        ts_resolution: TsResolution::NanoSecond,
        datalink: DataLink::ETHERNET,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(&mut file, header)?;
    let (now, wall_clock) = clocks();
    for frame in frames {
        let at = wall_clock - now.saturating_duration_since(frame.at);
        let at = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // Frames are at most 64 KiB long: the receive buffer is.
        let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        writer.write_packet(&PcapPacket::new(at, length, &frame.bytes))?;
    }
    file.flush().map_err(action())
}
