//! The next changes: plans with their retries, and the removal of things that no router has any
//! more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use vrrp_fsm::{Instant, fleet::RouterId};

use super::{Actual, Change, Claim, Claims, Kept, Pause, Stage, Wanted, holders::Holders, plan};
use crate::{ADDRESS_PROTOCOL, Link, MonitorEvent, Route};

/// The subject of a change: retries are spaced for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Link(u32),
    Address(IpAddr),
    Route(u32, IpAddr, u8),
    /// The membership of its multicast group.
    Group,
}

impl Thing {
    pub(crate) const fn of_route(route: &Route) -> Self {
        Self::Route(route.table(), route.destination(), route.prefix_len())
    }

    pub(crate) const fn of(change: &Change) -> Self {
        match change {
            Change::CreateMacvlan { parent, .. } | Change::QuietParent { parent, .. } => {
                Self::Link(*parent)
            }
            Change::DeleteLink { interface }
            | Change::RestoreParent { interface }
            | Change::SetUp { interface }
            | Change::SetDown { interface } => Self::Link(*interface),
            Change::AddAddress { address, .. } => Self::Address(address.address()),
            Change::RemoveAddress { address, .. } => Self::Address(address.address),
            Change::BeginProxy { address, .. } | Change::EndProxy { address, .. } => {
                Self::Address(*address)
            }
            Change::AddRoute { route, .. } | Change::RemoveRoute { route, .. } => {
                Self::of_route(route)
            }
        }
    }
}

/// Something on the host that no router wants, or no longer wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Former {
    Address {
        interface: u32,
        local: IpAddr,
    },
    Route {
        interface: Option<u32>,
        route: Route,
    },
    Macvlan {
        interface: u32,
    },
    /// The settings of a parent that has no macvlan of ours any more.
    Parent {
        interface: u32,
    },
}

/// Looks up a router.
pub(crate) type Lookup<'a> = &'a dyn Fn(RouterId) -> Option<Wanted<'a>>;

/// The plans of all routers, and the times of their retries.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    holders: Holders,
    /// The routers that have routes.
    routed: BTreeSet<RouterId>,
    former: Vec<Former>,
    pauses: BTreeMap<(Option<RouterId>, Thing), Pause>,
    due: BTreeSet<(Instant, Option<RouterId>)>,
    /// Whether there may be left-overs, but other instances have not been asked.
    must_ask: bool,
    /// The macvlans that the program manages itself.
    own: BTreeSet<u32>,
}

impl Planner {
    /// Notes the addresses and routes of a router.
    pub(crate) fn insert(&mut self, id: RouterId, wanted: &Wanted<'_>) {
        for address in wanted.all() {
            self.holders.insert(address.address(), id);
        }
        if !wanted.routes.is_empty() {
            self.routed.insert(id);
        }
    }

    /// Forgets a router.
    pub(crate) fn forget(&mut self, id: RouterId) {
        self.holders.forget(id);
        self.routed.remove(&id);
        self.pauses.retain(|(of, _), _| *of != Some(id));
        self.due.retain(|(_, of)| *of != Some(id));
    }

    /// Notes that a router has another address.
    pub(crate) fn add_address(&mut self, id: RouterId, local: IpAddr) {
        self.holders.insert(local, id);
    }

    /// Notes that a router has an address no longer.
    pub(crate) fn remove_address(&mut self, id: RouterId, local: IpAddr) {
        self.holders.remove(local, id);
    }

    /// Queues the removal of these, unless a router wants them.
    pub(crate) fn add_all_former(&mut self, former: Vec<Former>) {
        self.former.extend(former);
    }

    /// Queues the removal of something, unless a router wants it.
    pub(crate) fn add_former(&mut self, former: Former) {
        if !self.former.contains(&former) {
            self.former.push(former);
        }
    }

    /// Queues the removal of everything with our mark that no router wants, and that neither the
    /// program nor another instance claims.
    pub(crate) fn sweep(&mut self, actual: &Actual) {
        let mut found = marked(actual);
        found.retain(|it| {
            let is_own =
                matches!(it, Former::Macvlan { interface } if self.own.contains(interface));
            !is_own && !actual.claims().include(&it.claim())
        });
        self.former.extend(found);
    }

    /// Sets the macvlans that the program manages itself.
    pub(crate) fn set_own(&mut self, macvlans: &BTreeSet<u32>) {
        self.own.clone_from(macvlans);
    }

    /// Adds the macvlans that the program manages itself, with the settings of their parents.
    pub(crate) fn add_own_claims(&self, actual: &Actual, claims: &mut Claims) {
        for interface in &self.own {
            claims.add(Claim::Link(*interface), true);
            let parent = actual.link(*interface).and_then(|link| link.parent);
            if let Some(parent) = parent {
                claims.add(Claim::Parent(parent), true);
            }
        }
    }

    /// Whether [`take_question`](Self::take_question) returns true.
    #[inline]
    pub(crate) const fn has_question(&self) -> bool {
        self.must_ask
    }

    /// Whether other instances should be asked for their claims, so that a sweep can follow.
    /// Returns true once.
    pub(crate) fn take_question(&mut self) -> bool {
        std::mem::take(&mut self.must_ask)
    }

    /// After notifications were lost: queues the removal of everything with our mark that no router
    /// wants, and that a notification would have reported.
    pub(crate) fn find_left_overs(&mut self, actual: &Actual) {
        self.must_ask |= actual.has_company();
        // Other instances have addresses too. Their removal waits for the answers.
        let is_free = |it: &Former| {
            let is_address = matches!(it, Former::Address { .. });
            !actual.has_company() || !(is_address || actual.claims().include(&it.claim()))
        };
        let found = marked(actual).into_iter().filter(is_free);
        let found = found.filter(|it| match it {
            Former::Address { local, .. } => self.holders(*local).next().is_some(),
            Former::Parent { .. } => true,
            Former::Macvlan { interface } => {
                let parent = actual.link(*interface).and_then(|it| it.parent);
                parent.and_then(|it| actual.link(it)).is_none()
            }
            Former::Route { .. } => false,
        });
        let found: Vec<_> = found.collect();
        self.former.extend(found);
    }

    /// The routers that have this address.
    pub(crate) fn holders(&self, local: IpAddr) -> impl Iterator<Item = RouterId> {
        self.holders.of(local)
    }

    /// Whether a router has this address.
    pub(crate) fn has_holders(&self, local: IpAddr) -> bool {
        self.holders(local).next().is_some()
    }

    /// The routers that have routes.
    pub(crate) fn routed(&self) -> impl Iterator<Item = RouterId> {
        self.routed.iter().copied()
    }

    /// Notes a notification that is not applied to `actual` yet. Returns the routers whose plan may
    /// change, without the routers on the interface, which the caller adds.
    pub(crate) fn notice(
        &mut self,
        event: &MonitorEvent,
        actual: &mut Actual,
    ) -> BTreeSet<RouterId> {
        let mut found = BTreeSet::new();
        if let MonitorEvent::LinkGone { interface } = event
            && actual.is_our_link(*interface)
            && let Some(parent) = actual.link(*interface).and_then(|it| it.parent)
        {
            self.add_parent(parent, actual);
        }
        if let MonitorEvent::Link(link) = event
            && link.settings_record().is_some()
        {
            self.add_parent(link.index, actual);
        }
        if let MonitorEvent::LinkGone { interface } = event {
            // A parent that moved to another network namespace leaves its macvlans behind, and the
            // kernel does not notify that.
            let left: Vec<_> = actual.macvlans_on(*interface).collect();
            for interface in left {
                self.add_former(Former::Macvlan { interface });
            }
        }
        if let MonitorEvent::Link(link) = event
            && is_orphan(link)
        {
            self.add_former(Former::Macvlan {
                interface: link.index,
            });
        }
        if let MonitorEvent::AddressAdded { interface, address } = event
            && address.protocol == ADDRESS_PROTOCOL
            && !actual
                .addresses(*interface, address.address)
                .any(|own| own.is_same(address) && own.protocol == address.protocol)
            && self.holders(address.address).next().is_some()
        {
            let (interface, local) = (*interface, address.address);
            if actual.has_company() {
                actual.doubt_address(interface, local);
                self.must_ask = true;
            } else {
                self.add_former(Former::Address { interface, local });
            }
        }
        match event {
            MonitorEvent::Link(_) | MonitorEvent::LinkGone { .. } => found.extend(&self.routed),
            MonitorEvent::AddressAdded { address, .. } => {
                found.extend(self.holders(address.address));
            }
            MonitorEvent::AddressRemoved { address, .. } => {
                found.extend(self.holders(address.address));
                found.extend(&self.routed);
            }
            MonitorEvent::RouteRemoved { route, .. } => {
                found.extend(&self.routed);
                found.extend(self.holders(route.destination()));
            }
            MonitorEvent::Overrun => {}
        }
        found
    }

    /// The changes to make for a router now. Refused changes wait, and so do changes that another
    /// program undoes again and again.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        id: RouterId,
        routers: Lookup<'_>,
        actual: &Actual,
    ) -> Vec<Change> {
        let Some(wanted) = routers(id) else {
            return Vec::new();
        };
        let others = self.others(id, &wanted, routers);
        let changes = plan(&wanted, &others, actual);
        let changes = self.space(now, Some(id), changes);
        self.follow_parents(&changes, actual);
        changes
    }

    /// The other routers that have an address or a route in common with this one.
    fn others<'a>(
        &self,
        id: RouterId,
        wanted: &Wanted<'_>,
        routers: Lookup<'a>,
    ) -> Vec<Wanted<'a>> {
        let mut others = BTreeSet::new();
        for address in wanted.all() {
            others.extend(self.holders(address.address()));
        }
        if !wanted.routes.is_empty() {
            others.extend(&self.routed);
        }
        others.remove(&id);
        others.into_iter().filter_map(routers).collect()
    }

    /// The addresses and routes that a router does not want, and that are there for another running
    /// instance.
    pub(crate) fn kept(&self, id: RouterId, routers: Lookup<'_>, actual: &Actual) -> Vec<Kept> {
        if actual.claims().is_empty() {
            return Vec::new();
        }
        let Some(wanted) = routers(id) else {
            return Vec::new();
        };
        wanted.kept(&self.others(id, &wanted, routers), actual)
    }

    /// Queues the parents of deleted macvlans: their settings can be restored then.
    fn follow_parents(&mut self, changes: &[Change], actual: &Actual) {
        for change in changes {
            if let Change::DeleteLink { interface } = change
                && let Some(parent) = actual.link(*interface).and_then(|it| it.parent)
            {
                self.add_parent(parent, actual);
            }
        }
    }

    /// Restores the settings of a parent, once it has no macvlan of ours. Another instance may
    /// have one there: the kernel does not report that a link which is down gets its mark.
    fn add_parent(&mut self, interface: u32, actual: &Actual) {
        if actual.has_company() {
            self.must_ask = true;
        } else {
            self.add_former(Former::Parent { interface });
        }
    }

    /// The part of a router's plan that makes its macvlan.
    pub(crate) fn plan_macvlan(
        &mut self,
        now: Instant,
        id: RouterId,
        routers: Lookup<'_>,
        actual: &Actual,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(wanted) = routers(id) {
            let address_interface = wanted.address_interface(actual);
            super::plan_macvlan(&wanted, address_interface, actual, &mut changes);
        }
        changes.retain(|change| {
            matches!(
                change,
                Change::CreateMacvlan { .. } | Change::QuietParent { .. }
            )
        });
        self.space(now, Some(id), changes)
    }

    /// The changes that remove things that no router wants any more.
    pub(crate) fn plan_former(
        &mut self,
        now: Instant,
        routers: Lookup<'_>,
        actual: &Actual,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut former = std::mem::take(&mut self.former);
        // A thing that depends on another comes last.
        former.sort_by_key(Former::rank);
        former.retain(|it| {
            let before = changes.len();
            let claimants = self.claimants(it, routers, actual);
            if claimants.is_empty() && !actual.claims().use_now(&it.claim()) {
                it.plan(actual, &mut changes);
            }
            // Another router has the same thing there, and its own plan decides.
            let claimants = claimants.into_iter().map(|id| (now, Some(id)));
            self.due.extend(claimants);
            changes.len() > before
        });
        self.former = former;
        let changes = self.space(now, None, changes);
        self.follow_parents(&changes, actual);
        changes
    }

    /// The routers that may want this, and so have it in their plans.
    fn claimants(
        &self,
        former: &Former,
        routers: Lookup<'_>,
        actual: &Actual,
    ) -> BTreeSet<RouterId> {
        let is_at = |it: &Wanted<'_>, interface| {
            let address_interface = it.address_interface(actual);
            it.places(address_interface).any(|place| place == interface)
        };
        let chosen = |ids: &mut dyn Iterator<Item = RouterId>,
                      claims: &dyn Fn(&Wanted<'_>) -> bool| {
            ids.filter(|id| routers(*id).is_some_and(|it| claims(&it)))
                .collect()
        };
        let mut all = self.holders.all();
        match former {
            Former::Address { interface, local } if *local == super::DUMMY => {
                chosen(&mut all, &|it| {
                    it.macvlan.is_some() && it.address_interface(actual) == Some(*interface)
                })
            }
            Former::Address { interface, local } => {
                chosen(&mut self.holders(*local), &|it| is_at(it, *interface))
            }
            Former::Route { route, .. } if route.discards() => {
                self.holders(route.destination()).collect()
            }
            Former::Route { interface, route } => chosen(&mut self.routed.iter().copied(), &|it| {
                it.routes.iter().any(|own| {
                    let oif = it.interface_of(own, actual);
                    own.destination() == route.destination()
                        && own.prefix_len() == route.prefix_len()
                        && own.table() == route.table()
                        && own.gateway() == route.gateway()
                        && (oif.is_none() || oif == *interface)
                })
            }),
            Former::Macvlan { interface } => match actual.link(*interface) {
                None => BTreeSet::new(),
                // Returns one router at most, because there may be thousands of both.
                Some(link) => all
                    .find(|id| {
                        routers(*id).is_some_and(|it| {
                            it.stage != Stage::Ended
                                && it.macvlan.is_some_and(|own| Some(own.mac) == link.mac)
                                && link.parent.is_some()
                                && it.interface == link.parent
                        })
                    })
                    .into_iter()
                    .collect(),
            },
            Former::Parent { .. } => BTreeSet::new(),
        }
    }

    /// Holds back changes whose last attempt was not long enough ago.
    fn space(
        &mut self,
        now: Instant,
        owner: Option<RouterId>,
        mut changes: Vec<Change>,
    ) -> Vec<Change> {
        if self.pauses.is_empty() {
            return changes;
        }
        changes.retain(|change| {
            let Some(pause) = self.pauses.get_mut(&(owner, Thing::of(change))) else {
                return true;
            };
            let not_before = pause.not_before();
            if now < not_before {
                self.due.insert((not_before, owner));
                return false;
            }
            true
        });
        // One attempt at a thing may take several changes.
        for change in &changes {
            if let Some(pause) = self.pauses.get_mut(&(owner, Thing::of(change)))
                && pause.not_before() <= now
            {
                pause.begin(now);
            }
        }
        self.pauses
            .retain(|(of, _), pause| *of != owner || !pause.is_over(now));
        changes
    }

    /// Notes that a change was refused: it is tried again.
    pub(crate) fn refused(&mut self, now: Instant, owner: Option<RouterId>, change: &Change) {
        self.retry(now, owner, Thing::of(change));
    }

    /// Schedules a router's plan for the time at which the next attempt at this thing may be made.
    pub(crate) fn retry(&mut self, now: Instant, owner: Option<RouterId>, thing: Thing) {
        let pause = self.pauses.entry((owner, thing));
        let pause = pause.or_insert_with(|| Pause::new(now));
        if pause.is_over(now) {
            *pause = Pause::new(now);
        }
        self.due.insert((pause.not_before().max(now), owner));
    }

    /// Notes an attempt that no plan makes.
    pub(crate) fn begin(&mut self, now: Instant, owner: Option<RouterId>, thing: Thing) {
        if let Some(pause) = self.pauses.get_mut(&(owner, thing)) {
            pause.begin(now);
        }
    }

    /// Whether attempts at this thing are being spaced.
    pub(crate) fn is_retried(&self, owner: Option<RouterId>, thing: Thing) -> bool {
        self.pauses.contains_key(&(owner, thing))
    }

    /// Allows the routes of a router to be tried now: a link or an address that they need may have
    /// come.
    pub(crate) fn allow_routes(&mut self, now: Instant, id: RouterId) {
        for ((of, thing), pause) in &mut self.pauses {
            if *of == Some(id) && matches!(thing, Thing::Route(..)) {
                pause.allow(now);
            }
        }
    }

    /// The time at which [`take_due`](Self::take_due) returns something.
    #[inline]
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether the removal of something that no router has any more may be tried now.
    #[inline]
    pub(crate) fn has_former(&self) -> bool {
        !self.former.is_empty() && !self.due.iter().any(|(_, owner)| owner.is_none())
    }

    /// The routers that may be tried again now; `None` stands for the things that no router has.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Option<RouterId>> {
        let mut taken = Vec::new();
        while let Some((at, owner)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            taken.push(owner);
        }
        taken
    }
}

/// Whether a macvlan of ours was left behind by its parent, which moved to another network
/// namespace.
fn is_orphan(link: &Link) -> bool {
    link.is_marked_macvlan() && link.parent.is_none()
}

/// Everything with our mark.
fn marked(actual: &Actual) -> Vec<Former> {
    let mut found = Vec::new();
    for it in actual.interfaces().iter() {
        let interface = it.link.index;
        let marked = it
            .addresses
            .iter()
            .filter(|own| own.protocol == ADDRESS_PROTOCOL);
        found.extend(marked.map(|own| Former::Address {
            interface,
            local: own.address,
        }));
        if actual.is_our_link(interface) {
            found.push(Former::Macvlan { interface });
        }
        if it.link.settings_record().is_some() {
            found.push(Former::Parent { interface });
        }
    }
    let routes = actual.routes();
    found.extend(routes.map(|(interface, route)| Former::Route { interface, route }));
    found
}

impl Wanted<'_> {
    /// Everything that the router may have on its interfaces.
    pub(crate) fn left_behind(&self, actual: &Actual) -> Vec<Former> {
        let mut found = Vec::new();
        for address in self.all() {
            found.extend(self.left_of(address.address(), actual));
        }
        if let (Some(macvlan), Some(parent)) = (self.macvlan, self.interface) {
            let ours = actual.our_macvlans(parent, macvlan.mac);
            // The parent of its macvlan may have moved to another network namespace and left the
            // macvlan behind.
            let last = self.address_interface.filter(|it| actual.is_our_link(*it));
            let ours: BTreeSet<u32> = ours.chain(last).collect();
            let ours = ours.into_iter();
            found.extend(ours.map(|interface| Former::Macvlan { interface }));
        }
        found
    }

    /// The routes that it may have.
    pub(crate) fn left_routes(&self, actual: &Actual) -> Vec<Former> {
        let routes = self.routes.iter().map(|route| {
            let interface = self.interface_of(route, actual);
            let interface = interface.filter(|it| *it != super::NO_INTERFACE);
            (interface, route.clone())
        });
        let there = routes.filter(|(interface, route)| actual.may_have_route(*interface, route));
        there
            .map(|(interface, route)| Former::Route { interface, route })
            .collect()
    }

    /// Everything that it may have of an address on its interfaces.
    pub(crate) fn left_of(&self, local: IpAddr, actual: &Actual) -> Vec<Former> {
        let address_interface = self.address_interface(actual);
        let places = self
            .places(address_interface)
            .filter(|place| actual.has_address(*place, local) || actual.is_proxied(*place, local));
        let mut found: Vec<_> = places
            .map(|interface| Former::Address { interface, local })
            .collect();
        if actual.may_be_discarded(local) {
            found.push(Former::Route {
                interface: None,
                route: Route::discard(local),
            });
        }
        found
    }
}

impl Former {
    /// The form in which another instance claims it.
    fn claim(&self) -> Claim {
        match self {
            Self::Address { interface, local } => Claim::Address(*interface, *local),
            Self::Macvlan { interface } => Claim::Link(*interface),
            Self::Parent { interface } => Claim::Parent(*interface),
            Self::Route { route, .. } => Claim::of_route(route),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Route { .. } => 0,
            Self::Macvlan { .. } => 1,
            Self::Address { .. } => 2,
            Self::Parent { .. } => 3,
        }
    }

    /// Adds the change that removes it, if it exists.
    fn plan(&self, actual: &Actual, changes: &mut Vec<Change>) {
        match self {
            Self::Address { interface, local } => {
                let interface = *interface;
                let deleted = Change::DeleteLink { interface };
                if changes.contains(&deleted) {
                    return;
                }
                for own in actual.addresses(interface, *local) {
                    if actual.is_marked(interface, own) {
                        changes.push(Change::remove_address(interface, own));
                    }
                }
                if actual.is_proxied(interface, *local) {
                    let address = *local;
                    changes.push(Change::EndProxy { interface, address });
                }
            }
            Self::Route { interface, route } => {
                if actual.may_have_route(*interface, route) {
                    let (interface, route) = (*interface, route.clone());
                    changes.push(Change::RemoveRoute { interface, route });
                }
            }
            Self::Macvlan { interface } => {
                let interface = *interface;
                if actual.is_our_link(interface) {
                    changes.push(Change::DeleteLink { interface });
                }
            }
            Self::Parent { interface } => {
                let interface = *interface;
                let is_recorded = actual
                    .link(interface)
                    .is_some_and(|link| link.settings_record().is_some());
                if is_recorded && actual.macvlans_on(interface).next().is_none() {
                    changes.push(Change::RestoreParent { interface });
                }
            }
        }
    }
}
