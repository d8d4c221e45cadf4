//! The traits of the rust-netlink crates, whose 0.x versions change often.

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use super::{Command, DecodeError, FAMILY_NAME, FAMILY_VERSION, Message, Reply, Request};

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY_NAME
    }

    fn command(&self) -> u8 {
        Message::command(self) as u8
    }

    fn version(&self) -> u8 {
        FAMILY_VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        match self {
            Self::Request(request) => request.encoded_len(),
            Self::Reply(reply) => reply.encoded_len(),
        }
    }

    fn emit(&self, buffer: &mut [u8]) {
        match self {
            Self::Request(request) => request.encode(buffer),
            Self::Reply(reply) => reply.encode(buffer),
        };
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(
        octets: &[u8],
        header: GenlHeader,
    ) -> Result<Self, netlink_packet_core::DecodeError> {
        let foreign =
            |error: DecodeError| netlink_packet_core::DecodeError::from(error.to_string());
        if is_reply(header.cmd) {
            Reply::decode(header.cmd, octets)
                .map(Self::Reply)
                .map_err(foreign)
        } else {
            // A kernel error returns the request. A request that shares its command with a reply is
            // read as a reply; all other commands are requests.
            Request::decode(header.cmd, octets)
                .map(Self::Request)
                .map_err(foreign)
        }
    }
}

/// Whether the kernel sends this command.
fn is_reply(command: u8) -> bool {
    matches!(
        Command::from_u8(command),
        Some(
            Command::NewService
                | Command::NewDest
                | Command::NewDaemon
                | Command::SetConfig
                | Command::SetInfo
        )
    )
}
