//! Events of a virtual router.

use core::net::IpAddr;

use vrrp_proto::{ChecksumMatch, Interval, Mismatches, Priority, Version};

use crate::ShutdownCause;

/// An event of a virtual router, other than the passage of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Start. Ignored except in Initialize (S-32).
    Startup {
        /// The address from which the host sends the advertisements: the primary IPv4 address of
        /// the interface (P-08) or its IPv6 link-local address (P-09), never a virtual address. It
        /// decides between equal priorities (S-18).
        primary_address: IpAddr,
    },
    /// Stop. An Active resigns (S-24). Ignored in Initialize (S-32).
    Shutdown(ShutdownCause),
    /// An advertisement that passed [`VirtualRouter::check`](crate::VirtualRouter::check).
    Advertisement(AcceptedAdvertisement),
    /// The primary address has changed. No timer moves; an Active advertises from the new address
    /// at once (AMB-15). Ignored in Initialize, because Startup provides the address.
    PrimaryAddress(IpAddr),
    /// Tracked objects changed the priority (O-21).
    ///
    /// It is clamped to 1..=254. The address owner's stays 255 (AMB-25). A Backup applies it when
    /// it sets its timer the next time, so a timer that a resigning Active shortened is not
    /// extended; an Active advertises it at once (AMB-21). In Initialize it is stored.
    EffectivePriority(Priority),
    /// The host has changed the virtual addresses or the unicast peers. An Active advertises,
    /// installs and announces at once (AMB-21).
    AddressesChanged,
    /// The neighbours may have a wrong entry, for instance because an address was removed and
    /// restored. An Active announces.
    Reannounce,
}

/// An advertisement that passed every check. Only
/// [`VirtualRouter::check`](crate::VirtualRouter::check) makes one, so an unchecked packet cannot
/// become an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AcceptedAdvertisement {
    pub(crate) source: IpAddr,
    pub(crate) priority: Priority,
    pub(crate) interval: Interval,
    pub(crate) checksum: ChecksumMatch,
    pub(crate) mismatches: Mismatches,
}

impl AcceptedAdvertisement {
    /// Returns the source address: the primary address of the sender.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// Returns the priority; 0 if the sender resigns.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Returns the sender's Advertisement_Interval.
    #[must_use]
    pub const fn interval(&self) -> Interval {
        self.interval
    }

    /// The version of the message.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.interval.version()
    }

    /// Returns the forms that its checksum matches.
    #[must_use]
    pub const fn checksum(&self) -> ChecksumMatch {
        self.checksum
    }

    /// Returns its differences from the local configuration, to be logged at a limited rate (O-03).
    /// They are counted.
    #[must_use]
    pub const fn mismatches(&self) -> Mismatches {
        self.mismatches
    }
}
