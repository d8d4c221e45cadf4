//! The VRRP election as a pure state machine.
//!
//! One [`VirtualRouter`] is one virtual router of one family on one interface: a plain `Copy` value that is stepped by events and
//! holds its own deadlines. It reads no clock, opens no socket, allocates nothing and does not panic. What has to be done
//! comes out as [`Action`] values, in the order in which it must be done.
//!
//! | to do this | use |
//! |---|---|
//! | configure | [`Config`], checked once by [`VirtualRouter::new`], [`ConfigError`] names the field |
//! | feed | [`VirtualRouter::handle_event`] with an [`Event`], [`VirtualRouter::handle_timeout`] |
//! | sleep | until [`VirtualRouter::poll_timeout`] |
//! | act | on each [`Action`] of the returned [`Actions`] |
//! | judge a packet | [`VirtualRouter::check`]: a packet that fails never becomes an event, so it cannot move a state or a timer |
//! | change while running | [`VirtualRouter::reconfigure`], [`Event::EffectivePriority`], [`Event::PrimaryAddress`], [`Event::AddressesChanged`] |
//! | look | [`VirtualRouter::state`], [`VirtualRouter::skew_time`], [`VirtualRouter::counters`] and the other getters: what they show is what the timers use |
//! | hand over to another process | [`VirtualRouter::snapshot`], [`VirtualRouter::restore`] |

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "std")]
extern crate std;

mod action;
mod announce;
mod check;
mod config;
mod counters;
#[cfg(feature = "std")]
mod epoch;
mod event;
mod instant;
mod preempt;
mod reason;
mod router;
mod settings;
mod snapshot;
mod timers;

pub use action::{Action, Actions, Outgoing};
pub use check::Link;
pub use config::{
    AnnouncePolicy, ChecksumSending, Config, ConfigError, Preempt, Profile, StallPolicy,
};
pub use counters::Counters;
#[cfg(feature = "std")]
pub use epoch::Epoch;
pub use event::{Event, Heard};
pub use instant::Instant;
pub use reason::{NewActiveReason, Reason, ShutdownCause, State, Transition};
pub use router::{ActiveRouter, Expiry, VirtualRouter};
pub use snapshot::{Deadline, Phase as SnapshotPhase, Snapshot};
