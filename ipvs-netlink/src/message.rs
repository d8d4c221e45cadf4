//! The IPVS family of generic netlink: requests to the kernel, its answers, and the encoding of
//! both.
//!
//! A [`Request`] is a [`Change`], which the kernel acknowledges, or a [`Query`], which it answers
//! with [`Reply`]s. [`Message`] is either. With the feature `netlink-packet` it implements the
//! traits of a payload for the `genetlink` and `netlink-proto` crates:
//!
//! ```
//! # #[cfg(feature = "netlink-packet")] {
//! use ipvs_netlink::{Scheduler, Service, ServiceKey, message::{Change, Message, Request}};
//! use netlink_packet_generic::GenlMessage;
//!
//! let service = Service::new(ServiceKey::udp(([192, 0, 2, 1], 53)), Scheduler::RR);
//! let message = Message::from(Change::AddService(service));
//! let packet = GenlMessage::from_payload(message);
//! assert_eq!(packet.header.cmd, 1);
//! # }
//! ```
//!
//! The numbers and encodings are those of `include/uapi/linux/ip_vs.h`, read as in
//! `net/netfilter/ipvs/ip_vs_ctl.c`.

pub(crate) mod attribute;
pub(crate) mod decode;
mod encode;
mod error;
#[cfg(feature = "netlink-packet")]
mod foreign;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use error::DecodeError;
pub use reply::Reply;
pub use request::{Change, Query, Request};

/// The name by which the kernel finds the family. Asking for it loads the module.
pub const FAMILY_NAME: &str = "IPVS";

/// The version of the family that this crate speaks.
pub const FAMILY_VERSION: u8 = 1;

/// The commands of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Command {
    /// Add a service; also the command of a reply with a service.
    NewService = 1,
    /// Change a service.
    SetService = 2,
    /// Delete a service with its destinations.
    DelService = 3,
    /// Get one service or list all.
    GetService = 4,
    /// Add a destination; also the command of a reply with a destination.
    NewDest = 5,
    /// Change a destination.
    SetDest = 6,
    /// Delete a destination.
    DelDest = 7,
    /// List the destinations of a service.
    GetDest = 8,
    /// Start a sync daemon; also the command of a reply with a daemon.
    NewDaemon = 9,
    /// Stop a sync daemon.
    DelDaemon = 10,
    /// List the sync daemons.
    GetDaemon = 11,
    /// Set the timeouts; also the command of the reply with them.
    SetConfig = 12,
    /// Get the timeouts.
    GetConfig = 13,
    /// The command of the reply to [`GetInfo`](Self::GetInfo). The kernel refuses it as a request.
    SetInfo = 14,
    /// Get the version and the size of the connection table.
    GetInfo = 15,
    /// Set counters to zero.
    Zero = 16,
    /// Delete everything.
    Flush = 17,
}

impl Command {
    /// A command by number; `None` if there is no such command.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::NewService,
            2 => Self::SetService,
            3 => Self::DelService,
            4 => Self::GetService,
            5 => Self::NewDest,
            6 => Self::SetDest,
            7 => Self::DelDest,
            8 => Self::GetDest,
            9 => Self::NewDaemon,
            10 => Self::DelDaemon,
            11 => Self::GetDaemon,
            12 => Self::SetConfig,
            13 => Self::GetConfig,
            14 => Self::SetInfo,
            15 => Self::GetInfo,
            16 => Self::Zero,
            17 => Self::Flush,
            _ => return None,
        })
    }
}

/// A message of the family, in either direction.
///
/// Parsing treats commands 1, 5, 9, 12 and 14 as replies of the kernel. [`Request::decode`] reads
/// the messages of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To the kernel.
    Request(Request),
    /// From the kernel.
    Reply(Reply),
}

impl Message {
    /// The command in its header.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Request(request) => request.command(),
            Self::Reply(reply) => reply.command(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Change> for Message {
    fn from(change: Change) -> Self {
        Self::Request(change.into())
    }
}

impl From<Query> for Message {
    fn from(query: Query) -> Self {
        Self::Request(query.into())
    }
}

impl From<Reply> for Message {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
