//! The plan against the model of a kernel.

mod properties;
mod recorded;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vrrp_fsm::{Instant, fleet::RouterId};
use vrrp_proto::frame::MacAddress;

use super::{
    model::{Errno, Kernel},
    *,
};
use crate::{
    ADDRESS_PROTOCOL, InterfaceAddress, Interfaces, Link, MonitorEvent, ROUTE_PROTOCOL, Route,
    Scope,
};

/// A virtual MAC over IPv4.
const fn virtual_mac(vrid: u8) -> MacAddress {
    MacAddress([0, 0, 0x5e, 0, 1, vrid])
}

fn own(text: &str) -> InterfaceAddress {
    let address: VirtualAddress = text.parse().unwrap();
    InterfaceAddress {
        address: address.address(),
        prefix_len: address.prefix_len(),
        peer: None,
        protocol: 0,
        secondary: false,
        usable: true,
        scope: Scope::Global,
    }
}

/// The history of a case, for the message of a failed test.
struct Story {
    log: Vec<String>,
    routers: Vec<Router>,
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?}\n{:#?}", self.log, self.routers)
    }
}

/// Links and addresses. The order counts among the addresses of others.
fn in_order(interfaces: &Interfaces) -> Vec<(Link, Vec<InterfaceAddress>, Vec<InterfaceAddress>)> {
    let lists = interfaces.iter().map(|it| {
        let all = it.addresses.iter().cloned();
        let (mut ours, others): (Vec<_>, Vec<_>) =
            all.partition(|own| own.protocol == ADDRESS_PROTOCOL);
        ours.sort_by_key(|own| (own.address, own.prefix_len));
        let mut link = it.link.clone();
        // The kernel does not notify that the parent of a macvlan has moved away.
        link.parent = link.parent.filter(|it| interfaces.get(*it).is_some());
        (link, ours, others)
    });
    lists.collect()
}

/// A router of a driver.
#[derive(Clone, Debug)]
struct Router {
    id: RouterId,
    name: &'static str,
    addresses: Vec<VirtualAddress>,
    routes: Vec<Route>,
    macvlan: Option<(MacAddress, &'static str)>,
    stage: Stage,
    is_owner: bool,
    accepts: bool,
    takes_unmarked: bool,
    interface: Option<u32>,
    address_interface: Option<u32>,
}

impl Router {
    fn new(place: u32, name: &'static str, addresses: &[&str]) -> Self {
        Self {
            id: RouterId::nth(place),
            name,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            routes: Vec::new(),
            macvlan: None,
            stage: Stage::Idle,
            is_owner: false,
            accepts: true,
            takes_unmarked: false,
            interface: None,
            address_interface: None,
        }
    }

    fn with_macvlan(mut self, vrid: u8, name: &'static str) -> Self {
        self.macvlan = Some((virtual_mac(vrid), name));
        self
    }

    fn with_route(mut self, route: &str) -> Self {
        self.routes.push(route.parse().unwrap());
        self
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            stage: self.stage,
            interface: self.interface,
            macvlan: self
                .macvlan
                .as_ref()
                .map(|(mac, name)| WantedMacvlan { mac: *mac, name }),
            address_interface: self.address_interface,
            addresses: &self.addresses,
            excluded: &[],
            routes: &self.routes,
            is_owner: self.is_owner,
            accepts: self.accepts,
            takes_unmarked: self.takes_unmarked,
        }
    }
}

/// A driver without sockets, on a model of a kernel.
#[derive(Debug)]
struct Host {
    kernel: Kernel,
    actual: Actual,
    planner: Planner,
    routers: Vec<Router>,
    dirty: BTreeSet<RouterId>,
    is_lost: bool,
    /// Whether notifications may wait that are older than the last dump.
    is_ahead: bool,
    now: Instant,
    /// The changes that were made.
    log: Vec<String>,
    /// The routers of another running instance.
    others: Vec<Router>,
}

impl Host {
    /// Two links with addresses, and these routers.
    fn new(routers: Vec<Router>) -> Self {
        let mut kernel = Kernel::new();
        let mac = |last| MacAddress([2, 0, 0, 0, 0, last]);
        for (index, name, addresses) in [
            (1, "eth0", ["192.0.2.1/24", "fe80::1/64"]),
            (2, "eth1", ["198.51.100.1/24", "fe80::2/64"]),
        ] {
            let last = u8::try_from(index).unwrap();
            kernel.add_link(name, "", None, mac(last), Some(index));
            for address in addresses {
                kernel.add_address(index, own(address)).unwrap();
            }
        }
        let mut host = Self {
            kernel,
            actual: Actual::default(),
            planner: Planner::default(),
            routers: Vec::new(),
            dirty: BTreeSet::new(),
            is_lost: false,
            is_ahead: false,
            now: Instant::ZERO + Duration::from_secs(100),
            log: Vec::new(),
            others: Vec::new(),
        };
        host.start(routers);
        host
    }

    /// A new process with these routers, after a crash of the one before.
    fn start(&mut self, routers: Vec<Router>) {
        self.kernel.queue.clear();
        self.actual = Actual::new(self.kernel.dump(), true);
        self.actual.found_routes(self.kernel.dump_routes());
        self.planner = Planner::default();
        self.routers = routers;
        self.is_lost = false;
        self.is_ahead = false;
        for router in &self.routers {
            self.planner.insert(router.id, &router.wanted());
            self.dirty.insert(router.id);
        }
        self.rebind();
        self.ask();
    }

    /// Asks the other instance for its claims, if there is one.
    fn ask(&mut self) {
        let mut claims = Claims::default();
        for router in &self.others {
            router.wanted().add_claims(&self.actual, &mut claims);
        }
        self.actual.set_claims(claims);
        self.actual.set_company(!self.others.is_empty());
        self.dirty.extend(self.routers.iter().map(|it| it.id));
        // No notification reports the routes that other instances add.
        self.actual.found_routes(self.kernel.dump_routes());
        self.planner.sweep(&self.actual);
    }

    fn router(&mut self, place: usize) -> &mut Router {
        let router = &mut self.routers[place];
        self.dirty.insert(router.id);
        router
    }

    fn activate(&mut self, place: usize) {
        self.router(place).stage = Stage::Active;
        self.run();
    }

    /// Binds each router to the interface of its name.
    fn rebind(&mut self) {
        for router in &mut self.routers {
            let named = self.actual.interfaces().named(router.name);
            let named = named.map(|it| it.link.index);
            if router.interface != named {
                let former = router.wanted().left_behind(&self.actual);
                self.planner.add_all_former(former);
                router.interface = named;
                router.address_interface = None;
                self.dirty.insert(router.id);
            }
        }
    }

    /// Applies the next `count` notifications.
    fn receive(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.kernel.queue.pop_front() else {
                self.is_ahead = false;
                break;
            };
            self.is_lost |= self.is_ahead && event.reorders();
            self.dirty
                .extend(self.planner.notice(&event, &mut self.actual));
            if let MonitorEvent::Link(Link { index, .. })
            | MonitorEvent::LinkGone { interface: index } = &event
            {
                let index = Some(*index);
                let on = |it: &&Router| it.interface == index || it.address_interface == index;
                self.dirty
                    .extend(self.routers.iter().filter(on).map(|it| it.id));
            }
            self.is_lost |= event == MonitorEvent::Overrun;
            let lost = self.actual.apply(&event);
            self.rebind();
            self.note_lost(lost);
        }
        if std::mem::take(&mut self.is_lost) {
            self.is_ahead = true;
            let lost = self.actual.resync(self.kernel.dump());
            self.actual.found_routes(self.kernel.dump_routes());
            self.planner.find_left_overs(&self.actual);
            self.dirty.extend(self.routers.iter().map(|it| it.id));
            self.rebind();
            self.note_lost(lost);
        }
    }

    fn note_lost(&mut self, lost: impl IntoIterator<Item = Lost>) {
        for lost in lost {
            for router in &self.routers {
                let wanted = router.wanted();
                let thing = match &lost {
                    Lost::Address { interface, address } => {
                        if !wanted.wants(*interface, address, &self.actual) {
                            continue;
                        }
                        Thing::Address(address.address)
                    }
                    Lost::Route { route } => Thing::of_route(route),
                };
                self.planner.retry(self.now, Some(router.id), thing);
            }
        }
    }

    /// Whether an Active of another running instance has this address.
    fn is_used_elsewhere(&self, index: u32, local: IpAddr) -> bool {
        self.others.iter().any(|it| {
            let addresses = it.addresses.iter().map(VirtualAddress::address);
            it.stage == Stage::Active
                && it.interface == Some(index)
                && addresses.into_iter().any(|it| it == local)
        })
    }

    /// Another running instance puts the addresses of its Actives in place. It has asked for
    /// claims, and removes addresses of its Backups that we do not use.
    fn run_others(&mut self) {
        for router in &self.others {
            let Some(index) = router.interface else {
                continue;
            };
            if router.stage == Stage::Active {
                for address in &router.addresses {
                    let mut marked = own(&address.to_string());
                    marked.protocol = ADDRESS_PROTOCOL;
                    // It fails where the address is there, or the link is gone.
                    let _refused = self.kernel.add_address(index, marked);
                }
                continue;
            }
            let link = self.kernel.links.get(&index);
            let there = link.into_iter().flat_map(|it| &it.addresses);
            let gone = there.filter(|own| {
                let is_its = |it: &VirtualAddress| it.address() == own.address;
                let is_ours = |it: &Router| it.wanted().wants(index, own, &self.actual);
                own.protocol == ADDRESS_PROTOCOL
                    && router.addresses.iter().any(is_its)
                    && !self.routers.iter().any(is_ours)
            });
            let gone: Vec<_> = gone.cloned().collect();
            for own in gone {
                self.kernel.remove_address(index, &own, true);
            }
        }
    }

    /// Makes the changes that are due.
    fn run(&mut self) {
        for round in 0.. {
            assert!(round < 50, "it does not come to an end: {:#?}", self.log);
            let due = self.planner.take_due(self.now);
            let has_former = self.planner.has_former() || due.contains(&None);
            for id in due.into_iter().flatten() {
                self.ensure_macvlan(id);
                self.dirty.insert(id);
            }
            if self.dirty.is_empty() && !has_former {
                // The answers come later than the plans.
                if self.planner.take_question() {
                    self.ask();
                    continue;
                }
                break;
            }
            for id in std::mem::take(&mut self.dirty) {
                self.run_for(Some(id));
            }
            if has_former {
                self.run_for(None);
            }
        }
        for router in &mut self.routers {
            let mut unmarked = router.wanted();
            unmarked.takes_unmarked = false;
            if router.is_owner || unmarked.foreign(&self.actual).is_none() {
                router.takes_unmarked = false;
            }
        }
    }

    /// Makes the macvlan of a router before the rest of its plan, as the driver does.
    fn ensure_macvlan(&mut self, id: RouterId) {
        let routers = &self.routers;
        let get = |id| routers.iter().find(|it| it.id == id).map(Router::wanted);
        let plan = self.planner.plan_macvlan(self.now, id, &get, &self.actual);
        for change in plan {
            self.make(Some(id), &change);
        }
    }

    fn changes(&mut self, owner: Option<RouterId>) -> Vec<Change> {
        let routers = &self.routers;
        let get = |id| routers.iter().find(|it| it.id == id).map(Router::wanted);
        match owner {
            Some(id) => self.planner.plan(self.now, id, &get, &self.actual),
            None => self.planner.plan_former(self.now, &get, &self.actual),
        }
    }

    fn run_for(&mut self, owner: Option<RouterId>) {
        for round in 0.. {
            let changes = self.changes(owner);
            if changes.is_empty() {
                break;
            }
            assert!(
                round < 4,
                "a plan that was made is not empty: {changes:?} {:#?}",
                self.log
            );
            let mut is_refused = false;
            for change in changes {
                is_refused |= !self.make(owner, &change);
            }
            if is_refused {
                break;
            }
        }
    }

    fn make(&mut self, owner: Option<RouterId>, change: &Change) -> bool {
        let router = self.routers.iter().position(|it| Some(it.id) == owner);
        let unread: Vec<_> = self.kernel.queue.iter().cloned().collect();
        let result = self.kernel.make(change);
        let is_made = result.as_ref().map(|it| it.has_changed);
        let owner_name = owner.map_or("no router".into(), |id| id.to_string());
        self.log
            .push(format!("{owner_name}: {change}: {is_made:?}"));
        let Ok(made) = result else {
            self.planner.refused(self.now, owner, change);
            return false;
        };
        let may_take = router.is_some_and(|place| self.routers[place].takes_unmarked);
        for gone in &made.gone {
            // An address of ours looks like one that another program put in its place a moment ago.
            let may_be_stale = unread.iter().any(|event| match event {
                MonitorEvent::AddressAdded { address, .. } => address.is_same(gone),
                event => *event == MonitorEvent::Overrun,
            });
            assert!(
                gone.protocol == ADDRESS_PROTOCOL || may_take || may_be_stale,
                "{gone:?} is not ours: {:#?}",
                self.log
            );
        }
        self.actual.made(change, made.has_changed);
        if let (Some(link), Some(place)) = (made.macvlan, router) {
            self.routers[place].address_interface = Some(link.index);
            self.actual.adopt(link);
        }
        true
    }

    /// Runs until nothing is left to do.
    fn rest(&mut self) {
        self.kernel.refusals = 0;
        self.kernel.room = usize::MAX;
        for _ in 0..4 {
            // The other instance restores its addresses too.
            self.run_others();
            self.receive(usize::MAX);
            self.now = self.now + Duration::from_secs(120);
            self.run();
        }
        self.receive(usize::MAX);
    }

    /// The host has everything that is wanted, and nothing else of ours.
    fn check(&mut self) {
        self.rest();
        for router in self.others.iter().filter(|it| it.stage == Stage::Active) {
            for address in &router.addresses {
                let link = router.interface.and_then(|it| self.kernel.links.get(&it));
                let mut found = link.into_iter().flat_map(|it| &it.addresses);
                assert!(
                    link.is_none() || found.any(|it| it.address == address.address()),
                    "{address} of another instance is gone: {:#?}",
                    self.log
                );
            }
        }
        let log = Story {
            log: self.log.clone(),
            routers: self.routers.clone(),
        };
        let known = in_order(self.actual.interfaces());
        assert_eq!(known, in_order(&self.kernel.dump()), "{log}");
        for place in 0..self.routers.len() {
            let id = self.routers[place].id;
            assert_eq!(
                self.changes(Some(id)),
                [],
                "a plan that was made is empty: {log}"
            );
            self.check_router(place, &log);
        }
        assert_eq!(self.changes(None), [], "{log}");
        let wanted: Vec<_> = self.routers.iter().map(Router::wanted).collect();
        let mut address_interfaces = BTreeMap::new();
        let mut parents = BTreeSet::new();
        for it in &wanted {
            if let (Some(_), Some(address_interface)) =
                (it.macvlan, it.address_interface(&self.actual))
            {
                address_interfaces.insert(address_interface, it.interface);
                let quiets = it.all().any(|it| it.address().is_ipv4());
                parents.extend(it.interface.filter(|_| quiets));
            }
        }
        for (index, it) in &self.kernel.links {
            for own in it
                .addresses
                .iter()
                .filter(|it| it.protocol == ADDRESS_PROTOCOL)
            {
                let is_wanted = wanted.iter().any(|it| it.wants(*index, own, &self.actual))
                    || self.is_used_elsewhere(*index, own.address);
                assert!(is_wanted, "{own:?} on {index} is left: {log}");
            }
            if it.link.is_marked_macvlan() {
                assert!(
                    address_interfaces.contains_key(index),
                    "{:?} is left: {log}",
                    it.link
                );
            }
            let is_parent = address_interfaces
                .values()
                .any(|parent| *parent == Some(*index));
            // A parent keeps its settings until the last macvlan is deleted.
            if is_parent && !parents.contains(index) {
                continue;
            }
            let expected = if is_parent { model::QUIET } else { [0, 0] };
            assert_eq!(it.settings, expected, "settings of {index}: {log}");
            assert_eq!(it.link.settings_record().is_some(), is_parent, "{log}");
        }
        for it in self
            .kernel
            .routes
            .iter()
            .filter(|it| it.protocol == ROUTE_PROTOCOL)
        {
            let route = &it.route;
            let is_wanted = wanted.iter().any(|router| {
                router.wants_route(route)
                    || (route.discards()
                        && router.wants_discarded(route.destination(), &self.actual))
            });
            assert!(is_wanted, "{route} is left: {log}");
        }
    }

    fn check_router(&self, place: usize, log: &Story) {
        let router = &self.routers[place];
        let wanted = router.wanted();
        if wanted.stage == Stage::Ended || router.interface.is_none() {
            return;
        }
        let address_interface = wanted.address_interface(&self.actual);
        let address_interface =
            address_interface.unwrap_or_else(|| panic!("{router:?} has no macvlan: {log}"));
        let link = &self.kernel.links[&address_interface];
        if wanted.macvlan.is_some() {
            let is_up = wanted.stage == Stage::Active;
            assert_eq!(link.link.enabled, is_up, "macvlan of {router:?}: {log}");
        }
        if wanted.stage != Stage::Active {
            return;
        }
        for address in wanted.all() {
            let local = address.address();
            let has = |it: &InterfaceAddress| {
                address.is_at(it) || (local.is_ipv6() && it.address == local)
            };
            let is_there = link.addresses.iter().any(has);
            let is_enabled = local.is_ipv4() || link.link.enabled;
            match wanted.form(local, &self.actual) {
                Form::Native => {}
                Form::Assigned => {
                    assert!(is_there || !is_enabled, "{address} of {router:?}: {log}");
                }
                Form::Proxied => {
                    assert!(
                        self.actual.is_proxied(address_interface, local),
                        "{address}: {log}"
                    );
                    let route = Route::discard(local);
                    let is_discarded = self.kernel.routes.iter().any(|it| it.route == route);
                    assert!(is_discarded, "{address}: {log}");
                }
            }
        }
        for route in wanted.routes {
            let oif = wanted.interface_of(route, &self.actual);
            let mut kernel = self.kernel.clone();
            let (interface, route) = (oif, route.clone());
            let result = kernel.make(&Change::AddRoute { interface, route });
            let is_missing = matches!(result, Ok(made) if made.has_changed);
            assert!(!is_missing, "a route of {router:?} is missing: {log}");
        }
    }

    /// The changes that were made, without their routers and results.
    fn lines(&self) -> Vec<&str> {
        let changes = self.log.iter().map(|it| it.split(": ").nth(1));
        changes.flatten().collect()
    }

    fn has(&self, index: u32, address: &str) -> bool {
        let wanted = own(address);
        let link = &self.kernel.links[&index];
        link.addresses.iter().any(|it| it.is_same(&wanted))
    }
}

const VIP: &str = "192.0.2.254/32";

const ROUTE: &str = "203.0.113.0/24 via 192.0.2.9 dev eth0";

#[test]
fn an_active_has_its_addresses_and_routes_and_a_backup_has_none() {
    let route = "203.0.113.0/24 via 192.0.2.9 src 192.0.2.254";
    let router = Router::new(0, "eth0", &[VIP, "192.0.2.253/24"]).with_route(route);
    let mut host = Host::new(vec![router]);
    host.activate(0);
    assert!(host.has(1, VIP) && host.has(1, "192.0.2.253/24"));
    assert_eq!(host.kernel.routes.len(), 1);
    host.check();
    host.log.clear();
    host.router(0).stage = Stage::Idle;
    host.run();
    let lines = host.lines();
    assert_eq!(
        lines,
        [
            &format!("remove route {route}")[..],
            "remove 192.0.2.254/32 from link 1",
            "remove 192.0.2.253/24 from link 1, keeping the other addresses of its subnet",
        ]
    );
    host.check();
}

#[test]
fn a_macvlan_goes_up_before_its_addresses_come_and_down_before_they_go() {
    let router = Router::new(0, "eth0", &[VIP]).with_macvlan(51, "vip");
    let mut host = Host::new(vec![router]);
    host.run();
    host.log.clear();
    host.activate(0);
    host.router(0).stage = Stage::Idle;
    host.run();
    let lines = host.lines();
    let address_interface = host.routers[0].address_interface.unwrap();
    assert_eq!(
        lines,
        [
            format!("set link {address_interface} up"),
            format!("add 192.0.2.254/32 to link {address_interface}"),
            format!("set link {address_interface} down"),
            format!("remove 192.0.2.254/32 from link {address_interface}"),
        ]
    );
    host.check();
}

#[test]
fn a_link_that_stays_keeps_its_router_whatever_happens_to_its_bridge() {
    // Fault 1: the filter gives no event for AF_BRIDGE, so that the link only changes.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.activate(0);
    host.kernel.change_link(1, |link| link.up = true);
    host.log.clear();
    host.check();
    assert_eq!(host.log, [""; 0]);
    assert!(host.has(1, VIP));
}

#[test]
fn another_configuration_after_a_crash_leaves_nothing_of_the_old_one() {
    // Fault 4.
    let with_macvlan = || {
        Router::new(0, "eth0", &[VIP])
            .with_macvlan(51, "vip")
            .with_route("203.0.113.0/24 via 192.0.2.9 dev eth0")
    };
    for next in [
        Router::new(0, "eth0", &[VIP]),
        Router::new(0, "eth0", &["192.0.2.99/32"]),
        Router::new(0, "eth1", &["198.51.100.9/32"]),
        Router::new(0, "eth0", &[VIP]).with_macvlan(52, "other"),
    ] {
        for crashed in [with_macvlan(), Router::new(0, "eth0", &[VIP])] {
            let mut host = Host::new(vec![crashed]);
            host.activate(0);
            host.start(vec![next.clone()]);
            host.run();
            let left: Vec<_> = host
                .kernel
                .links
                .values()
                .flat_map(|it| &it.addresses)
                .collect();
            assert!(left.iter().all(|it| it.protocol == 0), "{left:?}");
            assert!(host.kernel.routes.is_empty());
            host.check();
        }
    }
}

#[test]
fn things_that_another_instance_claims_stay() {
    // Fault 4.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.activate(0);
    host.start(Vec::new());
    host.planner = Planner::default();
    let mut other = Router::new(7, "eth0", &[VIP]);
    other.interface = Some(1);
    host.others = vec![other];
    host.ask();
    host.run();
    assert!(host.has(1, VIP));
    // The other instance has ended, and no instance claims its address.
    host.others.clear();
    host.ask();
    host.run();
    assert!(!host.has(1, VIP));
}

/// Another instance becomes Active with an address that one of our Backups has too.
fn shared_with_another_instance() -> Host {
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.run();
    let mut other = Router::new(7, "eth0", &[VIP]);
    (other.interface, other.stage) = (Some(1), Stage::Active);
    host.others = vec![other];
    host.actual.set_company(true);
    let mut marked = own(VIP);
    marked.protocol = ADDRESS_PROTOCOL;
    host.kernel.add_address(1, marked).unwrap();
    host.receive(usize::MAX);
    host.run();
    host
}

#[test]
fn an_address_of_an_instance_that_started_later_stays() {
    let mut host = shared_with_another_instance();
    assert!(host.has(1, VIP), "{:#?}", host.log);
    // The same, where our own router had it as well.
    host.activate(0);
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(host.has(1, VIP), "{:#?}", host.log);
    // The other instance falls back as well: no instance uses the address.
    host.others[0].stage = Stage::Idle;
    host.ask();
    host.run();
    assert!(!host.has(1, VIP), "{:#?}", host.log);
    host.check();
}

#[test]
fn an_address_of_an_instance_that_died_later_goes() {
    let mut host = shared_with_another_instance();
    assert!(host.has(1, VIP));
    host.others.clear();
    host.ask();
    host.run();
    assert!(!host.has(1, VIP), "{:#?}", host.log);
    host.check();
}

#[test]
fn the_macvlan_of_another_instance_is_not_taken_over() {
    let router = |place, name| Router::new(place, "eth0", &[VIP]).with_macvlan(51, name);
    let mut host = Host::new(vec![router(0, "theirs")]);
    host.activate(0);
    let theirs = host.routers[0].clone();
    let index = theirs.address_interface;
    host.others = vec![theirs];
    host.start(vec![router(1, "ours")]);
    host.run();
    assert_eq!(host.kernel.named("theirs"), index, "{:#?}", host.log);
    assert_ne!(host.routers[0].address_interface, index);
    // The settings of the parent stay as long as the macvlan of the other instance.
    host.router(0).stage = Stage::Ended;
    host.run();
    assert_eq!(host.kernel.links[&1].settings, model::QUIET);
    host.others.clear();
    host.ask();
    host.run();
    assert_eq!(host.kernel.links[&1].settings, [0, 0]);
    host.check();
}

#[test]
fn a_virtual_mac_of_another_instance_makes_no_second_macvlan() {
    let router = |place, name| Router::new(place, "eth0", &[VIP]).with_macvlan(51, name);
    let mut host = Host::new(vec![router(0, "theirs")]);
    host.activate(0);
    let theirs = host.routers[0].clone();
    let index = theirs.address_interface;
    host.others = vec![theirs];
    host.start(vec![router(1, "ours")]);
    host.activate(0);
    assert!(host.routers[0].wanted().lacks_virtual_mac(&host.actual));
    assert_eq!(host.routers[0].address_interface, None);
    assert_eq!(host.kernel.named("ours"), None, "{:#?}", host.log);
    // The other instance has ended: its macvlan is a left-over.
    host.others.clear();
    host.ask();
    host.run();
    assert_eq!(host.routers[0].address_interface, index);
    assert_eq!(host.kernel.named("ours"), index, "{:#?}", host.log);

    // Where two instances have the same macvlan, both agree on the instance that keeps it.
    let mut claims = Claims::default();
    let own = host.routers[0].wanted();
    own.add_claims(&host.actual, &mut claims);
    for keeps in [false, true] {
        let mut all = Claims::default();
        all.extend(&claims, keeps);
        host.actual.set_claims(all);
        let own = host.routers[0].wanted();
        assert_eq!(own.lacks_virtual_mac(&host.actual), keeps);
    }
}

#[test]
fn no_macvlan_is_touched_before_other_instances_have_stated_their_claims() {
    let router = |place, name| Router::new(place, "eth0", &[VIP]).with_macvlan(51, name);
    let mut host = Host::new(vec![router(0, "left-over")]);
    host.activate(0);
    let left_over = host.routers[0].address_interface;
    host.start(vec![router(1, "ours")]);
    host.actual.set_awaits_claims(true);
    assert_eq!(host.changes(Some(RouterId::nth(1))), []);
    host.router(0).stage = Stage::Ended;
    assert_eq!(host.changes(Some(RouterId::nth(1))), []);
    host.router(0).stage = Stage::Idle;
    host.actual.set_awaits_claims(false);
    host.activate(0);
    assert_eq!(host.kernel.named("ours"), left_over);
}

#[test]
fn things_that_stay_for_another_instance_are_known() {
    let router = |place| Router::new(place, "eth0", &[VIP]).with_route(ROUTE);
    let mut host = Host::new(vec![router(0)]);
    host.activate(0);
    let mut other = router(7);
    (other.interface, other.stage) = (Some(1), Stage::Active);
    host.others = vec![other];
    host.ask();
    let kept = |host: &Host| {
        let routers = &host.routers;
        let get = |id| routers.iter().find(|it| it.id == id).map(Router::wanted);
        host.planner.kept(RouterId::nth(0), &get, &host.actual)
    };
    // The router uses them itself.
    assert_eq!(kept(&host), []);
    host.router(0).stage = Stage::Idle;
    host.run();
    let address = Kept::Address(VIP.parse().unwrap());
    let route = Kept::Route(ROUTE.parse().unwrap());
    assert_eq!(kept(&host), [address, route], "{:#?}", host.log);
    host.others[0].stage = Stage::Idle;
    host.ask();
    host.run();
    assert_eq!(kept(&host), []);
}

#[test]
fn the_settings_of_a_parent_come_back_however_its_macvlan_went() {
    // Fault 5.
    let ways: [fn(&mut Host, u32); 4] = [
        |host, it| host.kernel.delete_link(it),
        |host, it| {
            host.kernel
                .change_link(it, |link| link.alias = "of the operator".into());
        },
        |host, it| {
            host.kernel
                .change_link(it, |link| link.name = "renamed".into());
        },
        |host, it| {
            host.kernel
                .change_link(it, |link| link.alias = String::new());
        },
    ];
    for way in ways {
        let router = Router::new(0, "eth0", &[VIP]).with_macvlan(51, "vip");
        let mut host = Host::new(vec![router]);
        host.activate(0);
        assert_eq!(host.kernel.links[&1].settings, model::QUIET);
        let address_interface = host.routers[0].address_interface.unwrap();
        way(&mut host, address_interface);
        host.receive(usize::MAX);
        host.run();
        host.router(0).stage = Stage::Ended;
        host.run();
        assert_eq!(host.kernel.links[&1].settings, [0, 0], "{:#?}", host.log);
        host.check();
    }
    // The same, after the macvlan was deleted while no driver ran.
    let router = Router::new(0, "eth0", &[VIP]).with_macvlan(51, "vip");
    let mut host = Host::new(vec![router]);
    host.activate(0);
    let address_interface = host.routers[0].address_interface.unwrap();
    host.kernel.delete_link(address_interface);
    host.start(Vec::new());
    host.run();
    assert_eq!(host.kernel.links[&1].settings, [0, 0]);
}

#[test]
fn a_macvlan_of_another_name_is_taken_over() {
    // Fault 5.
    let router = |name| Router::new(0, "eth0", &[VIP]).with_macvlan(51, name);
    let mut host = Host::new(vec![router("old")]);
    host.activate(0);
    let address_interface = host.routers[0].address_interface;
    host.start(vec![router("new")]);
    host.activate(0);
    assert_eq!(host.routers[0].address_interface, address_interface);
    assert_eq!(host.kernel.named("new"), address_interface);
    host.check();
}

#[test]
fn the_host_s_address_stays_when_the_primary_one_of_its_subnet_goes() {
    // Fault 8.
    let mut host = Host::new(vec![Router::new(0, "eth1", &["203.0.113.7/24"])]);
    host.activate(0);
    host.kernel.add_address(2, own("203.0.113.1/24")).unwrap();
    // The driver has not received the first notification of it either.
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(host.has(2, "203.0.113.1/24") && !host.has(2, "203.0.113.7/24"));
    host.check();
}

#[test]
fn an_address_without_a_mark_is_never_removed_and_is_reported() {
    // Faults 9 and 16.
    let mut host = Host::new(vec![Router::new(0, "eth0", &["192.0.2.1/24"])]);
    host.run();
    assert!(host.has(1, "192.0.2.1/24"));
    let foreign = host.routers[0].wanted().foreign(&host.actual);
    assert!(foreign.is_some_and(|(_, it)| it.is_same(&own("192.0.2.1/24"))));
    host.check();
    // Its owner may have it.
    host.router(0).is_owner = true;
    assert!(host.routers[0].wanted().foreign(&host.actual).is_none());
    host.activate(0);
    host.router(0).stage = Stage::Ended;
    host.run();
    assert!(host.has(1, "192.0.2.1/24"));
    // A router that was the owner removes the address.
    host.router(0).stage = Stage::Idle;
    host.router(0).is_owner = false;
    host.router(0).takes_unmarked = true;
    host.run();
    assert!(!host.has(1, "192.0.2.1/24"));
    host.check();
}

#[test]
fn a_marked_address_that_somebody_adds_on_a_backup_is_removed() {
    // Fault 16.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.run();
    let mut marked = own(VIP);
    marked.protocol = ADDRESS_PROTOCOL;
    host.kernel.add_address(1, marked).unwrap();
    host.receive(usize::MAX);
    host.run();
    assert!(!host.has(1, VIP));
    host.check();
}

#[test]
fn an_address_of_two_routers_stays_while_one_of_them_wants_it() {
    // Fault 16.
    let routers = [0, 1]
        .map(|place| Router::new(place, "eth0", &[VIP]).with_route("203.0.113.0/24 via 192.0.2.9"));
    let mut host = Host::new(routers.to_vec());
    host.activate(0);
    host.activate(1);
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(host.has(1, VIP));
    assert_eq!(host.kernel.routes.len(), 1);
    host.router(1).stage = Stage::Idle;
    host.run();
    assert!(!host.has(1, VIP));
    host.check();
}

#[test]
fn point_to_point_addresses_with_one_local_part_are_two() {
    // Fault 10.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    let to = |peer: &str| {
        let mut address = own("10.0.0.1/32");
        address.peer = Some(peer.parse().unwrap());
        address
    };
    for peer in ["10.0.0.2", "10.0.0.3"] {
        host.kernel.add_address(1, to(peer)).unwrap();
    }
    host.receive(usize::MAX);
    host.kernel.remove_address(1, &to("10.0.0.2"), false);
    host.receive(usize::MAX);
    let left: Vec<_> = host
        .actual
        .addresses(1, "10.0.0.1".parse().unwrap())
        .collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].is_same(&to("10.0.0.3")));
    // A virtual address with the same local part is a third address, and is removed alone.
    host.start(vec![Router::new(0, "eth0", &["10.0.0.1/32"])]);
    host.activate(0);
    assert!(host.has(1, "10.0.0.1/32"), "{:#?}", host.log);
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(!host.has(1, "10.0.0.1/32"));
    let left: Vec<_> = host
        .actual
        .addresses(1, "10.0.0.1".parse().unwrap())
        .collect();
    assert_eq!(left.len(), 1);
    host.check();
}

#[test]
fn a_router_that_left_its_interface_leaves_nothing_there() {
    // The kind of fault 1.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.activate(0);
    host.kernel.refusals = 2;
    host.kernel.change_link(1, |link| link.name = "away".into());
    host.receive(usize::MAX);
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(host.has(1, VIP), "the first attempts were refused");
    host.check();
    assert!(!host.has(1, VIP));
}

#[test]
fn a_refused_removal_is_tried_again() {
    // The kind of fault 1.
    let mut host = Host::new(vec![Router::new(0, "eth0", &[VIP])]);
    host.activate(0);
    host.router(0).stage = Stage::Idle;
    host.kernel.refusals = 2;
    host.run();
    assert!(host.has(1, VIP));
    host.now = host.now + Duration::from_secs(1);
    host.run();
    assert!(!host.has(1, VIP));
    host.check();
}

#[test]
fn attempts_at_a_refused_change_are_spaced_however_long_the_driver_has_run() {
    let router = Router::new(0, "eth0", &[VIP]).with_macvlan(7, "vrrp.7");
    let mut host = Host::new(vec![router]);
    host.run();
    host.kernel.refusals = u32::MAX;
    host.router(0).stage = Stage::Active;
    let mut attempts = Vec::new();
    for second in 0..130 {
        let before = host.log.len();
        host.run();
        let ups = host.log.iter().skip(before);
        let ups = ups.filter(|it| it.contains(" up: "));
        attempts.extend(ups.map(|_| second));
        host.now = host.now + Duration::from_secs(1);
    }
    assert_eq!(
        attempts,
        [0, 0, 1, 3, 7, 15, 31, 63, 123],
        "{:#?}",
        host.log
    );
}

#[test]
fn each_removal_of_an_address_is_followed_by_a_restoration_that_is_noticed() {
    let router = Router::new(0, "eth0", &[VIP]).with_macvlan(7, "vrrp.7");
    let mut host = Host::new(vec![router]);
    host.run();
    host.activate(0);
    let id = host.routers[0].id;
    let restored = Thing::Address(own(VIP).address);
    for _ in 0..3 {
        host.receive(usize::MAX);
        host.now = host.now + Duration::from_secs(1000);
        let macvlan = host.kernel.named("vrrp.7").unwrap();
        host.kernel.remove_address(macvlan, &own(VIP), false);
        host.receive(usize::MAX);
        host.run();
        assert!(
            host.planner.is_retried(Some(id), restored),
            "{:#?}",
            host.log
        );
        assert!(host.has(macvlan, VIP));
    }
    host.check();
}

#[test]
fn a_notification_of_our_own_removal_that_is_read_late_hides_nothing() {
    let route = "203.0.113.0/24 via 192.0.2.9";
    let mut plain = Router::new(0, "eth0", &[VIP]).with_route(route);
    plain.accepts = false;
    let mut host = Host::new(vec![plain]);
    for stage in [Stage::Active, Stage::Idle, Stage::Active] {
        host.router(0).stage = stage;
        host.run();
    }
    assert_eq!(host.kernel.routes.len(), 2);
    host.receive(usize::MAX);
    host.router(0).stage = Stage::Idle;
    host.run();
    assert!(host.kernel.routes.is_empty(), "{:#?}", host.log);
    host.check();
}

#[test]
fn a_foreign_address_keeps_its_place_when_a_request_finds_it_before_its_notification() {
    let mut host = Host::new(vec![Router::new(0, "eth0", &["203.0.113.7/24"])]);
    for address in ["198.51.100.5/24", "203.0.113.7/24"] {
        host.kernel.add_address(1, own(address)).unwrap();
    }
    // The kernel answers EEXIST.
    host.activate(0);
    let known = |host: &Host| {
        let found = host.actual.interfaces().get(1).unwrap();
        found
            .addresses
            .iter()
            .any(|it| it.is_same(&own("203.0.113.7/24")))
    };
    assert!(known(&host));
    host.check();
}

#[test]
fn addresses_are_dumped_again_after_notifications_that_are_older_than_the_dump() {
    let mut host = Host::new(Vec::new());
    host.kernel.room = 0;
    host.kernel.add_address(1, own("203.0.113.1/24")).unwrap();
    host.kernel.room = usize::MAX;
    host.kernel.remove_address(1, &own("192.0.2.1/24"), false);
    for address in ["192.0.2.1/24", "198.51.100.5/24"] {
        host.kernel.add_address(1, own(address)).unwrap();
    }
    // First the loss alone, then a dump.
    host.receive(1);
    let order = |host: &Host| {
        let found = &host.actual.interfaces().get(1).unwrap().addresses;
        let found = found.iter().filter(|it| it.address.is_ipv4());
        found.map(|it| it.address.to_string()).collect::<Vec<_>>()
    };
    let expected = ["203.0.113.1", "192.0.2.1", "198.51.100.5"];
    assert_eq!(order(&host), expected);
    host.receive(usize::MAX);
    assert_eq!(order(&host), expected);
    host.check();
}

#[test]
fn addresses_of_a_narrower_scope_come_first_as_in_the_kernel() {
    let mut host = Host::new(Vec::new());
    for (text, scope) in [
        ("198.51.100.5/24", Scope::Link),
        ("203.0.113.5/24", Scope::Host),
        ("203.0.114.5/24", Scope::Global),
    ] {
        let mut address = own(text);
        address.scope = scope;
        host.kernel.add_address(1, address).unwrap();
    }
    host.receive(usize::MAX);
    let interface = host.actual.interfaces().get(1).unwrap();
    let ipv4 = interface.addresses.iter().filter(|it| it.address.is_ipv4());
    let order: Vec<String> = ipv4.map(|it| it.address.to_string()).collect();
    assert_eq!(
        order,
        ["203.0.113.5", "198.51.100.5", "192.0.2.1", "203.0.114.5"]
    );
    // The first one is not valid on the link.
    let primary = interface.primary_address(vrrp_proto::Family::Ipv4, |_| false);
    assert_eq!(primary, Some("198.51.100.5".parse().unwrap()));
    host.check();
}

#[test]
fn errors_of_the_model_are_those_of_the_kernel() {
    let mut host = Host::new(Vec::new());
    let mut add = |oif, route: &str| {
        let route: Route = route.parse().unwrap();
        let change = Change::AddRoute {
            interface: oif,
            route,
        };
        host.kernel.make(&change).map(|it| it.has_changed)
    };
    assert_eq!(add(Some(9), "203.0.113.0/24"), Err(Errno::NoDev));
    assert_eq!(
        add(None, "203.0.113.0/24 via 10.9.9.9"),
        Err(Errno::NetUnreach)
    );
    assert_eq!(
        add(Some(1), "203.0.113.0/24 src 10.9.9.9"),
        Err(Errno::Inval)
    );
    assert_eq!(add(None, "203.0.113.0/24 via 192.0.2.9"), Ok(true));
    assert_eq!(add(None, "203.0.113.0/24 via 192.0.2.9"), Ok(false));
}

#[test]
fn the_settings_of_a_parent_stay_for_a_macvlan_whose_mark_was_not_reported() {
    let mut host = Host::new(vec![
        Router::new(0, "eth0", &[VIP]).with_macvlan(51, "theirs"),
    ]);
    host.run();
    let theirs = host.routers[0].clone();
    host.others = vec![theirs];
    host.start(Vec::new());
    let index = host.others[0].address_interface.unwrap();
    // The kernel has reported the new macvlan, and nothing since.
    let mut link = host.kernel.links[&index].link.clone();
    link.alias = String::new();
    host.actual.apply(&MonitorEvent::Link(link));
    let parent = host.kernel.links[&1].link.clone();
    let event = MonitorEvent::Link(parent);
    host.planner.notice(&event, &mut host.actual);
    host.run();
    assert_eq!(
        host.kernel.links[&1].settings,
        model::QUIET,
        "{:#?}",
        host.log
    );
}
