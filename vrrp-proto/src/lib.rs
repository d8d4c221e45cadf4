#![doc = include_str!("../README.md")]
//!
//! # Where to find it
//!
//! | to do this | use |
//! |---|---|
//! | read a message | [`Advertisement::decode`] with its [`IpHeader`] and [`DecodeOptions`] |
//! | validate it against the local configuration | [`LocalRouter::check`]; returns [`Mismatches`] |
//! | find out why it was discarded | [`Discard`], with the [`Counter`] of RFC 6527 and RFC 8347 |
//! | write a message | [`Advertisement::encode`] with [`Endpoints`] and a [`ChecksumForm`] |
//! | change the priority of an encoded message | [`set_priority`] (RFC 1624) |
//! | authenticate | [`Password`]; the modules `ah` and `hmac` |
//! | build or parse frames | [`frame`]: Ethernet, IPv4, IPv6, ARP, Neighbor Discovery |
//!
//! The values are [`Version`], [`Family`], [`Vrid`], [`Priority`], [`Interval`], [`Addresses`] and
//! [`MessageAuthentication`]. Each holds only values that the protocol allows. The values that
//! users type implement `FromStr` and `TryFrom`.
//!
//! # Order of checks
//!
//! A message with several faults is always discarded for the same one, so counters are comparable.
//! The order is that of `docs/conformance.md` section 7:
//!
//! 1. [`Advertisement::decode`]: TTL, length of the header, version, type, address count, length,
//!    checksum, VRID range, interval range, link-local first address.
//! 2. [`LocalRouter::check`]: source a unicast address and not our own, destination or peer, VRID,
//!    version configured, authentication, interval, owner, address list.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::indexing_slicing)]

mod addresses;
mod advertisement;
#[cfg(feature = "ah")]
pub mod ah;
mod authentication;
mod checksum;
mod clock_skew;
mod discard;
pub mod frame;
#[cfg(feature = "hmac")]
pub mod hmac;
mod interval;
mod ip;
mod leniency;
mod local;
mod out_of_range;
mod parse;
mod priority;
#[cfg(feature = "serde")]
mod secret;
mod trailer;
mod version;
mod vrid;

pub use addresses::{AddressIter, Addresses};
pub use advertisement::{Advertisement, DecodeOptions, Decoded, EncodeError, MAX_MESSAGE_LEN};
pub use authentication::{AuthenticationMethod, MessageAuthentication, Password};
pub use checksum::{ChecksumAcceptance, ChecksumForm, ChecksumMatch, set_priority};
pub use clock_skew::ClockSkew;
pub use discard::{
    AddressListFault, AuthenticationFault, ChecksumFault, Counter, Discard, IntervalFault,
    LengthFault, VersionFault, VridFault,
};
pub use interval::Interval;
pub use ip::{Endpoints, GROUP_IPV4, GROUP_IPV6, IP_PROTOCOL, IpHeader, TTL, group};
pub use leniency::Leniency;
pub use local::{
    LocalAuthentication, LocalRouter, LocalTransport, Mismatches, OwnerRule, Peer, Protection,
    Versions,
};
pub use out_of_range::OutOfRange;
pub use parse::InvalidValue;
pub use priority::Priority;
pub use trailer::TRAILER_LEN;
pub use version::{Family, Version};
pub use vrid::Vrid;
