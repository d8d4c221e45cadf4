//! The text form beside ipvsadm itself: random tables, each from a seed that a failure
//! names.

use std::{
    collections::BTreeSet,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
};

use ipvs_netlink::{
    Client, Destination, DestinationKey, Family, ForwardingMethod, GueChecksum, Netmask,
    Persistence, PersistenceEngine, PrefixLength, Protocol, Scheduler, SchedulerFlags, Service,
    ServiceKey, Thresholds, Tunnel, VirtualServer, Weight,
    message::Change,
    rules::{Form, Grammar, print},
};
use vrrp_lab::{GuestTest, guest_tests};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        ipvsadm_restores_printed_tables,
        tables_that_ipvsadm_saved_are_read_and_applied,
    ]
    .to_vec()
}

const SEEDS: std::ops::Range<u64> = 1..9;

fn ipvsadm_restores_printed_tables() {
    let mut client = Client::open().unwrap();
    for seed in SEEDS {
        let wanted = Random(seed).table();
        restore(&print(&wanted, Form::Lossless));
        let servers = client.table().unwrap().servers();
        assert_eq!(as_sets(&servers), as_sets(&wanted), "seed {seed}");
        assert_eq!(print(&servers, Form::Ipvsadm), saved(), "seed {seed}");
        client.change(Change::Flush).unwrap();
    }
}

fn tables_that_ipvsadm_saved_are_read_and_applied() {
    let mut client = Client::open().unwrap();
    for seed in SEEDS {
        restore(&print(&Random(seed).table(), Form::Ipvsadm));
        let before = client.table().unwrap().servers();
        let grammar = Grammar {
            form: Form::Ipvsadm,
            names: None,
        };
        let rules = grammar.parse(&saved()).unwrap();
        client.change(Change::Flush).unwrap();
        let changes: Vec<_> = rules.into_iter().map(|rule| rule.change).collect();
        for result in client.apply(&changes) {
            result.unwrap();
        }
        let after = client.table().unwrap().servers();
        assert_eq!(as_sets(&after), as_sets(&before), "seed {seed}");
        assert_eq!(print(&after, Form::Ipvsadm), saved(), "seed {seed}");
        client.change(Change::Flush).unwrap();
    }
}

fn as_sets(servers: &[VirtualServer]) -> BTreeSet<(Service, BTreeSet<Destination>)> {
    let sets = |server: &VirtualServer| {
        let destinations = server.destinations.iter().copied().collect();
        (server.service, destinations)
    };
    servers.iter().map(sets).collect()
}

fn restore(text: &str) {
    let mut ipvsadm = Command::new("ipvsadm")
        .arg("-R")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Dropped at the end of the statement: that ends the text.
    ipvsadm
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = ipvsadm.wait_with_output().unwrap();
    // Its exit status is that of the last line only.
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}\n{text}"
    );
}

fn saved() -> String {
    let output = Command::new("ipvsadm").arg("-Sn").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Numbers from a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        for shift in [13, -7, 17_i32] {
            self.0 ^= match shift {
                1.. => self.0 << shift,
                _ => self.0 >> -shift,
            };
        }
        // The low bits of neighbouring numbers are alike.
        (self.0 >> 20) % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn table(mut self) -> Vec<VirtualServer> {
        let mut keys = BTreeSet::new();
        let mut servers = Vec::new();
        for _ in 0..24 {
            let service = self.service();
            if keys.insert(service.key) {
                let destinations = self.destinations(service.key);
                servers.push(VirtualServer {
                    service,
                    destinations,
                });
            }
        }
        servers
    }

    /// Addresses whose differences overflow 32 bits, and some whose first 32 bits are equal.
    fn address(&mut self, family: Family) -> IpAddr {
        let last = u8::try_from(self.below(250)).unwrap() + 1;
        match family {
            Family::V4 => {
                let first = self.one_of(&[1, 9, 100, 126, 128, 150, 200, 223]);
                Ipv4Addr::new(first, 0, self.one_of(&[0, 128, 255]), last).into()
            }
            Family::V6 => {
                let first = self.one_of(&[0x100, 0x2001, 0x7fff, 0x8000, 0xfd00]);
                let middle = self.one_of(&[0, 1, 0x8000]);
                Ipv6Addr::new(first, 0, middle, 0, middle, 0, 0, last.into()).into()
            }
        }
    }

    fn family(&mut self) -> Family {
        self.one_of(&[Family::V4, Family::V6])
    }

    fn service(&mut self) -> Service {
        let family = self.family();
        // ipvsadm does not read back the marks from 2^31 on that it saves.
        let key = if self.once_in(4) {
            let mark = self.one_of(&[1_u32, 2, 77, 1 << 30, (1 << 31) - 1]);
            ServiceKey::mark(mark.try_into().unwrap(), family)
        } else {
            ServiceKey::Address {
                protocol: self.one_of(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
                address: self.address(family),
                port: self.one_of(&[0, 53, 80, 65535]),
            }
        };
        let scheduler = self.one_of(&Scheduler::ALL[..13]);
        let mut service = Service::new(key, scheduler);
        let any_port = matches!(key, ServiceKey::Address { port: 0, .. });
        if any_port || self.once_in(3) {
            let netmask = match (self.once_in(2), family) {
                (true, _) => Netmask::host(family),
                (_, Family::V4) => Netmask::V4(Ipv4Addr::new(255, 255, 128, 0)),
                (_, Family::V6) => Netmask::V6(PrefixLength::new(64).unwrap()),
            };
            let timeout = self.one_of(&[1, 360, 2_678_400]);
            service
                .set_persistence(Persistence { timeout, netmask })
                .unwrap();
            service.persistence_engine = self.once_in(3).then_some(PersistenceEngine::SIP);
        }
        let udp_or_mark = !matches!(
            key,
            ServiceKey::Address {
                protocol: Protocol::Tcp | Protocol::Sctp,
                ..
            }
        );
        service.one_packet = udp_or_mark && self.once_in(3);
        let named = [Scheduler::SH, Scheduler::MH].contains(&scheduler);
        let last = if named { 2 } else { 3 };
        let flags = [
            SchedulerFlags::FLAG_1,
            SchedulerFlags::FLAG_2,
            SchedulerFlags::FLAG_3,
        ];
        for flag in &flags[..last] {
            if self.once_in(3) {
                service.scheduler_flags |= *flag;
            }
        }
        service
    }

    fn destinations(&mut self, service: ServiceKey) -> Vec<Destination> {
        let mut keys = BTreeSet::new();
        let mut destinations = Vec::new();
        for _ in 0..self.below(8) {
            let destination = self.destination(service);
            if keys.insert(destination.key) {
                destinations.push(destination);
            }
        }
        destinations
    }

    fn destination(&mut self, service: ServiceKey) -> Destination {
        let forwarding = self.forwarding();
        let family = match forwarding {
            ForwardingMethod::Tunnel(_) => self.family(),
            _ => service.family(),
        };
        let port = match (forwarding, service) {
            (ForwardingMethod::Masquerade, _) | (_, ServiceKey::FirewallMark { .. }) => {
                self.one_of(&[0, 80, 8080, 65535])
            }
            (_, ServiceKey::Address { port, .. }) => port,
        };
        let address = self.address(family);
        let upper = self.one_of(&[0, 10, 1000]);
        let lower = self.one_of(&[0, upper / 2, upper]);
        Destination {
            weight: Weight::new(self.one_of(&[0, 1, 65535, 65536, Weight::MAX.get()])).unwrap(),
            thresholds: Thresholds::new(upper, lower).unwrap(),
            ..Destination::new(DestinationKey { address, port }, forwarding)
        }
    }

    fn forwarding(&mut self) -> ForwardingMethod {
        let port = self.one_of(&[1_u16, 6080, 65535]).try_into().unwrap();
        let checksum = self.one_of(&[GueChecksum::None, GueChecksum::Full, GueChecksum::Remote]);
        let with_checksum = self.once_in(2);
        let tunnel = self.one_of(&[
            Tunnel::IpIp,
            Tunnel::Gue { port, checksum },
            Tunnel::Gre {
                checksum: with_checksum,
            },
        ]);
        self.one_of(&[
            ForwardingMethod::Masquerade,
            ForwardingMethod::DirectRoute,
            ForwardingMethod::Tunnel(tunnel),
        ])
    }
}
