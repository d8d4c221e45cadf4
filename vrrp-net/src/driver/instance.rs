//! Other running instances on the same host: a starting driver removes everything with our mark,
//! except their claims.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    net::IpAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process,
    time::Duration,
};

use vrrp_fsm::Instant;

use crate::{
    Error,
    plan::{Actual, DUMMY, Former, Wanted},
};

/// How the abstract name of the socket of an instance begins. Abstract names belong to a network
/// namespace, as the marks do.
const NAME: &str = "vrrp-net/";

/// The last line of the claims.
const END: &str = "end";

/// How long the others may take to answer. They do so in their next turn.
const PATIENCE: Duration = Duration::from_millis(200);

/// The pause between two looks at their answers.
const PAUSE: Duration = Duration::from_millis(5);

/// More than any instance claims.
const LONGEST: u64 = 64 << 20;

/// The socket by which other instances know this one, and the questions to them at the start.
#[derive(Debug)]
pub(super) struct Instance {
    listener: Option<UnixListener>,
    questions: Option<Questions>,
}

/// The questions to other instances.
#[derive(Debug)]
struct Questions {
    open: Vec<(UnixStream, Vec<u8>)>,
    claims: Claims,
    deadline: Option<Instant>,
    is_incomplete: bool,
}

/// The claims of other instances.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Claims(BTreeSet<String>);

/// The end of the questions at the start.
#[derive(Debug)]
pub(super) enum Answers {
    /// All instances have answered, if there are any.
    All(Claims),
    /// One has not, or could not be understood.
    Incomplete,
}

impl Instance {
    /// Announces this instance in the network namespace of the calling thread, and asks the others.
    pub(super) fn open() -> Result<Self, Error> {
        let (listener, name) = announce()?;
        Ok(Self {
            questions: Some(Questions::ask(&name)),
            listener: Some(listener),
        })
    }

    /// Announces this instance again after the end of the announcement.
    #[cfg(feature = "serde")]
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        let (listener, _name) = announce()?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Asks the instances that there are now, in place of those at the start.
    #[cfg(feature = "serde")]
    pub(super) fn ask_again(&mut self) {
        let address = self.listener.as_ref().and_then(|it| it.local_addr().ok());
        let name = address.as_ref().and_then(SocketAddr::as_abstract_name);
        let name = String::from_utf8_lossy(name.unwrap_or_default());
        self.questions = Some(Questions::ask(&name));
    }

    /// Ends the announcement.
    pub(super) fn close(&mut self) {
        self.listener = None;
    }

    /// Readable when another instance asks.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// When to look at the answers again.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let questions = self.questions.as_ref()?;
        let is_new = questions.deadline.is_none();
        Some(if is_new { now } else { now + PAUSE })
    }

    /// Answers the instances that ask.
    pub(super) fn answer(&self, claims: impl Fn() -> String) {
        let Some(listener) = &self.listener else {
            return;
        };
        while let Ok((mut stream, _)) = listener.accept() {
            // Where it does not fit into the socket's buffer, the other sees that the end is
            // missing.
            let _cut = stream
                .set_nonblocking(true)
                .and_then(|()| stream.write_all(claims().as_bytes()));
        }
    }

    /// Takes in the answers. Returns the claims once, when there is nothing more to wait for.
    pub(super) fn take_answers(&mut self, now: Instant) -> Option<Answers> {
        let questions = self.questions.as_mut()?;
        let deadline = *questions.deadline.get_or_insert(now + PATIENCE);
        questions.read();
        if !questions.open.is_empty() && now < deadline {
            return None;
        }
        let questions = self.questions.take()?;
        if questions.is_incomplete || !questions.open.is_empty() {
            return Some(Answers::Incomplete);
        }
        Some(Answers::All(questions.claims))
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

impl Questions {
    fn ask(own: &str) -> Self {
        let mut questions = Self {
            open: Vec::new(),
            claims: Claims::default(),
            deadline: None,
            is_incomplete: false,
        };
        let Ok(sockets) = fs::read_to_string("/proc/thread-self/net/unix") else {
            questions.is_incomplete = true;
            return questions;
        };
        for name in others(&sockets, own) {
            let asked = SocketAddr::from_abstract_name(&name)
                .and_then(|address| UnixStream::connect_addr(&address))
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream));
            match asked {
                Ok(stream) => questions.open.push((stream, Vec::new())),
                // It has ended by now.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => questions.is_incomplete = true,
            }
        }
        questions
    }

    fn read(&mut self) {
        for (mut stream, mut answer) in std::mem::take(&mut self.open) {
            let result = Read::by_ref(&mut stream)
                .take(LONGEST)
                .read_to_end(&mut answer);
            match result {
                Ok(_) => match Claims::parse(&answer) {
                    Some(claims) => self.claims.0.extend(claims.0),
                    None => self.is_incomplete = true,
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.open.push((stream, answer));
                }
                Err(_) => self.is_incomplete = true,
            }
        }
    }
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

impl Claims {
    fn parse(answer: &[u8]) -> Option<Self> {
        let mut lines: Vec<&str> = std::str::from_utf8(answer).ok()?.lines().collect();
        (lines.pop() == Some(END)).then(|| Self(lines.into_iter().map(str::to_owned).collect()))
    }

    /// Whether another instance claims this.
    pub(super) fn include(&self, former: &Former) -> bool {
        let line = match former {
            Former::Address { interface, local } => address(*interface, *local),
            Former::Macvlan { interface } => format!("link {interface}"),
            Former::Parent { interface } => format!("parent {interface}"),
            Former::Route { route, .. } if route.discards() => discard(route.destination()),
            Former::Route { route, .. } => self::route(route),
        };
        self.0.contains(&line)
    }
}

/// The claims of these routers: everything that they may have, whatever their state.
pub(super) fn claims_of<'a>(routers: impl Iterator<Item = Wanted<'a>>, actual: &Actual) -> String {
    let mut lines = Vec::new();
    for wanted in routers {
        let address_interface = wanted.address_interface(actual);
        let places: BTreeSet<u32> = wanted
            .interface
            .into_iter()
            .chain(address_interface)
            .collect();
        for own in wanted.all() {
            lines.extend(places.iter().map(|place| address(*place, own.address())));
            lines.push(discard(own.address()));
        }
        lines.extend(wanted.routes.iter().map(route));
        if let (Some(parent), Some(_)) = (wanted.interface, wanted.macvlan) {
            lines.push(format!("parent {parent}"));
            lines.extend(address_interface.map(|index| format!("link {index}")));
            lines.extend(address_interface.map(|index| address(index, DUMMY)));
        }
    }
    lines.push(END.into());
    lines.join("\n")
}

fn address(interface: u32, local: IpAddr) -> String {
    format!("address {interface} {local}")
}

fn discard(local: IpAddr) -> String {
    format!("discard {local}")
}

fn route(route: &crate::Route) -> String {
    let (destination, prefix_len) = (route.destination(), route.prefix_len());
    format!("route {destination}/{prefix_len} table {}", route.table())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn claims_without_an_end_are_none() {
        let claims = Claims::parse(b"address 2 192.0.2.254\nlink 7\nend").unwrap();
        let local = "192.0.2.254".parse().unwrap();
        for (interface, is_claimed) in [(2, true), (3, false)] {
            let former = Former::Address { interface, local };
            assert_eq!(claims.include(&former), is_claimed);
        }
        assert!(claims.include(&Former::Macvlan { interface: 7 }));
        assert_eq!(Claims::parse(b"address 2 192.0.2.254\nlink 7\n"), None);
        assert_eq!(Claims::parse(b""), None);
    }
}
