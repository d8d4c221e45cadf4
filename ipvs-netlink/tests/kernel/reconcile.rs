//! The reconciler on a real table, alone and together with another program.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ipvs_netlink::{
    AsyncClient, Client, Destination, DestinationKey, ForwardingMethod, Scheduler, Service,
    ServiceKey, VirtualServer,
    message::Change,
    plan::{Policy, ReconcileReport, Reconciler, Scope, Wanted},
};
use vrrp_lab::{GuestTest, guest_tests};

use crate::requests;

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        a_large_table_is_made_and_then_there_is_nothing_to_do,
        as_many_changes_are_made_as_there_are_differences,
        one_table_becomes_another,
        another_program_at_the_same_table_does_not_stop_it,
        a_refusal_of_the_kernel_is_reported_and_the_other_changes_are_made,
        the_old_servers_stay_while_the_kernel_refuses_the_new_ones,
        a_server_that_goes_without_connections_goes_in_one_call,
        one_service_of_many_is_read_alone,
        the_async_client_reconciles_too,
    ]
    .map(|test| test.within(Duration::from_secs(60)))
    .to_vec()
}

const AT_ONCE: Policy = Policy::AT_ONCE;

fn key(number: u16) -> ServiceKey {
    let [high, low] = number.to_be_bytes();
    ServiceKey::tcp((Ipv4Addr::new(10, 1, high, low), 80))
}

fn destination(host: u8, weight: u16) -> Destination {
    let key = DestinationKey::new(([10, 2, 0, host], 80));
    Destination {
        weight: weight.into(),
        ..Destination::new(key, ForwardingMethod::Masquerade)
    }
}

fn server(number: u16, hosts: &[u8]) -> VirtualServer {
    VirtualServer {
        service: Service::new(key(number), Scheduler::WRR),
        destinations: hosts.iter().map(|host| destination(*host, 1)).collect(),
    }
}

fn reconcile(client: &mut Client, desired: &[VirtualServer]) -> ReconcileReport {
    let mut reconciler = Reconciler::new(AT_ONCE);
    let wanted = Wanted::new(desired);
    client
        .reconcile(&mut reconciler, wanted, Duration::ZERO)
        .unwrap()
}

fn sorted(mut servers: Vec<VirtualServer>) -> Vec<VirtualServer> {
    for server in &mut servers {
        server.destinations.sort_unstable();
    }
    servers.sort_unstable_by_key(|server| server.service.key);
    servers
}

#[track_caller]
fn assert_table(client: &mut Client, desired: &[VirtualServer]) {
    let table = client.confirmed_table().unwrap();
    assert!(!table.may_be_incomplete);
    assert_eq!(sorted(table.servers()), sorted(desired.to_vec()));
}

fn a_large_table_is_made_and_then_there_is_nothing_to_do() {
    let mut client = Client::open().unwrap();
    let desired: Vec<_> = (0..500)
        .map(|number| server(number, &[1, 2, 3, 4]))
        .collect();
    let report = reconcile(&mut client, &desired);
    assert!(report.is_complete());
    assert_eq!(report.applied.len(), 500 * 5);
    assert_table(&mut client, &desired);
    assert_eq!(reconcile(&mut client, &desired), ReconcileReport::default());
}

fn as_many_changes_are_made_as_there_are_differences() {
    let mut client = Client::open().unwrap();
    let mut desired: Vec<_> = (0..200).map(|number| server(number, &[1, 2, 3])).collect();
    reconcile(&mut client, &desired);
    for changed in desired.iter_mut().step_by(7) {
        changed.destinations[1].weight = 50.into();
    }
    desired[0].service.scheduler = Scheduler::RR;
    desired[1].destinations.pop();
    desired[2].destinations.push(destination(9, 9));
    desired.pop();
    let report = reconcile(&mut client, &desired);
    assert_eq!(report.applied.len(), 200_usize.div_ceil(7) + 4);
    assert_table(&mut client, &desired);
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn table(&mut self) -> Vec<VirtualServer> {
        (0..40)
            .filter(|_| self.below(4) > 0)
            .collect::<Vec<u16>>()
            .into_iter()
            .map(|number| {
                let hosts: Vec<u8> = (1..8).filter(|_| self.below(2) == 0).collect();
                let mut server = server(number, &hosts);
                server.service.scheduler = Scheduler::ALL[usize::try_from(self.below(13)).unwrap()];
                server.service.one_packet = self.below(4) == 0;
                for destination in &mut server.destinations {
                    destination.weight = u16::try_from(self.below(5)).unwrap().into();
                }
                server
            })
            .collect()
    }
}

fn one_table_becomes_another() {
    let mut client = Client::open().unwrap();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20 {
        let desired = numbers.table();
        let report = reconcile(&mut client, &desired);
        assert!(report.is_complete(), "{report:?}");
        assert_table(&mut client, &desired);
    }
}

fn reconcile_in(
    client: &mut Client,
    desired: &[VirtualServer],
    scope: Scope<'_>,
) -> ReconcileReport {
    let mut reconciler = Reconciler::new(AT_ONCE);
    let wanted = Wanted::new(desired).within(scope);
    client
        .reconcile(&mut reconciler, wanted, Duration::ZERO)
        .unwrap()
}

fn another_program_at_the_same_table_does_not_stop_it() {
    let mut client = Client::open().unwrap();
    let mut other = Client::open().unwrap();
    let theirs = key(1_000);
    other
        .add_service(Service::new(theirs, Scheduler::RR))
        .unwrap();
    let mine = |key: &ServiceKey| *key != theirs;
    let mut numbers = Numbers(7);
    let stop = AtomicBool::new(false);
    let mut desired = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut numbers = Numbers(11);
            while !stop.load(Ordering::Relaxed) {
                let service = key(u16::try_from(numbers.below(45)).unwrap());
                let host = u8::try_from(1 + numbers.below(8)).unwrap();
                let change = match numbers.below(5) {
                    0 => Change::AddService(Service::new(service, Scheduler::SH)),
                    1 => Change::DeleteService(service),
                    2 => Change::AddDestination {
                        service,
                        destination: destination(host, 3),
                    },
                    3 => Change::UpdateDestination {
                        service,
                        destination: destination(host, 0),
                    },
                    _ => Change::DeleteDestination {
                        service,
                        destination: destination(host, 1).key,
                    },
                };
                // Whether it is refused depends on what the other side has done.
                let _ = other.change(change);
                thread::yield_now();
            }
        });
        for _ in 0..10 {
            desired = numbers.table();
            let report = reconcile_in(&mut client, &desired, Scope::Matching(&mine));
            assert_eq!(report.failed, []);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let report = reconcile_in(&mut client, &desired, Scope::Matching(&mine));
    assert!(report.is_complete(), "{report:?}");
    desired.push(VirtualServer {
        service: Service::new(theirs, Scheduler::RR),
        destinations: Vec::new(),
    });
    assert_table(&mut client, &desired);
}

fn a_refusal_of_the_kernel_is_reported_and_the_other_changes_are_made() {
    let mut client = Client::open().unwrap();
    let mut desired = [server(1, &[1]), server(2, &[1]), server(3, &[1])];
    desired[0].service.scheduler = Scheduler::new("nope").unwrap();
    desired[1].destinations[0].key.address = Ipv4Addr::BROADCAST.into();
    let report = reconcile(&mut client, &desired);
    let failures: Vec<_> = report
        .failed
        .iter()
        .map(|failure| failure.error.to_string())
        .collect();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(
        failures[0].ends_with("module ip_vs_nope not loaded"),
        "{failures:?}"
    );
    assert!(
        failures[1].contains("a destination has a unicast address"),
        "{failures:?}"
    );
    desired[1].destinations.clear();
    assert_table(&mut client, &desired[1..]);
}

fn the_old_servers_stay_while_the_kernel_refuses_the_new_ones() {
    let mut client = Client::open().unwrap();
    let before = [server(1, &[1, 2]), server(2, &[1, 2])];
    reconcile(&mut client, &before);
    let mut desired = [server(1, &[3]), server(2, &[3])];
    desired[0].destinations[0].key.address = Ipv4Addr::BROADCAST.into();
    let report = reconcile(&mut client, &desired);
    assert_eq!((report.failed.len(), report.held_back.len()), (1, 2));
    assert_table(&mut client, &[server(1, &[1, 2]), server(2, &[3])]);

    desired[0] = server(1, &[3]);
    let report = reconcile(&mut client, &desired);
    assert!(report.is_complete() && report.held_back.is_empty());
    assert_table(&mut client, &desired);
}

fn a_server_that_goes_without_connections_goes_in_one_call() {
    let mut client = Client::open().unwrap();
    let both = [server(1, &[1, 2])];
    reconcile(&mut client, &both);
    let one = [server(1, &[2])];
    let mut reconciler = Reconciler::new(Policy::default());
    let report = client
        .reconcile(&mut reconciler, Wanted::new(&one), Duration::ZERO)
        .unwrap();
    assert_eq!(report.applied.len(), 2, "{report:?}");
    assert!(report.wait.is_none() && reconciler.draining().is_empty());
    assert_table(&mut client, &one);
}

fn one_service_of_many_is_read_alone() {
    let mut client = Client::open().unwrap();
    let mut desired: Vec<_> = (0..500).map(|number| server(number, &[1, 2])).collect();
    reconcile(&mut client, &desired);
    let scope = [key(7)];
    desired[7].destinations.push(destination(3, 1));
    desired[8].destinations.clear();
    let before = requests(&client);
    let report = reconcile_in(&mut client, &desired[7..=7], Scope::Services(&scope));
    // The service, its destinations, and the one change.
    assert_eq!(requests(&client) - before, 3);
    assert_eq!(report.applied.len(), 1);
    assert!(report.is_complete());
    let removed = reconcile_in(&mut client, &[], Scope::Services(&scope));
    assert_eq!(removed.applied.len(), 1);
    desired.remove(7);
    desired[7] = server(8, &[1, 2]);
    assert_table(&mut client, &desired);
    // A missing service is added, and more than a few are looked up in the list of all.
    let scope: Vec<_> = (0..500).map(key).collect();
    desired.push(server(7, &[1]));
    let report = reconcile_in(&mut client, &desired, Scope::Services(&scope));
    assert_eq!(report.applied.len(), 2);
    assert_table(&mut client, &desired);
}

fn the_async_client_reconciles_too() {
    let desired = [server(1, &[1, 2]), server(2, &[])];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut client = AsyncClient::open().await.unwrap();
        let mut reconciler = Reconciler::new(AT_ONCE);
        let wanted = Wanted::new(&desired);
        let report = client
            .reconcile(&mut reconciler, wanted, Duration::ZERO)
            .await
            .unwrap();
        assert!(report.is_complete());
        assert_eq!(report.applied.len(), 4);
    });
    assert_table(&mut Client::open().unwrap(), &desired);
}
