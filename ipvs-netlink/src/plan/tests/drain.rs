use super::*;

const FIRST: Duration = Duration::from_secs(1_000);

/// Reconciles as a program does that keeps its reconciler.
fn at(
    kernel: &mut Kernel,
    desired: &[VirtualServer],
    reconciler: &mut Reconciler,
    now: Duration,
) -> ReconcileReport {
    within(kernel, Wanted::new(desired), reconciler, now)
}

fn within(
    kernel: &mut Kernel,
    wanted: Wanted<'_>,
    reconciler: &mut Reconciler,
    now: Duration,
) -> ReconcileReport {
    let work = reconciler.begin(wanted, now);
    reconcile(kernel, work, |_| {}, |_| {})
}

/// A reconciler that drains by the default rule.
fn careful() -> (Reconciler, Drain) {
    let drain = Drain::default();
    (Reconciler::new(Policy::drained(drain)), drain)
}

fn weight(kernel: &Kernel, service: ServiceKey, host: u8) -> Option<u32> {
    kernel.services[&service]
        .1
        .get(&server(host).key)
        .map(|destination| destination.weight.get())
}

/// A kernel with these servers of a service, of which the first has connections.
fn busy(service: ServiceKey, hosts: &[u8]) -> Kernel {
    let mut kernel = Kernel::of(&[of(service, hosts)]);
    kernel
        .connections
        .insert((service, server(hosts[0]).key), 3);
    kernel
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn of_at_most(limit: u64) -> Drain {
    Drain {
        at_most: seconds(limit),
        ..Drain::default()
    }
}

#[test]
fn a_destination_with_connections_is_drained_until_they_end() {
    let mut kernel = busy(web(1), &[1, 2]);
    let place = (web(1), server(1).key);
    let desired = [of(web(1), &[2])];
    let (mut reconciler, drain) = careful();
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
    assert_eq!(report.wait, Some(drain.at_most));
    let entry = reconciler.draining().destinations[&place];
    assert_eq!((entry.weight, entry.since), (1.into(), FIRST));

    let later = FIRST + seconds(10);
    let report = at(&mut kernel, &desired, &mut reconciler, later);
    assert_eq!(report.applied, []);
    assert_eq!(report.wait, Some(drain.at_most.saturating_sub(seconds(10))));

    kernel.connections.insert(place, 0);
    let report = at(&mut kernel, &desired, &mut reconciler, later);
    assert_eq!(weight(&kernel, web(1), 1), None);
    assert!(reconciler.draining().is_empty());
    assert_eq!(report.wait, None);
}

#[test]
fn an_idle_destination_goes_in_the_same_call() {
    let mut kernel = Kernel::of(&[of(web(1), &[1, 2])]);
    let desired = [of(web(1), &[2])];
    let (mut reconciler, _) = careful();
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(kernel.servers(), desired);
    // First it gets no more connections, then it is seen to have none.
    let lines: Vec<_> = report.applied.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "update destination 10.0.0.1:80 masquerade weight 0 of tcp 192.0.2.1:80 (no longer wanted)",
            "delete destination 10.0.0.1:80 of tcp 192.0.2.1:80 (drained)",
        ]
    );
    assert!(report.is_complete() && reconciler.draining().is_empty());
}

#[test]
fn a_connection_that_arrives_before_the_weight_is_0_is_waited_for() {
    let mut kernel = Kernel::of(&[of(web(1), &[1, 2])]);
    let desired = [of(web(1), &[2])];
    let (mut reconciler, _) = careful();
    let work = reconciler.begin(Wanted::new(&desired), FIRST);
    let connect = |kernel: &mut Kernel| {
        kernel.connections.insert((web(1), server(1).key), 1);
    };
    let report = reconcile(&mut kernel, work, connect, |_| {});
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
    assert!(report.is_complete() && report.wait.is_some());
}

#[test]
fn only_services_with_idle_destinations_are_read_again() {
    let kernel = Kernel::of(&[of(web(1), &[1, 2]), of(web(2), &[1])]);
    let desired = [of(web(1), &[2]), of(web(2), &[1])];
    let (mut reconciler, _) = careful();
    let mut work = reconciler.begin(Wanted::new(&desired), FIRST);
    assert_eq!(work.next(), Next::Read);
    work.handle_table(&kernel.table());
    work.handle_results(vec![Ok(())]);
    assert_eq!(work.next(), Next::ReadServices(vec![web(1)]));
}

#[test]
fn a_destination_is_deleted_with_its_connections_when_the_time_is_over() {
    let mut kernel = busy(web(1), &[1]);
    let mut reconciler = Reconciler::new(Policy::drained(of_at_most(60)));
    let desired = [of(web(1), &[])];
    at(&mut kernel, &desired, &mut reconciler, FIRST);
    at(&mut kernel, &desired, &mut reconciler, FIRST + seconds(59));
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST + seconds(60));
    assert_eq!(weight(&kernel, web(1), 1), None);
    assert_eq!(report.applied.len(), 1);
    assert_eq!(report.applied[0].why, Why::Drained);
}

#[test]
fn a_destination_that_comes_back_gets_its_weight_and_is_not_added_again() {
    let mut kernel = busy(web(1), &[1, 2]);
    let (mut reconciler, _) = careful();
    at(&mut kernel, &[of(web(1), &[2])], &mut reconciler, FIRST);
    let report = at(&mut kernel, &[of(web(1), &[1, 2])], &mut reconciler, FIRST);
    let changes: Vec<_> = report.applied.iter().map(|step| step.change).collect();
    assert_eq!(
        changes,
        [Change::UpdateDestination {
            service: web(1),
            destination: server(1)
        }]
    );
    assert!(reconciler.draining().is_empty());
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
    let (mut reconciler, drain) = careful();
    let desired = [desired];
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(report.applied, []);
    let seen = DrainingDestination {
        since: FIRST,
        until: FIRST + drain.at_most,
        weight: 0.into(),
        rule: None,
    };
    let found = &reconciler.draining().destinations;
    assert_eq!(found[&(web(1), idle.key)], seen);
    let end = FIRST + drain.at_most;
    at(&mut kernel, &desired, &mut reconciler, end);
    assert_eq!(weight(&kernel, web(1), 1), None);
}

#[test]
fn a_program_that_was_restarted_goes_on_with_the_memory_it_stored() {
    let mut kernel = busy(web(1), &[1]);
    let desired = [of(web(1), &[])];
    let (mut before, drain) = careful();
    at(&mut kernel, &desired, &mut before, FIRST);
    let mut after = Reconciler::resume(before.policy(), before.draining().clone());
    let report = at(&mut kernel, &desired, &mut after, FIRST + seconds(1));
    assert_eq!(report.wait, Some(drain.at_most.saturating_sub(seconds(1))));
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
    let (mut reconciler, drain) = careful();
    one_packet.destinations.clear();
    let desired = [of(dns, &[]), one_packet.clone()];
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(report.wait, Some(drain.at_most_udp));
    assert_eq!(weight(&kernel, one_packet.service.key, 1), None);
    let end = FIRST + drain.at_most_udp;
    at(&mut kernel, &desired, &mut reconciler, end);
    assert_eq!(weight(&kernel, dns, 1), None);
}

#[test]
fn a_firewall_mark_without_active_connections_counts_as_udp() {
    let mark = ServiceKey::mark(5.try_into().unwrap(), Family::V4);
    let kernel = Kernel::of(&[of(mark, &[1])]);
    let desired = [of(mark, &[])];
    for (active, inactive, expected) in [(0, 3, 30), (1, 3, 900)] {
        let (mut reconciler, _) = careful();
        let mut work = reconciler.begin(Wanted::new(&desired), FIRST);
        let mut table = kernel.table();
        let listed = &mut table.entries[0].destinations[0];
        listed.active_connections = active;
        listed.inactive_connections = inactive;
        work.handle_table(&table);
        work.handle_results(vec![Ok(())]);
        let Next::Done(report) = work.next() else {
            panic!("it drains")
        };
        assert_eq!(report.wait, Some(seconds(expected)));
    }
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
        let policy = Policy::drained(Drain {
            count_persistent,
            ..Drain::default()
        });
        let none = Draining::default();
        let plan = plan(&table, Wanted::new(&desired), &policy, &none, FIRST);
        assert_eq!(plan.steps.len(), deleted);
    }
}

#[test]
fn a_service_that_goes_is_drained_first() {
    let mut kernel = busy(web(1), &[1, 2]);
    let (mut reconciler, _) = careful();
    at(&mut kernel, &[], &mut reconciler, FIRST);
    assert_eq!(
        (weight(&kernel, web(1), 1), weight(&kernel, web(1), 2)),
        (Some(0), None)
    );
    kernel.connections.clear();
    let report = at(&mut kernel, &[], &mut reconciler, FIRST);
    assert_eq!(kernel.services.len(), 0);
    assert!(report.is_complete());
}

#[test]
fn a_removed_service_goes_at_once_where_the_policy_says_so() {
    let mut kernel = busy(web(1), &[1]);
    let mut reconciler = Reconciler::new(Policy {
        drain_services: None,
        ..Policy::default()
    });
    let report = at(&mut kernel, &[], &mut reconciler, FIRST);
    assert_eq!(report.applied.len(), 1);
    assert_eq!(kernel.services.len(), 0);
}

#[test]
fn each_service_and_each_destination_leaves_by_its_own_rule() {
    // A dead server goes at once, a removed one is drained, a pod within its grace period.
    let (dead, removed, pod) = (1, 2, 3);
    let mut kernel = Kernel::of(&[of(web(1), &[dead, removed, pod, 4]), of(web(2), &[1])]);
    for host in [dead, removed, pod] {
        kernel.connections.insert((web(1), server(host).key), 1);
    }
    kernel.connections.insert((web(2), server(1).key), 1);
    let desired = [of(web(1), &[4])];
    let mut removals = Removals::default();
    let place = |host| (web(1), server(host).key);
    removals.destinations.insert(place(dead), None);
    removals
        .destinations
        .insert(place(pod), Some(of_at_most(20)));
    removals.services.insert(web(2), None);
    let mut reconciler = Reconciler::new(Policy::drained(of_at_most(60)));
    let wanted = Wanted::new(&desired).with_removals(&removals);
    let report = within(&mut kernel, wanted, &mut reconciler, FIRST);
    assert_eq!(weight(&kernel, web(1), dead), None);
    assert_eq!(kernel.services.len(), 1, "the removed service goes at once");
    assert_eq!(weight(&kernel, web(1), removed), Some(0));
    assert_eq!(report.wait, Some(seconds(20)));
    // The rule of a destination is remembered.
    at(&mut kernel, &desired, &mut reconciler, FIRST + seconds(20));
    assert_eq!(weight(&kernel, web(1), pod), None);
    assert_eq!(weight(&kernel, web(1), removed), Some(0));
    at(&mut kernel, &desired, &mut reconciler, FIRST + seconds(60));
    assert_eq!(kernel.servers(), desired);
}

#[test]
fn a_service_that_leaves_by_a_rule_ends_the_drains_that_began_before() {
    let until = |kernel: &Kernel, reconciler: &Reconciler| {
        let drains = &reconciler.draining().destinations;
        let drain = drains.get(&(web(1), server(1).key));
        (kernel.services.len(), drain.map(|drain| drain.until))
    };
    let shorter = of_at_most(60);
    for (rule, expected) in [
        (None, (0, None)),
        (Some(shorter), (1, Some(FIRST + shorter.at_most))),
    ] {
        let mut kernel = busy(web(1), &[1, 2]);
        kernel.connections.insert((web(1), server(2).key), 1);
        let mut removals = Removals::default();
        let own = (web(1), server(1).key);
        removals.destinations.insert(own, Some(of_at_most(900)));
        let mut reconciler = Reconciler::new(Policy::AT_ONCE);
        let kept = [of(web(1), &[2])];
        let wanted = Wanted::new(&kept).with_removals(&removals);
        within(&mut kernel, wanted, &mut reconciler, FIRST);
        // The rule is remembered while the service is wanted, and also without a rule for it.
        at(&mut kernel, &kept, &mut reconciler, FIRST + seconds(10));
        let remembered = (1, Some(FIRST + seconds(900)));
        assert_eq!(until(&kernel, &reconciler), remembered);
        at(&mut kernel, &[], &mut reconciler, FIRST + seconds(20));
        assert_eq!(until(&kernel, &reconciler), remembered);

        let mut removals = Removals::default();
        removals.services.insert(web(1), rule);
        let wanted = Wanted::new(&[]).with_removals(&removals);
        within(&mut kernel, wanted, &mut reconciler, FIRST + seconds(30));
        assert_eq!(until(&kernel, &reconciler), expected, "{rule:?}");
    }
}

#[test]
fn a_rule_of_this_call_for_a_destination_precedes_that_of_its_leaving_service() {
    let mut kernel = busy(web(1), &[1]);
    let mut removals = Removals::default();
    let own = (web(1), server(1).key);
    removals.services.insert(web(1), None);
    removals.destinations.insert(own, Some(of_at_most(20)));
    let mut reconciler = Reconciler::new(Policy::AT_ONCE);
    for now in [FIRST, FIRST + seconds(10)] {
        let wanted = Wanted::new(&[]).with_removals(&removals);
        within(&mut kernel, wanted, &mut reconciler, now);
        assert_eq!(weight(&kernel, web(1), 1), Some(0));
    }
    let wanted = Wanted::new(&[]).with_removals(&removals);
    within(&mut kernel, wanted, &mut reconciler, FIRST + seconds(20));
    assert_eq!(kernel.services.len(), 0);
}

#[test]
fn a_rule_of_a_service_counts_for_its_destinations_while_it_is_wanted() {
    let mut kernel = busy(web(1), &[1]);
    let desired = [of(web(1), &[])];
    let mut removals = Removals::default();
    removals.services.insert(web(1), Some(of_at_most(5)));
    let mut reconciler = Reconciler::new(Policy::AT_ONCE);
    let wanted = Wanted::new(&desired).with_removals(&removals);
    let report = within(&mut kernel, wanted, &mut reconciler, FIRST);
    assert_eq!(report.wait, Some(seconds(5)));
    // Without the rule, the policy applies again.
    at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(kernel.servers(), desired);
}

#[test]
fn a_destination_that_another_program_gave_weight_is_drained_from_the_start() {
    let mut kernel = busy(web(1), &[1]);
    let place = (web(1), server(1).key);
    let desired = [of(web(1), &[])];
    let (mut reconciler, drain) = careful();
    at(&mut kernel, &desired, &mut reconciler, FIRST);
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
    at(&mut kernel, &desired, &mut reconciler, end);
    let again = DrainingDestination {
        since: end,
        until: end + drain.at_most,
        weight: 5.into(),
        rule: None,
    };
    assert_eq!(reconciler.draining().destinations[&place], again);
    let report = at(&mut kernel, &desired, &mut reconciler, end);
    assert_eq!(report.applied, []);
    assert_eq!(weight(&kernel, web(1), 1), Some(0));
}

#[test]
fn a_clock_that_begins_again_does_not_make_the_time_longer() {
    let mut kernel = busy(web(1), &[1]);
    let desired = [of(web(1), &[])];
    let (mut reconciler, drain) = careful();
    at(&mut kernel, &desired, &mut reconciler, FIRST);
    let report = at(&mut kernel, &desired, &mut reconciler, Duration::ZERO);
    assert_eq!(report.wait, Some(drain.at_most));
}

#[test]
fn a_destination_that_a_torn_list_leaves_out_is_not_forgotten() {
    let mut kernel = busy(web(1), &[1]);
    let desired = [of(web(1), &[])];
    let (mut reconciler, _) = careful();
    at(&mut kernel, &desired, &mut reconciler, FIRST);
    let before = reconciler.draining().clone();
    kernel.left_out.insert((web(1), Some(server(1).key)));
    let later = FIRST + seconds(1);
    at(&mut kernel, &desired, &mut reconciler, later);
    assert_eq!(reconciler.draining(), &before);
    // A whole list is believed.
    kernel.left_out.clear();
    kernel.services.get_mut(&web(1)).unwrap().1.clear();
    at(&mut kernel, &desired, &mut reconciler, later);
    assert!(reconciler.draining().is_empty());
}

#[test]
fn a_service_is_not_deleted_with_destinations_that_a_torn_list_leaves_out() {
    let mut kernel = busy(web(1), &[1]);
    kernel.left_out.insert((web(1), Some(server(1).key)));
    let (mut reconciler, _) = careful();
    let report = at(&mut kernel, &[], &mut reconciler, FIRST);
    assert_eq!(report.applied, []);
    assert!(report.may_be_incomplete);
    assert_eq!(weight(&kernel, web(1), 1), Some(1));
}

#[test]
fn a_server_that_still_serves_because_its_successors_are_refused_is_not_drained() {
    let mut kernel = busy(web(1), &[1]);
    kernel.refused.insert(server(2).key);
    let desired = [of(web(1), &[2])];
    let (mut reconciler, _) = careful();
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(report.held_back.len(), 1);
    assert!(reconciler.draining().is_empty());
    assert_eq!(report.wait, None);
    assert_eq!(weight(&kernel, web(1), 1), Some(1));
}

#[test]
fn without_time_to_drain_a_destination_goes_at_once() {
    let mut kernel = busy(web(1), &[1]);
    let mut reconciler = Reconciler::new(Policy::drained(of_at_most(0)));
    let desired = [of(web(1), &[])];
    let report = at(&mut kernel, &desired, &mut reconciler, FIRST);
    assert_eq!(kernel.servers(), desired);
    assert_eq!(report.applied.len(), 1);
}

#[test]
fn a_call_of_another_scope_forgets_no_drain() {
    let mut kernel = Kernel::of(&[of(web(1), &[1]), of(web(2), &[1])]);
    for service in [web(1), web(2)] {
        kernel.connections.insert((service, server(1).key), 1);
    }
    let mut reconciler = Reconciler::new(Policy::drained(of_at_most(60)));
    for (number, host) in [1_u8, 2].into_iter().enumerate() {
        let desired = [of(web(host), &[])];
        let ours = [web(host)];
        let wanted = Wanted::new(&desired).within(Scope::Services(&ours));
        let now = FIRST + seconds(10 * number as u64);
        let report = within(&mut kernel, wanted, &mut reconciler, now);
        let left = 60 - 10 * number as u64;
        assert_eq!(report.wait, Some(seconds(left)), "of all scopes");
    }
    assert_eq!(reconciler.draining().destinations.len(), 2);
    // Its time continues from the first call.
    let desired = [of(web(1), &[])];
    let ours = [web(1)];
    let wanted = Wanted::new(&desired).within(Scope::Services(&ours));
    within(&mut kernel, wanted, &mut reconciler, FIRST + seconds(60));
    assert_eq!(weight(&kernel, web(1), 1), None);
    assert_eq!(weight(&kernel, web(2), 1), Some(0));
}

#[test]
fn a_call_that_is_dropped_or_fails_forgets_no_drain() {
    let error = Error::Unavailable;
    let desired = [of(web(1), &[])];
    for is_dropped in [true, false] {
        let mut kernel = busy(web(1), &[1]);
        let mut reconciler = Reconciler::new(Policy::drained(of_at_most(60)));
        let mut work = reconciler.begin(Wanted::new(&desired), FIRST);
        work.handle_table(&kernel.table());
        let Next::Apply(changes) = work.next() else {
            panic!("it gets weight 0")
        };
        kernel.apply(changes[0]).unwrap();
        if is_dropped {
            drop(work);
        } else {
            work.handle_results(vec![Ok(())]);
            let failed = work.fail(error.clone());
            assert_eq!(failed.report.applied.len(), 1);
            assert_eq!(failed.report.wait, Some(seconds(60)));
            assert!(failed.to_string().ends_with("(after 1 change)"), "{failed}");
        }
        let report = at(&mut kernel, &desired, &mut reconciler, FIRST + seconds(45));
        assert_eq!(report.wait, Some(seconds(15)));
    }
}

#[test]
fn a_clash_forgets_no_drain() {
    let mut kernel = busy(web(1), &[1]);
    let mut reconciler = Reconciler::new(Policy::drained(of_at_most(60)));
    at(&mut kernel, &[of(web(1), &[])], &mut reconciler, FIRST);
    let clash = [of(web(1), &[]), of(web(1), &[2])];
    let report = at(&mut kernel, &clash, &mut reconciler, FIRST + seconds(1));
    assert_eq!(report.rejected, [Rejected::ServiceTwice(web(1))]);
    assert_eq!(report.wait, Some(seconds(59)));
}

/// The draining destinations after a plan for a list that leaves everything out.
fn remembered(scope: Scope<'_>) -> Draining {
    let torn = Table {
        may_be_incomplete: true,
        ..Table::default()
    };
    let before = DrainingDestination {
        since: FIRST,
        until: FIRST + seconds(60),
        weight: 1.into(),
        rule: None,
    };
    let draining = Draining {
        destinations: BTreeMap::from([((web(1), server(1).key), before)]),
    };
    let wanted = Wanted::new(&[]).within(scope);
    plan(&torn, wanted, &Policy::default(), &draining, FIRST).draining
}

#[test]
fn a_destination_that_a_torn_list_leaves_out_is_drained_on_in_every_scope() {
    for ours in [[web(1)], [web(2)]] {
        let left = remembered(Scope::Services(&ours));
        assert_eq!(left.destinations.len(), 1);
    }
}
