//! Reading and writing messages of IPVS.

use ipvs_netlink::message::{Message, Reply, Request};
use netlink_packet_core::Emitable;

use super::{additions, servers};
use crate::{Error, Repeat, codec::Place, repeat};

/// Room for the longest message here.
const LONGEST: usize = 384;

/// Answers of the kernel, after the octet of the command: a service and a destination, each with
/// statistics in 32 and in 64 bit and the padding in between. They were recorded for the fuzz
/// targets.
const SERVICE: &[u8] = include_bytes!("../../../fuzz/corpus/ipvs_reply/service-tcp");
const DESTINATION: &[u8] = include_bytes!("../../../fuzz/corpus/ipvs_reply/destination-masquerade");

/// A message and its octets.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub message: Message,
    /// Its attributes.
    pub octets: Vec<u8>,
}

/// The messages that are measured.
///
/// # Errors
///
/// If a message cannot be decoded.
pub fn samples() -> Result<Vec<Sample>, Error> {
    let written = |name, message: Message| Sample {
        name,
        octets: encoded(&message),
        message,
    };
    let recorded = |name, octets: &[u8]| {
        let (command, octets) = octets.split_first().ok_or("no command")?;
        Ok::<_, Error>(Sample {
            name,
            message: Reply::decode(*command, octets)?.into(),
            octets: octets.to_vec(),
        })
    };
    let [service, destination]: [_; 2] = additions(&servers(1, 1))
        .try_into()
        .map_err(|_| "a service and a destination")?;
    Ok(vec![
        written("AddService", service.into()),
        written("AddDestination", destination.into()),
        recorded("Reply of a service", SERVICE)?,
        recorded("Reply of a destination", DESTINATION)?,
    ])
}

impl Sample {
    /// [`Reply::decode`], or [`Request::decode`] for a request.
    #[must_use]
    pub fn decode(&self) -> Repeat {
        let input = (self.message.command() as u8, self.octets.clone());
        match self.message {
            Message::Request(_) => {
                repeat(input, |(command, octets)| Request::decode(*command, octets))
            }
            Message::Reply(_) => repeat(input, |(command, octets)| Reply::decode(*command, octets)),
        }
    }

    /// [`Request::encode`] or [`Reply::encode`]. A reply is written with statistics in 64 bit only.
    #[must_use]
    pub fn encode(&self) -> Repeat {
        match self.message.clone() {
            Message::Request(request) => repeat((request, [0; LONGEST]), |(request, buffer)| {
                request.encode(buffer)
            }),
            Message::Reply(reply) => repeat((reply, [0; LONGEST]), |(reply, buffer)| {
                reply.encode(buffer)
            }),
        }
    }

    /// The octets that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        encoded(&self.message)
    }
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut octets = vec![0; message.buffer_len()];
    message.emit(&mut octets);
    octets
}

/// A floor: copies the octets.
#[must_use]
pub fn copy(octets: &[u8]) -> Repeat {
    repeat(Place::of(octets), Place::copy)
}

/// A floor: goes over the headers of all attributes with every length checked, and counts them.
#[must_use]
pub fn walk(octets: &[u8]) -> Repeat {
    repeat(Place::of(octets), |place| {
        place.octets().and_then(count_attributes)
    })
}

/// The number of attributes, including those inside others; `None` if one is truncated.
#[must_use]
pub fn count_attributes(octets: &[u8]) -> Option<u32> {
    count(octets, 0)
}

/// The bits of an attribute's number; the others are flags.
const NUMBER: u16 = 0x3fff;

/// In the messages here everything at the top is a nest, and in it the statistics are, which have
/// the same numbers in services and destinations. (The kernel does not flag nests as such.)
fn count(mut octets: &[u8], depth: u8) -> Option<u32> {
    let mut found = 0;
    while !octets.is_empty() {
        let (length, rest) = octets.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = octets.get(4..length)?;
        found += 1;
        if depth == 0 || depth == 1 && matches!(u16::from_ne_bytes(*kind) & NUMBER, 10 | 12) {
            found += count(value, depth + 1)?;
        }
        octets = octets.get(length.next_multiple_of(4)..)?;
    }
    Some(found)
}
