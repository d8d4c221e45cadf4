//! The second step of validation: against the local configuration.

use core::net::IpAddr;

use crate::{
    AddressListFault, Addresses, AuthenticationFault, AuthenticationMethod, ClockSkew, Decoded,
    Discard, Interval, IntervalFault, IpHeader, MessageAuthentication, Password, TTL, Version,
    VersionFault, Vrid, VridFault,
};

/// The local configuration of one virtual router, for the checks that
/// [`Advertisement::decode`](crate::Advertisement::decode) cannot make.
///
/// ```
/// use std::net::Ipv4Addr;
/// use vrrp_proto::{
///     Advertisement, DecodeOptions, Endpoints, GROUP_IPV4, Interval, IpHeader,
///     LocalAuthentication, LocalRouter, LocalTransport, OwnerRule, Protection, TTL, Versions,
///     Vrid,
/// };
///
/// let local = LocalRouter {
///     vrid: Vrid::new(51).ok_or("VRID")?,
///     versions: Versions::V3,
///     interval: Interval::DEFAULT_V3,
///     owner: OwnerRule::NotOwner,
///     primary_address: Ipv4Addr::new(192, 0, 2, 12).into(),
///     authentication: LocalAuthentication::None,
///     transport: LocalTransport::Multicast { group: GROUP_IPV4.into() },
///     addresses: None,
/// };
///
/// let message = [0x31, 51, 100, 1, 0x00, 0xc8, 0xa8, 0x01, 192, 0, 2, 1];
/// let endpoints = Endpoints::multicast(Ipv4Addr::new(192, 0, 2, 11).into());
/// let ip = IpHeader { endpoints, ttl: TTL };
/// let received = Advertisement::decode(&message, &ip, &DecodeOptions::default())?;
/// let mismatches = local.check(&received, &ip, Protection::None)?;
/// assert!(mismatches.interval_differs, "200 cs there, 100 cs here: version 3 learns it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LocalRouter<'a> {
    /// The virtual router.
    pub vrid: Vrid,
    /// The versions that are accepted.
    pub versions: Versions,
    /// The local advertisement interval. With [`Versions::Both`] it is a version 3 interval.
    pub interval: Interval,
    /// Whether the local router owns the addresses, and how it handles the advertisements of
    /// others.
    pub owner: OwnerRule,
    /// The address from which the local router sends its own advertisements.
    pub primary_address: IpAddr,
    /// How a message must be authenticated.
    pub authentication: LocalAuthentication,
    /// How messages travel.
    pub transport: LocalTransport<'a>,
    /// The local virtual addresses, which are compared with the list of the message (P-44, P-45);
    /// `None` for no comparison.
    pub addresses: Option<Addresses<'a>>,
}

/// The versions that a virtual router accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Versions {
    /// Version 2 only.
    V2,
    /// Version 3 only.
    V3,
    /// Both, for a migration from version 2 to version 3 (O-09, RFC 9568 section 8.4.2). IPv4 only.
    Both,
}

impl Versions {
    /// Whether messages of this version are accepted.
    #[must_use]
    pub const fn include(self, version: Version) -> bool {
        match (self, version) {
            (Self::Both, _) | (Self::V2, Version::V2) | (Self::V3, Version::V3) => true,
            (Self::V2, Version::V3) | (Self::V3, Version::V2) => false,
        }
    }
}

/// How the owner of the virtual addresses handles the advertisements of others (P-43, AMB-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OwnerRule {
    /// The local router does not own the addresses.
    NotOwner,
    /// It does, and discards the messages of others: RFC 3768, RFC 5798, and RFC 9568 as published.
    Discard,
    /// It does, and processes them, with [`Mismatches::owner_conflict`] set: RFC 9568 with erratum
    /// 8298.
    Process,
}

/// How a message must be authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum LocalAuthentication {
    /// Not at all: messages with any authentication are discarded (P-46).
    None,
    /// By a password in clear text (P-48). Only version 2 has it: with this setting, version 3
    /// messages are discarded.
    SimpleText(Password),
    /// By IP AH (P-50): `ah::Key::open` must have returned the message. Only version 2 has it.
    IpAh,
    /// By an HMAC trailer, in either version: it must have passed `hmac::Keys::verify`.
    Hmac,
    /// By an HMAC trailer if there is one; messages without a trailer are accepted as with
    /// [`None`](Self::None). It is for a migration (keepalived's modes `permissive` and
    /// `receive-only`).
    HmacIfPresent,
}

impl LocalAuthentication {
    /// Returns the method, without its secret.
    #[must_use]
    pub const fn method(&self) -> AuthenticationMethod {
        match self {
            Self::None => AuthenticationMethod::None,
            Self::SimpleText(_) => AuthenticationMethod::SimpleText,
            Self::IpAh => AuthenticationMethod::IpAh,
            Self::Hmac | Self::HmacIfPresent => AuthenticationMethod::Hmac,
        }
    }
}

/// How the messages of a virtual router are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTransport<'a> {
    /// By multicast to a group, as in the RFCs.
    Multicast {
        /// [`group`](crate::group) of the family, or another configured group.
        group: IpAddr,
    },
    /// By unicast to each peer, outside the RFCs (AMB-26). Messages of other routers are discarded.
    Unicast {
        /// The other routers.
        peers: &'a [Peer],
    },
}

/// A unicast peer.
///
/// ```
/// use vrrp_proto::Peer;
///
/// let on_the_link = Peer::new([192, 0, 2, 12].into());
/// assert_eq!(on_the_link.min_ttl, 255);
/// let behind_two_routers = Peer::new([198, 51, 100, 12].into()).with_min_ttl(253);
/// assert_eq!(behind_two_routers.min_ttl, 253);
/// let never_nearer = behind_two_routers.with_max_ttl(253);
/// assert_eq!(never_nearer.max_ttl, 253);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The lowest TTL or hop limit of its packets: 255 for a peer on the link, less for a peer
    /// behind routers. It has no effect below
    /// [`DecodeOptions::unicast_ttl_floor`](crate::DecodeOptions::unicast_ttl_floor).
    pub min_ttl: u8,
    /// The highest TTL or hop limit of its packets, not less than `min_ttl`. Default 255.
    #[cfg_attr(feature = "serde", serde(default = "highest_ttl"))]
    pub max_ttl: u8,
}

#[cfg(feature = "serde")]
const fn highest_ttl() -> u8 {
    TTL
}

impl Peer {
    /// Returns a peer on the link: its packets arrive with TTL 255.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            min_ttl: TTL,
            max_ttl: TTL,
        }
    }

    /// Sets the lowest TTL or hop limit of its packets: 255 minus the number of routers on the
    /// path.
    #[must_use]
    pub const fn with_min_ttl(mut self, min_ttl: u8) -> Self {
        self.min_ttl = min_ttl;
        self
    }

    /// Sets the highest TTL or hop limit of its packets, for a peer that is behind routers: a
    /// packet with a higher one comes from another host.
    #[must_use]
    pub const fn with_max_ttl(mut self, max_ttl: u8) -> Self {
        self.max_ttl = max_ttl;
        self
    }
}

/// A peer on the link.
impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

/// The authentication of a packet that was verified before [`LocalRouter::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Protection {
    /// Nothing.
    None,
    /// `ah::Key::open` returned the message, and its sequence number is new.
    Ah,
    /// The trailer passed `hmac::Keys::verify` and is new. `hmac::Verified` converts to this.
    Hmac {
        /// The distance between the clocks, where it is more than half of the time window.
        skew: Option<ClockSkew>,
    },
    /// The verification failed.
    Failed(AuthenticationFault),
}

/// Differences between an accepted message and the local configuration, to be counted, and logged
/// at a limited rate (O-03).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[allow(clippy::struct_excessive_bools)]
pub struct Mismatches {
    /// The version 3 interval is not the local one (P-30). It counts as
    /// [`Counter::Interval`](crate::Counter::Interval) and is learned.
    pub interval_differs: bool,
    /// The address list is not the local one (P-44 from the owner, P-45). It counts as
    /// [`Counter::AddressList`](crate::Counter::AddressList).
    pub address_list_differs: bool,
    /// The local router owns the addresses, and the sender advertises them (P-43, O-05).
    pub owner_conflict: bool,
    /// The clocks of sender and receiver differ by more than half of the time window of the HMAC
    /// trailer. Beyond the whole window its messages are discarded
    /// ([`AuthenticationFault::Stale`]).
    pub clock_skew: Option<ClockSkew>,
}

impl LocalRouter<'_> {
    /// Checks a decoded message against the configuration.
    ///
    /// The order is: source a unicast address, source not our own, destination or peer, peer's TTL,
    /// VRID, version, authentication, version 2 interval, owner, version 2 address list.
    ///
    /// # Errors
    ///
    /// The first check that failed.
    #[inline]
    pub fn check(
        &self,
        received: &Decoded<'_>,
        ip: &IpHeader,
        protection: Protection,
    ) -> Result<Mismatches, Discard> {
        let advertisement = &received.advertisement;
        self.check_path(ip)?;
        if advertisement.vrid != self.vrid {
            return Err(Discard::Vrid(VridFault::NotConfigured {
                found: advertisement.vrid,
            }));
        }
        let version = advertisement.version();
        if !self.versions.include(version) {
            return Err(Discard::Version(VersionFault::NotConfigured {
                found: version,
            }));
        }
        self.check_authentication(received, protection)
            .map_err(Discard::Authentication)?;

        let mut mismatches = Mismatches {
            clock_skew: match protection {
                Protection::Hmac { skew } => skew,
                _ => None,
            },
            ..Mismatches::default()
        };
        match version {
            Version::V2 => {
                let configured = self.interval.to_seconds_rounded_up();
                if advertisement.interval != configured {
                    return Err(Discard::Interval(IntervalFault::Differs {
                        found: advertisement.interval,
                        configured,
                    }));
                }
            }
            Version::V3 => {
                mismatches.interval_differs =
                    advertisement.interval.as_centis() != self.interval.as_centis();
            }
        }

        match self.owner {
            OwnerRule::NotOwner => {}
            OwnerRule::Discard => return Err(Discard::Owner),
            OwnerRule::Process => mismatches.owner_conflict = true,
        }

        if let Some(configured) = self
            .addresses
            .filter(|own| !own.same_set(&advertisement.addresses))
        {
            if version == Version::V2 && !advertisement.priority.is_owner() {
                return Err(Discard::AddressList(AddressListFault::Differs {
                    found: advertisement.addresses.len(),
                    configured: configured.len(),
                }));
            }
            mismatches.address_list_differs = true;
        }
        Ok(mismatches)
    }

    #[inline]
    fn check_path(&self, ip: &IpHeader) -> Result<(), Discard> {
        let source = ip.endpoints.source();
        let destination = ip.endpoints.destination();
        if !is_unicast(source) {
            return Err(Discard::Source { found: source });
        }
        if source == self.primary_address {
            return Err(Discard::OwnPacket {
                source_address: source,
            });
        }
        match self.transport {
            LocalTransport::Multicast { group } if destination == group => Ok(()),
            LocalTransport::Unicast { peers } if is_unicast(destination) => {
                let Some(peer) = peers.iter().find(|peer| peer.address == source) else {
                    return Err(Discard::Peer { found: source });
                };
                if ip.ttl < peer.min_ttl {
                    return Err(Discard::IpTtl {
                        found: ip.ttl,
                        required: peer.min_ttl,
                    });
                }
                if ip.ttl > peer.max_ttl {
                    return Err(Discard::IpTtlTooHigh {
                        found: ip.ttl,
                        allowed: peer.max_ttl,
                    });
                }
                Ok(())
            }
            LocalTransport::Multicast { .. } | LocalTransport::Unicast { .. } => {
                Err(Discard::Destination { found: destination })
            }
        }
    }

    #[inline]
    fn check_authentication(
        &self,
        received: &Decoded<'_>,
        protection: Protection,
    ) -> Result<(), AuthenticationFault> {
        if let Protection::Failed(fault) = protection {
            return Err(fault);
        }
        let in_message = received.advertisement.authentication;
        let found = if received.trailer.is_some() {
            AuthenticationMethod::Hmac
        } else {
            in_message.method()
        };
        let required = self.authentication.method();
        let migrating = self.authentication == LocalAuthentication::HmacIfPresent
            && found == AuthenticationMethod::None;
        if found != required && !migrating {
            return Err(AuthenticationFault::Method { found, required });
        }
        match (self.authentication, in_message, protection) {
            (
                LocalAuthentication::SimpleText(own),
                MessageAuthentication::SimpleText(password),
                Protection::None,
            ) => {
                if own == password {
                    Ok(())
                } else {
                    Err(AuthenticationFault::Password)
                }
            }
            (LocalAuthentication::None, MessageAuthentication::None, Protection::None)
            | (LocalAuthentication::IpAh, MessageAuthentication::IpAh, Protection::Ah)
            | (
                LocalAuthentication::Hmac | LocalAuthentication::HmacIfPresent,
                MessageAuthentication::None,
                Protection::Hmac { .. },
            ) => Ok(()),
            (LocalAuthentication::HmacIfPresent, MessageAuthentication::None, Protection::None)
                if migrating =>
            {
                Ok(())
            }
            (_, _, Protection::None) => Err(AuthenticationFault::Unverified { method: found }),
            _ => Err(AuthenticationFault::Combined),
        }
    }
}

/// Whether a router can send from this address (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5). A
/// packet does not show the broadcast address of a subnet.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            // 0/8 is "this network", 127/8 loopback, 224/4 multicast, and 240/4 reserved; it ends
            // with the broadcast address.
            !matches!(first, 0 | 127 | 224..)
        }
        IpAddr::V6(address) => {
            !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
        }
    }
}
