//! The traffic on the cables, as the Backup's host sees it.

use std::{
    fs,
    io::IoSliceMut,
    iter,
    ops::Range,
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        socket::{
            ControlMessageOwned, LinkAddr, MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt,
        },
        time::TimeSpec,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_lab::Namespace;
use vrrp_proto::frame::{ethernet, ipv4};

use super::case::{CABLE, Case, Side, sender};
use crate::Error;

/// Frames that one system call reads. Only their headers are kept.
const BATCH: usize = 64;
const HEADERS: usize = 64;

/// How long frames wait in the socket for others to be read with.
const PAUSE: Duration = Duration::from_millis(5);

/// Octets of waiting frames, as the kernel counts them: room for a few hundred thousand frames.
const BUFFER: usize = 256 << 20;

/// All protocols, as linux/if_ether.h numbers them, including frames that the host itself sends.
const ALL: u16 = 0x0003;

/// An advertisement that passed.
#[derive(Clone, Copy, Debug)]
pub struct Advert {
    /// The kernel's time stamp.
    pub at: SystemTime,
    /// The router's place in [`Case::places`].
    pub router: usize,
    /// The side that sent it.
    pub from: Side,
}

/// Records every advertisement, with the kernel's time stamps, until it is dropped.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    adverts: Mutex<Vec<Advert>>,
    failure: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Wire {
    /// Begins to record in a namespace.
    ///
    /// # Errors
    ///
    /// The system's error if there is no such socket.
    pub fn record(namespace: &Namespace) -> Result<Self, Error> {
        let socket = namespace.run(|| {
            let protocol = Protocol::from(i32::from(ALL.to_be()));
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol))
        })?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        // Without privilege on the host the system's limit holds, and a loss is an error.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            socket.set_recv_buffer_size(BUFFER)?;
        }
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                if let Err(error) = read(&socket, &shared) {
                    *lock(&shared.failure) = Some(error.to_string());
                }
            }
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Waits until each router has advertised from this side since then.
    ///
    /// # Errors
    ///
    /// A router that stays silent for the whole time, and frames that were not recorded.
    pub fn wait_for_all(
        &self,
        case: Case,
        side: Side,
        since: SystemTime,
        limit: Duration,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let mut missing = vec![true; case.routers.into()];
        let mut count = missing.len();
        let mut seen = 0;
        loop {
            {
                let adverts = self.adverts()?;
                for advert in &adverts[seen..] {
                    if (advert.from, advert.at >= since) == (side, true)
                        && let Some(missing) = missing.get_mut(advert.router)
                        && std::mem::take(missing)
                    {
                        count -= 1;
                    }
                }
                seen = adverts.len();
            }
            if count == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("{case}: {count} routers silent for {limit:?}").into());
            }
            thread::sleep(PAUSE);
        }
    }

    /// The advertisements of a time that has passed, in the order in which they were received.
    ///
    /// # Errors
    ///
    /// Frames that were not recorded.
    pub fn during(&self, time: Range<SystemTime>) -> Result<Vec<Advert>, Error> {
        thread::sleep(4 * PAUSE);
        let adverts = self.adverts()?;
        Ok(adverts
            .iter()
            .copied()
            .filter(|advert| time.contains(&advert.at))
            .collect())
    }

    fn adverts(&self) -> Result<MutexGuard<'_, Vec<Advert>>, Error> {
        if let Some(failure) = &*lock(&self.shared.failure) {
            return Err(failure.clone().into());
        }
        Ok(lock(&self.shared.adverts))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Guarded values are only replaced or appended to, so a panic elsewhere leaves them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(socket: &Socket, shared: &Shared) -> Result<(), Error> {
    let mut octets = vec![[0; HEADERS]; BATCH];
    let mut adverts = Vec::with_capacity(BATCH);
    while !shared.stop.load(Ordering::Relaxed) {
        let count = read_batch(socket, &mut octets, &mut adverts)?;
        lock(&shared.adverts).append(&mut adverts);
        if count < BATCH {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn read_batch(
    socket: &Socket,
    octets: &mut [[u8; HEADERS]],
    adverts: &mut Vec<Advert>,
) -> Result<usize, Error> {
    let control = cmsg_space!(TimeSpec, u32);
    let mut headers = MultiHeaders::<LinkAddr>::preallocate(octets.len(), Some(control));
    let mut stamps = Vec::with_capacity(octets.len());
    {
        let mut parts: Vec<_> = octets
            .iter_mut()
            .map(|octets| [IoSliceMut::new(octets)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = match recvmmsg(socket.as_raw_fd(), &mut headers, &mut parts, flags, None) {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        for message in messages {
            let mut stamp = None;
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::ScmTimestampns(time) => stamp = Some(time),
                    ControlMessageOwned::RxqOvfl(lost) => {
                        return Err(format!("{lost} frames were not recorded").into());
                    }
                    _ => {}
                }
            }
            stamps.push((stamp.ok_or("a frame without time stamp")?, message.bytes));
        }
    }
    for (octets, (stamp, len)) in octets.iter().zip(&stamps) {
        let Some((source, vrid)) = octets.get(..(*len).min(HEADERS)).and_then(identify) else {
            continue;
        };
        if let Some((router, from)) = sender(source, vrid) {
            let at = SystemTime::UNIX_EPOCH + Duration::from(*stamp);
            adverts.push(Advert { at, router, from });
        }
    }
    Ok(stamps.len())
}

/// The source and the VRID of a frame, if it holds an advertisement over IPv4.
fn identify(octets: &[u8]) -> Option<(std::net::Ipv4Addr, u8)> {
    let frame = ethernet::Frame::parse(octets).ok()?;
    if frame.ethertype != ethernet::IPV4 {
        return None;
    }
    let packet = ipv4::Packet::parse(frame.payload).ok()?;
    (packet.protocol == vrrp_proto::IP_PROTOCOL).then_some((packet.source, *packet.payload.get(1)?))
}

/// Packets that the cables of a namespace have brought so far, as the kernel counts them. Where
/// nothing but the Active sends, these are its adverts.
///
/// # Errors
///
/// A table that cannot be read.
pub fn received(namespace: &Namespace) -> Result<f64, Error> {
    let table = namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    let mut total = 0.0;
    for line in table.lines() {
        if let Some((name, counts)) = line.split_once(':')
            && name.trim_start().starts_with(CABLE)
        {
            let packets = counts.split_whitespace().nth(1).unwrap_or_default();
            total += packets.parse::<f64>()?;
        }
    }
    Ok(total)
}

/// The record of routers without a disturbance.
#[derive(Clone, Copy, Debug)]
pub struct Calm {
    /// Adverts of the Active.
    pub adverts: usize,
    /// Those that came more than one and a half intervals after the one before.
    pub late: usize,
    /// How often a router of the Backup's side began to advertise.
    pub false_takeovers: usize,
}

impl Calm {
    /// Counts the recorded advertisements.
    #[must_use]
    pub fn of(case: Case, adverts: &[Advert]) -> Self {
        let mut last: Vec<Option<SystemTime>> = vec![None; case.routers.into()];
        let mut rival = vec![false; case.routers.into()];
        let mut calm = Self {
            adverts: 0,
            late: 0,
            false_takeovers: 0,
        };
        let limit = case.interval() * 3 / 2;
        for advert in adverts {
            let (Some(last), Some(rival)) =
                (last.get_mut(advert.router), rival.get_mut(advert.router))
            else {
                continue;
            };
            match advert.from {
                Side::Active => {
                    calm.adverts += 1;
                    *rival = false;
                    if let Some(before) = last.replace(advert.at)
                        && advert.at.duration_since(before).unwrap_or_default() > limit
                    {
                        calm.late += 1;
                    }
                }
                Side::Backup => {
                    if !std::mem::replace(rival, true) {
                        calm.false_takeovers += 1;
                    }
                }
            }
        }
        calm
    }
}

/// For each router that both sides have advertised: the time from the last advert of the Active to
/// the next of the Backup.
#[must_use]
pub fn takeovers(case: Case, adverts: &[Advert]) -> Vec<Takeover> {
    let mut routers: Vec<Takeover> =
        iter::repeat_n(Takeover::default(), case.routers.into()).collect();
    for advert in adverts {
        let Some(router) = routers.get_mut(advert.router) else {
            continue;
        };
        match advert.from {
            Side::Active => {
                *router = Takeover {
                    last: Some(advert.at),
                    first: None,
                };
            }
            Side::Backup => router.first = router.first.or(Some(advert.at)),
        }
    }
    routers
}

/// A router that goes from one side to the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Takeover {
    /// The last advert of the Active.
    pub last: Option<SystemTime>,
    /// The first of the Backup after it.
    pub first: Option<SystemTime>,
}
