use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::testing::table_of;

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
    table_of((small_service(), 4), (small_destination(), 3))
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
        prop_assert!(report.is_complete());
        prop_assert_eq!(sorted(kernel.servers()), sorted(desired.clone()));
        prop_assert_eq!(quietly(&mut kernel, &desired, AT_ONCE).applied, []);
    }

    #[test]
    fn large_tables_too(before in crate::testing::table(6, 6), mut desired in crate::testing::table(6, 6)) {
        // A destination has a port of its own only with masquerading.
        for server in &mut desired {
            if let ServiceKey::Address { port, .. } = server.service.key {
                for destination in &mut server.destinations {
                    if destination.forwarding != ForwardingMethod::Masquerade {
                        destination.key.port = port;
                    }
                }
                server.destinations.sort_unstable_by_key(|destination| destination.key);
                server.destinations.dedup_by_key(|destination| destination.key);
            }
        }
        let mut kernel = Kernel::of(&before);
        let report = quietly(&mut kernel, &desired, AT_ONCE);
        prop_assert!(report.is_complete());
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
        refused in vec(1..5_u8, 0..4),
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
        kernel.refused = refused.into_iter().map(|host| server(host).key).collect();
        let policy = if drained { Policy::default() } else { AT_ONCE };
        let work =
            begin(&desired, policy);
        reconcile(&mut kernel, work, |_| {}, |kernel| {
            let now = serves(&kernel.servers());
            assert!(always.iter().all(|key| now.contains(key)), "{always:?} {now:?}");
        });
    }

    #[test]
    fn other_programs_do_not_stop_it_and_keep_their_services(
        before in small_table(),
        desired in small_table(),
        foreign in vec(proptest::option::of(foreign_change()), 0..40),
        drained: bool,
    ) {
        let mut kernel = Kernel::of(&before);
        kernel.apply(Change::AddService(Service::new(web(6), Scheduler::RR))).unwrap();
        let mut theirs = kernel.clone();
        let mut foreign = foreign.into_iter();
        let matching = in_scope;
        let policy = if drained { Policy::default() } else { AT_ONCE };
        let wanted = Wanted::new(&desired).within(Scope::Matching(&matching));
        let mut reconciler = Reconciler::new(policy);
        let disturb = |kernel: &mut Kernel| {
            if let Some(Some(change)) = foreign.next() {
                let _ = kernel.apply(change);
                if change.service() == Some(web(6)) {
                    let _ = theirs.apply(change);
                }
            }
        };
        reconcile(&mut kernel, reconciler.begin(wanted, Duration::ZERO), disturb, |_| {});
        // The others are done. One more round completes the update; another removes the drained
        // destinations, and then their service.
        for _ in 0..2 {
            let work = reconciler.begin(wanted, Duration::ZERO);
            let report = reconcile(&mut kernel, work, |_| {}, |_| {});
            prop_assert!(report.is_complete());
        }
        prop_assert!(reconciler.draining().is_empty());
        let (ours, rest): (Vec<_>, Vec<_>) =
            kernel.servers().into_iter().partition(|server| in_scope(&server.service.key));
        prop_assert_eq!(sorted(ours), sorted(desired));
        let theirs: Vec<_> =
            theirs.servers().into_iter().filter(|server| !in_scope(&server.service.key)).collect();
        prop_assert_eq!(rest, theirs);
    }
}
