use super::*;
use crate::{GueChecksum, Netmask, Thresholds, Tunnel};

#[test]
fn nothing_is_written_where_everything_is_equal() {
    let desired = [of(web(1), &[1, 2]), of(web(2), &[])];
    assert_eq!(
        steps(&Kernel::of(&desired), &desired, Policy::default()),
        []
    );
}

#[test]
fn the_order_of_destinations_is_no_difference() {
    let base = of(web(1), &[1, 2, 3, 4]);
    let kernel = Kernel::of(std::slice::from_ref(&base));
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
        let desired = of(web(1), &order);
        assert_eq!(steps(&kernel, &[desired], Policy::default()), []);
    }
}

#[test]
fn as_many_destinations_of_which_one_is_another_are_a_difference() {
    let kernel = Kernel::of(&[of(web(1), &[1, 2, 3])]);
    for order in [[1, 2, 4], [4, 2, 1]] {
        let changes = steps(&kernel, &[of(web(1), &order)], AT_ONCE);
        assert_eq!(changes.len(), 2, "{changes:?}");
    }
}

#[test]
fn a_duplicate_destination_is_found_next_to_its_twin_in_order() {
    let mut server = of(web(1), &[1, 2, 2, 3]);
    let once = of(web(1), &[1, 2, 3]);
    let kernel = Kernel::of(&[once]);
    assert_eq!(
        steps(&kernel, std::slice::from_ref(&server), Policy::default()),
        []
    );
    server.destinations[2].weight = 7.into();
    let wanted = Wanted::new(std::slice::from_ref(&server));
    let plan = plan(
        &Table::default(),
        wanted,
        &AT_ONCE,
        &Draining::default(),
        Duration::ZERO,
    );
    assert_eq!(plan.steps, []);
    assert_eq!(plan.rejected.len(), 1, "{:?}", plan.rejected);
}

#[test]
fn every_field_of_a_service_is_compared() {
    let base = of(web(1), &[1]);
    let kernel = Kernel::of(std::slice::from_ref(&base));
    let edits: [fn(&mut Service); 5] = [
        |service| service.scheduler = Scheduler::RR,
        |service| service.scheduler_flags = SchedulerFlags::FLAG_2,
        |service| service.one_packet = true,
        |service| service.persistence_engine = Some(crate::PersistenceEngine::SIP),
        |service| {
            service
                .set_persistence(Persistence::new(60, Family::V4))
                .unwrap();
        },
    ];
    for edit in edits {
        let mut desired = base.clone();
        edit(&mut desired.service);
        let changes: Vec<_> = steps(&kernel, std::slice::from_ref(&desired), AT_ONCE)
            .iter()
            .map(|step| step.change)
            .collect();
        assert_eq!(changes, [Change::UpdateService(desired.service)]);
    }
}

#[test]
fn every_field_of_a_destination_is_compared() {
    let base = of(web(1), &[1]);
    let kernel = Kernel::of(std::slice::from_ref(&base));
    let edits: [fn(&mut Destination); 3] = [
        |destination| destination.weight = 9.into(),
        |destination| destination.thresholds = Thresholds::new(10, 5).unwrap(),
        |destination| destination.forwarding = ForwardingMethod::DirectRoute,
    ];
    for edit in edits {
        let mut desired = base.clone();
        edit(&mut desired.destinations[0]);
        let destination = desired.destinations[0];
        let expected = Change::UpdateDestination {
            service: web(1),
            destination,
        };
        assert_eq!(
            steps(&kernel, std::slice::from_ref(&desired), AT_ONCE),
            [Step {
                change: expected,
                why: Why::Different
            }]
        );
    }
}

#[test]
fn every_field_of_persistence_is_compared() {
    let mut base = of(web(1), &[]);
    let persistent = |timeout, mask: [u8; 4]| Persistence {
        timeout,
        netmask: Netmask::V4(mask.into()),
    };
    base.service
        .set_persistence(persistent(60, [255, 255, 255, 0]))
        .unwrap();
    let kernel = Kernel::of(std::slice::from_ref(&base));
    let mut without = base.clone();
    without.service.clear_persistence();
    let mut longer = base.clone();
    let mut narrower = base.clone();
    longer
        .service
        .set_persistence(persistent(61, [255, 255, 255, 0]))
        .unwrap();
    narrower
        .service
        .set_persistence(persistent(60, [255, 255, 0, 0]))
        .unwrap();
    for desired in [without, longer, narrower] {
        let changes = steps(&kernel, std::slice::from_ref(&desired), AT_ONCE);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].change, Change::UpdateService(desired.service));
    }
}

#[test]
fn every_field_of_a_tunnel_is_compared() {
    let through = |tunnel| {
        let mut server = of(web(1), &[1]);
        server.destinations[0].forwarding = ForwardingMethod::Tunnel(tunnel);
        server
    };
    let gue = |port: u16, checksum| Tunnel::Gue {
        port: port.try_into().unwrap(),
        checksum,
    };
    let tunnels = [
        Tunnel::IpIp,
        Tunnel::Gre { checksum: false },
        Tunnel::Gre { checksum: true },
        gue(6080, GueChecksum::None),
        gue(6081, GueChecksum::None),
        gue(6081, GueChecksum::Full),
        gue(6081, GueChecksum::Remote),
    ];
    for before in tunnels {
        let kernel = Kernel::of(&[through(before)]);
        for wanted in tunnels {
            let steps = steps(&kernel, &[through(wanted)], AT_ONCE);
            assert_eq!(steps.len(), usize::from(before != wanted));
        }
    }
}

#[test]
fn a_new_scheduler_is_a_step_of_its_own() {
    let mut desired = of(web(1), &[]);
    let kernel = Kernel::of(std::slice::from_ref(&desired));
    desired.service.scheduler = Scheduler::SH;
    desired.service.scheduler_flags = SchedulerFlags::SH_PORT;
    desired
        .service
        .set_persistence(Persistence::new(60, Family::V4))
        .unwrap();
    assert_eq!(
        lines(&kernel, &[desired], AT_ONCE),
        [
            "update service tcp 192.0.2.1:80 scheduler wrr persistent 60 s mask 255.255.255.255",
            "update service tcp 192.0.2.1:80 scheduler sh flags flag-2 persistent 60 s mask 255.255.255.255",
        ]
    );
}

#[test]
fn a_scheduler_is_kept_where_the_policy_says_so() {
    let mut desired = of(web(1), &[]);
    let kernel = Kernel::of(std::slice::from_ref(&desired));
    desired.service.scheduler = Scheduler::RR;
    let policy = Policy {
        change_schedulers: false,
        ..AT_ONCE
    };
    let plan = plan_of(&kernel, Wanted::new(&[desired]), policy);
    assert_eq!(plan.steps, []);
    assert_eq!(plan.schedulers_kept, [web(1)]);
}

#[test]
fn additions_come_before_removals_and_services_go_last() {
    let kernel = Kernel::of(&[of(web(1), &[1, 2]), of(web(2), &[1])]);
    let desired = [of(web(3), &[1]), of(web(1), &[2, 3])];
    assert_eq!(
        lines(&kernel, &desired, AT_ONCE),
        [
            "add service tcp 192.0.2.3:80 scheduler wrr",
            "add destination 10.0.0.1:80 masquerade weight 1 to tcp 192.0.2.3:80",
            "add destination 10.0.0.3:80 masquerade weight 1 to tcp 192.0.2.1:80",
            "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80 (no longer wanted)",
            "delete service tcp 192.0.2.2:80 (no longer wanted)",
        ]
    );
}

#[test]
fn a_weight_that_becomes_0_does_so_after_the_others_have_theirs() {
    let mut desired = of(web(1), &[1, 2]);
    let kernel = {
        let mut before = desired.clone();
        before.destinations[1].weight = Weight::ZERO;
        Kernel::of(&[before])
    };
    desired.destinations[0].weight = Weight::ZERO;
    assert_eq!(
        lines(&kernel, &[desired], AT_ONCE),
        [
            "update destination 10.0.0.2:80 masquerade weight 1 of tcp 192.0.2.1:80",
            "update destination 10.0.0.1:80 masquerade weight 0 of tcp 192.0.2.1:80",
        ]
    );
}

#[test]
fn nothing_outside_the_scope_is_touched() {
    let kernel = Kernel::of(&[of(web(1), &[1]), of(web(2), &[1]), of(web(3), &[])]);
    let ours = [web(1), web(2)];
    let matching = |key: &ServiceKey| ours.contains(key);
    for scope in [Scope::Services(&ours), Scope::Matching(&matching)] {
        let plan = plan_of(&kernel, Wanted::new(&[]).within(scope), AT_ONCE);
        let changes: Vec<_> = plan.steps.iter().map(|step| step.change).collect();
        assert_eq!(
            changes,
            [Change::DeleteService(web(1)), Change::DeleteService(web(2))]
        );
    }
    let desired = [of(web(3), &[1])];
    let wanted = Wanted::new(&desired).within(Scope::Services(&ours[..1]));
    let plan = plan_of(&kernel, wanted, AT_ONCE);
    assert_eq!(plan.rejected, [Rejected::OutsideScope(web(3))]);
    let changes: Vec<_> = plan.steps.iter().map(|step| step.change).collect();
    assert_eq!(changes, [Change::DeleteService(web(1))]);
}

#[test]
fn identical_services_and_destinations_count_once() {
    let once = [of(web(1), &[1, 2])];
    let twice = [of(web(1), &[1, 2, 1]), of(web(1), &[2, 1])];
    let mut kernel = Kernel::default();
    let report = quietly(&mut kernel, &twice, AT_ONCE);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(kernel.servers(), once);
    assert_eq!(steps(&kernel, &twice, AT_ONCE), []);
}

#[test]
fn a_clash_concerns_its_service_alone_and_all_are_reported() {
    let heavy = Destination {
        weight: 9.into(),
        ..server(4)
    };
    let mut other_scheduler = of(web(1), &[1]);
    other_scheduler.service.scheduler = Scheduler::RR;
    let mut clash = of(web(2), &[4, 5]);
    clash.destinations.push(heavy);
    let desired = [
        of(web(1), &[1]),
        other_scheduler,
        clash,
        of(web(3), &[1]),
        of(web(4), &[1]),
        of(web(4), &[2]),
    ];
    let before = [of(web(1), &[7]), of(web(2), &[7]), of(web(5), &[])];
    let mut kernel = Kernel::of(&before);
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(
        kernel.servers(),
        [of(web(1), &[7]), of(web(2), &[7]), of(web(3), &[1])]
    );
    let rejected: Vec<_> = report.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        rejected,
        [
            "service tcp 192.0.2.1:80 is wanted twice with different settings: name it once",
            "destination 10.0.0.4:80 of tcp 192.0.2.2:80 is wanted twice with different settings: \
             name it once",
            "service tcp 192.0.2.4:80 is wanted twice with different settings: name it once",
        ]
    );
    assert!(!report.is_complete());
}

/// A destination at another port than its service's.
fn at_other_port(host: u8, forwarding: ForwardingMethod) -> Destination {
    Destination::new(DestinationKey::new(([10, 0, 0, host], 8080)), forwarding)
}

#[test]
fn another_port_is_only_for_masquerading() {
    let tunnel = ForwardingMethod::Tunnel(Tunnel::IpIp);
    for forwarding in [
        ForwardingMethod::DirectRoute,
        ForwardingMethod::Local,
        tunnel,
    ] {
        let mut desired = [of(web(1), &[1])];
        desired[0].destinations.push(at_other_port(2, forwarding));
        let mut kernel = Kernel::of(&[of(web(1), &[3])]);
        let report = quietly(&mut kernel, &desired, AT_ONCE);
        assert_eq!(kernel.servers(), [of(web(1), &[1])]);
        let destination = desired[0].destinations[1];
        let service = web(1);
        let rejected = Rejected::Port {
            service,
            destination,
        };
        assert_eq!(report.rejected, [rejected]);
        let text = rejected.to_string();
        assert!(text.contains("port 8080 cannot differ"), "{text}");
    }
    let mark = ServiceKey::mark(5.try_into().unwrap(), Family::V4);
    for (service, forwarding) in [
        (web(1), ForwardingMethod::Masquerade),
        (mark, ForwardingMethod::DirectRoute),
    ] {
        let desired = [VirtualServer {
            destinations: vec![at_other_port(2, forwarding)],
            ..of(service, &[])
        }];
        let mut kernel = Kernel::default();
        assert!(quietly(&mut kernel, &desired, AT_ONCE).is_complete());
        assert_eq!(kernel.servers(), desired);
    }
}

#[test]
fn the_old_servers_stay_while_the_new_ones_cannot_have_their_port() {
    let mut desired = [of(web(1), &[])];
    let other = at_other_port(2, ForwardingMethod::DirectRoute);
    desired[0].destinations.push(other);
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(kernel.servers(), [of(web(1), &[1])]);
    assert_eq!(report.held_back.len(), 1);
}

#[test]
fn a_destination_that_is_there_with_another_port_is_left_alone() {
    let mut desired = [of(web(1), &[1])];
    let other = at_other_port(2, ForwardingMethod::DirectRoute);
    desired[0].destinations.push(other);
    let kernel = Kernel::of(&desired);
    assert_eq!(steps(&kernel, &desired, AT_ONCE), []);
}

#[test]
fn a_thousand_differences_are_a_thousand_changes() {
    let keys: Vec<_> = (0..=u8::MAX)
        .flat_map(|a| (0..10).map(move |b| ServiceKey::tcp(([10, 1, b, a], 80))))
        .collect();
    let mut desired: Vec<_> = keys.iter().map(|key| of(*key, &[1, 2, 3])).collect();
    let kernel = Kernel::of(&desired);
    for server in desired.iter_mut().take(1_000) {
        server.destinations[1].weight = 7.into();
    }
    assert_eq!(steps(&kernel, &desired, AT_ONCE).len(), 1_000);
}
