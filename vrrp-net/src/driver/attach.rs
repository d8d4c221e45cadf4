//! Routers and their interfaces: binding, group memberships, faults, and host events.

use std::{collections::BTreeSet, net::IpAddr};

use vrrp_fsm::{
    Instant, State,
    fleet::{FleetChange as Record, RouterId},
};

use super::{Driver, DriverEvent, Fault, is_active, router::Router, trouble::Part};
use crate::{
    ADDRESS_PROTOCOL, Error, InterfaceAddress, Link, MonitorEvent, VirtualAddress, VrrpSocket,
    kernel::route_watch::Loss,
    plan::{Lost, Thing},
};

impl Driver {
    /// Reads the waiting notifications of links, addresses and routes, and acts on them.
    #[cold]
    pub(super) fn receive_host_events(&mut self) -> Result<(), Error> {
        let now = self.now();
        let (events, has_more) = self.host.notifications(now)?;
        self.is_unfinished |= has_more;
        if events.is_empty() {
            return Ok(());
        }
        let mut affected = BTreeSet::new();
        let mut lost = Vec::new();
        for event in &events {
            self.note_event(now, event, &mut affected);
            let fresh = self.announced_by(event);
            let concerned = self.planner.notice(event, &mut self.host.actual);
            lost.extend(self.host.follow(event));
            for id in concerned {
                self.queue.push(id);
            }
            self.announce_each(now, fresh);
        }
        if events.contains(&MonitorEvent::Overrun) && self.host.resync_at.is_none() {
            self.notify(None, DriverEvent::Overrun);
            self.host.resync_at = Some(now);
        }
        for loss in events.iter().filter_map(Loss::by) {
            self.tracked_routes.doubt(loss);
        }
        self.tracked_routes.catch_up();
        for id in affected {
            self.reconcile(now, id);
        }
        self.evaluate(now, self.objects_concerned(&events));
        self.report_lost(now, lost);
        Ok(())
    }

    /// Acts on an event that the known state of the host does not contain yet.
    fn note_event(
        &mut self,
        now: Instant,
        event: &MonitorEvent,
        affected: &mut BTreeSet<RouterId>,
    ) {
        match event {
            MonitorEvent::Link(link) => self.note_link(now, link, affected),
            MonitorEvent::LinkGone { interface } => {
                let bound = self.routers_on(*interface);
                // At once: a link that follows it may have the same index.
                for id in &bound {
                    self.unbind(*id);
                }
                affected.extend(bound);
                affected.extend(self.routers_at(*interface));
                self.numbers.unbind(*interface);
            }
            MonitorEvent::AddressAdded { interface, address } => {
                self.report_foreign(*interface, address);
                if !self.is_virtual(address.address) && address.protocol != ADDRESS_PROTOCOL {
                    affected.extend(self.routers_on(*interface));
                    self.rejoin(*interface, address);
                    let known = self.host.interfaces().get(*interface);
                    let routed = known.map(|known| self.routed_via(&known.link));
                    self.allow_routes(now, &routed.unwrap_or_default());
                }
            }
            MonitorEvent::AddressRemoved { interface, address } => {
                if self.is_virtual(address.address) {
                    let waits = |id: &RouterId| {
                        let router = self.routers.get(id);
                        router.is_some_and(|it| it.is_kept_down_by_an_address())
                    };
                    affected.extend(self.planner.holders(address.address).filter(waits));
                } else {
                    affected.extend(self.routers_on(*interface));
                }
            }
            MonitorEvent::RouteRemoved { .. } | MonitorEvent::Overrun => {}
        }
    }

    fn note_link(&mut self, now: Instant, link: &Link, affected: &mut BTreeSet<RouterId>) {
        let known = self.host.interfaces().get(link.index).map(|it| &it.link);
        if known == Some(link) {
            return;
        }
        let has_moved = known.is_some_and(|known| known.mac != link.mac);
        let was_there = known.is_some_and(|known| known.up && known.name == link.name);
        let number = self.numbers.of_name(&link.name);
        let named = number.and_then(|number| self.members.get(&number));
        affected.extend(named.into_iter().flatten());
        affected.extend(self.routers_on(link.index));
        let at = self.routers_at(link.index);
        for id in &at {
            self.queue.push(*id);
        }
        if link.up && !was_there {
            let routed = self.routed_via(link);
            self.allow_routes(now, &routed);
        }
        if has_moved {
            for id in at {
                self.install_and_announce(now, id);
            }
        }
    }

    /// After an overrun: dumps everything again. A dump during which something changed is repeated
    /// in a later turn.
    #[cold]
    pub(super) fn resync(&mut self) {
        let now = self.now();
        let result = self.dump(now);
        self.note(Part::Lists, result);
        if let Some(at) = self.troubles.retry_at(Part::Lists) {
            self.host.resync_at = Some(at);
        }
    }

    fn dump(&mut self, now: Instant) -> Result<(), Error> {
        let Some(lost) = self.host.resync(now)? else {
            return Ok(());
        };
        tracing::debug!("notifications of links and addresses were lost: all were dumped again");
        self.planner.find_left_overs(&self.host.actual);
        // IPv6 may have stopped and started again on an interface.
        self.packets.renew_memberships(VrrpSocket::join_all_again);
        self.tracked_routes.doubt(Loss::Any);
        let ids: Vec<_> = self.routers.keys().copied().collect();
        for id in ids {
            self.reconcile(now, id);
            self.queue.push(id);
        }
        let watched: Vec<_> = self.watches.keys().copied().collect();
        self.evaluate(now, watched);
        self.report_lost(now, lost);
        Ok(())
    }

    fn routers_where<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a RouterId>,
        is_meant: impl Fn(&Router) -> bool,
    ) -> Vec<RouterId> {
        let is_meant = |id: &&RouterId| self.routers.get(id).is_some_and(|it| is_meant(it));
        ids.into_iter().filter(is_meant).copied().collect()
    }

    /// The routers that are bound to the interface of this index. Among thousands of routers and
    /// links there are few that a change concerns.
    fn routers_on(&self, interface: u32) -> Vec<RouterId> {
        let members = self.members.get(&self.numbers.at(interface));
        let is_bound = |router: &Router| router.interface() == Some(interface);
        self.routers_where(members.into_iter().flatten(), is_bound)
    }

    /// The routers that have their addresses on the interface of this index: they are bound to it,
    /// or it is their macvlan.
    fn routers_at(&self, interface: u32) -> Vec<RouterId> {
        let link = self.host.actual.link(interface);
        let parent = link.and_then(|it| it.parent);
        let members = [Some(interface), parent]
            .into_iter()
            .flatten()
            .filter_map(|index| self.members.get(&self.numbers.at(index)));
        let is_at = |router: &Router| router.address_interface() == Some(interface);
        self.routers_where(members.flatten(), is_at)
    }

    /// Whether a router has this as a virtual address, and not as an address that it owns and that
    /// was configured on the host.
    pub(super) fn is_virtual(&self, address: IpAddr) -> bool {
        let mut holders = self.planner.holders(address);
        holders.any(|id| {
            let wanted = self.wanted(id);
            wanted.is_some_and(|it| !it.is_native(address, &self.host.actual))
        })
    }

    /// Reports an address of a router that another program put on its interface.
    fn report_foreign(&mut self, interface: u32, own: &InterfaceAddress) {
        let actual = &self.host.actual;
        if actual.is_marked(interface, own) || actual.is_known(interface, own) {
            return;
        }
        let Ok(address) = VirtualAddress::new(own.address).with_prefix_len(own.prefix_len) else {
            return;
        };
        let holders: Vec<_> = self.planner.holders(own.address).collect();
        for id in holders {
            let is_here = self.routers.get(&id).is_some_and(|router| {
                [router.interface(), router.address_interface()].contains(&Some(interface))
                    && !router.config.is_owner()
            });
            // On a kernel without marks, the addresses of an Active come without one.
            if is_here && (self.host.actual.keeps_marks() || !is_active(&self.fleet, id)) {
                let address = address.clone();
                self.notify(Some(id), DriverEvent::ForeignAddress(address));
            }
        }
    }

    /// Reports addresses and routes that an Active has lost. They are put back.
    fn report_lost(&mut self, now: Instant, lost: Vec<Lost>) {
        for lost in lost {
            match lost {
                Lost::Address { interface, address } => {
                    let holders: Vec<_> = self.planner.holders(address.address).collect();
                    for id in holders {
                        self.report_lost_address(now, id, interface, &address);
                    }
                }
                Lost::Route { route } => {
                    let routed: Vec<_> = self.planner.routed().collect();
                    for id in routed {
                        let own = self.routers.get(&id).and_then(|router| {
                            let own = router.common().routes.iter();
                            own.clone().find(|own| own.is_reported_as(&route)).cloned()
                        });
                        if let Some(own) = own.filter(|_| is_active(&self.fleet, id)) {
                            self.planner.retry(now, Some(id), Thing::of_route(&own));
                            self.notify(Some(id), DriverEvent::RouteLost(own));
                        }
                    }
                }
            }
        }
    }

    fn report_lost_address(
        &mut self,
        now: Instant,
        id: RouterId,
        interface: u32,
        own: &InterfaceAddress,
    ) {
        let is_wanted = self
            .wanted(id)
            .is_some_and(|it| it.wants(interface, own, &self.host.actual));
        let address = self.routers.get(&id).and_then(|router| {
            let mut all = router.all();
            all.find(|address| address.is_at(own)).cloned()
        });
        if let Some(address) = address.filter(|_| is_wanted) {
            self.planner
                .retry(now, Some(id), Thing::Address(own.address));
            self.queue.push(id);
            self.notify(Some(id), DriverEvent::AddressLost(address));
        }
    }

    /// The routers whose routes may lead over this link now. A route without a named interface may
    /// use any link.
    fn routed_via(&self, link: &Link) -> Vec<RouterId> {
        let routed: Vec<_> = self.planner.routed().collect();
        self.routers_where(&routed, |router| {
            let mut own = router.common().routes.iter();
            link.up && own.any(|it| it.interface().is_none_or(|name| name == link.name))
        })
    }

    fn allow_routes(&mut self, now: Instant, ids: &[RouterId]) {
        for id in ids {
            self.planner.allow_routes(now, *id);
            self.queue.push(*id);
        }
    }

    /// Renews group memberships where IPv6 starts on an interface: the kernel may have stopped it
    /// there before, for an MTU under 1280, and ended all memberships with it.
    fn rejoin(&mut self, interface: u32, added: &InterfaceAddress) {
        let known = self.host.interfaces().get(interface);
        let is_first = matches!(added.address, IpAddr::V6(it) if it.is_unicast_link_local())
            && added.usable
            && known.is_some_and(|it| !it.has(added.address));
        if is_first {
            self.packets
                .renew_memberships(|socket| socket.join_again(interface));
            self.host.proxies.join_again(Some(interface));
        }
    }

    /// Brings a router in line with its interface: starts it, faults it, or gives it another
    /// primary address.
    pub(super) fn reconcile(&mut self, now: Instant, id: RouterId) {
        self.rebind(now, id);
        self.ensure_macvlan(now, id);
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let interface = self.host.interfaces().named(&router.common().interface);
        router.vrf = interface.and_then(|interface| interface.link.vrf);
        let Some(router) = self.routers.get(&id) else {
            return;
        };
        let primary = interface.and_then(|interface| {
            router.primary_address(interface, |address| self.is_virtual(address))
        });
        let mut faults = router.current_faults(interface, primary);
        faults.extend(self.foreign_fault(id));
        faults.extend(self.virtual_mac_fault(id));
        faults.extend(self.part_faults_of(router));
        let wanted = self.wanted(id);
        let waits = wanted.is_some_and(|it| it.awaits_claims(&self.host.actual));
        let primary = primary.filter(|_| !waits && !faults.iter().any(Fault::stops_router));
        let gone: Vec<_> = router.faults().difference(&faults).cloned().collect();
        let come: Vec<_> = faults.difference(router.faults()).cloned().collect();
        let is_shut_down = router.is_shut_down;
        let is_refused =
            faults.contains(&Fault::NoMulticast) || faults.contains(&Fault::VrfPacketsIgnored);
        if let Some(router) = self.routers.get_mut(&id) {
            router.change_problems(|it| it.faults = faults);
        }
        for fault in come {
            self.notify(Some(id), DriverEvent::Fault(fault));
        }
        for fault in gone {
            self.notify(Some(id), DriverEvent::Recovered(fault));
        }
        if is_shut_down {
            return;
        }
        if is_refused {
            self.planner.retry(now, Some(id), Thing::Group);
        }
        let moved = self.fleet.get(id).is_some_and(|machine| {
            machine.state() != State::Initialize && primary != Some(machine.primary_address())
        });
        if let Some(address) = primary.filter(|_| moved) {
            self.notify(Some(id), DriverEvent::PrimaryAddress(address));
        }
        // They fail for a router that does not exist.
        let _known = match primary {
            Some(address) => self.fleet.startup(now, id, address),
            None => self.fleet.set_primary_address(now, id, None),
        };
        self.collect(now);
    }

    /// A router does not start while its interface has one of its addresses from another program:
    /// that address would stay when another router is Active.
    fn foreign_fault(&self, id: RouterId) -> Option<Fault> {
        let machine = self.fleet.get(id)?;
        if machine.state() != State::Initialize {
            return None;
        }
        let (interface, own) = self.wanted(id)?.foreign(&self.host.actual)?;
        let name = &self.host.actual.link(interface)?.name;
        let (address, prefix_len) = (own.address, own.prefix_len);
        Some(Fault::ForeignAddress(format!(
            "{name} has the virtual address {address}/{prefix_len}, and this router did not add it: remove it from the \
             configuration of the host, or set priority 255 if the host owns it"
        )))
    }

    /// A router does not start while another instance on this host has its virtual MAC.
    fn virtual_mac_fault(&self, id: RouterId) -> Option<Fault> {
        let wanted = self.wanted(id)?;
        if !wanted.lacks_virtual_mac(&self.host.actual) {
            return None;
        }
        let config = &self.routers.get(&id)?.config;
        let (name, vrid, family) = (&config.common().interface, config.vrid, config.family());
        Some(Fault::VirtualMacInUse(format!(
            "another program on this host runs virtual router {vrid} over {family} on {name} with its virtual MAC: stop \
             it, hand over from it, or use another VRID"
        )))
    }

    /// Reports the records of the fleet, except changes of state: those are reported once they are
    /// carried out.
    pub(super) fn report_records(&mut self) {
        while let Some(record) = self.fleet.read(&mut self.records) {
            match record.map(|record| record.change) {
                Ok(Record::EffectivePriority { router, from, to }) => {
                    self.notify(Some(router), DriverEvent::PriorityChanged { from, to });
                }
                Ok(Record::Object(object, level)) => {
                    self.notify(None, DriverEvent::ObjectChanged { object, level });
                }
                Ok(Record::WantsActive(router, group)) => {
                    self.notify(Some(router), DriverEvent::WantsActive { group });
                }
                Ok(_) => {}
                // There is room for more records than one call can add.
                Err(lost) => tracing::error!(%lost, "records were lost"),
            }
        }
        self.fleet.drop_records(self.records);
    }

    /// Ties a router to the interface that has its name now.
    fn rebind(&mut self, now: Instant, id: RouterId) {
        let Some(router) = self.routers.get(&id) else {
            return;
        };
        let interface = self.host.interfaces().named(&router.common().interface);
        let index = interface.map(|interface| interface.link.index);
        match router.binding {
            Some(binding) if Some(binding.interface) == index => {
                if !binding.joined {
                    self.join(id);
                }
                return;
            }
            Some(binding) => {
                if self.host.actual.link(binding.interface).is_some() {
                    // It resigns there. It fails for a router that does not exist.
                    let _known = self.fleet.set_primary_address(now, id, None);
                    self.collect(now);
                    self.flush(now);
                }
                self.unbind(id);
            }
            None => {}
        }
        let Some(index) = index else {
            return;
        };
        // Without marks, only the configuration distinguishes an address of ours from the host's.
        // The only address of an interface is the host's.
        let takes_unmarked = !self.host.actual.keeps_marks()
            && self.routers.get(&id).is_some_and(|router| {
                let is_own = |address| router.all().any(|own| own.address() == address);
                let interface = self.host.interfaces().get(index);
                !router.config.is_owner()
                    && interface
                        .is_some_and(|it| it.primary_address(router.family(), is_own).is_some())
            });
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        router.bind(index);
        router.takes_unmarked = takes_unmarked;
        self.numbers.bind(index, &router.common().interface);
        // No change of state has the link watched where an Active stays Active: after a hand-over,
        // and where its interface was made again before the driver knew.
        self.packets.links.mark_stale();
        self.queue.push(id);
        self.join(id);
    }

    /// Joins the group on a router's interface, where it uses one.
    fn join(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(&id)
            && let Err(error) = self.packets.join(router)
        {
            tracing::debug!(%id, %error, "a router stays in fault");
        }
    }

    /// Unties a router from its interface. Everything that it has there is removed.
    pub(super) fn unbind(&mut self, id: RouterId) {
        self.leave(id);
        if let Some(wanted) = self.wanted(id) {
            let former = wanted.left_behind(&self.host.actual);
            self.planner.add_all_former(former);
        }
        if let Some(router) = self.routers.get_mut(&id) {
            router.unbind();
        }
    }

    /// Leaves the group that a router has joined.
    pub(super) fn leave(&mut self, id: RouterId) {
        if let Some(router) = self.routers.get_mut(&id) {
            self.packets.leave(router);
        }
    }
}
