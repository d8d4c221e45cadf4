//! Reading and writing messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, Authentication, ChecksumForm, DecodeOptions, Endpoints, IP_PROTOCOL,
    Interval, IpHeader, Priority, TTL, Version, Vrid, set_priority,
};

use crate::{Error, Repeat, repeat};

/// The longest message here: version 3, 20 IPv6 addresses.
const LONGEST: usize = 328;

const MANY: u8 = 20;

/// A message with what is around it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Version, family and number of addresses.
    pub name: &'static str,
    /// What it says.
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
/// When one cannot be encoded.
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
            authentication: Authentication::None,
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

    /// The least that can be done with so many octets: check that there is room for them, copy them, and sum them up as RFC 1071 says.
    #[must_use]
    pub fn floor(&self) -> Repeat {
        repeat((self.octets, [0; LONGEST]), |(octets, buffer)| {
            copy(octets, buffer).map(|()| folded(sum(octets)))
        })
    }

    /// The floor, with the sum over the pseudo-header as well. It is not part of the message, but every receiver of version 3 over IPv6
    /// has to sum it up, and so has one over IPv4 that accepts both checksum forms. `None` for version 2, which has none.
    #[must_use]
    pub fn floor_with_pseudo_header(&self) -> Option<Repeat> {
        let length = u16::try_from(self.octets.len()).ok()?.to_be_bytes();
        let end = [0, IP_PROTOCOL, length[0], length[1]];
        let pseudo_header = match self.ip.endpoints {
            _ if self.advertisement.version() == Version::V2 => return None,
            Endpoints::Ipv4 {
                source,
                destination,
            } => [&source.octets()[..], &destination.octets(), &end].concat(),
            Endpoints::Ipv6 {
                source,
                destination,
            } => [&source.octets()[..], &destination.octets(), &end].concat(),
        };
        Some(repeat(
            (self.octets, [0; LONGEST], pseudo_header),
            |(octets, buffer, pseudo_header)| {
                copy(octets, buffer).map(|()| folded(sum(octets) + sum(pseudo_header)))
            },
        ))
    }

    /// How often the time of the floor may decoding take.
    #[must_use]
    pub const fn decode_budget(&self) -> f64 {
        if self.advertisement.addresses.len() == 1 {
            2.0
        } else {
            1.3
        }
    }
}

#[inline]
fn copy(octets: &[u8], buffer: &mut [u8]) -> Option<()> {
    buffer.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(())
}

/// In the fastest way known without `unsafe`: 32 bits at a time, into 64. The length is a multiple of 4.
#[inline]
fn sum(octets: &[u8]) -> u64 {
    let (words, _) = octets.as_chunks();
    words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum()
}

#[inline]
fn folded(mut sum: u64) -> u16 {
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}
