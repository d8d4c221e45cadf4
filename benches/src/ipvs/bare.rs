//! A sender of prepared octets: the least work of a program that changes or reads the kernel's IPVS
//! table.
//!
//! All requests are encoded before the clock starts, and answers are read only for their end.
//! Nothing of `ipvs_netlink` except the types of its messages is used.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, OwnedFd},
};

use ipvs_netlink::{
    ServiceKey,
    message::{Change, FAMILY_NAME, Message, Query},
};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_route::{
    AddressFamily as AddressFamilyNumber, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, MultiHeaders, NetlinkAddr, SockFlag, SockProtocol, SockType,
        connect, recv, recvmmsg, send, setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

use crate::Error;

/// Changes in a batch.
const BATCH: usize = 64;

/// Room for a datagram: more than the kernel puts into one.
const DATAGRAM: usize = 64 * 1024;

/// A socket and the number of the family.
#[derive(Debug)]
pub struct Bare {
    socket: OwnedFd,
    family: u16,
    room: Box<[u8]>,
}

/// Octets that are sent with one call.
#[derive(Clone, Debug)]
pub struct Prepared {
    octets: Vec<u8>,
    /// The sequence number of the last message.
    last: u32,
}

/// How answers are received.
#[derive(Clone, Copy, Debug)]
pub enum Receive {
    /// A datagram with each call.
    One,
    /// A datagram and, if it is there too, the next one with each call: the end of a list is a
    /// datagram of its own.
    Two,
}

impl Bare {
    /// Opens a socket in the network namespace of the calling thread, and resolves the family.
    ///
    /// # Errors
    ///
    /// If the kernel refuses either.
    pub fn open() -> Result<Self, Error> {
        let mut new = Self::of(SockProtocol::NetlinkGeneric)?;
        new.family = new.resolve()?;
        Ok(new)
    }

    /// Opens a socket for addresses in place of the IPVS table.
    ///
    /// # Errors
    ///
    /// If the kernel refuses it.
    pub fn open_route() -> Result<Self, Error> {
        Self::of(SockProtocol::NetlinkRoute)
    }

    fn of(protocol: SockProtocol) -> Result<Self, Error> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(5, 0))?;
        Ok(Self {
            socket,
            family: 0,
            room: vec![0; 2 * DATAGRAM].into(),
        })
    }

    fn resolve(&mut self) -> Result<u16, Error> {
        let request = GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY_NAME.into())],
        });
        let mut octets = Vec::new();
        push(&mut octets, request, NLM_F_REQUEST, 1);
        send(self.socket.as_raw_fd(), &octets, MsgFlags::empty())?;
        let length = recv(self.socket.as_raw_fd(), &mut self.room, MsgFlags::empty())?;
        let answer = self.room.get(..length).ok_or("a datagram was cut short")?;
        let answer = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(answer)?;
        let NetlinkPayload::InnerMessage(answer) = answer.payload else {
            return Err(format!("family {FAMILY_NAME}: {:?}", answer.payload).into());
        };
        let family = answer.payload.nlas.iter().find_map(|nla| match nla {
            GenlCtrlAttrs::FamilyId(number) => Some(*number),
            _ => None,
        });
        Ok(family.ok_or("a family without a number")?)
    }

    /// Prepares changes, 64 to a call, of which the last is acknowledged.
    #[must_use]
    pub fn changes(&self, changes: &[Change]) -> Vec<Prepared> {
        batches(changes, |octets, change, flags, sequence| {
            self.push(octets, Message::from(*change), flags, sequence);
        })
    }

    /// Prepares the addition of addresses to an interface, 64 to a call, of which the last is
    /// acknowledged. For a socket of [`open_route`](Self::open_route).
    #[must_use]
    pub fn addresses(index: u32, addresses: &[Ipv4Addr]) -> Vec<Prepared> {
        batches(addresses, |octets, address, flags, sequence| {
            let mut message = AddressMessage::default();
            message.header.family = AddressFamilyNumber::Inet;
            message.header.prefix_len = 32;
            message.header.index = index;
            let address = IpAddr::from(*address);
            message.attributes = vec![
                AddressAttribute::Address(address),
                AddressAttribute::Local(address),
            ];
            let message = RouteNetlinkMessage::NewAddress(message);
            push(octets, message, flags | NLM_F_CREATE, sequence);
        })
    }

    /// Prepares the question for all addresses. For a socket of [`open_route`](Self::open_route).
    #[must_use]
    pub fn address_list() -> Prepared {
        let mut octets = Vec::new();
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        push(&mut octets, message, NLM_F_REQUEST | NLM_F_DUMP, 1);
        Prepared { octets, last: 1 }
    }

    /// Prepares the questions that read the whole table: for the services, and for the destinations
    /// of each.
    #[must_use]
    pub fn lists(&self, services: &[ServiceKey]) -> Vec<Prepared> {
        let destinations = services.iter().map(|key| Query::Destinations(*key));
        [Query::Services]
            .into_iter()
            .chain(destinations)
            .map(|query| {
                let mut octets = Vec::new();
                self.push(
                    &mut octets,
                    Message::from(query),
                    NLM_F_REQUEST | NLM_F_DUMP,
                    1,
                );
                Prepared { octets, last: 1 }
            })
            .collect()
    }

    fn push(&self, octets: &mut Vec<u8>, message: Message, flags: u16, sequence: u32) {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        push(octets, message, flags, sequence);
    }

    /// Makes the changes.
    ///
    /// # Errors
    ///
    /// If a change is refused, after which no further batch is sent, or if there is no answer
    /// within five seconds.
    pub fn change(&mut self, batches: &[Prepared]) -> Result<(), Error> {
        let socket = self.socket.as_raw_fd();
        for batch in batches {
            send(socket, &batch.octets, MsgFlags::empty())?;
            loop {
                let length = recv(socket, &mut self.room, MsgFlags::empty())?;
                let answer = Answer::new(&self.room[..length])?;
                if let Some(errno @ 1..) = answer.errno {
                    return Err(format!("change {}: errno {errno}", answer.sequence).into());
                }
                if answer.sequence == batch.last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Asks one question after the other, discards the answers, and returns how many octets they
    /// had.
    ///
    /// # Errors
    ///
    /// If a question is refused, or if there is no answer within five seconds.
    pub fn read(&mut self, questions: &[Prepared], receive: Receive) -> Result<usize, Error> {
        let mut octets = 0;
        for question in questions {
            send(self.socket.as_raw_fd(), &question.octets, MsgFlags::empty())?;
            octets += match receive {
                Receive::One => self.read_one_by_one()?,
                Receive::Two => self.read_two_by_two()?,
            };
        }
        Ok(octets)
    }

    fn read_one_by_one(&mut self) -> Result<usize, Error> {
        let mut octets = 0;
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut self.room, MsgFlags::empty())?;
            octets += length;
            if Answer::new(&self.room[..length])?.ends_list()? {
                return Ok(octets);
            }
        }
    }

    fn read_two_by_two(&mut self) -> Result<usize, Error> {
        let mut octets = 0;
        loop {
            let mut headers = MultiHeaders::<()>::preallocate(2, None);
            let mut rooms: Vec<_> = self
                .room
                .chunks_mut(DATAGRAM)
                .map(|room| [IoSliceMut::new(room)])
                .collect();
            let received = recvmmsg(
                self.socket.as_raw_fd(),
                &mut headers,
                rooms.iter_mut(),
                MsgFlags::MSG_WAITFORONE,
                None,
            )?;
            for datagram in received {
                octets += datagram.bytes;
                let answer = datagram.iovs().next().ok_or("an empty datagram")?;
                if Answer::new(answer)?.ends_list()? {
                    return Ok(octets);
                }
            }
        }
    }
}

/// Prepares batches. `push` adds the message of an item with flags and a sequence number.
fn batches<I>(items: &[I], push: impl Fn(&mut Vec<u8>, &I, u16, u32)) -> Vec<Prepared> {
    let batch = |batch: &[I]| {
        let mut octets = Vec::new();
        let mut last = 0;
        for (item, sequence) in batch.iter().zip(1..) {
            last = sequence;
            let end = if batch.len() == sequence as usize {
                NLM_F_ACK
            } else {
                0
            };
            push(&mut octets, item, NLM_F_REQUEST | end, sequence);
        }
        Prepared { octets, last }
    };
    items.chunks(BATCH).map(batch).collect()
}

fn push<M>(octets: &mut Vec<u8>, message: M, flags: u16, sequence: u32)
where
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let start = octets.len();
    octets.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut octets[start..]);
}

/// The first message of a datagram.
struct Answer {
    kind: u16,
    sequence: u32,
    /// The number of an error, or 0 for an acknowledgement.
    errno: Option<i32>,
}

impl Answer {
    fn new(datagram: &[u8]) -> Result<Self, Error> {
        let message = NetlinkBuffer::new_checked(datagram)?;
        let kind = message.message_type();
        let errno = match (kind, message.payload().first_chunk()) {
            (NLMSG_ERROR, Some(number)) => Some(-i32::from_ne_bytes(*number)),
            _ => None,
        };
        Ok(Self {
            kind,
            sequence: message.sequence_number(),
            errno,
        })
    }

    fn ends_list(&self) -> Result<bool, Error> {
        match self.errno {
            Some(errno) => Err(format!("list: errno {errno}").into()),
            None => Ok(self.kind == NLMSG_DONE),
        }
    }
}
