//! Announcements of addresses: at once, or at the pace of their interface.

use std::{net::IpAddr, time::Duration};

use vrrp_fsm::{Instant, fleet::RouterId};
use vrrp_proto::{
    Family,
    frame::{arp, neighbor},
};

use super::{
    AnnouncedAddress, Driver, DriverEvent, config::check_announced, events::Topic, is_active,
};
use crate::{
    Error, Link, MonitorEvent, Pacing,
    kernel::{resolution_frame::ResolutionFrame, sys::describe_interface},
    plan::{Actual, Announcement, Lane},
};

/// Frames on their way out, each with its router and the index of its interface.
pub(super) type Frames = Vec<(RouterId, u32, ResolutionFrame)>;

impl Driver {
    /// Sets the pace of announcements on all interfaces. Waiting announcements continue at the new
    /// pace. A hand-over does not pass the pace on: the successor sets it before its first turn.
    ///
    /// Without a pace the announcements of a burst leave at once. With a pace every address of an
    /// interface is announced once before one is announced again, and an Active that yields drops
    /// its remaining announcements.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use vrrp_net::{Driver, AnnouncementPace, PaceGroup, Pacing};
    ///
    /// let pace = |millis| AnnouncementPace {
    ///     gratuitous_arp: Duration::from_millis(millis),
    ///     neighbor_advertisement: Duration::from_millis(millis),
    /// };
    /// let mut driver = Driver::new()?;
    /// driver.set_pacing(Pacing {
    ///     each: pace(1),
    ///     groups: vec![PaceGroup {
    ///         interfaces: vec!["eth1".into(), "eth2".into()],
    ///         pace: pace(5),
    ///     }],
    /// })?;
    /// # Ok::<(), vrrp_net::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a time above [the longest](crate::AnnouncementPace::LONGEST), for a
    /// name that no interface can have, and for an interface that is listed twice. Nothing has
    /// changed then.
    pub fn set_pacing(&mut self, pacing: Pacing) -> Result<(), Error> {
        let waited = self.paced.set(pacing)?;
        let now = self.now();
        let mut frames = Frames::new();
        for (announcement, left) in waited {
            self.schedule(now, announcement, left, &mut frames);
        }
        self.send_announcements(&mut frames, now);
        Ok(())
    }

    /// Replaces the addresses that the program puts in place and the driver announces
    /// ([`RouterConfig::announced`](super::RouterConfig::announced)).
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`]; [`Error::Invalid`] for an address that cannot be announced. Nothing has
    /// changed then.
    pub fn set_announced(
        &mut self,
        id: RouterId,
        announced: Vec<AnnouncedAddress>,
    ) -> Result<(), Error> {
        check_announced(&announced)?;
        if self.router_mut(id)?.common().announced == announced {
            return Ok(());
        }
        self.announced.retain(|(_, of)| *of != id);
        let addresses: Vec<IpAddr> = announced.iter().map(|it| it.address).collect();
        let mut changed = self.router_mut(id)?.config.whole();
        changed.announced = announced;
        let changed = self.compact(changed);
        self.router_mut(id)?.config = changed;
        self.announced
            .extend(addresses.into_iter().map(|it| (it, id)));
        self.begin_refreshes(self.now(), id);
        Ok(())
    }

    /// Begins the period of an Active's refreshes again.
    pub(super) fn begin_refreshes(&mut self, now: Instant, id: RouterId) {
        self.refreshes.retain(|(_, of)| *of != id);
        if !is_active(&self.fleet, id) {
            return;
        }
        let announced = self.routers.get(&id).map(|it| &it.common().announced);
        let periods = announced.into_iter().flatten().filter_map(|it| it.refresh);
        if let Some(period) = periods.min() {
            self.refreshes.insert((now + period, id));
        }
    }

    /// Announces again the addresses whose period is over.
    fn refresh(&mut self, now: Instant, frames: &mut Frames) {
        while let Some((at, id)) = self.refreshes.first().copied()
            && at <= now
        {
            self.begin_refreshes(now, id);
            let is_refreshed = |announcement: &Announcement| {
                let announced = self.routers.get(&id).map(|it| &it.common().announced);
                let of = |it: &&AnnouncedAddress| it.address == announcement.address;
                let own = announced.and_then(|all| all.iter().find(of));
                own.is_some_and(|it| it.refresh.is_some())
            };
            let due: Vec<_> = self
                .announcements(id)
                .into_iter()
                .filter(is_refreshed)
                .collect();
            for announcement in due {
                self.schedule(now, announcement, 1, frames);
            }
        }
    }

    /// Announces the addresses of an Active that are in place: each once in a round, for `repeat`
    /// rounds.
    pub(super) fn announce(&mut self, now: Instant, id: RouterId, repeat: u8, frames: &mut Frames) {
        let mut at_once = Vec::new();
        for announcement in self.announcements(id) {
            if self.lane(&announcement).is_none() {
                at_once.push(announcement);
            } else {
                self.schedule(now, announcement, repeat, frames);
            }
        }
        for _ in 0..repeat {
            frames.extend(at_once.iter().filter_map(|it| self.frame(it)));
        }
    }

    /// The addresses of an Active that are in place.
    fn announcements(&self, id: RouterId) -> Vec<Announcement> {
        let Some(router) = self.routers.get(&id) else {
            return Vec::new();
        };
        let actual = &self.host.actual;
        let wanted = router.wanted(self.fleet.get(id));
        let interface = router.address_interface();
        let own = wanted
            .all()
            .filter(|it| wanted.is_in_place(it, actual))
            .filter_map(|it| Some((interface?, it.address())));
        let elsewhere = router.common().announced.iter().filter_map(|it| {
            let interface = actual.interfaces().named(&it.interface)?;
            let is_there = interface.has(it.address);
            is_there.then_some((interface.link.index, it.address))
        });
        own.chain(elsewhere)
            .map(|(interface, address)| Announcement {
                router: id,
                interface,
                address,
            })
            .collect()
    }

    /// The lane in which an announcement waits, and the time between two announcements of that
    /// lane.
    fn lane(&self, announcement: &Announcement) -> Option<(Lane, Duration)> {
        let link = self.host.actual.link(announcement.interface)?;
        let link = physical(link, &self.host.actual);
        let family = Family::of(announcement.address);
        self.paced.lane(link.index, &link.name, family)
    }

    /// Sends an announcement `repeat` times, at the pace of its interface.
    fn schedule(
        &mut self,
        now: Instant,
        announcement: Announcement,
        repeat: u8,
        frames: &mut Frames,
    ) {
        if let Some(lane) = self.lane(&announcement) {
            self.paced.push(now, lane, announcement, repeat);
            return;
        }
        for _ in 0..repeat {
            frames.extend(self.frame(&announcement));
        }
    }

    /// Sends the announcements that have waited for long enough.
    #[cold]
    pub(super) fn send_paced(&mut self, now: Instant) {
        let mut frames = Frames::new();
        self.refresh(now, &mut frames);
        let due = self.paced.take_due(now);
        let due = due.iter().filter(|it| is_active(&self.fleet, it.router));
        frames.extend(due.filter_map(|it| self.frame(it)));
        if !frames.is_empty() {
            self.send_announcements(&mut frames, now);
        }
    }

    /// The addresses of Actives that this event puts in place, before it is applied. Only addresses
    /// that the program puts in place are among them.
    pub(super) fn announced_by(&self, event: &MonitorEvent) -> Vec<Announcement> {
        let MonitorEvent::AddressAdded { interface, address } = event else {
            return Vec::new();
        };
        let local = address.address;
        let Some(known) = self.host.interfaces().get(*interface) else {
            return Vec::new();
        };
        if !address.usable || known.has(local) {
            return Vec::new();
        }
        let from = self.announced.range((local, RouterId::nth(0))..);
        from.take_while(|(it, _)| *it == local)
            .map(|(_, id)| *id)
            .filter(|id| {
                let announced = self.routers.get(id).map(|it| &it.common().announced);
                let is_here =
                    |it: &AnnouncedAddress| it.address == local && it.interface == known.link.name;
                announced.is_some_and(|all| all.iter().any(is_here)) && is_active(&self.fleet, *id)
            })
            .map(|router| Announcement {
                router,
                interface: *interface,
                address: local,
            })
            .collect()
    }

    /// Announces single addresses, each as often as its router announces all of them.
    pub(super) fn announce_each(&mut self, now: Instant, fresh: Vec<Announcement>) {
        let mut frames = Frames::new();
        for announcement in fresh {
            let router = self.routers.get(&announcement.router);
            let repeat = router.map_or(0, |it| it.config.announcements());
            self.schedule(now, announcement, repeat, &mut frames);
        }
        self.send_announcements(&mut frames, now);
    }

    /// The frame of an announcement, while the interface has the address. An interface without a
    /// hardware address has no neighbours to announce to.
    fn frame(
        &self,
        &Announcement {
            router,
            interface,
            address,
        }: &Announcement,
    ) -> Option<(RouterId, u32, ResolutionFrame)> {
        let actual = &self.host.actual;
        let mac = actual.link(interface)?.mac?;
        if !actual.has_address(interface, address) && !actual.is_proxied(interface, address) {
            return None;
        }
        let target = self.routers.get(&router)?.common().gratuitous_arp;
        let frame = match address {
            IpAddr::V4(address) => ResolutionFrame::Arp(arp::gratuitous(mac, address, target)),
            // The advertisement comes from the address itself (AMB-17).
            IpAddr::V6(address) => {
                ResolutionFrame::Neighbor(neighbor::unsolicited(mac, address, address))
            }
        };
        Some((router, interface, frame))
    }

    pub(super) fn send_announcements(&mut self, frames: &mut Frames, now: Instant) {
        for (place, error) in self.packets.announce(frames) {
            let Some(&(id, interface, _)) = frames.get(place) else {
                continue;
            };
            let Some(suppressed) = self.events.pass(now, id, Topic::AnnounceFailed) else {
                continue;
            };
            let action = format!(
                "announce a virtual address on {}",
                describe_interface(interface)
            );
            let error = Error::os(action)(error);
            self.notify(Some(id), DriverEvent::AnnounceFailed { error, suppressed });
        }
        frames.clear();
    }
}

/// The link whose pace counts: the parent of a macvlan or ipvlan.
fn physical<'a>(link: &'a Link, actual: &'a Actual) -> &'a Link {
    let has_parent = matches!(link.kind.as_str(), "macvlan" | "ipvlan");
    let parent = link.parent.filter(|_| has_parent);
    parent.and_then(|it| actual.link(it)).unwrap_or(link)
}
