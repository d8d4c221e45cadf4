#![doc = include_str!("../README.md")]
//!
//! # Where to find it
//!
//! | to do this | use |
//! |---|---|
//! | configure | [`Config`], validated by [`VirtualRouter::new`]; [`ConfigError`] names the field |
//! | handle packets | [`VirtualRouter::handle_packet`] with a [`ReceiveContext`] |
//! | handle other events and time | [`VirtualRouter::handle_event`], [`VirtualRouter::handle_timeout`] |
//! | sleep | until [`VirtualRouter::poll_timeout`] |
//! | act | on each [`Action`] of the returned [`Actions`] |
//! | send | the messages of [`VirtualRouter::advertisements`] for [`Action::SendAdvertisement`] |
//! | decode packets elsewhere | [`VirtualRouter::check`], [`VirtualRouter::count_discard`] |
//! | reconfigure at run time | [`VirtualRouter::reconfigure`], [`Event::EffectivePriority`], [`Event::PrimaryAddress`], [`Event::AddressesChanged`] |
//! | report a fault | [`Event::Shutdown`] with [`ShutdownCause::Fault`], then [`Event::Startup`] |
//! | observe | [`VirtualRouter::state`], [`VirtualRouter::counters`] and the other getters |
//! | detect a late host | [`VirtualRouter::lateness`], [`VirtualRouter::is_stalled`], [`StallPolicy`] |
//! | hand over to another process | [`VirtualRouter::snapshot`], [`VirtualRouter::restore`] |
//! | run many routers, track objects, group routers | `fleet::VrrpRouter`, `track` (feature `alloc`) |
//! | test your own host, or a whole network | `sim` (feature `sim`) |
//! | keep time with `std` | `Epoch` (feature `std`) |
//!
//! [`VirtualRouter::check`] returns an [`AcceptedAdvertisement`], the only value that can become
//! [`Event::Advertisement`]: a discarded packet cannot change a state or a timer.
//!
//! # The loop
//!
//! 1. Wait for a packet, an event of the host, or `poll_timeout`, whichever is first.
//! 2. Read *all* waiting packets, and pass each to [`handle_packet`](VirtualRouter::handle_packet).
//! 3. Then [`handle_timeout`](VirtualRouter::handle_timeout): drain, then decide. A host that wakes
//!    up late would otherwise time out although an advertisement waits in its socket.
//! 4. Perform the actions of each call in order. With many routers, send all advertisements first.
//!
//! # The order of actions
//!
//! | step | actions |
//! |---|---|
//! | takeover | `SendAdvertisement`, `InstallAddresses`, `Announce`, `StateChanged` |
//! | yield to another router | `SendAdvertisement` ([`Config::advertise_on_yield`]), `RemoveAddresses`, `StateChanged` |
//! | yield after a stall | `RemoveAddresses`, `StateChanged` |
//! | stop, as Active | `SendAdvertisement` with priority 0, `RemoveAddresses`, `StateChanged` |
//! | start or stop, as Backup | `StateChanged` |
//! | while Active | `SendAdvertisement`, or `Announce`, or both in this order; `InstallAddresses` between them after [`Event::AddressesChanged`] |
//!
//! `InstallAddresses` and `RemoveAddresses` are idempotent: addresses are installed exactly in
//! Active. A host may skip the first if the second already waits.
//!
//! # Time
//!
//! Every call that depends on time takes an [`Instant`]: nanoseconds of a monotonic clock since an
//! epoch of the caller. The same calls with the same instants return the same results. Arithmetic
//! saturates at [`Instant::MAX`], a deadline that is never reached. A clock that goes back only
//! delays the deadlines.
//!
//! Periodic advertisements do not drift: each deadline is the last one plus the interval, unless a
//! whole interval was missed.
//!
//! # What the RFCs leave open
//!
//! [`Profile`] selects the RFC where the RFCs differ. The other decisions are these; the numbers
//! are those of `docs/conformance.md` section 9.
//!
//! | no. | decision |
//! |---|---|
//! | AMB-01 | version 3 over IPv4 is sent in both checksum forms until the other routers show which one they need: [`ChecksumSending`] |
//! | AMB-02 | the owner of the addresses accepts advertisements in version 3 of RFC 9568, and discards them otherwise: [`Profile`] |
//! | AMB-05 | a different interval in version 3 is reported and learned |
//! | AMB-11 | the division in Skew_Time is done in nanoseconds and rounded down |
//! | AMB-12 | nothing is learned from priority 0; Skew_Time uses the interval learned before |
//! | AMB-13 | an Active answers rivals of lower priority at most once in 10 ms, the shortest interval, and does not change its Adver_Timer. Resignations are always answered, and reset the timer (S-16) |
//! | AMB-14 | a packet from the router's own primary address is discarded and counted |
//! | AMB-15 | a changed primary address is used for an advertisement at once, and changes no timer |
//! | AMB-20 | [`Preempt::AfterDelay`] defines when the delay starts and stops |
//! | AMB-21 | changes at run time apply as [`VirtualRouter::reconfigure`] and [`Event`] describe, without a re-election |
//! | AMB-22 | Accept_Mode is off by default |
//! | AMB-23 | priority 0 counts from any router |
//! | AMB-25 | the owner is the router with the configured priority 255; tracking does not change it |
//! | AMB-27 | messages of another version are discarded, unless [`vrrp_proto::Versions::Both`] is set |
//! | AMB-28 | with both versions, the interval of version 2 messages is rounded up to whole seconds |
//! | AMB-34 | [`Config::missed_advertisements`] is 3 by default |
//!
//! Priority 0 in Backup sets the Active_Down_Timer to Skew_Time, as the RFCs require, even if it
//! would have fired earlier.
//!
//! An Active announces when it takes over, once more after 5 s, at the advertisement of a rival,
//! half a second after a rival's last advertisement, and after a stall ([`AnnouncePolicy`]). Two
//! Actives that meet after a partition end with an announcement of the winner, whichever is
//! received first: an Active that yields advertises one last time ([`Config::advertise_on_yield`]).

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![warn(clippy::indexing_slicing)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod action;
mod announce;
#[cfg(feature = "alloc")]
mod arena;
mod backup;
mod checksum;
mod config;
mod counters;
#[cfg(feature = "alloc")]
mod deadlines;
#[cfg(feature = "std")]
mod epoch;
mod event;
#[cfg(feature = "alloc")]
pub mod fleet;
#[cfg(feature = "alloc")]
mod group;
mod instant;
mod preempt;
mod reason;
mod receive;
mod reconfigure;
mod router;
mod settings;
#[cfg(feature = "sim")]
pub mod sim;
mod snapshot;
mod timers;
#[cfg(feature = "alloc")]
pub mod track;
mod view;

pub use action::{Action, Actions, Outgoing};
pub use backup::{ActiveRouter, Expiry};
pub use checksum::{ChecksumEvidence, ChecksumForms, ChecksumSending};
pub use config::{AnnouncePolicy, Config, ConfigError, Preempt, Profile, StallPolicy};
pub use counters::Counters;
// For the bench `fleet`, and for tests that compare it with a model.
#[cfg(feature = "alloc")]
#[doc(hidden)]
pub use deadlines::Deadlines;
#[cfg(feature = "std")]
pub use epoch::Epoch;
pub use event::{AcceptedAdvertisement, Event};
pub use instant::Instant;
pub use reason::{NewActiveReason, Reason, ShutdownCause, State, Transition};
pub use receive::ReceiveContext;
pub use router::VirtualRouter;
pub use snapshot::Snapshot;
// For tests of deadlines. The contents of a snapshot are not part of the public interface.
#[doc(hidden)]
pub use snapshot::{Deadline, Phase as SnapshotPhase};
