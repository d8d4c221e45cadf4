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
    let plan = plan(
        &kernel.table(),
        &[desired],
        &Scope::All,
        &policy,
        &Draining::default(),
        Duration::ZERO,
    )
    .unwrap();
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
        let none = Draining::default();
        let plan = plan(
            &kernel.table(),
            &[],
            &scope,
            &AT_ONCE,
            &none,
            Duration::ZERO,
        )
        .unwrap();
        let changes: Vec<_> = plan.steps.iter().map(|step| step.change).collect();
        assert_eq!(
            changes,
            [Change::DeleteService(web(1)), Change::DeleteService(web(2))]
        );
    }
    let none = Draining::default();
    let error = plan(
        &kernel.table(),
        &[of(web(3), &[])],
        &Scope::Services(&ours),
        &AT_ONCE,
        &none,
        Duration::ZERO,
    );
    assert_eq!(error, Err(PlanError::OutsideScope(web(3))));
}

#[test]
fn what_is_wanted_twice_is_an_error_that_names_it() {
    let new = |desired: &[VirtualServer]| {
        Reconciler::new(
            desired,
            Scope::All,
            AT_ONCE,
            Draining::default(),
            Duration::ZERO,
        )
        .unwrap_err()
        .to_string()
    };
    assert_eq!(
        new(&[of(web(1), &[]), of(web(1), &[])]),
        "service tcp 192.0.2.1:80 is wanted twice"
    );
    assert_eq!(
        new(&[of(web(1), &[4, 4])]),
        "destination 10.0.0.4:80 of tcp 192.0.2.1:80 is wanted twice"
    );
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
