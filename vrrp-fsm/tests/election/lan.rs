//! Routers on a simulated LAN: virtual time, real messages, and a network that delays and loses
//! them.

use core::{net::IpAddr, time::Duration};
use std::collections::BTreeMap;

use vrrp_fsm::{
    Action, Actions, Config, Event, Instant, ReceiveContext, ShutdownCause, State, VirtualRouter,
};
use vrrp_proto::{ChecksumAcceptance, Endpoints, IpHeader, MessageAuthentication, TTL};

use crate::host::{address, virtual_addresses};

/// A message under way.
#[derive(Clone, Debug)]
struct Packet {
    from: usize,
    octets: Vec<u8>,
    endpoints: Endpoints,
}

/// A router and the actions of its host.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) router: VirtualRouter,
    /// The checksum forms that it accepts.
    pub(crate) accepts: ChecksumAcceptance,
    pub(crate) address: IpAddr,
    pub(crate) installed: bool,
    /// Cut off from the others.
    pub(crate) isolated: bool,
    /// Killed: it neither sends nor receives.
    pub(crate) dead: bool,
}

pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    /// By time of arrival, then in the order of sending.
    under_way: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    noise: u64,
    /// The chance in 256 that a message is lost.
    pub(crate) loss: u8,
    /// The longest delay of a message.
    pub(crate) delay: Duration,
    /// Every change of state: its time, its router, and the new state.
    pub(crate) history: Vec<(Instant, usize, State)>,
    /// The time of the last announcement, and its sender.
    pub(crate) announced: Option<(Instant, usize)>,
}

impl Lan {
    /// Routers with addresses in the order of their configurations.
    pub(crate) fn new(configs: impl IntoIterator<Item = Config>, seed: u64) -> Self {
        let nodes = configs
            .into_iter()
            .zip(11..)
            .map(|(config, last)| Node {
                router: VirtualRouter::new(config).unwrap(),
                accepts: ChecksumAcceptance::Either,
                address: address(config.family, last),
                installed: false,
                isolated: false,
                dead: false,
            })
            .collect();
        Self {
            now: Instant::ZERO,
            nodes,
            under_way: BTreeMap::new(),
            sent: 0,
            noise: seed,
            loss: 0,
            delay: Duration::from_micros(500),
            history: Vec::new(),
            announced: None,
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        let primary_address = self.nodes[node].address;
        self.event(node, Event::Startup { primary_address });
    }

    pub(crate) fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.event(node, Event::Shutdown(ShutdownCause::Administrative));
    }

    /// Kills a router and its host.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
        self.nodes[node].installed = false;
    }

    /// Restarts a killed router as a new one.
    pub(crate) fn revive(&mut self, node: usize) {
        let config = self.nodes[node].router.config();
        self.nodes[node].router = VirtualRouter::new(config).unwrap();
        self.nodes[node].dead = false;
        self.start(node);
    }

    fn event(&mut self, node: usize, event: Event) {
        let actions = self.nodes[node].router.handle_event(self.now, event);
        self.perform(node, actions);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.under_way.keys().next().map(|(at, _)| *at);
            let timer = self
                .nodes
                .iter()
                .filter(|node| !node.dead)
                .filter_map(|node| node.router.poll_timeout())
                .min();
            let Some(next) = [arrival, timer]
                .into_iter()
                .flatten()
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = next;
            // Drain, then decide.
            while let Some(entry) = self
                .under_way
                .first_entry()
                .filter(|entry| entry.key().0 <= next)
            {
                let packet = entry.remove();
                self.deliver(&packet);
            }
            for node in 0..self.nodes.len() {
                if !self.nodes[node].dead {
                    let actions = self.nodes[node].router.handle_timeout(next);
                    self.perform(node, actions);
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, packet: &Packet) {
        let ip = IpHeader {
            endpoints: packet.endpoints,
            ttl: TTL,
        };
        for node in 0..self.nodes.len() {
            let Node { isolated, dead, .. } = self.nodes[node];
            let lost = self.noise() < u32::from(self.loss);
            if node == packet.from || isolated || dead || self.nodes[packet.from].isolated || lost {
                continue;
            }
            let accepts = self.nodes[node].accepts;
            let router = &mut self.nodes[node].router;
            let mut context = ReceiveContext::multicast(router.config().family);
            context.decode.v3_ipv4_checksum = accepts;
            // Some scenarios mix configurations that discard each other's messages.
            if let Ok((_, actions)) = router.handle_packet(self.now, &ip, &packet.octets, &context)
            {
                self.perform(node, actions);
            }
        }
    }

    fn perform(&mut self, node: usize, actions: Actions) {
        for action in actions {
            match action {
                Action::SendAdvertisement(outgoing) => {
                    let Node {
                        router, address, ..
                    } = &self.nodes[node];
                    let addresses = virtual_addresses(router.config().family);
                    let endpoints = Endpoints::multicast(*address);
                    let messages: Vec<Vec<u8>> = router
                        .advertisements(outgoing, MessageAuthentication::None, addresses)
                        .map(|(message, form)| {
                            let mut octets = vec![0; message.encoded_len()];
                            message.encode(&mut octets, &endpoints, form).unwrap();
                            octets
                        })
                        .collect();
                    for octets in messages {
                        let delay = self.delay * self.noise() / 256;
                        self.sent += 1;
                        let packet = Packet {
                            from: node,
                            octets,
                            endpoints,
                        };
                        self.under_way.insert((self.now + delay, self.sent), packet);
                    }
                }
                Action::InstallAddresses => self.nodes[node].installed = true,
                Action::RemoveAddresses => self.nodes[node].installed = false,
                Action::Announce { .. } => {
                    assert!(
                        self.nodes[node].installed,
                        "announced before it was installed"
                    );
                    self.announced = Some((self.now, node));
                }
                Action::StateChanged(transition) => {
                    let active = transition.to == State::Active;
                    assert_eq!(
                        self.nodes[node].installed, active,
                        "installed exactly while Active"
                    );
                    self.history.push((self.now, node, transition.to));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The routers that are Active and alive.
    pub(crate) fn actives(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|node| {
                !self.nodes[*node].dead && self.nodes[*node].router.state() == State::Active
            })
            .collect()
    }

    /// The next number in 0..256 of a fixed sequence (SplitMix64).
    fn noise(&mut self) -> u32 {
        self.noise = self.noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.noise;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::from((mixed ^ (mixed >> 31)).to_be_bytes()[0])
    }
}
