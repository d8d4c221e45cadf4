//! Reading and writing messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, IP_PROTOCOL, Interval,
    IpHeader, MessageAuthentication, Priority, TTL, Version, Vrid, set_priority,
};

use crate::{Error, Repeat, repeat};

/// The longest message here: version 3, 20 IPv6 addresses.
const LONGEST: usize = 328;

const MANY: u8 = 20;

/// A message with its IP header and options.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Version, family and number of addresses.
    pub name: &'static str,
    /// Its content.
    pub advertisement: Advertisement<'static>,
    /// The IP header above it.
    pub ip: IpHeader,
    /// Its octets.
    pub octets: &'static [u8],
}

/// The messages that are measured. Those of version 3 over IPv4 have the checksum of RFC 9568.
///
/// # Errors
///
/// If a message cannot be encoded.
pub fn messages() -> Result<Vec<Message>, Error> {
    let ipv4: &[Ipv4Addr] = (1..=MANY)
        .map(|last| Ipv4Addr::new(192, 0, 2, last))
        .collect::<Vec<_>>()
        .leak();
    let ipv6: &[Ipv6Addr] = (1..=MANY)
        .map(|last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()))
        .collect::<Vec<_>>()
        .leak();
    [
        (
            "v2, 1 address",
            Interval::DEFAULT_V2,
            Addresses::from(&ipv4[..1]),
        ),
        (
            "v3 IPv4, 1 address",
            Interval::DEFAULT_V3,
            Addresses::from(&ipv4[..1]),
        ),
        (
            "v3 IPv4, 20 addresses",
            Interval::DEFAULT_V3,
            Addresses::from(ipv4),
        ),
        (
            "v3 IPv6, 1 address",
            Interval::DEFAULT_V3,
            Addresses::from(&ipv6[..1]),
        ),
        (
            "v3 IPv6, 20 addresses",
            Interval::DEFAULT_V3,
            Addresses::from(ipv6),
        ),
    ]
    .into_iter()
    .map(|(name, interval, addresses)| Message::new(name, interval, addresses))
    .collect()
}

impl Message {
    fn new(
        name: &'static str,
        interval: Interval,
        addresses: Addresses<'static>,
    ) -> Result<Self, Error> {
        let advertisement = Advertisement {
            vrid: Vrid::new(51).ok_or("VRID 51")?,
            priority: Priority::new(200),
            interval,
            authentication: MessageAuthentication::None,
            addresses,
        };
        let endpoints = Endpoints::multicast(match addresses.family() {
            vrrp_proto::Family::Ipv4 => Ipv4Addr::new(192, 0, 2, 201).into(),
            vrrp_proto::Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x201).into(),
        });
        let mut octets = vec![0; advertisement.encoded_len()];
        advertisement.encode(&mut octets, &endpoints, ChecksumForm::MessageOnly)?;
        Ok(Self {
            name,
            advertisement,
            ip: IpHeader {
                endpoints,
                ttl: TTL,
            },
            octets: octets.leak(),
        })
    }

    /// [`Advertisement::decode`] with the default options, which accept both checksum forms.
    #[must_use]
    pub fn decode(&self) -> Repeat {
        repeat(
            (self.octets, self.ip, DecodeOptions::default()),
            |(octets, ip, options)| Advertisement::decode(octets, ip, options),
        )
    }

    /// [`Advertisement::encode`] with the checksum of RFC 9568.
    #[must_use]
    pub fn encode(&self) -> Repeat {
        repeat(
            (self.advertisement, self.ip.endpoints, [0; LONGEST]),
            |(advertisement, endpoints, buffer)| {
                advertisement.encode(buffer, endpoints, ChecksumForm::MessageOnly)
            },
        )
    }

    /// [`set_priority`], to one priority and back.
    #[must_use]
    pub fn set_priority(&self) -> Repeat {
        repeat(
            (self.octets.to_vec(), Priority::DEFAULT),
            |(octets, priority)| set_priority(octets, *priority),
        )
    }

    /// The floor for decoding: the least work on this many octets.
    #[must_use]
    pub fn floor(&self) -> Floor {
        let octets = self.octets;
        let both = [octets, &self.pseudo_header()].concat();
        let sum = |octets: &[u8]| {
            repeat(Place::of(octets), |place| {
                place.octets().map(sum).map(folded)
            })
        };
        Floor {
            copy: repeat(Place::of(octets), Place::copy),
            sum: sum(octets),
            sum_with_pseudo_header: sum(&both),
            at_once: repeat(Place::of(octets), |place| {
                place
                    .copy()
                    .and_then(|()| place.octets())
                    .map(crate::codec::sum)
                    .map(folded)
            }),
        }
    }

    /// The data that the checksum covers besides the message: nothing in version 2.
    fn pseudo_header(&self) -> Vec<u8> {
        // The messages here are short.
        #[allow(clippy::cast_possible_truncation)]
        let end = [0, IP_PROTOCOL, 0, self.octets.len() as u8];
        match self.ip.endpoints {
            _ if self.advertisement.version() == Version::V2 => Vec::new(),
            Endpoints::Ipv4 {
                source,
                destination,
            } => [&source.octets()[..], &destination.octets(), &end].concat(),
            Endpoints::Ipv6 {
                source,
                destination,
            } => [&source.octets()[..], &destination.octets(), &end].concat(),
        }
    }

    /// The most time that decoding may take, as a multiple of the floor.
    #[must_use]
    pub const fn decode_budget(&self) -> f64 {
        if self.advertisement.addresses.len() == 1 {
            2.0
        } else {
            1.3
        }
    }
}

/// The least work on the octets of a message: to check that they are there, copy them, and sum them
/// up as RFC 1071 says. A decoder need not copy, but has to read and check every field.
///
/// Copying and summing up are measured one by one, and their times added. In one loop they depend
/// on each other in ways that have nothing to do with the work: the processor does both at once, or
/// makes one wait for the other.
pub struct Floor {
    /// Copies the message.
    pub copy: Repeat,
    /// Sums up the message.
    pub sum: Repeat,
    /// Sums up the message with the pseudo-header, as a receiver of version 3 has to do over IPv6,
    /// and over IPv4 if it accepts both checksum forms. In version 2 it is the message alone.
    pub sum_with_pseudo_header: Repeat,
    /// Copies the message and sums it up in one loop.
    pub at_once: Repeat,
}

/// Room for the longest message with its pseudo-header, always at the same place of a page.
#[repr(align(64))]
struct Room([u8; 384]);

/// Octets, and where they are copied to.
pub(crate) struct Place {
    from: Room,
    length: usize,
    to: Room,
}

impl Place {
    pub(crate) fn of(octets: &[u8]) -> Self {
        let mut place = Self {
            from: Room([0; 384]),
            length: octets.len(),
            to: Room([0; 384]),
        };
        place.from.0[..octets.len()].copy_from_slice(octets);
        place
    }

    #[inline]
    pub(crate) fn octets(&self) -> Option<&[u8]> {
        self.from.0.get(..self.length)
    }

    #[inline]
    pub(crate) fn copy(&mut self) -> Option<()> {
        let (from, to) = (
            self.from.0.get(..self.length)?,
            self.to.0.get_mut(..self.length)?,
        );
        to.copy_from_slice(from);
        Some(())
    }
}

/// In the fastest way known without `unsafe`: 32 bits at a time into 64, in blocks that are
/// unrolled. The length is a multiple of 4.
#[inline]
fn sum(octets: &[u8]) -> u64 {
    let add = |sum: u64, word: &[u8; 4]| sum + u64::from(u32::from_ne_bytes(*word));
    let (words, _) = octets.as_chunks();
    let (blocks, rest) = words.as_chunks::<8>();
    let sum = blocks
        .iter()
        .fold(0, |sum, block| sum + block.iter().fold(0, add));
    rest.iter().fold(sum, add)
}

#[inline]
fn folded(mut sum: u64) -> u16 {
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}
