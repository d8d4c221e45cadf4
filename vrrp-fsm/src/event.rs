//! What happens to a virtual router.

use core::net::IpAddr;

use vrrp_proto::{ChecksumMatch, Interval, Mismatches, Priority, Version};

use crate::ShutdownCause;

/// Something that happens to a virtual router, other than the passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Take part. In Initialize only; elsewhere it is ignored (S-32).
    Startup {
        /// The address from which the host sends the advertisements: the primary IPv4 address of the interface (P-08) or its
        /// IPv6 link-local address (P-09), never a virtual address. Ties are decided by it (S-18).
        primary_address: IpAddr,
    },
    /// Take part no more. An Active resigns (S-24). Ignored in Initialize (S-32).
    Shutdown(ShutdownCause),
    /// An advertisement that passed [`VirtualRouter::check`](crate::VirtualRouter::check).
    Advertisement(AcceptedAdvertisement),
    /// The primary address has changed. No timer moves; an Active advertises from the new address at once (AMB-15). Ignored in
    /// Initialize, because Startup brings the address.
    PrimaryAddress(IpAddr),
    /// What was tracked asks for another priority (O-21).
    ///
    /// It is held between 1 and 254. The address owner's stays 255, whatever is asked (AMB-25). A Backup uses it from the next time
    /// that it sets its timer, so that a timer shortened by a resigning Active is not stretched; an Active advertises it at once
    /// (AMB-21). In Initialize it is stored.
    EffectivePriority(Priority),
    /// The host has changed the virtual addresses or the unicast peers. An Active advertises, installs and announces at once (AMB-21).
    AddressesChanged,
    /// Something has happened after which the neighbours may hold a wrong entry, such as an address that was removed by somebody else
    /// and put back. An Active announces.
    Reannounce,
}

/// An advertisement that passed every check. Only [`VirtualRouter::check`](crate::VirtualRouter::check) makes one, so that a packet
/// that was not checked cannot become an [`Event`].
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
    /// The source address: the primary address of the sender.
    #[must_use]
    pub const fn source(&self) -> IpAddr {
        self.source
    }

    /// The priority; 0 when the sender resigns.
    #[must_use]
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The sender's Advertisement_Interval.
    #[must_use]
    pub const fn interval(&self) -> Interval {
        self.interval
    }

    /// The version of the message.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.interval.version()
    }

    /// Which forms its checksum fitted.
    #[must_use]
    pub const fn checksum(&self) -> ChecksumMatch {
        self.checksum
    }

    /// What is odd about it: to be logged at a limited rate (O-03). The counters take it from here.
    #[must_use]
    pub const fn mismatches(&self) -> Mismatches {
        self.mismatches
    }
}
