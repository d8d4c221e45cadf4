//! VRRP on the wire.
//!
//! This crate turns octets into typed values and back. It does no I/O, reads no clock, allocates nothing, needs no `std`
//! and does not panic. What a router decides with these values is the business of `vrrp-fsm`; sockets are that of
//! `vrrp-net`.
//!
//! | to do this | use |
//! |---|---|
//! | read a message | [`Advertisement::decode`] with the [`IpHeader`] it came under and [`DecodeOptions`]; the result is [`Decoded`] |
//! | check it against the local configuration | [`LocalRouter::check`]; the result is [`Mismatches`] |
//! | know why it was refused | [`Discard`], one variant for each [`Counter`] of RFC 6527 and RFC 8347 |
//! | write a message | [`Advertisement::encode`] into a buffer, under [`Endpoints`], with a [`ChecksumForm`] |
//! | send it again with another priority | [`set_priority`] on the octets (RFC 1624), as a resigning Active does |
//! | authenticate | [`Password`]; the modules `ah` and `hmac` (features of the same names) |
//! | build or read frames | [`frame`]: Ethernet and IP headers for an advertisement, gratuitous ARP, ARP reply, neighbor advertisements, virtual MACs and groups |
//!
//! The values are [`Version`], [`Family`], [`Vrid`], [`Priority`], [`Interval`], [`Addresses`] and [`Authentication`]. Each can
//! hold only what the protocol allows.
//!
//! # Order of checks
//!
//! A message with several faults is always refused for the same one, so that counters mean something. The order is that of
//! `docs/conformance.md` section 7: TTL, length of the header, version, type, address count, length, checksum, VRID range,
//! interval range, link-local first address in [`Advertisement::decode`]; then source not our own, destination or peer, VRID, version
//! configured, authentication, interval, owner and address list in [`LocalRouter::check`].

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
mod version;
mod vrid;

pub use addresses::{AddressIter, Addresses};
pub use advertisement::{
    Advertisement, DecodeOptions, Decoded, EncodeError, MAX_MESSAGE_LEN, TRAILER_LEN,
};
pub use authentication::{Authentication, AuthenticationMethod, Password};
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
    LocalAuthentication, LocalRouter, Mismatches, OwnerRule, Peer, Protection, Transport, Versions,
};
pub use out_of_range::OutOfRange;
pub use parse::InvalidValue;
pub use priority::Priority;
pub use version::{Family, Version};
pub use vrid::Vrid;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
