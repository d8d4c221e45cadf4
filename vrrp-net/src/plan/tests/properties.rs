//! Properties: after any events in any order, the host has everything that is wanted, and things of
//! other programs are untouched.

use proptest::{prelude::*, test_runner::RngSeed};

use super::{model::ModelLink, *};

/// An event of a test case.
#[derive(Clone, Debug)]
enum Happening {
    Stage(usize, u8),
    Owner(usize, bool),
    Accepts(usize, bool),
    /// The driver applies this many notifications.
    Receive(usize),
    Run,
    Wait(u64),
    /// The kernel refuses this many changes.
    Refuse(u32),
    /// The buffer holds this many notifications, for now.
    Room(usize),
    /// Another program adds an address, with our mark or without.
    Add(u32, usize, bool),
    /// Another program removes an address.
    Remove(u32, usize),
    RemoveRoute(usize),
    Link(u32, bool),
    Rename(u32, bool),
    /// A link is deleted, and another appears with its name and perhaps its index.
    Replace(u32, bool),
    /// A link moves to another network namespace.
    Move(u32),
    Macvlan(usize, u8),
    /// The process dies, and another starts with another configuration.
    Crash(usize),
    AddAddress(usize, usize),
    RemoveAddress(usize, usize),
    /// Another instance on this host becomes Active, falls back, or dies.
    Other(u8),
}

const ADDRESSES: [&str; 8] = [
    "192.0.2.254/32",
    "192.0.2.254/24",
    "192.0.2.253/24",
    "192.0.2.7/24",
    "192.0.2.1/24",
    "fe80::254/64",
    "2001:db8::254/128",
    "198.51.100.7/24",
];

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let router = 0..3_usize;
    let link = 1..=2_u32;
    prop_oneof![
        4 => (router.clone(), 0..5_u8).prop_map(|(router, stage)| H::Stage(router, stage)),
        1 => (router.clone(), any::<bool>()).prop_map(|(router, is)| H::Owner(router, is)),
        1 => (router.clone(), any::<bool>()).prop_map(|(router, is)| H::Accepts(router, is)),
        4 => (1..20_usize).prop_map(H::Receive),
        6 => Just(H::Run),
        2 => (0..70_u64).prop_map(H::Wait),
        1 => (0..4_u32).prop_map(H::Refuse),
        1 => prop_oneof![0..3_usize, Just(usize::MAX)].prop_map(H::Room),
        2 => (link.clone(), 0..ADDRESSES.len(), any::<bool>())
            .prop_map(|(link, address, is)| H::Add(link, address, is)),
        2 => (1..=5_u32, 0..8_usize).prop_map(|(link, place)| H::Remove(link, place)),
        1 => (0..4_usize).prop_map(H::RemoveRoute),
        1 => (1..=5_u32, any::<bool>()).prop_map(|(link, is)| H::Link(link, is)),
        1 => (link.clone(), any::<bool>()).prop_map(|(link, is)| H::Rename(link, is)),
        1 => (link.clone(), any::<bool>()).prop_map(|(link, is)| H::Replace(link, is)),
        1 => link.prop_map(H::Move),
        1 => (router.clone(), 0..5_u8).prop_map(|(router, what)| H::Macvlan(router, what)),
        1 => (0..5_usize).prop_map(H::Crash),
        1 => (router.clone(), 0..ADDRESSES.len()).prop_map(|(router, it)| H::AddAddress(router, it)),
        1 => (router, 0..4_usize).prop_map(|(router, it)| H::RemoveAddress(router, it)),
        1 => (0..4_u8).prop_map(H::Other),
    ]
}

fn configuration(number: usize) -> Vec<Router> {
    let plain = Router::new(
        0,
        "eth0",
        &["192.0.2.254/32", "192.0.2.253/24", "fe80::254/64"],
    )
    .with_route("203.0.113.0/24 via 192.0.2.9")
    .with_route("203.0.114.0/24 dev eth1 src 192.0.2.254");
    let virtual_mac = Router::new(1, "eth0", &["192.0.2.7/24", "2001:db8::254/128"])
        .with_macvlan(51, "vip")
        .with_route("203.0.115.0/24 via 198.51.100.9");
    let shared =
        Router::new(2, "eth0", &["192.0.2.254/32"]).with_route("203.0.113.0/24 via 192.0.2.9");
    match number {
        0 => vec![plain, virtual_mac, shared],
        1 => vec![
            Router::new(0, "eth1", &["198.51.100.7/24"]),
            Router::new(1, "eth0", &["192.0.2.7/24"]).with_macvlan(51, "other"),
            shared.with_macvlan(52, "third"),
        ],
        2 => vec![
            Router::new(0, "eth0", &["192.0.2.254/24"]),
            Router::new(1, "eth1", &["2001:db8::254/128"]).with_macvlan(51, "vip"),
            Router::new(2, "eth0", &["192.0.2.1/24"]),
        ],
        3 => vec![plain],
        _ => Vec::new(),
    }
}

impl Host {
    fn happen(&mut self, happening: &Happening) {
        use Happening as H;
        let count = self.routers.len();
        match *happening {
            H::Stage(place, stage) if place < count => {
                self.router(place).stage = match stage {
                    0..=2 => Stage::Active,
                    3 => Stage::Idle,
                    _ => Stage::Ended,
                };
            }
            H::Owner(place, is_owner) if place < count => {
                let router = self.router(place);
                router.takes_unmarked = router.is_owner && !is_owner;
                router.is_owner = is_owner;
            }
            H::Accepts(place, accepts) if place < count => self.router(place).accepts = accepts,
            H::Receive(number) => self.receive(number),
            H::Run => self.run(),
            H::Wait(seconds) => self.now = self.now + Duration::from_secs(seconds),
            H::Refuse(number) => self.kernel.refusals = number,
            H::Room(room) => self.kernel.room = room,
            H::Add(link, address, is_marked) => {
                let mut address = own(ADDRESSES[address]);
                if is_marked {
                    address.protocol = ADDRESS_PROTOCOL;
                }
                let is_virtual = |it: &Router| {
                    it.addresses
                        .iter()
                        .any(|it| it.address() == address.address)
                };
                // An address with our mark that no router has is left alone while we run.
                if !is_marked || self.routers.iter().any(is_virtual) {
                    let _refused = self.kernel.add_address(link, address);
                }
            }
            H::Remove(link, place) => {
                let found = self.kernel.links.get(&link);
                let found = found.and_then(|it| it.addresses.get(place).cloned());
                if let Some(address) = found {
                    self.kernel.remove_address(link, &address, false);
                }
            }
            H::RemoveRoute(place) => self.kernel.remove_route(place),
            H::Link(..) | H::Rename(..) | H::Replace(..) | H::Move(..) | H::Macvlan(..) => {
                self.happen_to_link(happening);
            }
            H::Crash(number) => {
                // A macvlan with a foreign alias is foreign to a new process, and occupies the
                // name.
                let is_theirs = |it: &&ModelLink| it.link.alias == "mine";
                let theirs = self.kernel.links.values().filter(is_theirs);
                let theirs: Vec<_> = theirs.map(|it| it.link.index).collect();
                for index in theirs {
                    self.kernel.delete_link(index);
                }
                self.kernel.refusals = 0;
                self.start(configuration(number));
            }
            H::AddAddress(place, address) if place < count => {
                let address: VirtualAddress = ADDRESSES[address].parse().unwrap();
                let router = self.router(place);
                let local = address.address();
                if router.addresses.iter().all(|it| it.address() != local) {
                    router.addresses.push(address);
                    let id = router.id;
                    self.planner.add_address(id, local);
                }
            }
            H::RemoveAddress(place, address) if place < count => {
                // An address with our mark that no router has is left alone.
                self.receive(usize::MAX);
                let router = self.router(place).clone();
                if router.addresses.len() > 1
                    && let Some(address) = router.addresses.get(address)
                {
                    let local = address.address();
                    let former = router.wanted().left_of(local, &self.actual);
                    self.planner.add_all_former(former);
                    self.planner.remove_address(router.id, local);
                    let router = self.router(place);
                    router.addresses.retain(|it| it.address() != local);
                }
            }
            H::Other(what) => self.happen_to_others(what),
            _ => {}
        }
    }

    fn happen_to_others(&mut self, what: u8) {
        if what < 2 {
            let mut other = Router::new(7, "eth0", &["192.0.2.254/32", "192.0.2.200/32"]);
            (other.interface, other.stage) = (Some(1), Stage::Active);
            self.others = vec![other];
            self.actual.set_company(true);
            self.run_others();
            return;
        }
        for mut other in std::mem::take(&mut self.others) {
            if what == 2 {
                other.stage = Stage::Idle;
                self.others.push(other);
            }
        }
        self.run_others();
        // A dead instance leaves its addresses. In either case we ask for claims, with the present
        // state of the host.
        self.receive(usize::MAX);
        self.ask();
    }

    fn happen_to_link(&mut self, happening: &Happening) {
        use Happening as H;
        let count = self.routers.len();
        match *happening {
            H::Link(link, is_up) => self.kernel.enable(link, is_up),
            H::Rename(link, is_away) => {
                let home = ["eth0", "eth1"][link as usize - 1];
                let name = if is_away { "away" } else { home };
                if self.kernel.named(name).is_none() {
                    self.kernel.change_link(link, |it| it.name = name.into());
                }
            }
            H::Replace(link, keeps_index) => {
                let name = ["eth0", "eth1"][link as usize - 1];
                if let Some(index) = self.kernel.named(name) {
                    self.kernel.delete_link(index);
                    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
                    let index = keeps_index.then_some(index);
                    let index = self.kernel.add_link(name, "", None, mac, index).unwrap();
                    self.kernel.add_address(index, own(ADDRESSES[4])).unwrap();
                }
            }
            H::Move(link) => self.kernel.move_link_away(link),
            H::Macvlan(place, what) if place < count => {
                let Some(address_interface) = self.routers[place].address_interface else {
                    return;
                };
                match what {
                    0 => self.kernel.delete_link(address_interface),
                    1 => self.kernel.enable(address_interface, false),
                    2 => self.kernel.enable(address_interface, true),
                    3 => self
                        .kernel
                        .change_link(address_interface, |it| it.alias = "mine".into()),
                    _ if self.kernel.named("renamed").is_none() => {
                        self.kernel
                            .change_link(address_interface, |it| it.name = "renamed".into());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Runs one case of the property, which failed once.
fn check(number: usize, happenings: &[Happening]) {
    let mut host = Host::new(configuration(number));
    for happening in happenings {
        host.happen(happening);
    }
    host.check();
}

#[test]
fn a_discard_route_goes_with_its_router_although_another_router_has_the_address() {
    use Happening as H;
    check(
        2,
        &[
            H::AddAddress(0, 6),
            H::Run,
            H::Stage(0, 0),
            H::Accepts(0, false),
            H::Run,
            H::RemoveAddress(0, 1),
        ],
    );
}

#[test]
fn a_marked_address_that_a_request_found_goes_although_its_router_has_left_the_interface() {
    use Happening as H;
    check(
        0,
        &[
            H::Stage(0, 0),
            H::Rename(1, true),
            H::Add(1, 0, true),
            // The kernel answers EEXIST.
            H::Run,
            // The driver receives only the rename.
            H::Receive(1),
            H::Run,
        ],
    );
}

/// Runs the same 2000 cases each time, or as many random ones as `VRRP_NET_CASES` says.
fn config() -> ProptestConfig {
    let asked = std::env::var("VRRP_NET_CASES").ok();
    let asked: Option<u32> = asked.and_then(|it| it.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(2000),
        rng_seed: asked.map_or(RngSeed::Fixed(9568), |_| RngSeed::Random),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_interleaving_ends_in_the_wanted_state_and_touches_nothing_else(
        number in 0..4_usize,
        happenings in proptest::collection::vec(happening(), 1..40),
    ) {
        check(number, &happenings);
    }
}
