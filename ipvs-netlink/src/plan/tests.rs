use std::collections::{BTreeMap, HashMap};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    Destination, Errno, Error, Family, ForwardingMethod, ListedDestination, ListedService,
    Persistence, Refusal, Scheduler, SchedulerFlags, Service, Stats, Table, TableEntry, Thresholds,
    VirtualServer,
};

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

/// A kernel in so far as it has a table: it refuses what the real one refuses, by the same error numbers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    services: BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>,
    connections: HashMap<(ServiceKey, DestinationKey), u32>,
}

impl Kernel {
    fn of(servers: &[VirtualServer]) -> Self {
        let mut kernel = Self::default();
        for server in servers {
            kernel.apply(Change::AddService(server.service)).unwrap();
            for destination in &server.destinations {
                let service = server.service.key;
                kernel
                    .apply(Change::AddDestination {
                        service,
                        destination: *destination,
                    })
                    .unwrap();
            }
        }
        kernel
    }

    fn apply(&mut self, change: Change) -> Result<(), Error> {
        let refused = |errno| {
            Error::from(Refusal {
                request: change.into(),
                errno: Errno(errno),
            })
        };
        let is_there = |key| self.services.contains_key(key);
        match change {
            Change::AddService(service) | Change::UpdateService(service)
                if service.scheduler.as_str() == "nope" =>
            {
                return Err(refused(ENOENT));
            }
            Change::AddService(service) if is_there(&service.key) => return Err(refused(EEXIST)),
            Change::AddService(service) => {
                self.services
                    .insert(service.key, (service, BTreeMap::new()));
            }
            Change::UpdateService(service) => {
                self.services.get_mut(&service.key).ok_or(refused(ESRCH))?.0 = service;
            }
            Change::DeleteService(key) => {
                self.services.remove(&key).ok_or(refused(ESRCH))?;
            }
            Change::AddDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                if destinations.contains_key(&destination.key) {
                    return Err(refused(EEXIST));
                }
                destinations.insert(destination.key, destination);
            }
            Change::UpdateDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                *destinations
                    .get_mut(&destination.key)
                    .ok_or(refused(ENOENT))? = destination;
            }
            Change::DeleteDestination {
                service,
                destination,
            } => {
                let (_, destinations) = self.services.get_mut(&service).ok_or(refused(ESRCH))?;
                destinations.remove(&destination).ok_or(refused(ENOENT))?;
            }
            Change::Flush => self.services.clear(),
            other => panic!("a plan has no {other}"),
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let listed = |key: ServiceKey, destination: &Destination| ListedDestination {
            destination: *destination,
            active_connections: *self.connections.get(&(key, destination.key)).unwrap_or(&0),
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
            unknown: Vec::new(),
        };
        let entry = |(key, (service, destinations)): (&ServiceKey, &(Service, BTreeMap<_, _>))| {
            TableEntry {
                service: ListedService {
                    service: *service,
                    stats: Stats::default(),
                    unknown: Vec::new(),
                },
                destinations: destinations
                    .values()
                    .map(|destination| listed(*key, destination))
                    .collect(),
            }
        };
        Table {
            entries: self.services.iter().map(entry).collect(),
            ..Table::default()
        }
    }

    fn servers(&self) -> Vec<VirtualServer> {
        self.table().servers()
    }
}

const AT_ONCE: Policy = Policy {
    drain: None,
    change_schedulers: true,
};

fn sorted(mut servers: Vec<VirtualServer>) -> Vec<VirtualServer> {
    for server in &mut servers {
        server.destinations.sort_unstable();
    }
    servers.sort_unstable_by_key(|server| server.service.key);
    servers
}

fn web(host: u8) -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, host], 80))
}

fn server(host: u8) -> Destination {
    Destination::new(
        DestinationKey::new(([10, 0, 0, host], 80)),
        ForwardingMethod::Masquerade,
    )
}

fn of(service: ServiceKey, hosts: &[u8]) -> VirtualServer {
    VirtualServer {
        service: Service::new(service, Scheduler::WRR),
        destinations: hosts.iter().map(|host| server(*host)).collect(),
    }
}

fn steps(kernel: &Kernel, desired: &[VirtualServer], policy: Policy) -> Vec<Step> {
    plan(
        &kernel.table(),
        desired,
        &Scope::All,
        &policy,
        &Draining::default(),
        Duration::ZERO,
    )
    .unwrap()
    .steps
}

fn lines(kernel: &Kernel, desired: &[VirtualServer], policy: Policy) -> Vec<String> {
    steps(kernel, desired, policy)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Reconciles with other programs at work before every change.
fn reconcile(
    kernel: &mut Kernel,
    mut work: Reconciler<'_>,
    mut foreign: impl FnMut(&mut Kernel),
    mut watch: impl FnMut(&Kernel),
) -> Report {
    loop {
        match work.next() {
            Next::Read => work.handle_table(&kernel.table()),
            Next::Apply(changes) => {
                let mut results = Vec::new();
                for change in changes {
                    foreign(kernel);
                    results.push(kernel.apply(change));
                    watch(kernel);
                }
                work.handle_results(results);
            }
            Next::Done(report) => return report,
        }
    }
}

fn quietly(kernel: &mut Kernel, desired: &[VirtualServer], policy: Policy) -> Report {
    let work = Reconciler::new(
        desired,
        Scope::All,
        policy,
        Draining::default(),
        Duration::ZERO,
    )
    .unwrap();
    reconcile(kernel, work, |_| {}, |_| {})
}

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
fn what_is_refused_for_good_is_reported_and_the_rest_is_done() {
    let mut kernel = Kernel::default();
    let mut desired = [of(web(1), &[1]), of(web(2), &[1])];
    desired[0].service.scheduler = Scheduler::new("nope").unwrap();
    let report = quietly(&mut kernel, &desired, AT_ONCE);
    assert_eq!(kernel.servers(), desired[1..]);
    assert_eq!(report.failed.len(), 1);
    assert_eq!(
        report.failed[0].step.change,
        Change::AddService(desired[0].service)
    );
    assert!(!report.is_settled() && !report.contended);
}

#[test]
fn a_table_that_may_be_incomplete_is_reported() {
    let mut work = Reconciler::new(
        &[],
        Scope::All,
        AT_ONCE,
        Draining::default(),
        Duration::ZERO,
    )
    .unwrap();
    work.handle_table(&Table {
        may_be_incomplete: true,
        ..Table::default()
    });
    let Next::Done(report) = work.next() else {
        panic!("nothing to do")
    };
    assert!(report.may_be_incomplete && !report.is_settled());
}

#[test]
fn absence_from_a_list_is_a_suspicion_and_no_more() {
    // The service was left out of the list: adding it fails, and the next list has it.
    let desired = [of(web(1), &[1])];
    let kernel = Kernel::of(&desired);
    let mut work = Reconciler::new(
        &desired,
        Scope::All,
        AT_ONCE,
        Draining::default(),
        Duration::ZERO,
    )
    .unwrap();
    work.handle_table(&Table {
        may_be_incomplete: true,
        ..Table::default()
    });
    let Next::Apply(changes) = work.next() else {
        panic!("something to do")
    };
    let mut copy = kernel.clone();
    work.handle_results(
        changes
            .into_iter()
            .map(|change| copy.apply(change))
            .collect(),
    );
    assert_eq!(work.next(), Next::Read);
    work.handle_table(&copy.table());
    let Next::Done(report) = work.next() else {
        panic!("nothing to do")
    };
    assert!(report.is_settled());
    assert_eq!(copy, kernel);
}

#[test]
fn a_program_that_undoes_everything_ends_the_work_with_a_word() {
    let mut kernel = Kernel::default();
    let desired = [of(web(1), &[1])];
    let work = Reconciler::new(
        &desired,
        Scope::All,
        AT_ONCE,
        Draining::default(),
        Duration::ZERO,
    )
    .unwrap();
    let report = reconcile(&mut kernel, work, |kernel| kernel.services.clear(), |_| {});
    assert!(report.contended);
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

fn small_service() -> impl Strategy<Value = Service> {
    let scheduler = select(vec![Scheduler::RR, Scheduler::WRR, Scheduler::SH]);
    (1..5_u8, scheduler, 0..8_u8, any::<bool>()).prop_map(|(host, scheduler, flags, one_packet)| {
        let mut service = Service::new(web(host), scheduler);
        service.scheduler_flags = SchedulerFlags::from_bits(flags);
        service.one_packet = one_packet;
        service
    })
}

fn small_destination() -> impl Strategy<Value = Destination> {
    (1..5_u8, 0..3_u16).prop_map(|(host, weight)| Destination {
        weight: weight.into(),
        ..server(host)
    })
}

fn small_table() -> impl Strategy<Value = Vec<VirtualServer>> {
    let one = (small_service(), vec(small_destination(), 0..4)).prop_map(
        |(service, mut destinations)| {
            destinations.sort_unstable();
            destinations.dedup_by_key(|destination| destination.key);
            VirtualServer {
                service,
                destinations,
            }
        },
    );
    vec(one, 0..5).prop_map(|mut servers| {
        servers.sort_unstable_by_key(|server| server.service.key);
        servers.dedup_by_key(|server| server.service.key);
        servers
    })
}

fn foreign_change() -> impl Strategy<Value = Change> {
    let key = || (1..7_u8).prop_map(web);
    prop_oneof![
        small_service().prop_map(Change::AddService),
        small_service().prop_map(Change::UpdateService),
        key().prop_map(Change::DeleteService),
        (key(), small_destination()).prop_map(|(service, destination)| Change::AddDestination {
            service,
            destination
        }),
        (key(), small_destination()).prop_map(|(service, destination)| Change::UpdateDestination {
            service,
            destination
        }),
        (key(), small_destination()).prop_map(|(service, destination)| Change::DeleteDestination {
            service,
            destination: destination.key
        }),
    ]
}

/// Services that are wanted, and among the others one outside the scope.
fn in_scope(key: &ServiceKey) -> bool {
    *key != web(6)
}

proptest! {
    #[test]
    fn any_table_becomes_any_other_and_then_nothing_is_left_to_do(before in small_table(), desired in small_table()) {
        let mut kernel = Kernel::of(&before);
        let report = quietly(&mut kernel, &desired, AT_ONCE);
        prop_assert!(report.is_settled());
        prop_assert_eq!(sorted(kernel.servers()), sorted(desired.clone()));
        prop_assert_eq!(quietly(&mut kernel, &desired, AT_ONCE).applied, []);
    }

    #[test]
    fn large_tables_too(before in crate::testing::table(6, 6), desired in crate::testing::table(6, 6)) {
        let mut kernel = Kernel::of(&before);
        let report = quietly(&mut kernel, &desired, AT_ONCE);
        prop_assert!(report.is_settled());
        prop_assert_eq!(sorted(kernel.servers()), sorted(desired));
    }

    #[test]
    fn every_difference_is_one_change(before in small_table(), desired in small_table()) {
        let kernel = Kernel::of(&before);
        let wanted: HashMap<_, _> = desired.iter().map(|server| (server.service.key, server)).collect();
        let there: HashMap<_, _> = before.iter().map(|server| (server.service.key, server)).collect();
        let mut differences = before.iter().filter(|server| !wanted.contains_key(&server.service.key)).count();
        for server in &desired {
            let Some(old) = there.get(&server.service.key) else {
                differences += 1 + server.destinations.len();
                continue;
            };
            let (a, b) = (old.service, server.service);
            let other_scheduler = a.scheduler != b.scheduler;
            let same_rest = a.one_packet == b.one_packet
                && (other_scheduler || a.scheduler_flags == b.scheduler_flags);
            differences += usize::from(other_scheduler) + usize::from(!same_rest);
            differences += server.destinations.iter().filter(|new| !old.destinations.contains(new)).count();
            let is_wanted = |old: &&Destination| server.destinations.iter().any(|new| new.key == old.key);
            differences += old.destinations.iter().filter(|old| !is_wanted(old)).count();
        }
        prop_assert_eq!(steps(&kernel, &desired, AT_ONCE).len(), differences);
    }

    #[test]
    fn a_service_that_has_servers_before_and_after_is_never_without(
        before in small_table(),
        desired in small_table(),
        drained: bool,
    ) {
        let serves = |servers: &[VirtualServer]| -> Vec<ServiceKey> {
            let has = |server: &&VirtualServer| {
                server.destinations.iter().any(|destination| destination.weight != Weight::ZERO)
            };
            servers.iter().filter(has).map(|server| server.service.key).collect()
        };
        let after = serves(&desired);
        let always: Vec<_> = serves(&before).into_iter().filter(|key| after.contains(key)).collect();
        let mut kernel = Kernel::of(&before);
        let policy = if drained { Policy::default() } else { AT_ONCE };
        let work =
            Reconciler::new(&desired, Scope::All, policy, Draining::default(), Duration::ZERO).unwrap();
        reconcile(&mut kernel, work, |_| {}, |kernel| {
            let now = serves(&kernel.servers());
            assert!(always.iter().all(|key| now.contains(key)), "{always:?} {now:?}");
        });
    }

    #[test]
    fn other_programs_at_work_do_not_stop_it_and_what_is_theirs_stays_theirs(
        before in small_table(),
        desired in small_table(),
        foreign in vec(proptest::option::of(foreign_change()), 0..40),
    ) {
        let mut kernel = Kernel::of(&before);
        kernel.apply(Change::AddService(Service::new(web(6), Scheduler::RR))).unwrap();
        let mut theirs = kernel.clone();
        let mut foreign = foreign.into_iter();
        let matching = in_scope;
        let new = || {
            Reconciler::new(&desired, Scope::Matching(&matching), AT_ONCE, Draining::default(), Duration::ZERO)
                .unwrap()
        };
        let disturb = |kernel: &mut Kernel| {
            if let Some(Some(change)) = foreign.next() {
                let _ = kernel.apply(change);
                if change.service() == Some(web(6)) {
                    let _ = theirs.apply(change);
                }
            }
        };
        reconcile(&mut kernel, new(), disturb, |_| {});
        // The others are done: one more time settles it.
        let report = reconcile(&mut kernel, new(), |_| {}, |_| {});
        prop_assert!(report.is_settled());
        let (ours, rest): (Vec<_>, Vec<_>) =
            kernel.servers().into_iter().partition(|server| in_scope(&server.service.key));
        prop_assert_eq!(sorted(ours), sorted(desired));
        let theirs: Vec<_> =
            theirs.servers().into_iter().filter(|server| !in_scope(&server.service.key)).collect();
        prop_assert_eq!(rest, theirs);
    }
}
