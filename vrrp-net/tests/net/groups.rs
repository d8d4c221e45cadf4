//! Sync groups on real interfaces.

use vrrp_fsm::{
    State,
    fleet::{GroupId, SyncGroup},
    track::{Kind, Object, Report, TrackRef},
};
use vrrp_lab::{Capture, Host, Lan, wait_for};
use vrrp_net::{DriverEvent, Fault, RouterId, Watch};
use vrrp_proto::Family;

use crate::rig::{
    DriverThread, LIMIT, Seen, VIP4, VIP6, advertisements, in_time, iproute2, lan_of, router,
    wait_for_address,
};

/// Two hosts between an IPv4 network on eth0 and an IPv6 network on eth1.
struct Gateways {
    _inside: Lan,
    outside: Lan,
    hosts: [Host; 2],
    uplinks: [Host; 2],
}

impl Gateways {
    fn new() -> Self {
        let (inside, hosts) = lan_of::<2>();
        let outside = Lan::new().unwrap();
        let uplinks = hosts
            .each_ref()
            .map(|host| outside.attach(host, "eth1", &[]).unwrap());
        Self {
            _inside: inside,
            outside,
            hosts,
            uplinks,
        }
    }

    fn start(&self, place: usize, priority: u8) -> (DriverThread, [RouterId; 2], GroupId) {
        let running = DriverThread::start(self.hosts[place].namespace());
        let (ids, group) = running.with(move |driver| {
            let mut outside = router(Family::Ipv6, priority);
            outside.interface = "eth1".into();
            let ids = [router(Family::Ipv4, priority), outside].map(|it| driver.add(it).unwrap());
            let group = SyncGroup::new("gateway", ids.to_vec());
            (ids, driver.add_group(group).unwrap())
        });
        (running, ids, group)
    }
}

fn wait_for_all(running: &DriverThread, ids: [RouterId; 2], state: State) {
    for id in ids {
        running.wait_for_state(id, state);
    }
}

fn wait_for_uplink_address(host: &Host, present: bool) {
    wait_for("the address on eth1", LIMIT, || {
        let shown = iproute2(host, &["-6", "-o", "address", "show", "dev", "eth1"]);
        (shown.contains(VIP6) == present).then_some(())
    })
    .unwrap();
}

fn group_states(running: &DriverThread, group: GroupId) -> Vec<State> {
    let log = running.log();
    let states = log
        .iter()
        .filter_map(|notification| match notification.event {
            DriverEvent::GroupChanged {
                group: it, state, ..
            } if it == group => Some(state),
            _ => None,
        });
    states.collect()
}

fn resignations(capture: &Capture, vrid: u8) -> usize {
    let is_meant = |seen: &Seen| seen.vrid() == vrid && seen.priority() == 0;
    let seen = advertisements(capture);
    seen.iter().filter(|(_, seen)| is_meant(seen)).count()
}

#[test]
fn g_1_when_one_cable_is_cut_routers_of_both_families_move_together() {
    let net = Gateways::new();
    let (one, ones, group) = net.start(0, 200);
    wait_for_all(&one, ones, State::Active);
    let (two, twos, _) = net.start(1, 100);
    wait_for_all(&two, twos, State::Backup);
    wait_for_address(&net.hosts[0], VIP4, true);
    wait_for_uplink_address(&net.hosts[0], true);
    let capture = net.outside.capture().unwrap();

    net.hosts[0].unplug().unwrap();
    wait_for_all(&two, twos, State::Active);
    wait_for_all(&one, ones, State::Initialize);
    wait_for_address(&net.hosts[1], VIP4, true);
    wait_for_uplink_address(&net.hosts[1], true);
    wait_for_address(&net.hosts[0], VIP4, false);
    wait_for_uplink_address(&net.hosts[0], false);
    assert_eq!(resignations(&capture, 51), 1, "where the cable is whole");
    let [inside, outside] = ones;
    let faults = one.with(move |driver| {
        [inside, outside].map(|id| {
            driver
                .get(id)
                .unwrap()
                .faults()
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    assert_eq!(faults, [vec![Fault::InterfaceDown], vec![]]);

    net.hosts[0].mend().unwrap();
    wait_for_all(&one, ones, State::Active);
    wait_for_all(&two, twos, State::Backup);
    wait_for_uplink_address(&net.hosts[0], true);
    wait_for("the states of the group", LIMIT, || {
        let expected = [
            State::Initialize,
            State::Backup,
            State::Active,
            State::Initialize,
            State::Backup,
            State::Active,
        ];
        (group_states(&one, group) == expected).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", group_states(&one, group)));
}

#[test]
fn g_3_a_member_waits_for_the_others_before_it_takes_over() {
    in_time(|| {
        let net = Gateways::new();
        let (one, ones, _) = net.start(0, 200);
        wait_for_all(&one, ones, State::Active);
        let (two, twos, group) = net.start(1, 100);
        wait_for_all(&two, twos, State::Backup);

        // It no longer receives the Active's advertisements on one side only.
        net.uplinks[1].partition().unwrap();
        two.wait_for_event("the wish", |event| {
            matches!(event, DriverEvent::WantsActive { group: it } if *it == group).then_some(())
        });
        assert_eq!(two.count_transitions(State::Active), 0);
        one.kill();
        wait_for_all(&two, twos, State::Active);
    });
}

#[test]
fn g_7_objects_that_a_group_tracks_count_for_all_members() {
    let net = Gateways::new();
    let (one, ones, group) = net.start(0, 200);
    wait_for_all(&one, ones, State::Active);
    let object = one.with(move |driver| {
        let object = Object::new("peering", Kind::BfdSession);
        let object = driver.add_object(object, Watch::Host).unwrap();
        let mut config = driver.group(group).unwrap().clone();
        config.tracking = vec![TrackRef::of(object)];
        driver.reconfigure_group(group, config).unwrap();
        object
    });
    wait_for_all(&one, ones, State::Active);
    one.with(move |driver| driver.report(object, Report::Down).unwrap());
    wait_for_all(&one, ones, State::Initialize);
    wait_for_uplink_address(&net.hosts[0], false);

    // A router whose group is dissolved continues alone.
    one.with(move |driver| {
        let removed = driver.remove_group(group).unwrap();
        assert_eq!(removed.members, ones);
        assert_eq!(driver.group_with(ones[0]), None);
        driver.remove_object(object).unwrap();
    });
    wait_for_all(&one, ones, State::Active);
    wait_for_uplink_address(&net.hosts[0], true);
}

#[test]
fn a_member_that_is_removed_leaves_its_group() {
    let net = Gateways::new();
    let (one, [inside, outside], group) = net.start(0, 200);
    wait_for_all(&one, [inside, outside], State::Active);
    net.uplinks[0].unplug().unwrap();
    wait_for_all(&one, [inside, outside], State::Initialize);
    one.with(move |driver| {
        driver.remove(outside).unwrap();
        assert_eq!(driver.group(group).unwrap().members, [inside]);
    });
    one.wait_for_state(inside, State::Active);
    wait_for_address(&net.hosts[0], VIP4, true);
}
