//! Other running instances in the same network namespace: their claims, and their end.
//!
//! Each instance listens at an abstract UNIX socket. The others connect to it, ask for its claims,
//! and keep the connection: it ends with the instance, however that ends.
//!
//! Every program of the namespace can bind such a name and can connect to one. A program that could
//! not change addresses does not count as an instance: see [`is_entitled`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process,
    time::Duration,
};

use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use vrrp_fsm::Instant;

use crate::{
    Capability, Error,
    kernel::{poller::Closing, sys},
    plan::Claims,
};

/// The beginning of the abstract name of an instance's socket. Abstract names belong to a network
/// namespace, as the marks do.
const NAME: &str = "vrrp-net/";

/// The request for the claims.
const QUESTION: u8 = b'?';

/// A request to ask again: the use of something that both claim has changed.
const CHANGED: u8 = b'!';

/// The time that the others have to answer. They answer in their next turn.
const PATIENCE: Duration = Duration::from_millis(200);

/// The pause before sending the rest of an answer that did not fit into the socket, and before the
/// next [`PORTION`].
const PAUSE: Duration = Duration::from_millis(5);

/// The pause before connections are accepted again, after the system had no room for one.
const REST: Duration = Duration::from_secs(1);

/// The most connections that a turn accepts, and the most names to which it connects. Every process
/// of the namespace can make thousands of both, and advertisements must not wait for them.
const PORTION: usize = 32;

/// The pause before instances are asked again, after one of them did not answer.
const RETRY: Duration = Duration::from_secs(10);

/// The time after the end of an instance until its things are left-overs. A successor states its
/// claims in this time, and at the usual interval of 1 s another host takes the addresses over.
const GRACE: Duration = Duration::from_secs(3);

/// The most bytes of an answer: more than any instance claims.
const LONGEST: usize = 64 << 20;

/// The most bytes of requests that are read at once from one instance, which sends a single one.
const LONGEST_QUESTIONS: usize = 1 << 10;

/// The most instances that may ask. Every process of the namespace can connect, and a program
/// without privileges must not be able to use up all descriptors.
const MOST: usize = 256;

/// The socket by which other instances know this one, and the connections with them.
#[derive(Debug)]
pub(super) struct Instance {
    listener: Option<UnixListener>,
    /// The time until which no connections are accepted.
    rests_until: Option<Instant>,
    /// Whether a rest has begun, and a poll may still wait for the listener.
    begins_rest: bool,
    name: String,
    /// The instances that have asked this one.
    asking: Vec<Asking>,
    /// The instances that were asked, by their names.
    asked: BTreeMap<String, Asked>,
    /// The time until which the things of an ended instance stay.
    grace: Option<Instant>,
    /// The time at which to ask all of them.
    ask_at: Option<Instant>,
    round: Option<Round>,
    has_new_source: bool,
    /// Whether the others have answered, or have had the time to.
    has_asked: bool,
    /// Connections that have ended, and the end of the announcement.
    closing: Closing,
}

/// A connection that another instance has made.
#[derive(Debug)]
struct Asking {
    stream: UnixStream,
    unsent: Vec<u8>,
}

/// A connection that this instance has made.
#[derive(Debug)]
struct Asked {
    stream: UnixStream,
    answer: Vec<u8>,
    /// The last answer.
    claims: Option<Claims>,
    must_answer: bool,
}

/// A round of requests that waits for answers.
#[derive(Debug, Default)]
struct Round {
    /// The names that have not been asked yet.
    pending: VecDeque<String>,
    deadline: Option<Instant>,
    is_incomplete: bool,
}

/// The result of a round of requests.
#[derive(Debug)]
pub(super) struct Answers {
    /// The known claims of all instances.
    pub(super) claims: Claims,
    pub(super) rest: Rest,
}

/// The things with our mark that no instance is known to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All instances have answered, if there are any: those are left-overs.
    LeftOver,
    /// An instance has ended just now: another round follows.
    TooEarly,
    /// An instance has not answered.
    Unknown,
}

impl Instance {
    /// Announces this instance in the network namespace of the calling thread, and asks the others.
    pub(super) fn open() -> Result<Self, Error> {
        let (listener, name) = announce()?;
        let mut instance = Self {
            listener: Some(listener),
            rests_until: None,
            begins_rest: false,
            name,
            asking: Vec::new(),
            asked: BTreeMap::new(),
            grace: None,
            ask_at: None,
            round: None,
            has_new_source: false,
            has_asked: false,
            closing: Closing::default(),
        };
        instance.begin_round();
        Ok(instance)
    }

    /// Announces this instance again after the end of the announcement.
    #[cfg(feature = "serde")]
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        let (listener, name) = announce()?;
        self.listener = Some(listener);
        self.name = name;
        self.begin_round();
        Ok(())
    }

    /// Forgets the others, and asks the present instances.
    #[cfg(feature = "serde")]
    pub(super) fn ask_again(&mut self) {
        self.end_asked(|_, _| true);
        self.grace = None;
        self.begin_round();
    }

    /// Sets the latest time at which the others are asked.
    pub(super) fn ask(&mut self, at: Instant) {
        self.ask_at = Some(self.ask_at.map_or(at, |before| before.min(at)));
    }

    /// Reports to the others that the use of something has changed that they claim too.
    pub(super) fn report_change(&mut self) {
        for other in self.asked.values_mut() {
            // The end of an instance is noticed elsewhere.
            let _ended = other.stream.write(&[CHANGED]);
        }
    }

    /// Ends the announcement and all connections.
    pub(super) fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.closing.push(listener);
        }
        self.rests_until = None;
        self.begins_rest = false;
        for other in self.asking.drain(..) {
            self.closing.push(other.stream);
        }
        self.end_asked(|_, _| true);
        self.round = None;
        self.ask_at = None;
        self.grace = None;
    }

    /// The descriptors that it uses no longer, to be closed.
    pub(super) const fn closing(&mut self) -> &mut Closing {
        &mut self.closing
    }

    /// Ends the connections with others of which this is true. Returns whether there are any.
    fn end_asked(&mut self, mut has_ended: impl FnMut(&str, &mut Asked) -> bool) -> bool {
        let before = self.asked.len();
        for (name, mut other) in std::mem::take(&mut self.asked) {
            if has_ended(&name, &mut other) {
                self.closing.push(other.stream);
            } else {
                self.asked.insert(name, other);
            }
        }
        self.asked.len() < before
    }

    /// Whether the others have stated their claims, or have had the time to.
    pub(super) const fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Whether the others are being asked, or are about to be.
    #[inline]
    pub(super) fn is_asking(&self, now: Instant) -> bool {
        self.round.is_some() || self.ask_at.is_some_and(|at| at <= now)
    }

    /// Whether other instances run on this host.
    pub(super) fn has_company(&self) -> bool {
        !self.asking.is_empty() || !self.asked.is_empty()
    }

    /// Readable when another instance asks, answers or ends.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let asking = self.asking.iter().map(|it| it.stream.as_fd());
        let asked = self.asked.values().map(|it| it.stream.as_fd());
        let listener = self.listener.as_ref().map(AsFd::as_fd);
        let listener = listener.filter(|_| self.rests_until.is_none());
        listener.into_iter().chain(asking).chain(asked)
    }

    /// Whether there are new sources since the last call, for which no poll waits yet.
    pub(super) fn take_new_source(&mut self) -> bool {
        std::mem::take(&mut self.has_new_source)
    }

    /// The listener, where it rests since the last call: no poll should wait for it.
    pub(super) fn take_resting(&mut self) -> Option<BorrowedFd<'_>> {
        let listener = self.listener.as_ref().map(AsFd::as_fd);
        listener.filter(|_| std::mem::take(&mut self.begins_rest))
    }

    #[inline]
    fn has_unsent(&self) -> bool {
        self.asking.iter().any(|it| !it.unsent.is_empty())
    }

    /// Whether it should be [served](Self::serve), although no source is readable: the rest of an
    /// answer waits, or a round begins or ends.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.has_unsent() || self.next_look(now).is_some_and(|at| at <= now)
    }

    /// The time at which there is something to do, whether or not a source is readable.
    #[inline]
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let rest = self.has_unsent().then_some(now + PAUSE);
        let round = match &self.round {
            Some(round) if !round.pending.is_empty() => Some(now + PAUSE),
            Some(round) => Some(round.deadline.unwrap_or(now)),
            None => self.ask_at,
        };
        let alarms = [rest, round, self.rests_until];
        alarms.into_iter().flatten().min()
    }

    /// Answers the instances that ask, and notices the end of others.
    pub(super) fn serve(&mut self, now: Instant, claims: impl Fn() -> String) {
        let is_new = self.accept(now, UnixListener::accept);
        let mut text = None;
        let mut must_ask = false;
        let mut has_ended = false;
        for other in self.asking.extract_if(.., |other| {
            let Some(words) = read_words(&mut other.stream, LONGEST_QUESTIONS) else {
                return true;
            };
            must_ask |= words.contains(&CHANGED);
            // An instance reads an answer before it asks again. Whatever else asks gets no more.
            if words.contains(&QUESTION) && other.unsent.is_empty() {
                let text = text.get_or_insert_with(&claims);
                other.unsent.extend_from_slice(text.as_bytes());
            }
            other.send().is_err()
        }) {
            self.closing.push(other.stream);
            has_ended = true;
        }
        if has_ended {
            self.begin_grace(now);
        }
        if must_ask {
            self.ask(now);
        }
        if is_new {
            // By then it has its routers.
            self.ask(now + GRACE);
        }
        self.read_answers(now);
    }

    /// Accepts a portion of the waiting connections. Returns whether one is from another instance.
    fn accept(
        &mut self,
        now: Instant,
        accept: impl Fn(&UnixListener) -> io::Result<(UnixStream, SocketAddr)>,
    ) -> bool {
        let Some(listener) = &self.listener else {
            return false;
        };
        if self.rests_until.is_some_and(|end| now < end) {
            return false;
        }
        let has_rested = self.rests_until.take().is_some();
        let mut is_new = false;
        let mut pause = Some(PAUSE);
        for _ in 0..PORTION {
            let stream = match accept(listener) {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Where the system has no room for a connection, it goes on waiting.
                    let is_empty = error.kind() == io::ErrorKind::WouldBlock;
                    pause = (!is_empty).then_some(REST);
                    break;
                }
            };
            let is_welcome = self.asking.len() < MOST && is_entitled(&stream);
            if is_welcome && stream.set_nonblocking(true).is_ok() {
                let unsent = Vec::new();
                self.asking.push(Asking { stream, unsent });
                self.has_new_source = true;
                is_new = true;
            }
        }
        self.rests_until = pause.map(|pause| now + pause);
        self.begins_rest |= self.rests_until.is_some() && !has_rested;
        self.has_new_source |= self.rests_until.is_none() && has_rested;
        is_new
    }

    fn read_answers(&mut self, now: Instant) {
        if self.end_asked(|_, other| !other.read()) {
            self.begin_grace(now);
        }
    }

    fn begin_grace(&mut self, now: Instant) {
        self.grace = Some(now + GRACE);
        self.ask(now + GRACE);
    }

    /// Asks the others when that is due. Returns their answers once, when there is nothing more to
    /// wait for.
    pub(super) fn take_answers(&mut self, now: Instant) -> Option<Answers> {
        if self.round.is_none() && self.ask_at.is_some_and(|at| at <= now) {
            let before: Vec<String> = self.asked.keys().cloned().collect();
            self.end_asked(|_, other| !other.read());
            self.begin_round();
            // An instance that is missing now has ended, perhaps a moment ago.
            if before.iter().any(|it| !self.asked.contains_key(it)) {
                self.begin_grace(now);
            }
        } else if self.ask_portion() {
            self.begin_grace(now);
        }
        let round = self.round.as_mut()?;
        if !round.pending.is_empty() {
            return None;
        }
        let deadline = *round.deadline.get_or_insert(now + PATIENCE);
        self.read_answers(now);
        let is_open = self.asked.values().any(|it| it.must_answer);
        if is_open && now < deadline {
            return None;
        }
        let round = self.round.take()?;
        self.has_asked = true;
        let mut claims = Claims::default();
        for (name, other) in &mut self.asked {
            if other.must_answer
                && let Some(claims) = &mut other.claims
            {
                claims.forget_use();
            }
            if let Some(theirs) = &other.claims {
                // Of two instances that have made a macvlan with one virtual MAC at once, the one
                // whose name sorts first keeps it. Both come to this result.
                claims.extend(theirs, name.as_str() < self.name.as_str());
            }
        }
        let rest = if is_open || round.is_incomplete {
            self.ask(now + RETRY);
            Rest::Unknown
        } else if let Some(end) = self.grace.filter(|end| now < *end) {
            self.ask(end);
            Rest::TooEarly
        } else {
            self.grace = None;
            Rest::LeftOver
        };
        Some(Answers { claims, rest })
    }

    /// The names of the others, if they can be listed: the list and new connections belong to the
    /// namespace of the calling thread.
    fn others(&self) -> Option<BTreeSet<String>> {
        let sockets = fs::read_to_string("/proc/thread-self/net/unix").ok()?;
        self.is_here().then(|| others(&sockets, &self.name))
    }

    /// Whether the calling thread is in the namespace of this instance.
    fn is_here(&self) -> bool {
        let listener = self.listener.as_ref();
        listener.is_some_and(|it| sys::is_in_namespace_of(it.as_fd()))
    }

    fn begin_round(&mut self) {
        self.ask_at = None;
        let mut round = Round::default();
        let Some(names) = self.others() else {
            // Known instances can answer.
            for other in self.asked.values_mut() {
                if !other.must_answer {
                    // The end of an instance is noticed when its connection is read.
                    let _ended = other.ask();
                }
            }
            round.is_incomplete = true;
            self.round = Some(round);
            return;
        };
        self.end_asked(|name, _| !names.contains(name));
        round.pending = names.into_iter().collect();
        self.round = Some(round);
        self.ask_portion();
    }

    /// Asks a portion of the others whose turn is still to come in this round. Returns whether one
    /// of those that were known has ended.
    fn ask_portion(&mut self) -> bool {
        let Some(mut round) = self.round.take() else {
            return false;
        };
        if !round.pending.is_empty() && !self.is_here() {
            round.pending.clear();
            round.is_incomplete = true;
        }
        let mut has_ended = false;
        let count = round.pending.len().min(PORTION);
        for name in round.pending.drain(..count) {
            let mut claims = None;
            let mut is_known = false;
            if let Some(mut other) = self.asked.remove(&name) {
                is_known = true;
                // A connection on which an answer is due takes no other request.
                if !other.must_answer && other.ask().is_ok() {
                    self.asked.insert(name, other);
                    continue;
                }
                claims = other.claims.take();
                self.closing.push(other.stream);
            }
            match Asked::connect(&name, claims) {
                Ok(Some(other)) => {
                    self.asked.insert(name, other);
                    self.has_new_source = true;
                }
                // The program is no instance.
                Ok(None) => has_ended |= is_known,
                Err(error) => {
                    has_ended |= is_known;
                    // An instance that has ended refuses the connection.
                    round.is_incomplete |= error.kind() != io::ErrorKind::ConnectionRefused;
                }
            }
        }
        // Without another instance there is nothing to wait for.
        let is_alone = self.asked.is_empty() && round.pending.is_empty();
        self.has_asked |= is_alone && !round.is_incomplete;
        self.round = Some(round);
        has_ended
    }
}

/// Connects without waiting: a program that never accepts, and has as many connections as it allows
/// to wait, must not stop the driver.
fn connect_at_once(name: &str) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

impl Asking {
    /// Sends the rest of an answer, as far as there is room.
    fn send(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Asked {
    /// Connects with an instance, if the program at this name is one.
    fn connect(name: &str, claims: Option<Claims>) -> io::Result<Option<Self>> {
        let stream = connect_at_once(name)?;
        if !is_entitled(&stream) {
            return Ok(None);
        }
        let mut other = Self {
            stream,
            answer: Vec::new(),
            claims,
            must_answer: false,
        };
        other.ask()?;
        Ok(Some(other))
    }

    fn ask(&mut self) -> io::Result<()> {
        self.stream.write_all(&[QUESTION])?;
        self.answer.clear();
        self.must_answer = true;
        Ok(())
    }

    /// Reads an answer. Returns whether the connection is still of use.
    fn read(&mut self) -> bool {
        let Some(words) = read_words(&mut self.stream, LONGEST) else {
            return false;
        };
        self.answer.extend(words);
        if self.must_answer
            && let Some(claims) = Claims::parse(&self.answer)
        {
            self.claims = Some(claims);
            self.must_answer = false;
            self.answer.clear();
        }
        self.answer.len() <= LONGEST
    }
}

/// Whether the program at the other end can have addresses on this host: it runs as root or as the
/// user of this program, or it has `CAP_NET_ADMIN` in the same user namespace.
///
/// The kernel notes the user when a program connects or listens (`SO_PEERCRED`, unix(7)). A program
/// that cannot be examined counts as one without the privilege.
fn is_entitled(stream: &UnixStream) -> bool {
    let Ok(other) = sys::peer_of(stream.as_fd()) else {
        return false;
    };
    other.uid == ROOT
        || other.uid == geteuid().as_raw()
        || (Capability::NetAdmin.is_held_by(other.pid) && is_in_our_user_namespace(other.pid))
}

/// The id of the superuser.
const ROOT: u32 = 0;

/// Whether a process is in the user namespace of this one. In a user namespace of its own every
/// process has all capabilities, and none over the network of another one.
fn is_in_our_user_namespace(process: i32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
    let own = namespace("self");
    own.is_some() && namespace(&process.to_string()) == own
}

/// Everything that waits in a stream, up to `most` octets, or `None` after its end.
fn read_words(stream: &mut UnixStream, most: usize) -> Option<Vec<u8>> {
    let mut words = Vec::new();
    let mut limited = stream.take(most as u64);
    match limited.read_to_end(&mut words) {
        Ok(_) if words.len() < most => None,
        Ok(_) => Some(words),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(words),
        Err(_) => None,
    }
}

/// Binds the socket by which other instances know this one. Returns it with its name.
fn announce() -> Result<(UnixListener, String), Error> {
    let action = "bind the socket by which other instances know this one";
    let own = format!("{NAME}{}.", process::id());
    let names = (0_u32..).map(|number| format!("{own}{number}"));
    let mut result = Err(Error::os(action)(io::ErrorKind::AddrInUse.into()));
    for name in names.take(1 << 16) {
        match bind(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => {
                let bound = bound.map(|listener| (listener, name));
                result = bound.map_err(Error::os(action));
                break;
            }
        }
    }
    result
}

fn bind(name: &str) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The names of other instances in a list of sockets (`/proc/net/unix`): the listening ones.
fn others(sockets: &str, own: &str) -> BTreeSet<String> {
    let listening = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
        let name = fields.nth(3)?.strip_prefix('@')?;
        (flags & ACCEPTS != 0 && name.starts_with(NAME) && name != own).then(|| name.to_owned())
    });
    listening.collect()
}

/// `__SO_ACCEPTCON`: the socket listens.
const ACCEPTS: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use vrrp_lab::Namespace;

    use super::*;
    use crate::kernel::poller::Poller;

    #[test]
    fn listening_sockets_of_other_instances_are_found() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12345 @vrrp-net/77.0\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12346 @vrrp-net/77.0\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12347 @vrrp-net/78.0\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12348 /run/other\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12349\n";
        let found = others(list, "vrrp-net/78.0");
        assert_eq!(found, BTreeSet::from(["vrrp-net/77.0".to_owned()]));
    }

    #[test]
    fn a_program_that_asks_and_does_not_read_gets_one_answer() {
        let (stream, mut program) = UnixStream::pair().unwrap();
        for it in [&stream, &program] {
            it.set_nonblocking(true).unwrap();
        }
        let mut instance = Instance::open().unwrap();
        let unsent = Vec::new();
        instance.asking.push(Asking { stream, unsent });
        let claims = "link 1\n".repeat(1 << 18);
        for _ in 0..50 {
            let _full = program.write(&[QUESTION; 4096]);
            instance.serve(Instant::ZERO, || claims.clone());
        }
        assert!(instance.asking[0].unsent.len() <= claims.len());
        assert!(instance.has_unsent());
    }

    #[test]
    fn connections_have_a_limit() {
        let mut instance = Instance::open().unwrap();
        let address = SocketAddr::from_abstract_name(&instance.name).unwrap();
        let mut connections = Vec::new();
        for _ in 0..=MOST {
            connections.push(UnixStream::connect_addr(&address).unwrap());
            instance.serve(Instant::ZERO, String::new);
        }
        assert_eq!(instance.asking.len(), MOST);
    }

    /// Runs a test with an instance of its own network namespace, where no other one asks.
    fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        Namespace::new().unwrap().run(test)
    }

    #[test]
    fn a_flood_of_connections_is_accepted_in_portions_with_pauses() {
        alone(|| {
            let mut instance = Instance::open().unwrap();
            let address = SocketAddr::from_abstract_name(&instance.name).unwrap();
            let connect = |_| UnixStream::connect_addr(&address).unwrap();
            let connections: Vec<_> = (0..=2 * PORTION).map(connect).collect();
            let mut now = Instant::ZERO;
            for portions in [1, 2] {
                instance.serve(now, String::new);
                assert_eq!(instance.asking.len(), portions * PORTION);
                // The listener is readable all the time, and must not wake the driver.
                assert_eq!(instance.take_resting().is_some(), portions == 1);
                assert_eq!(instance.sources().count(), instance.asking.len());
                instance.serve(now, String::new);
                assert_eq!(instance.asking.len(), portions * PORTION);
                assert!(instance.next_look(now).unwrap() <= now + PAUSE);
                now = now + PAUSE;
                assert!(instance.is_due(now));
            }
            instance.take_new_source();
            instance.serve(now, String::new);
            assert_eq!(instance.asking.len(), connections.len());
            assert_eq!(instance.sources().count(), 1 + connections.len());
            assert!(instance.take_new_source(), "the listener is watched again");
            assert!(instance.take_resting().is_none());
        });
    }

    #[test]
    fn a_connection_for_which_there_is_no_descriptor_does_not_wake_the_driver_again_and_again() {
        for errno in [libc::EMFILE, libc::ENFILE] {
            alone(|| {
                let mut instance = Instance::open().unwrap();
                let address = SocketAddr::from_abstract_name(&instance.name).unwrap();
                let _connection = UnixStream::connect_addr(&address).unwrap();
                let now = Instant::ZERO;
                assert!(instance.take_answers(now).is_some(), "there is no other");
                let refuse = |_: &UnixListener| Err(io::Error::from_raw_os_error(errno));
                assert!(!instance.accept(now, refuse));
                assert_eq!(instance.sources().count(), 0);
                assert!(instance.take_resting().is_some());
                assert_eq!(instance.next_look(now), Some(now + REST));
                assert!(instance.accept(now + REST, UnixListener::accept));
                assert_eq!(instance.sources().count(), 2);
                assert!(instance.take_new_source(), "the listener is watched again");
            });
        }
    }

    #[test]
    fn names_are_asked_in_portions_and_a_round_ends_when_all_have_been_asked() {
        alone(|| {
            let bind = |number| bind(&format!("{NAME}1.{number}")).unwrap();
            let listeners: Vec<_> = (0..=2 * PORTION).map(bind).collect();
            let mut instance = Instance::open().unwrap();
            let now = Instant::ZERO;
            for portions in [1, 2] {
                assert_eq!(instance.asked.len(), portions * PORTION);
                assert!(instance.is_asking(now) && !instance.has_asked());
                assert!(instance.next_look(now).unwrap() <= now + PAUSE);
                assert!(instance.take_answers(now).is_none());
            }
            assert_eq!(instance.asked.len(), listeners.len());
            let last = instance.next_look(now).unwrap();
            assert_eq!(last, now + PATIENCE, "the last ones have time to answer");
            let answers = instance.take_answers(last).unwrap();
            assert_eq!(answers.rest, Rest::Unknown);
        });
    }

    #[test]
    fn an_instance_that_has_ended_is_noticed_in_a_later_portion() {
        alone(|| {
            let bind = |number| bind(&format!("{NAME}1.{number:03}")).unwrap();
            let mut listeners: Vec<_> = (0..=PORTION).map(bind).collect();
            let mut instance = Instance::open().unwrap();
            let now = Instant::ZERO;
            assert!(instance.take_answers(now).is_none());
            let _unknown = instance.take_answers(now + PATIENCE).unwrap();
            let later = instance.next_look(now).unwrap();
            assert_eq!(instance.asked.len(), listeners.len());
            // It has not answered, so each is connected again.
            assert!(instance.take_answers(later).is_none());
            assert!(instance.grace.is_none());
            drop(listeners.pop());
            assert!(instance.take_answers(later).is_none());
            assert!(instance.grace.is_some());
        });
    }

    #[test]
    fn a_program_that_accepts_no_connection_does_not_stop_the_driver() {
        let name = format!("{NAME}{}.full", process::id());
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let flags = SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _waiting = connect_at_once(&name).unwrap();
        let refused = connect_at_once(&name).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_connection_that_ends_is_handed_out_to_be_closed() {
        let mut instance = Instance::open().unwrap();
        let address = SocketAddr::from_abstract_name(&instance.name).unwrap();
        let program = UnixStream::connect_addr(&address).unwrap();
        instance.serve(Instant::ZERO, String::new);
        let poller = Poller::new().unwrap();
        for source in instance.sources() {
            poller.add(source, 7).unwrap();
        }
        // A child process has such a copy between fork and execve.
        let duplicate = instance.asking[0].stream.try_clone().unwrap();
        drop(program);
        instance.serve(Instant::ZERO, String::new);
        assert!(instance.asking.is_empty());
        poller.close(instance.closing());
        let mut ready = 0;
        poller.wait(Some(Duration::ZERO), |_| ready += 1).unwrap();
        assert_eq!(ready, 0);
        drop(duplicate);
    }

    #[test]
    fn an_answer_that_does_not_fit_into_the_socket_arrives_in_parts() {
        let (stream, other) = UnixStream::pair().unwrap();
        for it in [&stream, &other] {
            it.set_nonblocking(true).unwrap();
        }
        let unsent: Vec<u8> = (0..50_000)
            .flat_map(|number| format!("link {number}\n").into_bytes())
            .chain(*b"end\n")
            .collect();
        let mut asking = Asking { stream, unsent };
        let mut asked = Asked {
            stream: other,
            answer: Vec::new(),
            claims: None,
            must_answer: true,
        };
        let mut parts = 0;
        while asked.must_answer {
            asking.send().unwrap();
            assert!(asked.read());
            parts += 1;
        }
        assert!(parts > 1 && asked.claims.unwrap().to_string().contains("link 49999\n"));
        drop(asking);
        asked.claims = None;
        assert!(read_words(&mut asked.stream, LONGEST).is_none());
    }
}
