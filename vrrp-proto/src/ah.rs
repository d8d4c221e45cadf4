//! Authentication type 2 of version 2: the message inside an IP Authentication Header with
//! HMAC-MD5-96 (RFC 2338 section 5.3.6.3, RFC 2402, RFC 2403), as in keepalived's `auth_type AH`
//! (P-50).
//!
//! MD5 is weak and the key has eight octets. The module exists to interoperate with deployed
//! networks; new networks should use the trailer of the module `hmac`.
//!
//! # On the wire
//!
//! An IPv4 packet of protocol [`IP_PROTOCOL`], the 24 octets of the AH header, and the message,
//! which has authentication type 2 and eight zeros as authentication data. The digest covers the
//! IPv4 header with TOS, fragment field and checksum read as zero, the AH header with its digest
//! read as zero, and the message. Contrary to RFC 2402, keepalived covers the TTL of multicast
//! packets, but not that of unicast packets. This module does the same. The digest also covers the
//! identification of the IPv4 header, so the header must be sent unchanged: through a raw socket
//! with `IP_HDRINCL`, which keeps an identification other than zero.
//!
//! # Sequence numbers
//!
//! By RFC 2402 each sender has its own counter. keepalived has one counter for each virtual router,
//! for sending and receiving: a packet needs a higher number than every packet before it, from any
//! router. To interoperate, a host keeps one [`SendSequence`] and one [`ReplayWindow`] for each
//! virtual router, and calls [`SendSequence::continue_above`] with the number of every packet that
//! it accepts, or discards only because it owns the addresses
//! ([`Discard::Owner`](crate::Discard::Owner)). An owner that has restarted has no other way to
//! learn the sequence of the others. A host without keepalived peers may keep one window for each
//! source.
//!
//! The price: if three routers advertise at once, a packet may be discarded because another router
//! has already used its number. The sender's next packet is accepted.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use vrrp_proto::{GROUP_IPV4, Password, ah, frame::ipv4};
//!
//! let key = ah::Key::new(Password::new(b"s3cret")?);
//! let header = ipv4::Header {
//!     protocol: ah::IP_PROTOCOL,
//!     identification: 1,
//!     ..ipv4::Header::advertisement(Ipv4Addr::new(192, 0, 2, 11), GROUP_IPV4)
//! };
//! let message = [0x21, 51, 100, 1, 2, 1, 0xb6, 0xc8, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
//!
//! let mut sequence = ah::SendSequence::default();
//! let sealed = key.seal(&header, &message, sequence.next().ok_or("used up")?)?;
//! let packet = [&sealed[..], &message].concat();
//!
//! let mut window = ah::ReplayWindow::default();
//! let opened = key.open(&ipv4::Packet::parse(&packet)?)?;
//! window.check(opened.sequence)?;
//! assert_eq!(opened.message, message);
//! // After the message has passed all other checks too:
//! window.accept(opened.sequence);
//! sequence.continue_above(opened.sequence);
//! assert!(window.check(opened.sequence).is_err(), "the same packet again");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use core::{fmt, net::Ipv4Addr};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use crate::{
    AuthenticationFault, IP_PROTOCOL as VRRP, OutOfRange, Password,
    frame::{collect, ipv4},
};

/// IP protocol number of AH.
pub const IP_PROTOCOL: u8 = 51;

/// Octets of an AH header with a digest of 96 bits.
pub const HEADER_LEN: usize = 24;

/// Octets before the message: IPv4 header and AH header.
pub const PREFIX_LEN: usize = ipv4::HEADER_LEN + HEADER_LEN;

/// Octets of the AH header before the digest.
const FIXED_LEN: usize = 12;

const DIGEST_LEN: usize = 12;

/// Length of the AH header in 32-bit words, less two (RFC 2402 section 2.2).
const PAYLOAD_LEN: u8 = 4;

/// The highest sequence number that keepalived uses.
const LAST_SEQUENCE: u32 = 0xffff_fffd;

/// The key that all routers of a virtual router share. `Debug` does not show the key.
#[derive(Clone)]
pub struct Key(Hmac<Md5>);

/// A packet with a valid digest. [`ReplayWindow::check`] checks that it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The message, to be decoded and then checked with [`Protection::Ah`](crate::Protection::Ah).
    pub message: &'a [u8],
    /// The sequence number.
    pub sequence: u32,
}

impl Key {
    /// Makes a key of a password as keepalived does: its octets, padded with zeros.
    #[must_use]
    pub fn new(password: Password) -> Self {
        // HMAC pads a key with zeros to the block of the hash.
        Self(Hmac::new(&collect::<64>(password.octets()).into()))
    }

    /// Returns the IPv4 header and the AH header for a message with this sequence number.
    ///
    /// `header.protocol` must be [`IP_PROTOCOL`]. The SPI is the source, as in keepalived.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the message is too long for an IPv4 packet.
    pub fn seal(
        &self,
        header: &ipv4::Header,
        message: &[u8],
        sequence: u32,
    ) -> Result<[u8; PREFIX_LEN], OutOfRange> {
        let ip = header.encode(message.len().saturating_add(HEADER_LEN))?;
        let ah: [u8; FIXED_LEN] = collect(
            [VRRP, PAYLOAD_LEN, 0, 0]
                .into_iter()
                .chain(header.source.octets())
                .chain(sequence.to_be_bytes()),
        );
        let digest = self.digest(&ip, header.destination, &ah, message);
        let digest = digest.finalize().into_bytes().into_iter().take(DIGEST_LEN);
        Ok(collect(ip.into_iter().chain(ah).chain(digest)))
    }

    /// Verifies a packet of protocol [`IP_PROTOCOL`], and returns its message.
    ///
    /// # Errors
    ///
    /// [`AuthenticationFault::Malformed`] for a header that differs from the one this module
    /// writes, [`AuthenticationFault::Digest`] for another key or a changed packet.
    pub fn open<'a>(&self, packet: &ipv4::Packet<'a>) -> Result<Opened<'a>, AuthenticationFault> {
        let malformed = |field, found, required| {
            if found == required {
                Ok(())
            } else {
                Err(AuthenticationFault::Malformed {
                    field,
                    found,
                    required,
                })
            }
        };
        malformed("IP protocol", packet.protocol.into(), IP_PROTOCOL.into())?;
        let too_short = AuthenticationFault::TooShort {
            found: packet.payload.len(),
            needed: HEADER_LEN,
        };
        let (ah, rest) = packet
            .payload
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(too_short)?;
        let (digest, message) = rest.split_first_chunk::<DIGEST_LEN>().ok_or(too_short)?;
        let &[
            next_header,
            payload_len,
            _,
            _,
            p0,
            p1,
            p2,
            p3,
            s0,
            s1,
            s2,
            s3,
        ] = ah;
        malformed("AH next header", next_header.into(), VRRP.into())?;
        malformed("AH payload length", payload_len.into(), PAYLOAD_LEN.into())?;
        self.digest(packet.header, packet.destination, ah, message)
            .verify_truncated_left(digest)
            .map_err(|_| AuthenticationFault::Digest)?;
        malformed(
            "AH SPI",
            u32::from_be_bytes([p0, p1, p2, p3]),
            packet.source.to_bits(),
        )?;
        Ok(Opened {
            message,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }

    fn digest(
        &self,
        ip: &[u8],
        destination: Ipv4Addr,
        ah: &[u8; FIXED_LEN],
        message: &[u8],
    ) -> Hmac<Md5> {
        let mut digest = self.0.clone();
        if let Some((
            &[
                first,
                _tos,
                l0,
                l1,
                i0,
                i1,
                _f0,
                _f1,
                ttl,
                protocol,
                _c0,
                _c1,
            ],
            addresses,
        )) = ip.split_first_chunk()
        {
            let ttl = if destination.is_multicast() { ttl } else { 0 };
            digest.update(&[first, 0, l0, l1, i0, i1, 0, 0, ttl, protocol, 0, 0]);
            digest.update(addresses);
        }
        digest.update(ah);
        digest.update(&[0; DIGEST_LEN]);
        digest.update(message);
        digest
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The highest sequence number that was accepted: the next one must be higher.
///
/// Packets on one link stay in order, so a window wider than one would have no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    highest: u32,
}

impl ReplayWindow {
    /// Whether a packet with this number is new. Changes nothing, because the packet may still fail
    /// another check.
    ///
    /// # Errors
    ///
    /// [`AuthenticationFault::Replay`].
    pub const fn check(&self, sequence: u32) -> Result<(), AuthenticationFault> {
        if sequence > self.highest {
            return Ok(());
        }
        Err(AuthenticationFault::Replay {
            found: sequence as u64,
            last: self.highest as u64,
        })
    }

    /// Returns the highest number that was accepted; 0 before the first.
    #[must_use]
    pub const fn highest(&self) -> u32 {
        self.highest
    }

    /// Remembers the number of a packet that passed every check.
    pub const fn accept(&mut self, sequence: u32) {
        if sequence > self.highest {
            self.highest = sequence;
        }
    }
}

/// The sequence numbers of sent packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendSequence {
    last: u32,
}

impl SendSequence {
    /// Returns the number of the next packet, or `None` after 4 294 967 293 packets: the key is
    /// then used up.
    pub const fn next(&mut self) -> Option<u32> {
        if self.last >= LAST_SEQUENCE {
            return None;
        }
        self.last = self.last.saturating_add(1);
        Some(self.last)
    }

    /// Returns the number of the last packet, or that of [`continue_above`](Self::continue_above);
    /// 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// Continues above a number that another router used, as keepalived peers expect.
    pub const fn continue_above(&mut self, sequence: u32) {
        if sequence > self.last {
            self.last = sequence;
        }
    }
}
