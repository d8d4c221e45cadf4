//! The VRRP election as a pure state machine.
//!
//! One [`VirtualRouter`] is one virtual router of one family on one interface: a plain `Copy` value that is stepped by events and
//! holds its own deadlines. It reads no clock, opens no socket, allocates nothing and does not panic. What has to be done
//! comes out as [`Action`] values, in the order in which it must be done.
//!
//! | to do this | use |
//! |---|---|
//! | configure | [`Config`], checked once by [`VirtualRouter::new`], [`ConfigError`] names the field |
//! | feed | [`VirtualRouter::handle_packet`] with the host's [`ReceiveContext`], [`VirtualRouter::handle_event`] with any other [`Event`], [`VirtualRouter::handle_timeout`] |
//! | sleep | until [`VirtualRouter::poll_timeout`] |
//! | act | on each [`Action`] of the returned [`Actions`] |
//! | send | [`VirtualRouter::advertisements`] are the messages that [`Action::SendAdvertisement`] asks for |
//! | decode packets elsewhere | [`VirtualRouter::check`] returns the only value that can become [`Event::Advertisement`], so a packet that fails cannot move a state or a timer; [`VirtualRouter::count_discard`] |
//! | change while running | [`VirtualRouter::reconfigure`], [`Event::EffectivePriority`], [`Event::PrimaryAddress`], [`Event::AddressesChanged`] |
//! | report a fault | [`Event::Shutdown`] with [`ShutdownCause::Fault`]; when it is gone, [`Event::Startup`] |
//! | look | [`VirtualRouter::state`], [`VirtualRouter::skew_time`], [`VirtualRouter::counters`] and the other getters: what they show is what the timers use |
//! | notice that the host was late | [`VirtualRouter::lateness`], [`VirtualRouter::is_stalled`], [`StallPolicy`] |
//! | hand over to another process | [`VirtualRouter::snapshot`], [`VirtualRouter::restore`] |
//! | run many, track objects, have sync groups | `fleet::VrrpRouter`, `track`, with the feature `alloc` |
//! | test a host of your own, or a network of many | `sim`, with the feature `sim` |
//! | keep time with `std` | `Epoch`, with the feature `std` |
//!
//! # The loop
//!
//! 1. Wait for a packet, an event of the host's, or `poll_timeout`, whichever is first.
//! 2. Read *all* packets that wait, and hand each to [`handle_packet`](VirtualRouter::handle_packet).
//! 3. Then [`handle_timeout`](VirtualRouter::handle_timeout): drain, then decide. A host that wakes late would otherwise act on a
//!    silence that was none.
//! 4. Perform the actions of each call, in order. Of many routers, all advertisements first.
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
//! `InstallAddresses` and `RemoveAddresses` state what should be: addresses are installed exactly in Active. A host may do them again,
//! and it may leave out the first when the second has come meanwhile.
//!
//! # Time
//!
//! Every call that depends on time takes an [`Instant`]: nanoseconds of a monotonic clock since an epoch of the caller's. The same calls
//! with the same instants give the same answers. Arithmetic stops at [`Instant::MAX`], and what is due then never happens. A clock
//! that goes backwards delays what is due; it breaks nothing.
//!
//! Periodic advertisements do not drift: each deadline is the last one plus the interval, unless a whole interval was lost.
//!
//! # What the RFCs leave open
//!
//! [`Profile`] says which RFC decides where they differ. The rest was decided as follows; the numbers are those of
//! `docs/conformance.md` section 9.
//!
//! | no. | decision |
//! |---|---|
//! | AMB-01 | version 3 over IPv4 is sent in both checksum forms until the field shows which one it needs: [`ChecksumSending`] |
//! | AMB-02 | the owner of the addresses hears others in version 3 of RFC 9568, and discards them elsewhere: [`Profile`] |
//! | AMB-05 | another interval in version 3 is noted and learned |
//! | AMB-11 | the division in Skew_Time is done in nanoseconds and rounded down |
//! | AMB-12 | nothing is learned from priority 0; Skew_Time is that of the interval learned before |
//! | AMB-13 | an Active answers rivals of lower priority at most once in 10 ms, the shortest interval there is, and leaves its Adver_Timer alone. Resignations are answered always, and reset it (S-16) |
//! | AMB-14 | a packet from the own primary address is discarded and counted |
//! | AMB-15 | another primary address is advertised from at once, and moves no timer |
//! | AMB-20 | [`Preempt::AfterDelay`] says when the delay starts and stops |
//! | AMB-21 | what changes while running counts as [`VirtualRouter::reconfigure`] and [`Event`] say; there is no re-election |
//! | AMB-22 | Accept_Mode is off by default |
//! | AMB-23 | priority 0 counts from whoever sends it |
//! | AMB-25 | the owner is who has the configured priority 255; tracking does not change it |
//! | AMB-27 | the other version is discarded, unless [`vrrp_proto::Versions::Both`] is set |
//! | AMB-28 | with both versions, the interval of version 2 messages is rounded up to whole seconds |
//! | AMB-34 | [`Config::missed_advertisements`] is 3 unless told otherwise |
//!
//! Priority 0 in Backup sets the Active_Down_Timer to Skew_Time from then, as the RFCs say, also where it would have fired earlier.
//!
//! An Active announces when it takes over, a while after that, after a rival was heard, half a second after a rival was last heard,
//! and after a stall ([`AnnouncePolicy`]). Two
//! Actives that meet after the network was cut end with an announcement of the winner, whoever is heard first: an Active that yields
//! has a last word ([`Config::advertise_on_yield`]).

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
// For tests that look at deadlines. The contents of a snapshot are no part of the public interface.
#[doc(hidden)]
pub use snapshot::{Deadline, Phase as SnapshotPhase};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
