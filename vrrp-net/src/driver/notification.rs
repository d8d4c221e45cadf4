//! What the driver tells.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use vrrp_fsm::{
    Instant, State, Transition,
    fleet::{GroupId, RouterId},
    track::{Level, ObjectId},
};
use vrrp_proto::{Discard, Interval, Priority};

use crate::{Error, Route, VirtualAddress};

/// Something that has happened. Notifications come in the order in which things happened, and none is lost without
/// [being told](DriverEvent::ChangesOvertaken).
#[derive(Debug)]
#[non_exhaustive]
pub struct Notification {
    /// 1 for the first notification of a driver, 2 for the second, and so on.
    pub sequence: u64,
    /// When.
    pub time: SystemTime,
    /// To which router; `None` for what concerns the whole driver.
    pub router: Option<RouterId>,
    /// What.
    pub event: DriverEvent,
}

/// What has happened. What could come with every packet is told at most once in five seconds for each router (O-03), with the number of
/// those that were not told.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverEvent {
    /// The state has changed, and what goes with it is done: in Active the addresses are in place and announced, otherwise they are
    /// gone.
    StateChanged(Transition),
    /// So many changes of state came and went before they could be told: routers changed faster than the driver could follow. The change that
    /// is told next may begin in another state than the one that was told last.
    ChangesOvertaken {
        /// How many.
        changes: u32,
    },
    /// What is tracked, or another configuration, has changed the effective priority.
    PriorityChanged {
        /// Before.
        from: Priority,
        /// Now.
        to: Priority,
    },
    /// A tracked object has another level, or counts in another way. With `None` it has not reported.
    ObjectChanged {
        /// The object.
        object: ObjectId,
        /// What counts of it now.
        level: Option<Level>,
    },
    /// A member of a sync group wants to be Active and waits for the others (G-3).
    WantsActive {
        /// The group.
        group: GroupId,
    },
    /// All members of a sync group have this state now, with what goes with it done for each.
    GroupChanged {
        /// The group.
        group: GroupId,
        /// The state.
        state: State,
    },
    /// Something that the router needs is missing. With the first such thing it goes to Initialize.
    Fault(Fault),
    /// It is there again. With the last such thing the router starts.
    Recovered(Fault),
    /// The router advertises from this address now (AMB-15).
    PrimaryAddress(IpAddr),
    /// A virtual address was on the interface while the router was not Active, left over from another run, and was removed.
    LeftOverRemoved(VirtualAddress),
    /// Somebody removed a virtual address while the router was Active. It will be put back.
    AddressLost(VirtualAddress),
    /// It was put back, and will be announced.
    AddressRestored(VirtualAddress),
    /// The kernel refused to add or remove a virtual address. While the router is Active it is tried again.
    AddressFailed {
        /// The address.
        address: VirtualAddress,
        /// Why.
        error: Error,
    },
    /// Somebody removed a virtual route while the router was Active. It will be put back.
    RouteLost(Route),
    /// It was put back.
    RouteRestored(Route),
    /// The kernel refused to add or remove a virtual route, or its interface does not exist. While the router is Active it is tried again.
    RouteFailed {
        /// The route.
        route: Route,
        /// Why.
        error: Error,
    },
    /// The kernel refused to set the macvlan of the virtual MAC up or down, or to bring back the settings of the interface beneath.
    VirtualMacFailed(Error),
    /// An advertisement was discarded.
    Discarded {
        /// Why.
        discard: Discard,
        /// Its sender.
        source: IpAddr,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// An Active has another interval than this router. It is learned (P-30).
    IntervalDiffers {
        /// The Active.
        source: IpAddr,
        /// Its interval.
        interval: Interval,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// An Active has other addresses than this router (P-44, P-45).
    AddressListDiffers {
        /// The Active.
        source: IpAddr,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// Somebody advertises although this router owns the addresses (P-43, O-05).
    OwnerConflict {
        /// The other one.
        source: IpAddr,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// A lesser router is Active beside this one (S-20). Once, it is what is left of a network that was split; if it comes again and again, this
    /// router's advertisements are lost or come too late, as they do at short intervals where they wait in queues, and the interval should be
    /// longer (O-04).
    RivalHeard {
        /// The other one.
        source: IpAddr,
        /// Its priority.
        priority: Priority,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// Another router advertises on the interface of this Active, but the kernel discards its packets
    /// before they reach this program: by a firewall, by the reverse path filter
    /// (`net.ipv4.conf.*.rp_filter`), or because the sender's address is an address of this host that
    /// is not a virtual one. Both are Active until that is mended.
    Unheard {
        /// The other router.
        source: IpAddr,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// The kernel refused to send an advertisement.
    SendFailed {
        /// Where to.
        destination: IpAddr,
        /// Why.
        error: Error,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// The kernel refused to send an announcement.
    AnnounceFailed {
        /// Why.
        error: Error,
        /// How many others since the last notification.
        suppressed: u32,
    },
    /// News of links and addresses were lost, and everything is read anew.
    Overrun,
}

/// Something that a router needs and that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// There is no interface of that name.
    NoInterface,
    /// The interface is down, or has no carrier.
    InterfaceDown,
    /// The interface has no address to advertise from: no IPv4 address that is not a virtual one, no IPv6 link-local address, or not
    /// the configured source.
    NoPrimaryAddress,
    /// The interface cannot join the VRRP group.
    NoMulticast,
    /// The macvlan of the virtual MAC cannot be made, for this reason.
    NoVirtualMac(String),
    /// What the host said with [`Driver::set_fault`](super::Driver::set_fault).
    Host(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoVirtualMac(reason) => reason,
            Self::NoInterface => "there is no such interface",
            Self::InterfaceDown => "the interface is down or has no carrier",
            Self::NoPrimaryAddress => {
                "the interface has no address to advertise from: an IPv4 address that is not a virtual one, an IPv6 link-local \
                 address, or the configured source"
            }
            Self::NoMulticast => "the interface cannot join the VRRP group",
            Self::Host(cause) => cause,
        })
    }
}

/// Lets one of many alike through.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    not_before: Option<Instant>,
    suppressed: u32,
}

impl Limiter {
    const PAUSE: Duration = Duration::from_secs(5);

    /// The number of those that were held back before this one, which may pass; `None` when it may not.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u32> {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.not_before = Some(now + Self::PAUSE);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o_03_notifications_of_packets_are_rate_limited_and_counted() {
        let mut limiter = Limiter::default();
        let start = Instant::from_nanos(7);
        assert_eq!(limiter.pass(start), Some(0));
        for _ in 0..3 {
            assert_eq!(limiter.pass(start + Duration::from_secs(4)), None);
        }
        assert_eq!(limiter.pass(start + Limiter::PAUSE), Some(3));
        assert_eq!(limiter.pass(start + Limiter::PAUSE), None);
    }
}
