//! Fleets on simulated LANs, one for each interface: virtual time, real messages.

use core::{net::IpAddr, time::Duration};
use std::collections::{BTreeMap, BTreeSet};

use vrrp_fsm::{
    Action, Config, Instant, State, Transition,
    fleet::{Member, RouterId, RouterKey, SyncGroup, VrrpRouter},
};
use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Endpoints, Family, Interval, IpHeader,
    MessageAuthentication, Priority, Protection, TTL, Vrid,
};

/// A router on this interface with this priority: IPv4, VRID 51, every second.
pub(crate) fn member(interface: u32, priority: u8) -> Member {
    Member::new(interface, config(51, priority))
}

pub(crate) fn config(vrid: u8, priority: u8) -> Config {
    let mut config = Config::new(Vrid::new(vrid).unwrap(), Family::Ipv4);
    config.priority = Priority::new(priority);
    config
}

pub(crate) fn member_ipv6(interface: u32, priority: u8) -> Member {
    let mut config = Config::new(Vrid::new(51).unwrap(), Family::Ipv6);
    config.priority = Priority::new(priority);
    Member::new(interface, config)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A version 3 message over IPv4, from a router outside the fleets.
pub(crate) fn message(vrid: u8, priority: u8, endpoints: &Endpoints) -> Vec<u8> {
    message_every(Interval::DEFAULT_V3, vrid, priority, endpoints)
}

/// A version 2 message from such a router.
pub(crate) fn message_v2(vrid: u8, priority: u8, endpoints: &Endpoints) -> Vec<u8> {
    message_every(Interval::DEFAULT_V2, vrid, priority, endpoints)
}

fn message_every(interval: Interval, vrid: u8, priority: u8, endpoints: &Endpoints) -> Vec<u8> {
    let addresses = [core::net::Ipv4Addr::new(192, 0, 2, 1)];
    let message = Advertisement {
        vrid: Vrid::new(vrid).unwrap(),
        priority: Priority::new(priority),
        interval,
        authentication: MessageAuthentication::None,
        addresses: Addresses::from(&addresses[..]),
    };
    let mut octets = vec![0; message.encoded_len()];
    message
        .encode(&mut octets, endpoints, ChecksumForm::MessageOnly)
        .unwrap();
    octets
}

/// The header of a multicast packet from a router outside the fleets.
pub(crate) fn multicast() -> IpHeader {
    IpHeader {
        endpoints: Endpoints::multicast([192, 0, 2, 20].into()),
        ttl: TTL,
    }
}

/// A fleet and the actions of its host.
pub(crate) struct Node {
    pub(crate) fleet: VrrpRouter,
    number: u8,
    /// The virtual routers whose addresses are installed.
    pub(crate) installed: BTreeSet<RouterKey>,
    /// Interfaces whose cable is unplugged.
    pub(crate) cut: BTreeSet<u32>,
    /// Killed: it neither sends nor receives.
    pub(crate) dead: bool,
    /// The number of announcements of each router.
    pub(crate) announced: BTreeMap<RouterKey, u32>,
    /// The priorities that it advertised, in order.
    pub(crate) advertised: Vec<(RouterKey, u8)>,
    pub(crate) transitions: Vec<(RouterKey, Transition)>,
}

pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    under_way: Vec<Packet>,
}

struct Packet {
    from: usize,
    interface: u32,
    ip: IpHeader,
    octets: Vec<u8>,
}

impl Lan {
    pub(crate) fn new(nodes: u8) -> Self {
        let node = |number| Node {
            fleet: VrrpRouter::new(),
            number,
            installed: BTreeSet::new(),
            cut: BTreeSet::new(),
            dead: false,
            announced: BTreeMap::new(),
            advertised: Vec::new(),
            transitions: Vec::new(),
        };
        Self {
            now: Instant::ZERO,
            nodes: (1..=nodes).map(node).collect(),
            under_way: Vec::new(),
        }
    }

    pub(crate) fn fleet(&mut self, node: usize) -> &mut VrrpRouter {
        &mut self.nodes[node].fleet
    }

    /// Adds a router and starts it.
    pub(crate) fn add(&mut self, node: usize, member: Member) -> RouterId {
        let id = self.add_stopped(node, member);
        self.start(node, id);
        id
    }

    pub(crate) fn add_stopped(&mut self, node: usize, member: Member) -> RouterId {
        let now = self.now;
        self.fleet(node).add(now, member).unwrap()
    }

    pub(crate) fn start(&mut self, node: usize, id: RouterId) {
        let (now, address) = (self.now, self.address(node, id));
        self.fleet(node).startup(now, id, address).unwrap();
    }

    pub(crate) fn address(&self, node: usize, id: RouterId) -> IpAddr {
        let Node { fleet, number, .. } = &self.nodes[node];
        match fleet.get(id).unwrap().config().family {
            Family::Ipv4 => [192, 0, 2, 10 + number].into(),
            Family::Ipv6 => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(*number)].into(),
        }
    }

    /// Adds the members as one group, before any of them is started; then starts them.
    pub(crate) fn add_group<const N: usize>(
        &mut self,
        node: usize,
        members: [Member; N],
    ) -> [RouterId; N] {
        let ids = members.map(|member| self.add_stopped(node, member));
        let now = self.now;
        let group = SyncGroup::new("group", ids.to_vec());
        self.fleet(node).add_group(now, group).unwrap();
        for id in ids {
            self.start(node, id);
        }
        ids
    }

    pub(crate) fn state(&self, node: usize, id: RouterId) -> State {
        self.nodes[node].fleet.get(id).unwrap().state()
    }

    pub(crate) fn states<const N: usize>(&self, node: usize, ids: [RouterId; N]) -> [State; N] {
        ids.map(|id| self.state(node, id))
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
    }

    /// Performs the actions of the fleets. Messages arrive when no action is left.
    pub(crate) fn exchange_all(&mut self) {
        loop {
            for node in 0..self.nodes.len() {
                self.perform(node);
            }
            if self.under_way.is_empty() {
                break;
            }
            for packet in core::mem::take(&mut self.under_way) {
                self.deliver(&packet);
            }
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.exchange_all();
        loop {
            let live = self.nodes.iter().filter(|node| !node.dead);
            let next = live.filter_map(|node| node.fleet.poll_timeout()).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for node in self.nodes.iter_mut().filter(|node| !node.dead) {
                node.fleet.handle_timeout(next);
                assert!(node.fleet.poll_timeout().is_none_or(|at| at > next));
            }
            self.exchange_all();
        }
        self.now = end;
    }

    fn perform(&mut self, from: usize) {
        let mut advertising = true;
        while let Some((id, action)) = self.nodes[from].fleet.poll_action() {
            let address = self.address(from, id);
            let node = &mut self.nodes[from];
            let router = node.fleet.get(id).unwrap();
            let key = node.fleet.key(id).unwrap();
            assert!(advertising || !matches!(action, Action::SendAdvertisement(_)));
            advertising = matches!(action, Action::SendAdvertisement(_));
            match action {
                Action::SendAdvertisement(outgoing) => {
                    node.advertised.push((key, outgoing.priority.get()));
                    let endpoints = Endpoints::multicast(address);
                    let addresses: Addresses<'_> = match key.family {
                        Family::Ipv4 => Addresses::from(&VIRTUAL_IPV4[..]),
                        Family::Ipv6 => Addresses::from(&VIRTUAL_IPV6[..]),
                    };
                    let messages =
                        router.advertisements(outgoing, MessageAuthentication::None, addresses);
                    for (message, form) in messages {
                        let mut octets = vec![0; message.encoded_len()];
                        message.encode(&mut octets, &endpoints, form).unwrap();
                        self.under_way.push(Packet {
                            from,
                            interface: key.interface,
                            ip: IpHeader {
                                endpoints,
                                ttl: TTL,
                            },
                            octets,
                        });
                    }
                }
                Action::InstallAddresses => drop(node.installed.insert(key)),
                Action::RemoveAddresses => drop(node.installed.remove(&key)),
                Action::Announce { .. } => {
                    assert!(node.installed.contains(&key), "announced before installed");
                    *node.announced.entry(key).or_default() += 1;
                }
                Action::StateChanged(transition) => node.transitions.push((key, transition)),
                other => panic!("{other:?}"),
            }
        }
    }

    fn deliver(&mut self, packet: &Packet) {
        let interface = packet.interface;
        if self.nodes[packet.from].dead || self.nodes[packet.from].cut.contains(&interface) {
            return;
        }
        let now = self.now;
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if number == packet.from || node.dead || node.cut.contains(&interface) {
                continue;
            }
            let received = node.fleet.handle_packet(
                now,
                interface,
                &packet.ip,
                &packet.octets,
                Protection::None,
            );
            if let Err(rejected) = received {
                assert_eq!(rejected.router, None, "{rejected}");
            }
        }
    }
}

const VIRTUAL_IPV4: [core::net::Ipv4Addr; 1] = [core::net::Ipv4Addr::new(192, 0, 2, 1)];
const VIRTUAL_IPV6: [core::net::Ipv6Addr; 1] =
    [core::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100)];
