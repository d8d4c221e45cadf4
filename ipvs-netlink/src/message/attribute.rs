//! Netlink attributes: writing them, and reading them with every length checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_F_NESTED, NLA_HEADER_SIZE, NlaBuffer, NlasIterator};

use super::DecodeError;
use crate::Family;

/// Numbers of attributes, from `include/uapi/linux/ip_vs.h`.
pub(crate) mod number {
    /// Of the top level.
    pub(crate) mod command {
        pub(crate) const SERVICE: u16 = 1;
        pub(crate) const DEST: u16 = 2;
        pub(crate) const DAEMON: u16 = 3;
        pub(crate) const TIMEOUT_TCP: u16 = 4;
        pub(crate) const TIMEOUT_TCP_FIN: u16 = 5;
        pub(crate) const TIMEOUT_UDP: u16 = 6;
    }

    pub(crate) mod service {
        pub(crate) const AF: u16 = 1;
        pub(crate) const PROTOCOL: u16 = 2;
        pub(crate) const ADDR: u16 = 3;
        pub(crate) const PORT: u16 = 4;
        pub(crate) const FWMARK: u16 = 5;
        pub(crate) const SCHED_NAME: u16 = 6;
        pub(crate) const FLAGS: u16 = 7;
        pub(crate) const TIMEOUT: u16 = 8;
        pub(crate) const NETMASK: u16 = 9;
        pub(crate) const STATS: u16 = 10;
        pub(crate) const PE_NAME: u16 = 11;
        pub(crate) const STATS64: u16 = 12;
    }

    pub(crate) mod dest {
        pub(crate) const ADDR: u16 = 1;
        pub(crate) const PORT: u16 = 2;
        pub(crate) const FWD_METHOD: u16 = 3;
        pub(crate) const WEIGHT: u16 = 4;
        pub(crate) const U_THRESH: u16 = 5;
        pub(crate) const L_THRESH: u16 = 6;
        pub(crate) const ACTIVE_CONNS: u16 = 7;
        pub(crate) const INACT_CONNS: u16 = 8;
        pub(crate) const PERSIST_CONNS: u16 = 9;
        pub(crate) const STATS: u16 = 10;
        pub(crate) const ADDR_FAMILY: u16 = 11;
        pub(crate) const STATS64: u16 = 12;
        pub(crate) const TUN_TYPE: u16 = 13;
        pub(crate) const TUN_PORT: u16 = 14;
        pub(crate) const TUN_FLAGS: u16 = 15;
    }

    pub(crate) mod daemon {
        pub(crate) const STATE: u16 = 1;
        pub(crate) const MCAST_IFN: u16 = 2;
        pub(crate) const SYNC_ID: u16 = 3;
        pub(crate) const SYNC_MAXLEN: u16 = 4;
        pub(crate) const MCAST_GROUP: u16 = 5;
        pub(crate) const MCAST_GROUP6: u16 = 6;
        pub(crate) const MCAST_PORT: u16 = 7;
        pub(crate) const MCAST_TTL: u16 = 8;
    }

    pub(crate) mod info {
        pub(crate) const VERSION: u16 = 1;
        pub(crate) const CONN_TAB_SIZE: u16 = 2;
    }

    /// Of statistics in 32 and in 64 bit.
    pub(crate) mod stats {
        pub(crate) const CONNS: u16 = 1;
        pub(crate) const INPKTS: u16 = 2;
        pub(crate) const OUTPKTS: u16 = 3;
        pub(crate) const INBYTES: u16 = 4;
        pub(crate) const OUTBYTES: u16 = 5;
        pub(crate) const CPS: u16 = 6;
        pub(crate) const INPPS: u16 = 7;
        pub(crate) const OUTPPS: u16 = 8;
        pub(crate) const INBPS: u16 = 9;
        pub(crate) const OUTBPS: u16 = 10;
    }

    /// Of the controller of generic netlink, from `include/uapi/linux/genetlink.h`.
    #[cfg(all(feature = "client", target_os = "linux"))]
    pub(crate) mod controller {
        pub(crate) const FAMILY_ID: u16 = 1;
        pub(crate) const FAMILY_NAME: u16 = 2;
    }
}

/// The numbers of [`DaemonState`](crate::DaemonState).
pub(super) const MASTER: u32 = 1;
pub(super) const BACKUP: u32 = 2;

/// The bits of a service's flags.
pub(super) const PERSISTENT: u32 = 0x1;
pub(super) const ONE_PACKET: u32 = 0x4;
pub(super) const SCHEDULER_FLAGS_SHIFT: u32 = 3;
/// All bits that this crate sets and clears. Others stay as they are.
pub(super) const KNOWN_FLAGS: u32 = PERSISTENT | ONE_PACKET | 0x7 << SCHEDULER_FLAGS_SHIFT;

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;

/// Writes attributes, or counts their octets if there is no buffer. Attributes that do not fit are
/// left out but counted.
pub(crate) struct Writer<'a> {
    buffer: Option<&'a mut [u8]>,
    at: usize,
}

impl<'a> Writer<'a> {
    /// Writes to a buffer, and returns the number of octets, including those that did not fit.
    pub(crate) fn fill(buffer: &'a mut [u8], write: impl FnOnce(&mut Self)) -> usize {
        let mut writer = Self {
            buffer: Some(buffer),
            at: 0,
        };
        write(&mut writer);
        writer.at
    }

    /// The number of octets that would be written.
    pub(crate) fn measure(write: impl FnOnce(&mut Self)) -> usize {
        let mut counting = Self {
            buffer: None,
            at: 0,
        };
        write(&mut counting);
        counting.at
    }

    fn put(&mut self, octets: &[u8]) {
        let end = self.at + octets.len();
        if let Some(place) = self
            .buffer
            .as_mut()
            .and_then(|buffer| buffer.get_mut(self.at..end))
        {
            place.copy_from_slice(octets);
        }
        self.at = end;
    }

    fn header(&mut self, kind: u16, length: usize) {
        // Values are small: the longest is a nest of a few hundred octets.
        #[allow(clippy::cast_possible_truncation)]
        self.put(&((NLA_HEADER_SIZE + length) as u16).to_ne_bytes());
        self.put(&kind.to_ne_bytes());
    }

    pub(crate) fn octets(&mut self, kind: u16, value: &[u8]) {
        self.header(kind, value.len());
        self.put(value);
        self.put(&[0; 3][..value.len().wrapping_neg() % 4]);
    }

    pub(super) fn u8(&mut self, kind: u16, value: u8) {
        self.octets(kind, &[value]);
    }

    pub(super) fn u16(&mut self, kind: u16, value: u16) {
        self.octets(kind, &value.to_ne_bytes());
    }

    pub(super) fn u16_be(&mut self, kind: u16, value: u16) {
        self.octets(kind, &value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.octets(kind, &value.to_ne_bytes());
    }

    pub(super) fn u64(&mut self, kind: u16, value: u64) {
        self.octets(kind, &value.to_ne_bytes());
    }

    /// Text with a NUL, without which the kernel refuses it.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.header(kind, value.len() + 1);
        self.put(value.as_bytes());
        self.put(&[0; 4][..4 - value.len() % 4]);
    }

    pub(super) fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.octets(kind, &address.octets()),
            IpAddr::V6(address) => self.octets(kind, &address.octets()),
        }
    }

    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.at;
        self.header(kind | NLA_F_NESTED, 0);
        inside(self);
        let end = self.at;
        self.at = start;
        self.header(kind | NLA_F_NESTED, end - start - NLA_HEADER_SIZE);
        self.at = end;
    }
}

/// An attribute that was read.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    /// The object that the attribute belongs to, for errors.
    object: &'static str,
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

/// The attributes of an object.
pub(crate) fn attributes<'a>(
    object: &'static str,
    octets: &'a [u8],
) -> impl Iterator<Item = Result<Attribute<'a>, DecodeError>> {
    NlasIterator::new(octets).map(move |found: Result<NlaBuffer<&'a [u8]>, _>| {
        let found = found.map_err(|_| DecodeError::Truncated { object })?;
        let (kind, length) = (found.kind(), usize::from(found.length()));
        let value = found
            .into_inner()
            .get(NLA_HEADER_SIZE..length)
            .ok_or(DecodeError::Truncated { object })?;
        Ok(Attribute {
            object,
            kind,
            value,
        })
    })
}

impl Attribute<'_> {
    fn array<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.value.try_into().map_err(|_| DecodeError::Length {
            object: self.object,
            attribute: self.kind,
            length: self.value.len(),
            expected: N,
        })
    }

    pub(super) fn u8(&self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(crate) fn u16(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(super) fn u16_be(&self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn u32_pair(&self) -> Result<(u32, u32), DecodeError> {
        let [a, b, c, d, tail @ ..] = self.array::<8>()?;
        Ok((u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes(tail)))
    }

    pub(super) fn u64(&self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_ne_bytes)
    }

    /// A number in as many bits as it has: counters are 32 or 64 bits wide.
    pub(super) fn counter(&self) -> Result<u64, DecodeError> {
        if self.value.len() == 4 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    pub(super) fn ipv4(&self) -> Result<Ipv4Addr, DecodeError> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    pub(super) fn ipv6(&self) -> Result<Ipv6Addr, DecodeError> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    /// An address. The kernel sends 16 octets for either family, with an IPv4 address in the first
    /// four, and accepts four for IPv4.
    pub(super) fn address(&self, family: Family) -> Result<IpAddr, DecodeError> {
        match (family, self.value) {
            (Family::V4, [a, b, c, d]) => Ok(Ipv4Addr::new(*a, *b, *c, *d).into()),
            (Family::V4, _) => {
                let [a, b, c, d, ..] = self.array::<16>()?;
                Ok(Ipv4Addr::new(a, b, c, d).into())
            }
            (Family::V6, _) => self.ipv6().map(IpAddr::V6),
        }
    }

    pub(super) fn text(&self) -> Result<&str, DecodeError> {
        let octets = self
            .value
            .split(|&octet| octet == 0)
            .next()
            .unwrap_or_default();
        std::str::from_utf8(octets).map_err(|_| self.refuse("not text"))
    }

    pub(super) fn family(&self) -> Result<Family, DecodeError> {
        match self.u16()? {
            AF_INET => Ok(Family::V4),
            AF_INET6 => Ok(Family::V6),
            _ => Err(self.refuse("not an address family of IPVS")),
        }
    }

    /// Returns the error for a value that this crate cannot represent.
    pub(super) fn refuse(&self, problem: &'static str) -> DecodeError {
        DecodeError::Value {
            object: self.object,
            attribute: self.kind,
            value: self.value.iter().take(16).copied().collect(),
            problem,
        }
    }

    pub(super) fn missing(object: &'static str, attribute: u16) -> DecodeError {
        DecodeError::Missing { object, attribute }
    }

    /// Returns a required value, or an error if it is missing.
    pub(super) fn required<T>(
        object: &'static str,
        value: Option<T>,
        attribute: u16,
    ) -> Result<T, DecodeError> {
        value.ok_or_else(|| Self::missing(object, attribute))
    }
}
