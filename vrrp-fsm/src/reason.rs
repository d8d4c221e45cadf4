//! States, transitions, and the reasons for them in the words of RFC 6527 and RFC 8347.

use core::fmt;

/// The state of a virtual router (RFC 9568 section 6.3, S-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// Waits for Startup. A fault is this state, with [`ShutdownCause::Fault`].
    #[doc(alias = "fault")]
    #[doc(alias = "init")]
    Initialize,
    /// Watches the Active and takes over when it falls silent.
    Backup,
    /// Forwards for the virtual addresses, answers for them, and advertises.
    #[doc(alias = "master")]
    Active,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}

/// Why a virtual router was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ShutdownCause {
    /// The operator or the host asked for it.
    Administrative,
    /// Something that the virtual router needs is missing: the interface, its address, a tracked
    /// object.
    Fault,
    /// Another member of its group is down.
    Group,
}

/// A change of state: one of the six edges of RFC 9568 section 6.3, and what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// The reason of a change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// Initialize to Backup: Startup (S-07).
    Startup,
    /// Initialize to Active: Startup of the address owner (S-04).
    OwnerStartup,
    /// Backup to Active: no advertisement arrived for Active_Down_Interval (S-09).
    ActiveDown,
    /// Backup to Active: the Active resigned with priority 0, and no other router took over within
    /// Skew_Time (S-11).
    ActiveResigned,
    /// Backup to Active: a live Active of lower priority was preempted (S-14).
    LowerPriorityActive,
    /// Backup to Active: the same, after the delay of
    /// [`Preempt::AfterDelay`](crate::Preempt::AfterDelay).
    PreemptHoldTimeout,
    /// Backup to Active: the address owner preempted a live Active (S-25).
    OwnerPreempt,
    /// Active to Backup: an advertisement of higher priority (S-17).
    HigherPriority,
    /// Active to Backup: an advertisement of equal priority from a greater address (S-18).
    GreaterAddress,
    /// Active to Backup: the host was late by more than Active_Down_Interval, and
    /// [`StallPolicy::Yield`](crate::StallPolicy::Yield) is set.
    Stall,
    /// Active to Backup: another member of the sync group has yielded.
    Group,
    /// To Initialize (S-08, S-24).
    Shutdown(ShutdownCause),
}

impl Reason {
    /// Returns the reason of a transition to Active, named as in RFC 6527 and RFC 8347; `None` for
    /// other transitions.
    ///
    /// It is never [`NewActiveReason::NotActive`], the value of a router that was never Active.
    #[must_use]
    pub const fn new_active_reason(self) -> Option<NewActiveReason> {
        match self {
            Self::OwnerStartup | Self::ActiveResigned => Some(NewActiveReason::Priority),
            Self::LowerPriorityActive | Self::PreemptHoldTimeout | Self::OwnerPreempt => {
                Some(NewActiveReason::Preempted)
            }
            Self::ActiveDown => Some(NewActiveReason::NoResponse),
            Self::Startup
            | Self::HigherPriority
            | Self::GreaterAddress
            | Self::Stall
            | Self::Group
            | Self::Shutdown(_) => None,
        }
    }

    /// Returns the identity for the leaf `last-event` of RFC 8347.
    ///
    /// That model has no event for a stall, a resigning Active, a sync group and a fault. Their
    /// identities are `vrrp-event-none`, `vrrp-event-master-timeout`,
    /// `vrrp-event-higher-priority-backup` and `vrrp-event-interface-down`.
    #[must_use]
    pub const fn last_event(self) -> &'static str {
        match self {
            Self::Startup | Self::OwnerStartup => "vrrp-event-startup",
            Self::ActiveDown | Self::ActiveResigned => "vrrp-event-master-timeout",
            Self::LowerPriorityActive => "vrrp-event-lower-priority-master",
            Self::PreemptHoldTimeout => "vrrp-event-preempt-hold-timeout",
            Self::OwnerPreempt => "vrrp-event-owner-preempt",
            Self::HigherPriority | Self::GreaterAddress | Self::Group => {
                "vrrp-event-higher-priority-backup"
            }
            Self::Stall => "vrrp-event-none",
            Self::Shutdown(ShutdownCause::Fault) => "vrrp-event-interface-down",
            Self::Shutdown(ShutdownCause::Administrative | ShutdownCause::Group) => {
                "vrrp-event-shutdown"
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "startup",
            Self::OwnerStartup => "startup of the address owner",
            Self::ActiveDown => "the Active fell silent",
            Self::ActiveResigned => "the Active resigned",
            Self::LowerPriorityActive => "the Active has a lower priority",
            Self::PreemptHoldTimeout => "the Active has a lower priority and the delay is over",
            Self::OwnerPreempt => "the address owner takes over",
            Self::HigherPriority => "another router has a higher priority",
            Self::GreaterAddress => "another router of equal priority has a greater address",
            Self::Stall => "the host was late",
            Self::Group => "another member of the group has yielded",
            Self::Shutdown(ShutdownCause::Administrative) => "shutdown",
            Self::Shutdown(ShutdownCause::Fault) => "fault",
            Self::Shutdown(ShutdownCause::Group) => "another member of the group is down",
        })
    }
}

/// `new-master-reason` of RFC 8347, `vrrpv3...NewMasterReason` of RFC 6527 (O-22).
#[doc(alias = "NewMasterReason")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum NewActiveReason {
    /// The virtual router was never Active.
    NotActive,
    /// It has the highest priority.
    Priority,
    /// It preempted the Active.
    Preempted,
    /// The previous Active did not respond.
    NoResponse,
}

impl NewActiveReason {
    /// The name of the enum in the YANG model of RFC 8347.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotActive => "not-master",
            Self::Priority => "priority",
            Self::Preempted => "preempted",
            Self::NoResponse => "no-response",
        }
    }
}

impl fmt::Display for NewActiveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
