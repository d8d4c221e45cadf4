use super::*;

const FIRST: Duration = Duration::from_secs(1_000);

/// Reconciles as a program does that keeps what is being drained.
fn at(
    kernel: &mut Kernel,
    desired: &[VirtualServer],
    drain: Drain,
    draining: Draining,
    now: Duration,
) -> Report {
    let policy = Policy {
        drain: Some(drain),
        change_schedulers: true,
    };
    let work = Reconciler::new(desired, Scope::All, policy, draining, now).unwrap();
    reconcile(kernel, work, |_| {}, |_| {})
}

fn weight(kernel: &Kernel, service: ServiceKey, host: u8) -> Option<u32> {
    kernel.services[&service]
        .1
        .get(&server(host).key)
        .map(|destination| destination.weight.get())
}

#[test]
fn a_destination_with_connections_is_drained_until_they_end() {
    let mut kernel = Kernel::of(&[of(web(1), &[1, 2])]);
    let place = (web(1), server(1).key);
    kernel.connections.insert(place, 3);
    let desired = [of(web(1), &[2])];
    let drain = Drain::default();
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
    assert_eq!(report.next_deadline, Some(FIRST + drain.at_most));
    assert_eq!(report.draining.destinations[&place].weight, 1.into());

    let later = FIRST + Duration::from_secs(10);
    let report = at(&mut kernel, &desired, drain, report.draining, later);
    assert_eq!(report.applied, []);
    assert_eq!(report.draining.destinations[&place].since, FIRST);

    kernel.connections.insert(place, 0);
    let report = at(&mut kernel, &desired, drain, report.draining, later);
    assert_eq!(weight(&kernel, web(1), 1), None);
    assert_eq!(report.draining, Draining::default());
}

#[test]
fn a_destination_is_deleted_with_its_connections_when_the_time_is_over() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    let drain = Drain {
        at_most: Duration::from_secs(60),
        ..Drain::default()
    };
    let desired = [of(web(1), &[])];
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    let almost = FIRST + Duration::from_secs(59);
    let report = at(&mut kernel, &desired, drain, report.draining, almost);
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
    let report = at(
        &mut kernel,
        &desired,
        drain,
        report.draining,
        FIRST + drain.at_most,
    );
    assert_eq!(weight(&kernel, web(1), 1), None);
    assert_eq!(report.applied.len(), 1);
    assert_eq!(report.applied[0].why, Why::Drained);
}

#[test]
fn a_destination_that_comes_back_gets_its_weight_and_is_not_added_anew() {
    let mut kernel = Kernel::of(&[of(web(1), &[1, 2])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    let drain = Drain::default();
    let report = at(
        &mut kernel,
        &[of(web(1), &[2])],
        drain,
        Draining::default(),
        FIRST,
    );
    let report = at(
        &mut kernel,
        &[of(web(1), &[1, 2])],
        drain,
        report.draining,
        FIRST,
    );
    let changes: Vec<_> = report.applied.iter().map(|step| step.change).collect();
    assert_eq!(
        changes,
        [Change::UpdateDestination {
            service: web(1),
            destination: server(1)
        }]
    );
    assert_eq!(report.draining, Draining::default());
}

#[test]
fn a_leftover_of_an_earlier_life_drains_from_when_it_is_first_seen() {
    let idle = Destination {
        weight: 0.into(),
        ..server(1)
    };
    let desired = of(web(1), &[]);
    let mut kernel = Kernel::of(&[VirtualServer {
        destinations: vec![idle],
        ..desired.clone()
    }]);
    kernel.connections.insert((web(1), idle.key), 1);
    let drain = Drain::default();
    let desired = [desired];
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    assert_eq!(report.applied, []);
    let seen = DrainingDestination {
        since: FIRST,
        weight: 0.into(),
    };
    assert_eq!(report.draining.destinations[&(web(1), idle.key)], seen);
    at(
        &mut kernel,
        &desired,
        drain,
        report.draining,
        FIRST + drain.at_most,
    );
    assert_eq!(weight(&kernel, web(1), 1), None);
}

#[test]
fn udp_has_a_time_of_its_own_and_one_packet_services_have_none() {
    let dns = ServiceKey::udp(([192, 0, 2, 1], 53));
    let mut one_packet = of(ServiceKey::udp(([192, 0, 2, 2], 53)), &[1]);
    one_packet.service.one_packet = true;
    let mut kernel = Kernel::of(&[of(dns, &[1]), one_packet.clone()]);
    for key in [dns, one_packet.service.key] {
        kernel.connections.insert((key, server(1).key), 9);
    }
    let drain = Drain::default();
    one_packet.destinations.clear();
    let desired = [of(dns, &[]), one_packet.clone()];
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    assert_eq!(report.next_deadline, Some(FIRST + drain.at_most_udp));
    assert_eq!(weight(&kernel, one_packet.service.key, 1), None);
    at(
        &mut kernel,
        &desired,
        drain,
        report.draining,
        FIRST + drain.at_most_udp,
    );
    assert_eq!(weight(&kernel, dns, 1), None);
}

#[test]
fn remembered_clients_count_where_the_policy_says_so() {
    let mut table = Kernel::of(&[VirtualServer {
        destinations: vec![Destination {
            weight: 0.into(),
            ..server(1)
        }],
        ..of(web(1), &[])
    }])
    .table();
    table.entries[0].destinations[0].persistent_connections = 1;
    let desired = [of(web(1), &[])];
    for (count_persistent, deleted) in [(false, 1), (true, 0)] {
        let drain = Some(Drain {
            count_persistent,
            ..Drain::default()
        });
        let policy = Policy {
            drain,
            ..Policy::default()
        };
        let none = Draining::default();
        let plan = plan(&table, &desired, &Scope::All, &policy, &none, FIRST).unwrap();
        assert_eq!(plan.steps.len(), deleted);
    }
}

#[test]
fn a_service_that_goes_is_drained_first() {
    let mut kernel = Kernel::of(&[of(web(1), &[1, 2])]);
    kernel.connections.insert((web(1), server(1).key), 1);
    let drain = Drain::default();
    let report = at(&mut kernel, &[], drain, Draining::default(), FIRST);
    assert_eq!(
        (weight(&kernel, web(1), 1), weight(&kernel, web(1), 2)),
        (Some(0), Some(0))
    );
    let report = at(&mut kernel, &[], drain, report.draining, FIRST);
    assert_eq!(
        (weight(&kernel, web(1), 1), weight(&kernel, web(1), 2)),
        (Some(0), None)
    );
    kernel.connections.clear();
    let report = at(&mut kernel, &[], drain, report.draining, FIRST);
    assert_eq!(kernel.services.len(), 0);
    assert!(report.is_settled());
}

#[test]
fn what_another_program_gave_weight_is_drained_anew() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    let place = (web(1), server(1).key);
    kernel.connections.insert(place, 3);
    let desired = [of(web(1), &[])];
    let drain = Drain::default();
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    kernel
        .apply(Change::UpdateDestination {
            service: web(1),
            destination: Destination {
                weight: 5.into(),
                ..server(1)
            },
        })
        .unwrap();
    let end = FIRST + drain.at_most;
    let report = at(&mut kernel, &desired, drain, report.draining, end);
    let anew = DrainingDestination {
        since: end,
        weight: 5.into(),
    };
    assert_eq!(report.draining.destinations[&place], anew);
    let report = at(&mut kernel, &desired, drain, report.draining, end);
    assert_eq!(report.applied, []);
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
}

#[test]
fn a_clock_that_begins_anew_does_not_make_the_time_longer() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    let desired = [of(web(1), &[])];
    let drain = Drain::default();
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    let report = at(
        &mut kernel,
        &desired,
        drain,
        report.draining,
        Duration::ZERO,
    );
    assert_eq!(report.next_deadline, Some(drain.at_most));
}

#[test]
fn what_a_torn_list_leaves_out_is_not_forgotten() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    let place = (web(1), server(1).key);
    kernel.connections.insert(place, 3);
    let desired = [of(web(1), &[])];
    let drain = Drain::default();
    let first = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    kernel.left_out.insert((web(1), Some(server(1).key)));
    let later = FIRST + Duration::from_secs(1);
    let torn = at(&mut kernel, &desired, drain, first.draining.clone(), later);
    assert_eq!(torn.draining, first.draining);
    assert_eq!(torn.next_deadline, first.next_deadline);
    // A whole list is believed.
    kernel.left_out.clear();
    kernel.services.get_mut(&web(1)).unwrap().1.clear();
    let whole = at(&mut kernel, &desired, drain, torn.draining, later);
    assert_eq!(whole.draining, Draining::default());
}

#[test]
fn a_service_is_not_deleted_with_destinations_that_a_torn_list_leaves_out() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    kernel.left_out.insert((web(1), Some(server(1).key)));
    let drain = Drain::default();
    let report = at(&mut kernel, &[], drain, Draining::default(), FIRST);
    assert_eq!(report.applied, []);
    assert!(report.may_be_incomplete);
    assert_eq!(weight(&kernel, web(1), 1), Some(1));
}

#[test]
fn what_still_serves_because_its_successors_are_refused_is_not_drained() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    kernel.refused.insert(server(2).key);
    let desired = [of(web(1), &[2])];
    let drain = Drain::default();
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    assert_eq!(report.held_back.len(), 1);
    assert_eq!(report.draining, Draining::default());
    assert_eq!(report.next_deadline, None);
    assert_eq!(weight(&kernel, web(1), 1), Some(1));
}

#[test]
fn without_time_to_drain_a_destination_goes_at_once() {
    let mut kernel = Kernel::of(&[of(web(1), &[1])]);
    kernel.connections.insert((web(1), server(1).key), 3);
    let drain = Drain {
        at_most: Duration::ZERO,
        ..Drain::default()
    };
    let desired = [of(web(1), &[])];
    let report = at(&mut kernel, &desired, drain, Draining::default(), FIRST);
    assert_eq!(kernel.servers(), desired);
    assert_eq!(report.applied.len(), 1);
}

/// What is said to be drained after a plan for a list that leaves everything out.
fn remembered(scope: &Scope<'_>, policy: &Policy) -> Draining {
    let torn = Table {
        may_be_incomplete: true,
        ..Table::default()
    };
    let before = DrainingDestination {
        since: FIRST,
        weight: 1.into(),
    };
    let draining = Draining {
        destinations: BTreeMap::from([((web(1), server(1).key), before)]),
    };
    let found = plan(&torn, &[], scope, policy, &draining, FIRST).unwrap();
    found.draining
}

#[test]
fn what_a_torn_list_leaves_out_is_drained_on_in_the_scope_of_a_policy_that_drains() {
    let policy = Policy::default();
    let ours = [web(1)];
    assert_eq!(
        remembered(&Scope::Services(&ours), &policy)
            .destinations
            .len(),
        1
    );
    let others = [web(2)];
    assert_eq!(
        remembered(&Scope::Services(&others), &policy),
        Draining::default()
    );
    assert_eq!(remembered(&Scope::All, &AT_ONCE), Draining::default());
}
