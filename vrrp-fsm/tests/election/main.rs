//! The state machine against the requirements of `docs/conformance.md`.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ambiguities;
mod announce;
mod checksums;
mod configuration;
mod host;
mod interoperation;
mod lan;
mod operation;
mod packets;
mod peer_defects;
mod preemption;
mod properties;
mod reconfiguration;
mod simulation;
mod snapshots;
mod stalls;
mod states;
mod table;
mod timers;
