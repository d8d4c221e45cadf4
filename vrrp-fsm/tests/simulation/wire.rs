//! Unicast and authenticated messages.

use std::time::Duration;

use vrrp_fsm::{
    ChecksumSending, Instant,
    fleet::{MessageTransport, RouterKey, VrrpRouter},
    sim::{
        Condition, Delivery, Fault, FaultRates, Occurrence, Packet, Property, Scenario,
        ScenarioError, Simulation, Trace, primary_address,
    },
};
use vrrp_proto::{
    AuthenticationMethod, ChecksumForm, Family, LocalAuthentication, Password, Priority, Vrid,
    frame::{
        MacAddress,
        ethernet::{self, Frame},
        ipv4, ipv6, multicast_mac, virtual_mac,
    },
    hmac::AntiReplay,
};

use crate::scenarios::{Run, all_faults, at, everything, run};

fn password(text: &[u8]) -> LocalAuthentication {
    LocalAuthentication::SimpleText(Password::new(text).unwrap())
}

/// The scenario with everything and this authentication.
fn authenticated(authentication: LocalAuthentication) -> Scenario {
    let mut plan = everything(3);
    plan.use_authentication(authentication);
    plan
}

/// Runs a few seeds with every fault, and returns the number of checks of each property.
fn assert_nothing_goes_wrong(plan: &Scenario) -> [u64; Property::ALL.len()] {
    let mut plan = plan.clone();
    plan.faults = all_faults(at(150));
    let mut checks = [0; Property::ALL.len()];
    for seed in 0..4 {
        let simulation = Simulation::<VrrpRouter>::new(&plan, seed).unwrap();
        let run = run(simulation, seed, at(200));
        assert_eq!(run.violations, [], "seed {seed}");
        for (total, count) in checks.iter_mut().zip(run.checks) {
            *total += count;
        }
    }
    checks
}

/// Each router must distinguish a copy from its packet, and the monitor has checked that.
fn assert_replays_are_discarded(plan: &Scenario) {
    let checks = assert_nothing_goes_wrong(plan);
    let count = checks[Property::ReplayIsDiscarded as usize];
    assert!(count > 20, "{count} replays");
}

#[test]
fn unicast() {
    let mut plan = everything(3);
    plan.use_unicast(|_| true);
    assert_nothing_goes_wrong(&plan);
}

#[test]
fn unicast_and_multicast_on_one_network() {
    let mut plan = everything(3);
    plan.use_unicast(|key| key.vrid.get() % 2 == 0);
    let is_unicast = |place: usize| {
        let transport = &plan.hosts[0].members[place].transport;
        matches!(transport, MessageTransport::Unicast { peers } if peers.len() == 2)
    };
    assert!(!is_unicast(0) && is_unicast(2));
    assert_nothing_goes_wrong(&plan);
}

#[test]
fn passwords() {
    assert_nothing_goes_wrong(&authenticated(password(b"s3cret")));
}

#[test]
fn ip_ah() {
    assert_replays_are_discarded(&authenticated(LocalAuthentication::IpAh));
}

#[test]
fn ip_ah_with_an_owner_that_discards_all_advertisements() {
    let mut plan = authenticated(LocalAuthentication::IpAh);
    for (host, priority) in plan.hosts.iter_mut().zip([100, 100, 255]) {
        for member in host.members.iter_mut().take(4) {
            member.config.priority = Priority::new(priority);
        }
    }
    assert_replays_are_discarded(&plan);
}

#[test]
fn ip_ah_by_unicast() {
    let mut plan = authenticated(LocalAuthentication::IpAh);
    plan.use_unicast(|key| key.family == Family::Ipv4);
    assert_replays_are_discarded(&plan);
}

#[test]
fn hmac_trailers() {
    assert_replays_are_discarded(&authenticated(LocalAuthentication::Hmac));
}

#[test]
fn hmac_trailers_by_unicast_with_clocks_that_differ_by_less_than_the_window() {
    let mut plan = authenticated(LocalAuthentication::Hmac);
    plan.use_unicast(|_| true);
    for (host, number) in plan.hosts.iter_mut().zip(0..) {
        host.secrets.anti_replay = AntiReplay::time(5).unwrap();
        host.secrets.clock_ahead = Duration::from_secs(2) * number;
    }
    assert_replays_are_discarded(&plan);
}

#[test]
fn hmac_trailers_come_to_a_network_in_two_steps() {
    let trailers = |authentication, signs| {
        let mut plan = authenticated(authentication);
        for host in &mut plan.hosts {
            host.secrets.signs = signs;
        }
        plan
    };
    let steps = [
        everything(3),
        trailers(LocalAuthentication::HmacIfPresent, false),
        trailers(LocalAuthentication::HmacIfPresent, true),
        trailers(LocalAuthentication::Hmac, true),
    ];
    for (before, after) in steps.iter().zip(&steps[1..]) {
        let mut plan = before.clone();
        plan.hosts[1] = after.hosts[1].clone();
        assert_nothing_goes_wrong(&plan);
    }
    // In a single step, hosts without trailers would discard the messages of hosts that send them.
    let [before, _, after, _] = &steps;
    let mut plan = before.clone();
    plan.hosts[1] = after.hosts[1].clone();
    assert_two_actives(
        &plan,
        " and HMAC is not configured here: configure the sender's keys, or remove them there",
    );
}

/// Runs a network without faults.
fn run_in_peace(plan: &Scenario) -> Run {
    let mut plan = plan.clone();
    plan.faults = FaultRates::default();
    run(Simulation::<VrrpRouter>::new(&plan, 1).unwrap(), 1, at(30))
}

/// Hosts that discard each other's messages are two Actives. That is found without any fault, and
/// so is the reason.
fn assert_two_actives(plan: &Scenario, why: &str) {
    let run = run_in_peace(plan);
    let found = run.violations.iter().map(|(_, property)| *property);
    let mut found: Vec<Property> = found.collect();
    found.sort();
    found.dedup();
    assert!(found.contains(&Property::AtMostOneActive), "{found:?}");
    let reasons = run
        .lines
        .lines()
        .filter(|line| line.contains(" discarded "));
    assert!(reasons.clone().count() > 10, "{reasons:?}");
    for reason in reasons {
        assert!(reason.ends_with(why), "{reason}");
    }
}

#[test]
fn a_host_with_another_password_is_found_without_any_fault() {
    let mut plan = authenticated(password(b"s3cret"));
    assert_eq!(run_in_peace(&plan).violations, []);
    for member in &mut plan.hosts[1].members {
        if member.authentication != LocalAuthentication::None {
            member.authentication = password(b"secret");
        }
    }
    assert_two_actives(&plan, ": the password differs");
}

#[test]
fn a_host_with_another_key_of_ip_ah_is_found_without_any_fault() {
    let mut plan = authenticated(LocalAuthentication::IpAh);
    assert_eq!(run_in_peace(&plan).violations, []);
    plan.hosts[1].secrets.ah = Password::new(b"another").unwrap();
    assert_two_actives(&plan, ": the digest differs");
}

#[test]
fn a_host_with_another_key_of_the_trailer_is_found_without_any_fault() {
    let mut plan = authenticated(LocalAuthentication::Hmac);
    assert_eq!(run_in_peace(&plan).violations, []);
    plan.hosts[1].secrets.hmac = [7; 32];
    assert_two_actives(&plan, ": the digest differs");
}

#[test]
fn a_host_whose_clock_is_wrong_by_more_than_the_window_is_found_without_any_fault() {
    let mut plan = authenticated(LocalAuthentication::Hmac);
    for host in &mut plan.hosts {
        host.secrets.anti_replay = AntiReplay::time(5).unwrap();
    }
    assert_eq!(run_in_peace(&plan).violations, []);
    plan.hosts[1].secrets.clock_ahead = Duration::from_secs(7);
    assert_two_actives(
        &plan,
        ", outside the window of 5 s: synchronise both clocks",
    );
}

#[test]
fn a_host_without_authentication_among_others_is_found_without_any_fault() {
    let mut plan = authenticated(LocalAuthentication::Hmac);
    for member in &mut plan.hosts[1].members {
        member.authentication = LocalAuthentication::None;
    }
    let run = run_in_peace(&plan);
    let is_found = |(_, property): &_| *property == Property::AtMostOneActive;
    assert!(run.violations.iter().any(is_found));
}

#[test]
fn a_host_that_is_missing_among_the_peers_of_another_is_found_without_any_fault() {
    let mut plan = everything(2);
    plan.use_unicast(|_| true);
    assert_eq!(run_in_peace(&plan).violations, []);
    for member in &mut plan.hosts[1].members {
        member.transport = MessageTransport::Unicast { peers: Vec::new() };
    }
    let run = run_in_peace(&plan);
    let is_found = |(_, property): &_| *property == Property::AtMostOneActive;
    assert!(run.violations.iter().any(is_found));
    assert!(run.lines.contains(" is not a configured peer\n"));
}

/// A host stops a virtual router and starts it again. When it is Active, its resignation is
/// replayed. Returns the occurrences after that.
fn replayed_resignation(authentication: LocalAuthentication) -> Vec<String> {
    let mut plan = Scenario::uniform(2, 1).unwrap();
    plan.use_authentication(authentication);
    let again = |faults: &str| {
        let trace: Trace = format!("seed 1\n{faults}").parse().unwrap();
        let run = run(
            Simulation::<VrrpRouter>::replay(&plan, &trace).unwrap(),
            1,
            at(60),
        );
        assert_eq!(run.violations, []);
        run.lines
    };
    let stop = "10.000000000 stop 0 0 for 10.000000000\n";
    let lines = again(stop);
    let sent = lines.lines().find(|line| line.ends_with(" priority 0"));
    let number = sent.unwrap().split(' ').nth(3).unwrap();
    let lines = again(&format!(
        "{stop}10.000000000 replay 0 {number}>1 by 30.300000000\n"
    ));
    let after = lines.lines().skip_while(|line| !line.starts_with("40."));
    after.map(String::from).collect()
}

#[test]
fn a_replayed_resignation_moves_the_addresses_unless_messages_have_sequence_numbers() {
    let happens = |lines: &[String], what| lines.iter().any(|line| line.contains(what));
    for authentication in [LocalAuthentication::None, password(b"s3cret")] {
        let lines = replayed_resignation(authentication);
        assert!(happens(&lines, "state 1 "), "{lines:#?}");
    }
    for authentication in [LocalAuthentication::IpAh, LocalAuthentication::Hmac] {
        let lines = replayed_resignation(authentication);
        assert!(!happens(&lines, "state "), "{lines:#?}");
        assert!(happens(&lines, "discarded 0 "), "{lines:#?}");
    }
}

#[test]
fn an_authentication_that_its_version_lacks_is_rejected() {
    for (authentication, method) in [
        (password(b"s3cret"), AuthenticationMethod::SimpleText),
        (LocalAuthentication::IpAh, AuthenticationMethod::IpAh),
        (LocalAuthentication::Hmac, AuthenticationMethod::Hmac),
    ] {
        let mut plan = everything(2);
        plan.hosts[1].members[3].authentication = authentication;
        let refused = Simulation::<VrrpRouter>::new(&plan, 1).err();
        let wanted = ScenarioError::Authentication {
            host: 1,
            router: 3,
            method,
        };
        assert_eq!(refused, Some(wanted));
    }
}

#[test]
fn the_address_of_a_host_says_which_host_and_network() {
    let address = |host, interface, family| {
        let vrid = Vrid::new(51).unwrap();
        primary_address(
            host,
            RouterKey {
                interface,
                family,
                vrid,
            },
        )
        .to_string()
    };
    assert_eq!(address(0, 1, Family::Ipv4), "10.1.0.1");
    assert_eq!(address(2, 3, Family::Ipv4), "10.3.0.3");
    assert_eq!(address(299, 1, Family::Ipv4), "10.1.1.44");
    assert_eq!(address(2, 3, Family::Ipv6), "fe80::3:3");
}

/// Runs this network without faults, and looks at every packet: as it was sent, and as a frame.
/// Returns whether any went to a group, and whether any went from host to host.
fn look_at_frames(plan: &Scenario, look: impl Fn(&Packet, &Frame<'_>, bool)) -> [bool; 2] {
    let mut simulation = Simulation::<VrrpRouter>::new(plan, 1).unwrap();
    let mut seen = [false; 2];
    simulation.run_until(at(10), &mut |_, occurrence| {
        if let Occurrence::Sent(packet) = occurrence {
            let key = packet.key().unwrap();
            let frame = packet.frame();
            let frame = Frame::parse(&frame).unwrap();
            let destination = packet.ip.endpoints.destination();
            let is_to_group = destination.is_multicast();
            if is_to_group {
                assert_eq!(frame.source, virtual_mac(key.vrid, key.family));
                assert_eq!(frame.destination, multicast_mac(destination));
            } else {
                let from = [2, 0, 0, 1, 0, u8::try_from(packet.from + 1).unwrap()];
                assert_eq!(frame.source, MacAddress(from));
                assert_ne!(frame.destination, frame.source);
                assert!(frame.destination.virtual_router().is_none());
            }
            seen[usize::from(is_to_group)] = true;
            look(packet, &frame, key.family == Family::Ipv4);
        }
    });
    seen
}

#[test]
fn the_frame_of_a_packet_contains_the_received_message() {
    let mut plan = Scenario::uniform(3, 8).unwrap();
    plan.use_unicast(|key| key.vrid.get() % 2 == 0);
    let seen = look_at_frames(&plan, |packet, frame, is_ipv4| {
        let (ip, payload, protocol) = if is_ipv4 {
            assert_eq!(frame.ethertype, ethernet::IPV4);
            let ip = ipv4::Packet::parse(frame.payload).unwrap();
            (ip.ip_header(), ip.payload, ip.protocol)
        } else {
            assert_eq!(frame.ethertype, ethernet::IPV6);
            let ip = ipv6::Packet::parse(frame.payload).unwrap();
            (ip.ip_header(), ip.payload, ip.next_header)
        };
        assert_eq!(
            (ip, payload, protocol),
            (packet.ip, &packet.octets[..], 112)
        );
    });
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_packet_inside_ah_as_a_frame_has_its_header() {
    let mut plan = Scenario::uniform(3, 8).unwrap();
    plan.use_unicast(|key| key.vrid.get() % 2 == 0);
    plan.use_authentication(LocalAuthentication::IpAh);
    let seen = look_at_frames(&plan, |packet, frame, is_ipv4| {
        if is_ipv4 {
            let ip = ipv4::Packet::parse(frame.payload).unwrap();
            assert_eq!((ip.ip_header(), ip.protocol), (packet.ip, 51));
            // The AH header before the message begins with the protocol of the message.
            assert_eq!(ip.payload[0], 112);
            assert!(ip.payload.ends_with(&packet.octets));
        }
    });
    assert_eq!(seen, [true; 2]);
}

#[test]
fn a_message_that_arrives_twice_and_is_replayed_is_checked_each_time() {
    let mut plan = Scenario::uniform(2, 1).unwrap();
    plan.use_authentication(LocalAuthentication::Hmac);
    let delivery = Delivery {
        from: 0,
        number: 10,
        to: 1,
    };
    let twice = || Fault::Duplicate(delivery);
    let again = || Fault::Replay(delivery, Duration::from_secs(20));
    let both = vec![twice(), again()];
    for (faults, checks) in [(vec![twice()], 1), (vec![again()], 1), (both, 2)] {
        let faults = faults.into_iter().map(|fault| (Instant::ZERO, fault));
        let trace = Trace {
            seed: 1,
            faults: faults.collect(),
        };
        let simulation = Simulation::<VrrpRouter>::replay(&plan, &trace).unwrap();
        let run = run(simulation, 1, at(60));
        assert_eq!(run.violations, []);
        assert_eq!(run.checks[Property::ReplayIsDiscarded as usize], checks);
    }
}

/// Six hosts are Active in turn, so one of them receives messages of five others; then a message of
/// the first is replayed.
#[test]
fn a_replay_is_discarded_however_many_senders_there_are() {
    let mut plan = Scenario::uniform(6, 1).unwrap();
    plan.use_authentication(LocalAuthentication::Hmac);
    for host in &mut plan.hosts {
        let config = &mut host.members[0].config;
        config.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    }
    let stop = |host: u32| {
        let begins = at(10 + 10 * u64::from(host));
        let condition = Condition::Stop { host, router: 0 };
        (begins, Fault::Lasting(condition, Duration::from_secs(300)))
    };
    let delivery = Delivery {
        from: 0,
        number: 2,
        to: 5,
    };
    let replay = Fault::Replay(delivery, Duration::from_secs(60));
    let mut faults = vec![(Instant::ZERO, replay)];
    faults.extend((0..4).map(stop));
    let trace = Trace { seed: 1, faults };
    let simulation = Simulation::<VrrpRouter>::replay(&plan, &trace).unwrap();
    let run = run(simulation, 1, at(100));
    assert_eq!(run.violations, []);
    assert_eq!(run.checks[Property::ReplayIsDiscarded as usize], 1);
    // Five senders, each of which was Active for a while.
    for host in 0..5 {
        let took_over = format!("state {host} lan 1 IPv4 vrid 1 Backup to Active");
        assert!(run.lines.contains(&took_over), "{}", run.lines);
    }
}
