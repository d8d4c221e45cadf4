//! Notifications of the driver.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use vrrp_fsm::{
    State, Transition,
    fleet::{GroupId, RouterId},
    track::{Level, ObjectId},
};
use vrrp_proto::{ClockSkew, Discard, Family, Interval, Priority, Vrid};

use crate::{Error, Route, VirtualAddress};

/// An event with its time and its subject:
/// [`Driver::next_notification`](super::Driver::next_notification).
///
/// Notifications come in the order of the events. None is lost without
/// [a notification](DriverEvent::NotificationsLost) about it. `Display` gives a line for a log,
/// without the time:
///
/// ```text
/// virtual router 51 on eth0 (IPv4): the effective priority changed from 150 to 90
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Notification {
    /// The number: 1 for the first notification of a driver, 2 for the second, and so on.
    pub sequence: u64,
    /// The time of the event.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::time"))]
    pub time: SystemTime,
    /// The id of the router, for an event of one router.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub router: Option<RouterId>,
    /// The name of the router, sync group or object; `None` for an event of the whole driver.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub subject: Option<Subject>,
    /// The event.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub event: DriverEvent,
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.subject {
            write!(f, "{subject}: ")?;
        }
        write!(f, "{}", self.event)
    }
}

/// The subject of a [`Notification`], by the names of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum Subject {
    /// A virtual router.
    Router {
        /// The name of its interface.
        interface: String,
        /// Its family.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        family: Family,
        /// Its VRID.
        vrid: Vrid,
    },
    /// A sync group.
    SyncGroup {
        /// Its name.
        sync_group: String,
    },
    /// A tracked object.
    Object {
        /// Its name.
        object: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router {
                interface,
                family,
                vrid,
            } => write!(f, "virtual router {vrid} on {interface} ({family})"),
            Self::SyncGroup { sync_group } => write!(f, "sync group {sync_group}"),
            Self::Object { object } => write!(f, "tracked object {object}"),
        }
    }
}

/// An event. An event that every packet can cause is reported at most once in five seconds for each
/// router (O-03), with the number of equal ones that were suppressed before it. `Display` gives a
/// sentence without the subject.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "event", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum DriverEvent {
    /// The state has changed, and its changes of the host are made: in Active the addresses are in
    /// place and announced, otherwise they are gone.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::transition"))]
    StateChanged(Transition),
    /// Changes of state that were coalesced, because the router changed faster than the host could
    /// follow. The next [`StateChanged`](Self::StateChanged) begins in the state that was reported
    /// last.
    ChangesOvertaken {
        /// The number of changes that are not reported.
        changes: u32,
    },
    /// Tracked objects or another configuration have changed the effective priority.
    PriorityChanged {
        /// The priority before.
        from: Priority,
        /// The priority now.
        to: Priority,
    },
    /// The level of a tracked object has changed, or the way in which the object counts. The level
    /// is `None` while the object has not reported.
    ObjectChanged {
        /// The object.
        #[cfg_attr(feature = "serde", serde(skip))]
        object: ObjectId,
        /// The level that counts now.
        #[cfg_attr(feature = "serde", serde(flatten, serialize_with = "form::level"))]
        level: Option<Level>,
    },
    /// A member of a sync group wants to be Active and waits for the others (G-3).
    WantsActive {
        /// The group.
        #[cfg_attr(feature = "serde", serde(skip))]
        group: GroupId,
    },
    /// All members of a sync group have this state now, and the changes of the host are made for
    /// each.
    #[cfg_attr(feature = "serde", serde(rename = "sync-group-changed"))]
    GroupChanged {
        /// The group.
        #[cfg_attr(feature = "serde", serde(skip))]
        group: GroupId,
        /// The state that was reported before; `None` for the first one.
        from: Option<State>,
        /// The state.
        #[cfg_attr(feature = "serde", serde(rename = "to"))]
        state: State,
    },
    /// Something that the router needs is missing. The first fault that [stops
    /// routers](Fault::stops_router) puts the router into Initialize.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::reason"))]
    Fault(Fault),
    /// The fault is over. After the last fault that [stops routers](Fault::stops_router) the router
    /// starts.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::reason"))]
    Recovered(Fault),
    /// The router advertises from this address now (AMB-15).
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    PrimaryAddress(IpAddr),
    /// Another running instance on this host did not state its claims within 200 ms. Addresses,
    /// routes and macvlans that an earlier run may have left stay:
    /// [`Driver::sweep`](super::Driver::sweep) removes them.
    LeftOversKept,
    /// A virtual address is on the interface although the router is not Active, and it stays:
    /// another running instance on this host uses it. It is removed when that instance gives it up.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    AddressKept(VirtualAddress),
    /// As [`AddressKept`](Self::AddressKept), for a virtual route.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::route"))]
    RouteKept(Route),
    /// Another program put a virtual address on the interface of the router. It stays there, also
    /// while another router is Active: remove it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    ForeignAddress(VirtualAddress),
    /// A virtual address was on the interface while the router was not Active, left over from
    /// another run, and was removed.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    LeftOverRemoved(VirtualAddress),
    /// Another program removed a virtual address while the router was Active. It will be put back.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    AddressLost(VirtualAddress),
    /// The virtual address was put back, and will be announced.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::address"))]
    AddressRestored(VirtualAddress),
    /// The kernel refused to add or remove a virtual address. While the router is Active it is
    /// tried again.
    AddressFailed {
        /// The address.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        address: VirtualAddress,
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
    },
    /// The kernel removed an address of the host along with a virtual address that was the primary
    /// one of their subnet, because `promote_secondaries` could not be set during the removal. It
    /// was added again at once with all its attributes.
    HostAddressRestored {
        /// The name of the interface.
        #[cfg_attr(feature = "serde", serde(rename = "link"))]
        interface: String,
        /// The address.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        address: VirtualAddress,
    },
    /// As [`HostAddressRestored`](Self::HostAddressRestored), but the kernel refused to add the
    /// address again. Set `net.ipv4.conf.<interface>.promote_secondaries=1` on this host.
    HostAddressLost {
        /// The name of the interface.
        #[cfg_attr(feature = "serde", serde(rename = "link"))]
        interface: String,
        /// The address.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        address: VirtualAddress,
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
    },
    /// Another program removed a virtual route while the router was Active. It will be put back.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::route"))]
    RouteLost(Route),
    /// The virtual route was put back.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::route"))]
    RouteRestored(Route),
    /// The kernel refused to add or remove a virtual route, or its interface does not exist. While
    /// the router is Active it is tried again.
    RouteFailed {
        /// The route.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        route: Route,
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
    },
    /// The kernel refused to set the macvlan of the virtual MAC up or down, or to restore the
    /// settings of the parent interface.
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::reason"))]
    VirtualMacFailed(Error),
    /// An advertisement was discarded.
    Discarded {
        /// The reason. With the feature `serde`, also the name of the counter that counts it.
        #[cfg_attr(feature = "serde", serde(flatten, serialize_with = "form::discard"))]
        discard: Discard,
        /// Its sender.
        source: IpAddr,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The interval of an Active differs from this router's. This router learns it (P-30).
    IntervalDiffers {
        /// The Active.
        source: IpAddr,
        /// Its interval.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "interval_cs", serialize_with = "form::centis")
        )]
        interval: Interval,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The addresses of an Active differ from this router's (P-44, P-45).
    AddressListDiffers {
        /// The Active.
        source: IpAddr,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// Another router advertises although this router owns the addresses (P-43, O-05).
    OwnerConflict {
        /// The other router.
        source: IpAddr,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The clocks of this router and of a sender with an HMAC trailer differ by more than half of
    /// the time window. Outside the window its advertisements are discarded, and both routers
    /// become Active.
    ClockSkew {
        /// The sender.
        source: IpAddr,
        /// The distance of its clock from the local clock.
        #[cfg_attr(feature = "serde", serde(serialize_with = "form::text"))]
        skew: ClockSkew,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// A second router is Active, with a lower priority (S-20). A single notification follows a
    /// split of the network. Repeated ones show that this router's advertisements are lost or late.
    /// At short intervals they may be waiting in queues: use a longer interval (O-04).
    RivalDetected {
        /// The other router.
        source: IpAddr,
        /// Its priority.
        priority: Priority,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// Another router advertises on the interface of this Active, but the kernel discards its
    /// packets before they reach this program: by a firewall, by the reverse path filter
    /// (`net.ipv4.conf.*.rp_filter`), or because the sender's address is an address of this host
    /// that is not a virtual one. Both are Active until that is fixed.
    RivalDiscarded {
        /// The other router.
        source: IpAddr,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The kernel refused to send an advertisement.
    SendFailed {
        /// The destination.
        destination: IpAddr,
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// A system call of the driver failed, and is made again: at once, then at growing intervals of
    /// up to a second. Where it fails for longer than a second, routers have a fault:
    /// [`Fault::CannotReceive`] or [`Fault::SystemCallFails`].
    SystemCallFailed {
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The kernel refused to send an announcement.
    AnnounceFailed {
        /// The reason.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "reason", serialize_with = "form::text")
        )]
        error: Error,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// The kernel took half a second or more for changes of the host: another program had its lock
    /// for network settings (RTNL). The driver sent and received nothing in that time.
    ChangesHeldUp {
        /// The duration.
        #[cfg_attr(
            feature = "serde",
            serde(rename = "seconds", serialize_with = "form::seconds")
        )]
        took: Duration,
        /// The number of suppressed events since the last notification.
        suppressed: u32,
    },
    /// Notifications of links and addresses were lost, and everything is dumped again.
    Overrun,
    /// The driver refused a report or a fault of a [`DriverHandle`](super::DriverHandle).
    #[cfg_attr(feature = "serde", serde(serialize_with = "form::reason"))]
    RequestRefused(Error),
    /// The program did not read its notifications, and the oldest were dropped.
    NotificationsLost {
        /// The number of notifications that were dropped.
        notifications: u64,
    },
}

impl fmt::Display for DriverEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateChanged(Transition { from, to, reason }) => {
                write!(f, "the state changed from {from} to {to}: {reason}")
            }
            Self::ChangesOvertaken { changes } => {
                write!(
                    f,
                    "the state changed faster than the host could follow: {changes} changes were coalesced"
                )
            }
            Self::PriorityChanged { from, to } => {
                write!(f, "the effective priority changed from {from} to {to}")
            }
            Self::ObjectChanged { level, .. } => match level {
                None => f.write_str("the object has not reported"),
                Some(Level::Number(number)) => write!(f, "the number changed to {number}"),
                Some(level) if level.is_up() => f.write_str("the object is up"),
                Some(_) => f.write_str("the object is down"),
            },
            Self::WantsActive { .. } => f.write_str(
                "the router can become Active and waits for the other members of its sync group",
            ),
            Self::GroupChanged { state, .. } => write!(f, "all members are in state {state}"),
            Self::Fault(fault) => write!(f, "fault: {fault}"),
            Self::Recovered(fault) => write!(f, "the fault is over: {fault}"),
            Self::PrimaryAddress(address) => {
                write!(f, "advertisements come from {address} from now on")
            }
            Self::Overrun => f.write_str(
                "the kernel dropped notifications of links and addresses: everything is read again",
            ),
            Self::RequestRefused(error) => {
                write!(f, "a request of another thread was refused: {error}")
            }
            Self::NotificationsLost { notifications } => {
                write!(
                    f,
                    "{notifications} notifications were dropped because the program did not read them"
                )
            }
            other => other.fmt_host(f),
        }
    }
}

impl DriverEvent {
    /// Writes the events about addresses, routes and links of the host.
    fn fmt_host(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOversKept => f.write_str(
                "another running instance did not answer: left-overs of an earlier run stay",
            ),
            Self::AddressKept(address) => {
                write!(
                    f,
                    "{address} stays: another running instance on this host uses it"
                )
            }
            Self::RouteKept(route) => {
                write!(
                    f,
                    "the route {route} stays: another running instance on this host uses it"
                )
            }
            Self::ForeignAddress(address) => {
                write!(
                    f,
                    "another program added {address}, and it stays until it is removed"
                )
            }
            Self::LeftOverRemoved(address) => {
                write!(
                    f,
                    "{address} was left over from another run and was removed"
                )
            }
            Self::AddressLost(address) => {
                write!(
                    f,
                    "another program removed {address}, which will be put back"
                )
            }
            Self::AddressRestored(address) => write!(f, "{address} was put back"),
            Self::AddressFailed { address, error } => {
                write!(f, "the kernel refused to change {address}: {error}")
            }
            Self::HostAddressRestored { interface, address } => {
                write!(
                    f,
                    "{address} of {interface} went with a virtual address of its subnet, and was put back"
                )
            }
            Self::HostAddressLost {
                interface,
                address,
                error,
            } => {
                write!(
                    f,
                    "{address} of {interface} went with a virtual address of its subnet: {error}; set \
                     net.ipv4.conf.{interface}.promote_secondaries=1"
                )
            }
            Self::RouteLost(route) => {
                write!(f, "the route {route} was removed and will be put back")
            }
            Self::RouteRestored(route) => write!(f, "the route {route} was put back"),
            Self::RouteFailed { route, error } => {
                write!(f, "the kernel refused to change the route {route}: {error}")
            }
            Self::VirtualMacFailed(error) => {
                write!(
                    f,
                    "the interface with the virtual MAC could not be changed: {error}"
                )
            }
            other => other.fmt_limited(f),
        }
    }

    /// Writes the events that every packet can cause, with the number of suppressed ones.
    fn fmt_limited(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suppressed = match self {
            Self::Discarded {
                discard,
                source,
                suppressed,
            } => {
                write!(f, "an advertisement from {source} was discarded: {discard}")?;
                suppressed
            }
            Self::IntervalDiffers {
                source,
                interval,
                suppressed,
            } => {
                write!(
                    f,
                    "the Active {source} has another advertisement interval: {interval}"
                )?;
                suppressed
            }
            Self::AddressListDiffers { source, suppressed } => {
                write!(f, "the Active {source} has other virtual addresses")?;
                suppressed
            }
            Self::OwnerConflict { source, suppressed } => {
                write!(
                    f,
                    "{source} advertises although this router owns the addresses"
                )?;
                suppressed
            }
            Self::ClockSkew {
                source,
                skew,
                suppressed,
            } => {
                write!(
                    f,
                    "the clock of {source} is {skew}, more than half of the HMAC time window: synchronise both clocks"
                )?;
                suppressed
            }
            Self::RivalDetected {
                source,
                priority,
                suppressed,
            } => {
                write!(
                    f,
                    "{source} is Active too, with the lower priority {priority}"
                )?;
                suppressed
            }
            Self::RivalDiscarded { source, suppressed } => {
                write!(
                    f,
                    "{source} is Active too, and the kernel discards its advertisements: look at the firewall, \
                     at net.ipv4.conf.*.rp_filter, and for this address on this host"
                )?;
                suppressed
            }
            Self::ChangesHeldUp { took, suppressed } => {
                write!(
                    f,
                    "the kernel took {took:.1?} for changes of the host, and nothing was sent or received in that time: \
                     look for a program that changes many links, addresses or routes at once"
                )?;
                suppressed
            }
            Self::SystemCallFailed { error, suppressed } => {
                write!(f, "a system call failed and is made again: {error}")?;
                suppressed
            }
            Self::SendFailed {
                destination,
                error,
                suppressed,
            } => {
                write!(
                    f,
                    "an advertisement to {destination} could not be sent: {error}"
                )?;
                suppressed
            }
            Self::AnnounceFailed { error, suppressed } => {
                write!(f, "an announcement could not be sent: {error}")?;
                suppressed
            }
            _ => return Ok(()),
        };
        match suppressed {
            0 => Ok(()),
            more => write!(f, " ({more} more since the last report)"),
        }
    }
}

/// Something that a router needs and that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Fault {
    /// No interface has the configured name.
    NoInterface,
    /// The interface is down, or has no carrier.
    InterfaceDown,
    /// The interface has no address to advertise from: no IPv4 address that is not a virtual one,
    /// no IPv6 link-local address, or not the configured source.
    NoPrimaryAddress,
    /// The interface cannot join the VRRP group.
    NoMulticast,
    /// The interface is in a VRF, and the kernel delivers packets from a VRF only to sockets that
    /// are bound to it.
    VrfPacketsIgnored,
    /// The macvlan of the virtual MAC cannot be made, for this reason.
    NoVirtualMac(String),
    /// No advertisement could be sent for longer than Active_Down_Interval, for this reason, so the
    /// others take over. The router continues to try, because it may be the only one. This fault
    /// ends with the first advertisement that is sent.
    CannotSend(String),
    /// For longer than a second the advertisements of others could not be received, for this
    /// reason.
    CannotReceive(String),
    /// The kernel has refused something that the driver needs for longer than a second, for this
    /// reason. The router continues with the links, addresses and routes that were known before.
    SystemCallFails(String),
    /// Another running instance on this host has the virtual MAC of this router on its interface.
    /// The text names the router and the remedy.
    VirtualMacInUse(String),
    /// The interface has a virtual address that the router did not add, and does not own. The text
    /// names it and the remedy.
    ForeignAddress(String),
    /// The reason that the host gave to [`Driver::set_fault`](super::Driver::set_fault).
    Host(String),
}

impl Fault {
    /// Whether a router with this fault is in Initialize: true of all but
    /// [`CannotSend`](Self::CannotSend) and [`SystemCallFails`](Self::SystemCallFails).
    #[must_use]
    pub const fn stops_router(&self) -> bool {
        !matches!(self, Self::CannotSend(_) | Self::SystemCallFails(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::CannotReceive(reason) | Self::SystemCallFails(reason) = self {
            return write!(
                f,
                "a system call fails again and again: {reason}; look for a shortage of memory, and for a seccomp filter or \
                 a security module that forbids it"
            );
        }
        if let Self::CannotSend(reason) = self {
            return write!(
                f,
                "no advertisement could be sent for longer than the others wait, so that they take over: {reason}; where a \
                 firewall forbids it, allow IP protocol 112 (with IP AH: 51) to leave"
            );
        }
        f.write_str(match self {
            Self::NoVirtualMac(reason)
            | Self::ForeignAddress(reason)
            | Self::VirtualMacInUse(reason)
            | Self::CannotSend(reason)
            | Self::CannotReceive(reason)
            | Self::SystemCallFails(reason) => reason,
            Self::NoInterface => "there is no such interface",
            Self::InterfaceDown => "the interface is down or has no carrier",
            Self::NoPrimaryAddress => {
                "the interface has no address to advertise from: an IPv4 address that is not a virtual one, an IPv6 link-local \
                 address, or the configured source"
            }
            Self::NoMulticast => "the interface cannot join the VRRP group",
            Self::VrfPacketsIgnored => {
                "the interface is in a VRF from which the kernel hands no packets to raw sockets: set \
                 net.ipv4.raw_l3mdev_accept=1"
            }
            Self::Host(cause) => cause,
        })
    }
}

/// The forms of values in a log that is read by programs.
#[cfg(feature = "serde")]
#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::ref_option,
    reason = "serde hands references to fields"
)]
mod form {
    use std::{
        fmt::Display,
        time::{Duration, SystemTime, UNIX_EPOCH},
    };

    use serde::{Serialize, Serializer, ser::SerializeMap};
    use vrrp_fsm::{Transition, track::Level};
    use vrrp_proto::{Counter, Discard, Interval};

    pub(super) fn text<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Seconds since 1970, with fractions.
    pub(super) fn time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.serialize_f64(since.as_secs_f64())
    }

    pub(super) fn seconds<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(it.as_secs_f64())
    }

    pub(super) fn centis<S: Serializer>(interval: &Interval, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u16(interval.as_centis())
    }

    #[derive(Serialize)]
    struct Reason {
        reason: String,
    }

    pub(super) fn reason<S: Serializer>(reason: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        let reason = reason.to_string();
        Reason { reason }.serialize(to)
    }

    pub(super) fn discard<S: Serializer>(discard: &Discard, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("reason", &discard.to_string())?;
        map.serialize_entry("counter", &discard.counter().map(Counter::name))?;
        map.end()
    }

    #[derive(Serialize)]
    struct Address {
        address: String,
    }

    pub(super) fn address<S: Serializer>(it: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        let address = it.to_string();
        Address { address }.serialize(to)
    }

    #[derive(Serialize)]
    struct Route {
        route: String,
    }

    pub(super) fn route<S: Serializer>(it: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        let route = it.to_string();
        Route { route }.serialize(to)
    }

    #[derive(Serialize)]
    struct Change {
        from: String,
        to: String,
        reason: String,
        last_event: &'static str,
    }

    pub(super) fn transition<S: Serializer>(it: &Transition, to: S) -> Result<S::Ok, S::Error> {
        let change = Change {
            from: it.from.to_string(),
            to: it.to.to_string(),
            reason: it.reason.to_string(),
            last_event: it.reason.last_event(),
        };
        change.serialize(to)
    }

    pub(super) fn level<S: Serializer>(level: &Option<Level>, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("up", &level.map(Level::is_up))?;
        if let Some(Level::Number(number)) = level {
            map.serialize_entry("number", number)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use vrrp_fsm::Reason;

    use super::*;

    fn notification(subject: Option<Subject>, event: DriverEvent) -> Notification {
        Notification {
            sequence: 1,
            time: SystemTime::UNIX_EPOCH,
            router: None,
            subject,
            event,
        }
    }

    #[test]
    fn a_notification_is_a_line_with_the_names_of_its_subject() {
        let router = Subject::Router {
            interface: "eth0".into(),
            family: Family::Ipv4,
            vrid: Vrid::new(51).unwrap(),
        };
        let changed = DriverEvent::StateChanged(Transition {
            from: State::Backup,
            to: State::Active,
            reason: Reason::ActiveDown,
        });
        assert_eq!(
            notification(Some(router), changed).to_string(),
            "virtual router 51 on eth0 (IPv4): the state changed from Backup to Active: the Active fell silent"
        );
        let object = Subject::Object {
            object: "uplink".into(),
        };
        let down = DriverEvent::ObjectChanged {
            object: ObjectId::nth(0),
            level: Some(Level::Down),
        };
        assert_eq!(
            notification(Some(object), down).to_string(),
            "tracked object uplink: the object is down"
        );
        let overrun = notification(None, DriverEvent::Overrun).to_string();
        assert!(overrun.starts_with("the kernel dropped"), "{overrun}");
    }

    #[test]
    fn a_line_says_the_cause_once_and_the_number_of_suppressed_ones() {
        let error = Error::Os {
            action: "send an advertisement".into(),
            cause: Arc::new(io::Error::from_raw_os_error(libc::EPERM)),
        };
        let event = DriverEvent::SendFailed {
            destination: "224.0.0.18".parse().unwrap(),
            error,
            suppressed: 4,
        };
        let line = event.to_string();
        assert_eq!(line.matches("not permitted").count(), 1, "{line}");
        assert!(line.ends_with("(4 more since the last report)"), "{line}");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_notification_is_an_object_with_its_subject_and_the_values_of_its_event() {
        use serde_json::{json, to_value};

        use crate::Error;

        let interface = || Subject::Router {
            interface: "eth0".into(),
            family: Family::Ipv4,
            vrid: Vrid::new(51).unwrap(),
        };
        let router = |event| to_value(notification(Some(interface()), event)).unwrap();
        let changed = DriverEvent::StateChanged(Transition {
            from: State::Backup,
            to: State::Active,
            reason: Reason::ActiveDown,
        });
        assert_eq!(
            router(changed),
            json!({
                "sequence": 1, "time": 0.0, "event": "state-changed",
                "interface": "eth0", "family": "IPv4", "vrid": 51,
                "from": "Backup", "to": "Active",
                "reason": "the Active fell silent", "last_event": "vrrp-event-master-timeout",
            })
        );
        let event = |event| {
            let mut value = router(event);
            let object = value.as_object_mut().unwrap();
            for field in ["sequence", "time", "interface", "family", "vrid"] {
                object.remove(field).unwrap();
            }
            value
        };
        let fault = DriverEvent::Fault(Fault::Host("no upstream".into()));
        assert_eq!(
            event(fault),
            json!({"event": "fault", "reason": "no upstream"})
        );
        let address: VirtualAddress = "192.0.2.254/32".parse().unwrap();
        let failed = DriverEvent::AddressFailed {
            address: address.clone(),
            error: Error::Stopped,
        };
        assert_eq!(
            event(failed),
            json!({"event": "address-failed", "address": "192.0.2.254/32", "reason": "the driver has stopped"})
        );
        let lost = DriverEvent::AddressLost(address);
        assert_eq!(
            event(lost),
            json!({"event": "address-lost", "address": "192.0.2.254/32"})
        );
        let group = DriverEvent::GroupChanged {
            group: vrrp_fsm::fleet::VrrpRouter::new()
                .add_group(
                    vrrp_fsm::Instant::ZERO,
                    vrrp_fsm::fleet::SyncGroup::new("g", Vec::new()),
                )
                .unwrap(),
            from: None,
            state: State::Active,
        };
        assert_eq!(
            event(group),
            json!({"event": "sync-group-changed", "from": null, "to": "Active"})
        );
        let number = DriverEvent::ObjectChanged {
            object: ObjectId::nth(0),
            level: Some(Level::Number(7)),
        };
        assert_eq!(
            event(number),
            json!({"event": "object-changed", "up": false, "number": 7})
        );
        assert_eq!(event(DriverEvent::Overrun), json!({"event": "overrun"}));
        let discarded = DriverEvent::Discarded {
            discard: Discard::Owner,
            source: [192, 0, 2, 2].into(),
            suppressed: 2,
        };
        assert_eq!(
            event(discarded),
            json!({
                "event": "discarded", "reason": Discard::Owner.to_string(), "counter": null,
                "source": "192.0.2.2", "suppressed": 2,
            })
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn every_event_about_an_address_is_an_object() {
        let address = || -> VirtualAddress { "192.0.2.254/32".parse().unwrap() };
        let interface = || "eth0".to_owned();
        let error = || Error::Stopped;
        for (event, name) in [
            (DriverEvent::ForeignAddress(address()), "foreign-address"),
            (DriverEvent::LeftOverRemoved(address()), "left-over-removed"),
            (DriverEvent::AddressRestored(address()), "address-restored"),
            (
                DriverEvent::HostAddressRestored {
                    interface: interface(),
                    address: address(),
                },
                "host-address-restored",
            ),
            (
                DriverEvent::HostAddressLost {
                    interface: interface(),
                    address: address(),
                    error: error(),
                },
                "host-address-lost",
            ),
        ] {
            let value = serde_json::to_value(notification(None, event)).unwrap();
            assert_eq!(value["event"], name);
            assert_eq!(value["address"], "192.0.2.254/32", "{name}");
        }
        for (event, name) in [
            (DriverEvent::LeftOversKept, "left-overs-kept"),
            (DriverEvent::RequestRefused(error()), "request-refused"),
            (DriverEvent::VirtualMacFailed(error()), "virtual-mac-failed"),
            (
                DriverEvent::PrimaryAddress([192, 0, 2, 1].into()),
                "primary-address",
            ),
        ] {
            let value = serde_json::to_value(notification(None, event)).unwrap();
            assert_eq!(value["event"], name);
        }
    }
}
