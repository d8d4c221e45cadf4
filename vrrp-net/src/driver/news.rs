//! What changes around the routers: interfaces come and go, and so do addresses.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use vrrp_fsm::{
    Instant, State,
    fleet::{Change, RouterId},
};
use vrrp_proto::Family;

use super::{
    Driver, DriverEvent, Fault, is_active,
    router::{Binding, HeldRoute, Router},
    work::{Step, Work},
};
use crate::{
    ADDRESS_PROTOCOL, Error, InterfaceAddress, Link, Macvlan, MonitorEvent, Route, VrrpSocket,
};

/// How long the list of links and addresses rests that has changed while it was read.
const REST: Duration = Duration::from_millis(10);

impl Driver {
    /// Takes in all news of links and addresses, and draws the conclusions.
    pub(super) fn receive_news(&mut self) -> Result<(), Error> {
        let mut news = Vec::new();
        self.monitor.receive(|event| news.push(event))?;
        if news.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut affected = BTreeSet::new();
        let mut lost = BTreeSet::new();
        let mut lost_routes = Vec::new();
        let mut may_cost_routes = false;
        for event in &news {
            match event {
                MonitorEvent::Link(link) => {
                    let known = self.interfaces.get(link.index);
                    if known.is_none_or(|known| known.link != *link) {
                        let has_moved = known.is_some_and(|known| known.link.mac != link.mac);
                        let number = self.numbers.of_name(&link.name);
                        let named = number.and_then(|number| self.members.get(&number));
                        affected.extend(named.into_iter().flatten());
                        affected.extend(self.routers_on(link.index));
                        let was_there = known
                            .is_some_and(|known| known.link.up && known.link.name == link.name);
                        if !link.up {
                            self.look_after_macvlan(link.index);
                        } else if !was_there {
                            self.install(self.led_by(link));
                        }
                        if has_moved {
                            self.announce_anew(now, link.index);
                        }
                    }
                    may_cost_routes |= !link.up;
                }
                MonitorEvent::LinkGone { interface } => {
                    let bound = self.routers_on(*interface);
                    // At once: a link that follows it may have the same index. A macvlan that is still there was left behind by an
                    // interface that went to another namespace.
                    for id in &bound {
                        self.unbind(*id);
                    }
                    affected.extend(bound);
                    // Its own macvlan a router forgets before the news come.
                    let borne = self.routers_at(*interface);
                    for id in &borne {
                        self.forget_virtual_mac(*id);
                    }
                    affected.extend(borne);
                    self.numbers.unbind(*interface);
                }
                MonitorEvent::AddressAdded { interface, address } => {
                    if !self.is_virtual(address.address) && address.protocol != ADDRESS_PROTOCOL {
                        affected.extend(self.routers_on(*interface));
                        self.hear_again(*interface, address);
                        let known = self.interfaces.get(*interface);
                        let led = known.map(|known| self.led_by(&known.link));
                        self.install(led.unwrap_or_default());
                    }
                }
                MonitorEvent::AddressRemoved { interface, address } => {
                    may_cost_routes = true;
                    if self.is_virtual(address.address) {
                        self.note_removal(*interface, address, &mut lost);
                    } else {
                        affected.extend(self.routers_on(*interface));
                    }
                }
                MonitorEvent::RouteRemoved { route, .. } => {
                    let is_meant = |router: &Router| router.routes.iter().any(|it| it.is(route));
                    let losers = self.those_where(&self.routed, is_meant);
                    lost_routes.extend(losers.into_iter().map(|id| (id, route.clone())));
                }
                MonitorEvent::Overrun => may_cost_routes = true,
            }
            self.interfaces.apply(event);
        }
        if news.contains(&MonitorEvent::Overrun) && self.read_anew_at.is_none() {
            self.notify(None, DriverEvent::Overrun);
            self.read_anew_at = Some(now);
        }
        if may_cost_routes {
            self.tracked_routes.doubt();
        }
        for id in affected {
            self.reconcile(now, id);
        }
        for id in self.objects_concerned(&news) {
            self.look_at(now, id);
        }
        for (id, address) in lost {
            self.tell_lost(now, id, address);
        }
        for (id, route) in lost_routes {
            self.tell_lost_route(now, id, &route);
        }
        Ok(())
    }

    /// After an overrun: reads everything anew, in a turn in which nothing changes meanwhile. Where much changes all the time that may take
    /// some, in which the rest goes on.
    pub(super) fn read_anew(&mut self) -> Result<(), Error> {
        let now = self.now();
        if self.read_anew_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        let Some(interfaces) = self.netlink.interfaces_at_once()? else {
            self.read_anew_at = Some(now + REST);
            return Ok(());
        };
        tracing::debug!("news of links and addresses were lost: everything was read anew");
        self.read_anew_at = None;
        self.interfaces = interfaces;
        // Among what was lost may be that IPv6 ended somewhere and began again.
        self.renew_memberships(VrrpSocket::join_all_again);
        let mut lost = BTreeSet::new();
        self.note_missing(&mut lost);
        self.look_for_what_is_gone();
        self.tracked_routes.doubt();
        for id in self.routers_where(|_| true) {
            self.reconcile(now, id);
        }
        let watched: Vec<_> = self.watches.keys().copied().collect();
        for id in watched {
            self.look_at(now, id);
        }
        for (id, address) in lost {
            self.tell_lost(now, id, address);
        }
        Ok(())
    }

    fn routers_where(&self, is_meant: impl Fn(&Router) -> bool) -> Vec<RouterId> {
        self.those_where(self.routers.keys(), is_meant)
    }

    fn those_where<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a RouterId>,
        is_meant: impl Fn(&Router) -> bool,
    ) -> Vec<RouterId> {
        let is_meant = |id: &&RouterId| self.routers.get(id).is_some_and(|it| is_meant(it));
        ids.into_iter().filter(is_meant).copied().collect()
    }

    /// The routers that are bound to the interface of this index. Among thousands of routers and links there are few that a change concerns.
    fn routers_on(&self, interface: u32) -> Vec<RouterId> {
        let members = self.members.get(&self.numbers.at(interface));
        let is_bound = |router: &Router| router.interface() == Some(interface);
        self.those_where(members.into_iter().flatten(), is_bound)
    }

    /// The routers whose addresses the interface of this index has: it is the one that they are bound to, or their macvlan on that one.
    fn routers_at(&self, station: u32) -> Vec<RouterId> {
        let link = self.interfaces.get(station).map(|it| &it.link);
        let beneath = link.and_then(|it| it.parent);
        let members = [Some(station), beneath]
            .into_iter()
            .flatten()
            .filter_map(|index| self.members.get(&self.numbers.at(index)));
        let is_at = |router: &Router| router.station() == Some(station);
        self.those_where(members.flatten(), is_at)
    }

    /// Whether a router holds this as a virtual address.
    pub(super) fn is_virtual(&self, address: IpAddr) -> bool {
        self.holders.get(&address).is_some_and(|ids| {
            ids.iter()
                .filter_map(|id| self.routers.get(id))
                .flat_map(|router| &router.held)
                .any(|held| held.address.address() == address && !held.is_native)
        })
    }

    /// Notes who holds an address that was removed. What a router removed itself it no longer takes for installed by now: news are
    /// read before anything is installed anew.
    fn note_removal(
        &self,
        interface: u32,
        removed: &InterfaceAddress,
        lost: &mut BTreeSet<(RouterId, IpAddr)>,
    ) {
        let holders = self.holders.get(&removed.address).into_iter().flatten();
        for id in holders {
            let is_held = self
                .routers
                .get(id)
                .filter(|router| router.station() == Some(interface))
                .into_iter()
                .flat_map(|router| &router.held)
                .any(|held| held.address.is_at(removed));
            if is_held {
                lost.insert((*id, removed.address));
            }
        }
    }

    /// After an overrun: finds the virtual addresses that are not where they should be.
    fn note_missing(&self, lost: &mut BTreeSet<(RouterId, IpAddr)>) {
        for (id, router) in &self.routers {
            let interface = router
                .station()
                .and_then(|index| self.interfaces.get(index));
            for held in &router.held {
                let is_there = interface.is_some_and(|interface| held.address.is_on(interface));
                if held.standing.installed && !held.is_answered && !is_there {
                    lost.insert((*id, held.address.address()));
                }
            }
        }
    }

    /// After an overrun: forgets the macvlans that are no longer there, and has the routes of Actives put back, wherever they are.
    fn look_for_what_is_gone(&mut self) {
        let is_gone = |router: &Router| {
            let station = router.station().filter(|_| router.macvlan.is_ok());
            station.is_some_and(|index| self.interfaces.get(index).is_none())
        };
        for id in self.routers_where(is_gone) {
            self.forget_virtual_mac(id);
        }
        for id in self.routers_where(|router| !router.routes.is_empty()) {
            self.work.push(id, Work::Install);
        }
    }

    /// Has a virtual address put back that an Active has lost.
    fn tell_lost(&mut self, now: Instant, id: RouterId, address: IpAddr) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let Some(held) = router
            .held
            .iter_mut()
            .find(|held| held.address.address() == address && held.is_added() && !held.is_answered)
        else {
            return;
        };
        if !is_active(&self.fleet, id) {
            held.standing.installed = false;
            return;
        }
        self.repairs.insert((held.standing.lose(now), id));
        let address = held.address.clone();
        self.notify(Some(id), DriverEvent::AddressLost(address));
    }

    /// Has a virtual route put back that an Active has lost. What a router removed itself it no longer takes for installed by now.
    fn tell_lost_route(&mut self, now: Instant, id: RouterId, route: &Route) {
        let is_active = is_active(&self.fleet, id);
        let held = self
            .routers
            .get_mut(&id)
            .and_then(|router| router.routes.iter_mut().find(|held| held.is(route)));
        let Some(held) = held.filter(|held| held.standing.installed && is_active) else {
            return;
        };
        self.repairs.insert((held.standing.lose(now), id));
        let route = held.route.clone();
        self.notify(Some(id), DriverEvent::RouteLost(route));
    }

    /// A macvlan that somebody set down is silent.
    fn look_after_macvlan(&mut self, interface: u32) {
        let is_borne = |router: &Router| router.macvlan.is_ok();
        self.install(self.those_where(&self.routers_at(interface), is_borne));
    }

    /// The routers that have a route by this link, which is to be seen to: routes go with a link that goes down, and with its last address, and the
    /// kernel does not tell of it. Without the name of an interface they may lead by any.
    fn led_by(&self, link: &Link) -> Vec<RouterId> {
        let leads = |held: &HeldRoute| held.route.interface().is_none_or(|it| it == link.name);
        self.those_where(&self.routed, |router| {
            link.up && router.routes.iter().any(leads)
        })
    }

    /// Has those routers that are Active see to it that all is in place.
    fn install(&mut self, meant: Vec<RouterId>) {
        for id in meant {
            if is_active(&self.fleet, id) {
                self.work.push(id, Work::Install);
            }
        }
    }

    /// The station that has the addresses of Actives has another hardware address, which neighbours do not know.
    fn announce_anew(&mut self, now: Instant, station: u32) {
        for id in self.routers_at(station) {
            self.install_and_announce(now, id);
        }
    }

    /// Where IPv6 begins on an interface, the kernel may have ended it there before, for an MTU under 1280, and all memberships of groups with it.
    fn hear_again(&mut self, interface: u32, added: &InterfaceAddress) {
        let is_first = matches!(added.address, IpAddr::V6(it) if it.is_unicast_link_local())
            && added.usable
            && (self.interfaces.get(interface)).is_some_and(|it| !it.has(added.address));
        if !is_first {
            return;
        }
        self.renew_memberships(|socket| socket.join_again(interface));
    }

    fn renew_memberships(&mut self, renew: impl Fn(&mut VrrpSocket) -> Result<(), Error>) {
        for socket in &mut self.sockets {
            if socket.family() == Family::Ipv6
                && let Err(error) = renew(socket)
            {
                tracing::warn!(%error, "advertisements over IPv6 are no longer heard there");
            }
        }
    }

    /// Has what the kernel refused for a router tried again: at once the first time, then ever less often.
    pub(super) fn try_again(&mut self, now: Instant, id: RouterId) {
        if let Some(router) = self.routers.get_mut(&id) {
            self.repairs.insert((router.retry.ask(now), id));
        }
    }

    /// Brings a router in line with its interface: starts it, faults it, or tells it of another primary address.
    pub(super) fn reconcile(&mut self, now: Instant, id: RouterId) {
        self.rebind(now, id);
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let interface = self.interfaces.named(&router.config.interface);
        router.vrf = interface.and_then(|interface| interface.link.vrf);
        let Some(router) = self.routers.get(&id) else {
            return;
        };
        let primary = interface.and_then(|interface| {
            router.primary_address(interface, |address| self.is_virtual(address))
        });
        let faults = router.current_faults(interface, primary);
        let primary = primary.filter(|_| !faults.iter().any(Fault::stops_router));
        let gone: Vec<_> = router.faults.difference(&faults).cloned().collect();
        let come: Vec<_> = faults.difference(&router.faults).cloned().collect();
        let is_shut_down = router.is_shut_down;
        let is_refused = faults.iter().any(|it| {
            matches!(
                it,
                Fault::NoVirtualMac(_) | Fault::NoMulticast | Fault::VrfPacketsIgnored
            )
        });
        if let Some(router) = self.routers.get_mut(&id) {
            router.faults = faults;
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
            self.try_again(now, id);
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

    /// Tells of what the fleet has noted, other than changes of state: those are told once they are carried out.
    pub(super) fn tell_records(&mut self) {
        while let Some(record) = self.fleet.read(&mut self.records) {
            match record.map(|record| record.change) {
                Ok(Change::EffectivePriority { router, from, to }) => {
                    self.notify(Some(router), DriverEvent::PriorityChanged { from, to });
                }
                Ok(Change::Object(object, level)) => {
                    self.notify(None, DriverEvent::ObjectChanged { object, level });
                }
                Ok(Change::WantsActive(router, group)) => {
                    self.notify(Some(router), DriverEvent::WantsActive { group });
                }
                Ok(_) => {}
                // There is room for more records than one call can add.
                Err(lost) => tracing::error!(%lost, "records were lost"),
            }
        }
    }

    /// Ties a router to the interface that has its name now.
    fn rebind(&mut self, now: Instant, id: RouterId) {
        let Some(router) = self.routers.get(&id) else {
            return;
        };
        let interface = self.interfaces.named(&router.config.interface);
        let index = interface.map(|interface| interface.link.index);
        match router.binding {
            Some(binding) if Some(binding.interface) == index => {
                if !binding.joined {
                    self.join(id);
                }
                self.bear_virtual_mac(now, id);
                return;
            }
            Some(binding) => self.let_go(now, id, binding.interface),
            None => {}
        }
        let Some(interface) = index.and_then(|index| self.interfaces.get(index)) else {
            return;
        };
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let index = interface.link.index;
        router.binding = Some(Binding {
            interface: index,
            joined: false,
        });
        self.numbers.bind(index, &router.config.interface);
        self.bear_virtual_mac(now, id);
        let (Some(router), Some(interface)) =
            (self.routers.get_mut(&id), self.interfaces.get(index))
        else {
            return;
        };
        let station = router.station().and_then(|it| self.interfaces.get(it));
        router.look_for_addresses(interface, station.unwrap_or(interface));
        self.work.push(id, Work::Remove { left_over: true });
        self.join(id);
    }

    /// Ends a router's part on an interface that was given another name: it resigns there, and takes its addresses away.
    fn let_go(&mut self, now: Instant, id: RouterId, interface: u32) {
        if self.interfaces.get(interface).is_some() {
            // It fails for a router that does not exist.
            let _known = self.fleet.set_primary_address(now, id, None);
            self.collect(now);
            self.flush(now);
            let router = self.routers.get(&id);
            let station = router.and_then(|router| router.station());
            let held = router.map(|router| &router.held);
            for held in held.into_iter().flatten().filter(|held| held.is_added()) {
                if let Some(station) = station {
                    let step = Step::take_away(station, held);
                    self.work.push(id, Work::Withdraw(step.into()));
                }
            }
        }
        self.unbind(id);
    }

    /// Joins the group on a router's interface, where it uses one.
    fn join(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let is_multicast = router.is_multicast();
        let socket = self.sockets.iter_mut().find(|socket| router.uses(socket));
        if let (Some(binding), Some(socket)) = (&mut router.binding, socket) {
            let result = if is_multicast {
                socket.join(binding.interface)
            } else {
                Ok(())
            };
            binding.joined = result.is_ok();
            if let Err(error) = result {
                tracing::debug!(%id, %error, "a router stays in fault");
            }
        }
    }

    /// Makes the macvlan of a router that is to bear its virtual MAC, or finds it again. An Active that has lost it takes up its addresses
    /// there anew.
    fn bear_virtual_mac(&mut self, now: Instant, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let (Some(wanted), Some(parent), Err(_), false) = (
            &router.config.virtual_mac,
            router.binding.map(|binding| binding.interface),
            &router.macvlan,
            router.is_shut_down,
        ) else {
            return;
        };
        let made = Macvlan::add(
            &mut self.netlink,
            &mut self.interfaces,
            parent,
            (router.config.fsm.family, router.config.fsm.vrid),
            wanted.name.as_deref(),
            router
                .held
                .iter()
                .any(|held| held.address.address().is_ipv4()),
        );
        router.macvlan = made.map_err(|error| error.to_string());
        if router.macvlan.is_ok() {
            self.install_and_announce(now, id);
        }
    }

    /// Has an Active see to it that all is in place, and announce it.
    pub(super) fn install_and_announce(&mut self, now: Instant, id: RouterId) {
        if is_active(&self.fleet, id) {
            self.work.push(id, Work::Install);
            // It fails for a router that does not exist.
            let _known = self.fleet.reannounce(now, id);
            self.collect(now);
        }
    }

    /// Deletes the macvlan of a router.
    fn give_up_virtual_mac(&mut self, id: RouterId) {
        if let Some(macvlan) = self.forget_virtual_mac(id) {
            let result = macvlan.delete(&mut self.netlink, &mut self.interfaces);
            if let Err(error) = result {
                self.notify(Some(id), DriverEvent::VirtualMacFailed(error));
            }
        }
    }

    /// Takes note that the macvlan of a router is no longer there, or will be no more, with all that is on it.
    pub(super) fn forget_virtual_mac(&mut self, id: RouterId) -> Option<Macvlan> {
        let router = self.routers.get_mut(&id)?;
        let macvlan = std::mem::replace(&mut router.macvlan, Err(String::new())).ok()?;
        for held in &router.held {
            self.answers
                .end(macvlan.interface(), held.address.address());
        }
        router.lose_addresses();
        Some(macvlan)
    }

    /// Unties a router from its interface.
    pub(super) fn unbind(&mut self, id: RouterId) {
        self.give_up_virtual_mac(id);
        self.leave(id);
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let Some(binding) = router.binding.take() else {
            return;
        };
        for held in &router.held {
            self.answers.end(binding.interface, held.address.address());
        }
        router.lose_addresses();
        for held in &mut router.held {
            held.is_native = false;
        }
    }

    /// Leaves the group that a router has joined.
    pub(super) fn leave(&mut self, id: RouterId) {
        let Some(router) = self.routers.get_mut(&id) else {
            return;
        };
        let is_multicast = router.is_multicast();
        let socket = self.sockets.iter_mut().find(|socket| router.uses(socket));
        if let (Some(binding), Some(socket)) = (&mut router.binding, socket)
            && std::mem::take(&mut binding.joined)
            && is_multicast
        {
            socket.leave(binding.interface);
        }
    }
}
