//! Decoding and encoding of the message.

use core::fmt;

#[cfg(feature = "bytes")]
use bytes::BufMut;

use crate::{
    AddressListFault, Addresses, ChecksumAcceptance, ChecksumForm, ChecksumMatch, Discard,
    Endpoints, Family, Interval, IntervalFault, IpHeader, LengthFault, Leniency,
    MessageAuthentication, Priority, TRAILER_LEN, TTL, Version, VersionFault, Vrid, VridFault,
    checksum::Sum, trailer::has_trailer_form,
};

const HEADER_LEN: usize = 8;
const TYPE_ADVERTISEMENT: u8 = 1;
/// The 12 bits of the interval, which follow 4 reserved bits (version 3).
const INTERVAL_MASK: u16 = 0x0fff;

/// The length of the longest message, in octets: version 3 with 255 IPv6 addresses (P-37).
pub const MAX_MESSAGE_LEN: usize = HEADER_LEN + 255 * 16;

/// A VRRP ADVERTISEMENT, the only message type of the protocol.
///
/// The version is that of the interval's unit, the family that of the addresses.
///
/// ```
/// use std::net::Ipv4Addr;
/// use vrrp_proto::{
///     Addresses, Advertisement, ChecksumForm, DecodeOptions, Endpoints, Interval, IpHeader,
///     MessageAuthentication, Priority, TTL, Vrid,
/// };
///
/// let virtual_addresses = [Ipv4Addr::new(192, 0, 2, 1)];
/// let advertisement = Advertisement {
///     vrid: Vrid::new(51).ok_or("VRID")?,
///     priority: Priority::DEFAULT,
///     interval: Interval::centis(100)?,
///     authentication: MessageAuthentication::None,
///     addresses: Addresses::from(&virtual_addresses[..]),
/// };
/// let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
///
/// let mut buffer = [0; 64];
/// let length = advertisement.encode(&mut buffer, &endpoints, ChecksumForm::MessageOnly)?;
/// assert_eq!(buffer[..length], [0x31, 51, 100, 1, 0x00, 0x64, 0xa8, 0x65, 192, 0, 2, 1]);
///
/// let ip = IpHeader { endpoints, ttl: TTL };
/// let decoded = Advertisement::decode(&buffer[..length], &ip, &DecodeOptions::default())?;
/// assert_eq!(decoded.advertisement, advertisement);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement<'a> {
    /// The virtual router.
    pub vrid: Vrid,
    /// The sender's priority for it; 0 when the sender resigns.
    pub priority: Priority,
    /// The sender's time between advertisements, and with its unit the version of the message.
    pub interval: Interval,
    /// The type and the data of authentication in version 2; [`MessageAuthentication::None`] in
    /// version 3.
    pub authentication: MessageAuthentication,
    /// The virtual addresses, 1 to 255. Over IPv6 the first is the link-local address of the
    /// virtual router (P-38).
    pub addresses: Addresses<'a>,
}

/// The options of a receiver. The default is strict, except that it accepts both checksum forms
/// (AMB-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DecodeOptions {
    /// Which checksums of a version 3 message over IPv4 are accepted.
    pub v3_ipv4_checksum: ChecksumAcceptance,
    /// The lowest TTL or hop limit of a packet to a unicast destination (AMB-26). A packet to a
    /// multicast destination always needs 255. Below 255, unicast loses the protection of O-02.
    pub unicast_ttl_floor: u8,
    /// Whether a message may be followed by the 28 octets of an HMAC trailer.
    pub hmac_trailer: bool,
    /// The deviations that are tolerated.
    pub leniency: Leniency,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            v3_ipv4_checksum: ChecksumAcceptance::Either,
            unicast_ttl_floor: TTL,
            hmac_trailer: false,
            leniency: Leniency::NONE,
        }
    }
}

/// A message that passed every check that needs no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The message.
    pub advertisement: Advertisement<'a>,
    /// The forms that its checksum matches. An adaptive sender follows [`ChecksumMatch::form`].
    pub checksum: ChecksumMatch,
    /// The HMAC trailer, if [`DecodeOptions::hmac_trailer`] allows one and the packet has one. It
    /// is not verified.
    pub trailer: Option<&'a [u8; TRAILER_LEN]>,
    /// The octets of the message alone, without trailer and surplus.
    pub message: &'a [u8],
    /// The octets after the message that [`Leniency::surplus`] tolerated.
    pub surplus: &'a [u8],
    /// The deviations that were tolerated.
    pub tolerated: Leniency,
}

impl<'a> Advertisement<'a> {
    /// Returns the version of the message: that of the interval's unit.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.interval.version()
    }

    /// Returns the length of the encoded message in octets: 16 + 4n in version 2, 8 + 4n or 8 + 16n
    /// in version 3 (P-37).
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        message_len(
            self.version(),
            self.addresses.family(),
            self.addresses.len(),
        )
    }

    /// Decodes a message: the payload of an IP packet, cut to the length that the IP header gives.
    ///
    /// Makes every check that needs no configuration, in this order: TTL or hop limit, header
    /// complete, version, type, address count, length, checksum, VRID, interval, first IPv6 address
    /// link-local. The 4 reserved bits of version 3 are ignored (P-25).
    ///
    /// # Errors
    ///
    /// The first check that failed.
    #[inline]
    pub fn decode(
        payload: &'a [u8],
        ip: &IpHeader,
        options: &DecodeOptions,
    ) -> Result<Decoded<'a>, Discard> {
        check_ttl(ip, *options)?;
        let Some((header, _)) = payload.split_first_chunk::<HEADER_LEN>() else {
            return Err(Discard::PacketLength(LengthFault::TooShort {
                found: payload.len(),
            }));
        };
        let family = ip.endpoints.family();
        let version = version_over(header[0] >> 4, family).map_err(Discard::Version)?;
        let decode =
            |version, family| Self::decode_as(version, family, payload, *header, ip, *options);
        // The compiler specialises each call for its version and family. The bench `codec` shows
        // the gain.
        match (version, family) {
            (Version::V2, _) => decode(Version::V2, Family::Ipv4),
            (Version::V3, Family::Ipv4) => decode(Version::V3, Family::Ipv4),
            (Version::V3, Family::Ipv6) => decode(Version::V3, Family::Ipv6),
        }
    }

    /// Decodes a message of this form, whose header is complete.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn decode_as(
        version: Version,
        family: Family,
        payload: &'a [u8],
        header: [u8; HEADER_LEN],
        ip: &IpHeader,
        options: DecodeOptions,
    ) -> Result<Decoded<'a>, Discard> {
        let [
            version_and_type,
            vrid,
            priority,
            count,
            fourth,
            fifth,
            checksum @ ..,
        ] = header;
        let message_type = version_and_type & 0x0f;
        if message_type != TYPE_ADVERTISEMENT {
            return Err(Discard::InvalidType {
                found: message_type,
            });
        }

        let mut tolerated = Leniency::NONE;
        if count == 0 {
            if version == Version::V3 || !options.leniency.v2_without_addresses {
                return Err(Discard::PacketLength(LengthFault::NoAddresses));
            }
            tolerated.v2_without_addresses = true;
        }

        let expected = message_len(version, family, usize::from(count));
        let Parts {
            message,
            trailer,
            surplus,
        } = Parts::of(payload, expected, options).map_err(Discard::PacketLength)?;
        tolerated.surplus = !surplus.is_empty();

        // Over IPv6 the checksum covers the whole payload, as an upper-layer checksum does: a
        // trailer and surplus too.
        let (acceptance, covered) = match (version, family) {
            (Version::V2, _) => (ChecksumAcceptance::MessageOnly, message),
            (Version::V3, Family::Ipv4) => (options.v3_ipv4_checksum, message),
            (Version::V3, Family::Ipv6) => (ChecksumAcceptance::PseudoHeader, payload),
        };
        let checksum = acceptance
            .verify(covered, &ip.endpoints, u16::from_be_bytes(checksum))
            .map_err(Discard::Checksum)?;

        let Some(vrid) = Vrid::new(vrid) else {
            return Err(Discard::Vrid(VridFault::Zero));
        };

        let interval = match version {
            Version::V2 => Interval::seconds(fifth),
            Version::V3 => Interval::centis(u16::from_be_bytes([fourth, fifth]) & INTERVAL_MASK),
        };
        let Ok(interval) = interval else {
            return Err(Discard::Interval(IntervalFault::Zero { version }));
        };

        let body = message.get(HEADER_LEN..).unwrap_or_default();
        let (addresses, authentication) = match version {
            Version::V2 => MessageAuthentication::split_from(body, fourth),
            Version::V3 => (body, MessageAuthentication::None),
        };
        let addresses = Addresses::from_wire(family, addresses);
        if let Some(found) = addresses
            .first_ipv6()
            .filter(|first| !first.is_unicast_link_local())
        {
            if !options.leniency.first_address_not_link_local {
                return Err(Discard::AddressList(AddressListFault::FirstNotLinkLocal {
                    found,
                }));
            }
            tolerated.first_address_not_link_local = true;
        }

        Ok(Decoded {
            advertisement: Self {
                vrid,
                priority: Priority::new(priority),
                interval,
                authentication,
                addresses,
            },
            checksum,
            trailer,
            message,
            surplus,
            tolerated,
        })
    }

    /// Encodes the message with its checksum into the front of a buffer, and returns its length.
    ///
    /// `form` selects what the checksum of a version 3 message over IPv4 covers. Other messages
    /// have one form and ignore it.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] for a message that the protocol does not allow, and for a buffer that is too
    /// small. The buffer is unchanged then.
    #[inline]
    pub fn encode(
        &self,
        buffer: &mut [u8],
        endpoints: &Endpoints,
        form: ChecksumForm,
    ) -> Result<usize, EncodeError> {
        self.encode_lenient(buffer, endpoints, form, Leniency::NONE)
    }

    /// Writes the message, as [`encode`](Self::encode) does, with deviations of older routers: a
    /// version 2 message without addresses, and an IPv6 list that begins with a global address.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode), except for the deviations in `leniency`.
    pub fn encode_lenient(
        &self,
        buffer: &mut [u8],
        endpoints: &Endpoints,
        form: ChecksumForm,
        leniency: Leniency,
    ) -> Result<usize, EncodeError> {
        let given = buffer.len();
        let needed = self.checked_len(endpoints, leniency)?;
        let Some(mut rest) = buffer.get_mut(..needed) else {
            return Err(EncodeError::BufferTooSmall { needed, given });
        };
        self.emit(self.checksum(endpoints, form), |octets| {
            // The parts fill `rest` exactly: `needed` is the sum of their lengths.
            if let Some((target, after)) =
                core::mem::take(&mut rest).split_at_mut_checked(octets.len())
            {
                target.copy_from_slice(octets);
                rest = after;
            }
        });
        Ok(needed)
    }

    /// Appends the message to a buffer, encoded as by [`encode`](Self::encode), and returns its
    /// length.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    #[cfg(feature = "bytes")]
    pub fn put(
        &self,
        buffer: &mut impl BufMut,
        endpoints: &Endpoints,
        form: ChecksumForm,
    ) -> Result<usize, EncodeError> {
        let given = buffer.remaining_mut();
        let needed = self.checked_len(endpoints, Leniency::NONE)?;
        if given < needed {
            return Err(EncodeError::BufferTooSmall { needed, given });
        }
        self.emit(self.checksum(endpoints, form), |octets| {
            buffer.put_slice(octets);
        });
        Ok(needed)
    }

    /// Returns the length, if the message may be sent between these endpoints.
    fn checked_len(&self, endpoints: &Endpoints, leniency: Leniency) -> Result<usize, EncodeError> {
        let family = self.addresses.family();
        if family != endpoints.family() {
            return Err(EncodeError::Family {
                addresses: family,
                endpoints: endpoints.family(),
            });
        }
        match (self.version(), self.authentication) {
            (Version::V2, _) if family == Family::Ipv6 => return Err(EncodeError::V2OverIpv6),
            (Version::V2, MessageAuthentication::Unknown(found)) => {
                return Err(EncodeError::UnknownAuthentication { found });
            }
            (Version::V2, _) | (Version::V3, MessageAuthentication::None) => {}
            (Version::V3, _) => return Err(EncodeError::AuthenticationInV3),
        }
        let count = self.addresses.len();
        let may_be_empty = leniency.v2_without_addresses && self.version() == Version::V2;
        if (count == 0 && !may_be_empty) || count > 255 {
            return Err(EncodeError::AddressCount { count });
        }
        if let Some(found) = self.addresses.first_ipv6().filter(|first| {
            !leniency.first_address_not_link_local && !first.is_unicast_link_local()
        }) {
            return Err(EncodeError::FirstNotLinkLocal { found });
        }
        Ok(self.encoded_len())
    }

    fn checksum(&self, endpoints: &Endpoints, form: ChecksumForm) -> u16 {
        let mut sum = Sum::NOTHING;
        self.emit(0, |octets| sum.add(octets));
        let form = match (self.version(), endpoints.family()) {
            (Version::V2, _) => ChecksumForm::MessageOnly,
            (Version::V3, Family::Ipv4) => form,
            (Version::V3, Family::Ipv6) => ChecksumForm::PseudoHeader,
        };
        match form {
            ChecksumForm::MessageOnly => sum,
            ChecksumForm::PseudoHeader => sum.with_pseudo_header(endpoints, self.encoded_len()),
        }
        .checksum()
    }

    /// Passes the octets of the message to `part`, in order and in multiples of 4 octets.
    #[inline]
    fn emit(&self, checksum: u16, mut part: impl FnMut(&[u8])) {
        let [interval_high, interval_low] = self.interval.count().to_be_bytes();
        let [checksum_high, checksum_low] = checksum.to_be_bytes();
        // At most 255: `checked_len` comes first.
        #[allow(clippy::cast_possible_truncation)]
        let count = self.addresses.len() as u8;
        let fourth = match self.version() {
            Version::V2 => self.authentication.auth_type(),
            // The reserved bits are zero (P-24), because an interval has 12 bits.
            Version::V3 => interval_high,
        };
        part(&[
            self.version().number() << 4 | TYPE_ADVERTISEMENT,
            self.vrid.get(),
            self.priority.get(),
            count,
            fourth,
            interval_low,
            checksum_high,
            checksum_low,
        ]);
        self.addresses.emit(&mut part);
        if self.version() == Version::V2 {
            part(&self.authentication.data());
        }
    }
}

/// The TTL of a multicast packet must be 255, that of a unicast packet at least the floor (P-06,
/// P-07, O-02).
const fn check_ttl(ip: &IpHeader, options: DecodeOptions) -> Result<(), Discard> {
    if ip.ttl == TTL {
        // The maximum, and the TTL of nearly every packet.
        return Ok(());
    }
    let required = if ip.endpoints.destination().is_multicast() {
        TTL
    } else {
        options.unicast_ttl_floor
    };
    if ip.ttl < required {
        return Err(Discard::IpTtl {
            found: ip.ttl,
            required,
        });
    }
    Ok(())
}

/// Finds the same message and HMAC trailer as [`Advertisement::decode`] with these options, without
/// further checks except that of the TTL.
#[cfg(feature = "hmac")]
pub(crate) fn split_trailer<'a>(
    payload: &'a [u8],
    ip: &IpHeader,
    options: DecodeOptions,
) -> Option<(&'a [u8], &'a [u8; TRAILER_LEN])> {
    check_ttl(ip, options).ok()?;
    let (&[version_and_type, _, _, count, ..], _) = payload.split_first_chunk::<HEADER_LEN>()?;
    let family = ip.endpoints.family();
    let version = version_over(version_and_type >> 4, family).ok()?;
    let expected = message_len(version, family, usize::from(count));
    let parts = Parts::of(payload, expected, options).ok()?;
    Some((parts.message, parts.trailer?))
}

/// Returns the version with this number, if it exists over this family (P-11, P-54).
const fn version_over(number: u8, family: Family) -> Result<Version, VersionFault> {
    match (number, family) {
        (2, Family::Ipv4) => Ok(Version::V2),
        (2, Family::Ipv6) => Err(VersionFault::V2OverIpv6),
        (3, _) => Ok(Version::V3),
        (found, _) => Err(VersionFault::Unknown { found }),
    }
}

/// The payload of an IP packet, taken apart.
struct Parts<'a> {
    message: &'a [u8],
    trailer: Option<&'a [u8; TRAILER_LEN]>,
    surplus: &'a [u8],
}

impl<'a> Parts<'a> {
    #[inline]
    fn of(payload: &'a [u8], expected: usize, options: DecodeOptions) -> Result<Self, LengthFault> {
        let differs = LengthFault::Differs {
            expected,
            found: payload.len(),
        };
        let (message, rest) = payload.split_at_checked(expected).ok_or(differs)?;
        if rest.is_empty() {
            return Ok(Self {
                message,
                trailer: None,
                surplus: rest,
            });
        }
        if options.hmac_trailer
            && let Ok(trailer) = rest.try_into()
        {
            return Ok(Self {
                message,
                trailer: Some(trailer),
                surplus: &[],
            });
        }
        if !options.leniency.surplus {
            return Err(if has_trailer_form(rest) {
                LengthFault::HmacTrailer { expected }
            } else {
                differs
            });
        }
        Ok(Self {
            message,
            trailer: None,
            surplus: rest,
        })
    }
}

/// Octets of a message with this many addresses (P-37).
const fn message_len(version: Version, family: Family, addresses: usize) -> usize {
    let authentication = match version {
        Version::V2 => MessageAuthentication::DATA_LEN,
        Version::V3 => 0,
    };
    // A slice of addresses is at most `isize::MAX` octets long.
    HEADER_LEN
        .saturating_add(family.address_len().saturating_mul(addresses))
        .saturating_add(authentication)
}

/// The reason why a message cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer is shorter than the message.
    BufferTooSmall {
        /// [`Advertisement::encoded_len`].
        needed: usize,
        /// Octets in the buffer.
        given: usize,
    },
    /// No addresses, or more than the 8-bit count field can hold.
    AddressCount {
        /// The number of addresses.
        count: usize,
    },
    /// The first IPv6 address is not link-local (P-38).
    FirstNotLinkLocal {
        /// The first address.
        found: core::net::Ipv6Addr,
    },
    /// The addresses are not of the family of the packet (P-40).
    Family {
        /// The family of the addresses.
        addresses: Family,
        /// The family of the endpoints.
        endpoints: Family,
    },
    /// Version 2 exists over IPv4 only (P-54).
    V2OverIpv6,
    /// Version 3 has no authentication of its own (O-01).
    AuthenticationInV3,
    /// The authentication type is not defined by any RFC.
    UnknownAuthentication {
        /// The type.
        found: u8,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall { needed, given } => write!(
                f,
                "buffer of {given} octets is too small for a message of {needed}"
            ),
            Self::AddressCount { count } => write!(f, "address count {count} is not in 1..=255"),
            Self::FirstNotLinkLocal { found } => {
                write!(f, "first address {found} is not in fe80::/10")
            }
            Self::Family {
                addresses,
                endpoints,
            } => write!(f, "{addresses} addresses cannot travel over {endpoints}"),
            Self::V2OverIpv6 => f.write_str("version 2 does not exist over IPv6"),
            Self::AuthenticationInV3 => f.write_str("version 3 has no authentication type"),
            Self::UnknownAuthentication { found } => {
                write!(f, "authentication type {found} is not in 0..=2")
            }
        }
    }
}

impl core::error::Error for EncodeError {}
