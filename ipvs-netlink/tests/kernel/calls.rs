//! The calls of both clients: batches, updates, namespaces, daemons, timeouts, counters, and what
//! happens when answers are lost.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{DAEMON_TIME, with};
use ipvs_netlink::{
    AsyncClient, Client, DaemonState, Destination, DestinationKey, Error, ForwardingMethod,
    GueChecksum, InterfaceName, MulticastGroup, NoAnswer, Persistence, PersistenceEngine, Reason,
    Scheduler, Service, ServiceKey, SyncDaemon, Timeouts, Tunnel, message::Change,
};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use vrrp_lab::{GuestTest, Lan, Namespace, guest_tests, wait_for};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        a_batch_has_a_result_for_each_change_in_order,
        a_long_batch_is_made_whole,
        an_update_keeps_settings_that_the_kernel_would_drop,
        an_update_that_changes_nothing_writes_nothing,
        a_client_speaks_for_the_namespace_it_was_opened_for,
        a_client_keeps_its_namespace_on_any_thread,
        sync_daemons_start_are_listed_and_stop,
        a_sync_daemon_gets_all_its_settings,
        sync_daemons_become_the_wanted_ones,
        timeouts_of_zero_are_left_as_they_are,
        info_says_the_version,
        a_lost_answer_is_an_error_after_which_the_client_goes_on,
        an_answer_that_does_not_come_ends_with_the_time_limit,
        flush_leaves_nothing,
        the_async_client_has_the_results_of_the_blocking_one,
        an_async_call_that_is_dropped_leaves_the_client_usable,
        a_batch_of_deletions_of_things_that_are_gone_says_so_for_each,
        the_family_is_found_again_after_the_module_was_reloaded,
    ]
    .to_vec()
}

fn web(host: u8) -> ServiceKey {
    ServiceKey::tcp(([192, 0, 2, host], 80))
}

fn server(host: u16) -> DestinationKey {
    let [high, low] = host.to_be_bytes();
    DestinationKey::new(([10, 0, high, low], 80))
}

/// The path of a namespace that has no name.
fn path(namespace: &Namespace) -> PathBuf {
    format!("/proc/self/fd/{}", namespace.as_fd().as_raw_fd()).into()
}

fn masquerade(host: u16) -> Destination {
    Destination::new(server(host), ForwardingMethod::Masquerade)
}

fn a_batch_has_a_result_for_each_change_in_order() {
    let mut client = Client::open().unwrap();
    let add = |host| Change::AddService(Service::new(web(host), Scheduler::RR));
    let mut nope = Service::new(web(9), Scheduler::new("nope").unwrap());
    nope.one_packet = true;
    let batch = [
        add(1),
        add(1),
        Change::DeleteService(web(2)),
        Change::AddDestination {
            service: web(1),
            destination: masquerade(1),
        },
        Change::AddDestination {
            service: web(3),
            destination: masquerade(1),
        },
        Change::AddService(nope),
        Change::DeleteDestination {
            service: web(1),
            destination: server(2),
        },
        add(4),
        add(4),
    ];
    let reasons: Vec<_> = client
        .apply(&batch)
        .into_iter()
        .map(|result| result.err().map(|error| error.reason().unwrap()))
        .collect();
    let expected = [
        None,
        Some(Reason::ServiceExists),
        Some(Reason::NoSuchService),
        None,
        Some(Reason::NoSuchService),
        Some(Reason::SchedulerUnavailable),
        Some(Reason::NoSuchDestination),
        None,
        Some(Reason::ServiceExists),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(client.services().unwrap().len(), 2);
    assert_eq!(client.apply(&[]), []);
}

fn a_long_batch_is_made_whole() {
    let mut client = Client::open().unwrap();
    client
        .add_service(Service::new(web(1), Scheduler::RR))
        .unwrap();
    let add = |host| Change::AddDestination {
        service: web(1),
        destination: masquerade(host),
    };
    let batch: Vec<_> = (1..=2_000).map(add).collect();
    assert!(
        client
            .apply(&batch)
            .into_iter()
            .all(|result| result.is_ok())
    );
    let mut found: Vec<_> = client
        .destinations(web(1))
        .unwrap()
        .iter()
        .map(|listed| listed.destination.key)
        .collect();
    found.sort_unstable();
    assert_eq!(found, (1..=2_000).map(server).collect::<Vec<_>>());
    // All refused: as many answers as changes.
    let errors = client.apply(&batch).into_iter().filter_map(Result::err);
    assert_eq!(errors.filter(Error::already_exists).count(), 2_000);
}

fn a_batch_of_deletions_of_things_that_are_gone_says_so_for_each() {
    let mut client = Client::open().unwrap();
    let batch: Vec<_> = (1..=200)
        .map(|host| Change::DeleteService(web(host)))
        .collect();
    let results = client.apply(&batch);
    assert_eq!(results.len(), 200);
    for (result, change) in results.into_iter().zip(batch) {
        let error = result.unwrap_err();
        assert!(error.is_missing());
        assert!(
            error.to_string().starts_with(&change.to_string()),
            "{error}"
        );
    }
}

fn an_update_keeps_settings_that_the_kernel_would_drop() {
    let mut client = Client::open().unwrap();
    let mut service = Service::new(ServiceKey::udp(([192, 0, 2, 1], 5060)), Scheduler::RR);
    service.persistence_engine = Some(PersistenceEngine::SIP);
    service.one_packet = true;
    service
        .set_persistence(Persistence::new(60, service.key.family()))
        .unwrap();
    client.add_service(service).unwrap();
    client
        .update_service(service.key, |service| service.scheduler = Scheduler::WRR)
        .unwrap();
    let found = client.service(service.key).unwrap().service;
    assert_eq!(
        found,
        with(service, |service| {
            service.scheduler = Scheduler::WRR;
        })
    );

    let gue = Tunnel::Gue {
        port: 6080.try_into().unwrap(),
        checksum: GueChecksum::Remote,
    };
    let destination = Destination::new(server(1), ForwardingMethod::Tunnel(gue));
    client.add_destination(service.key, destination).unwrap();
    client
        .update_destination(service.key, server(1), |server| server.weight = 7.into())
        .unwrap();
    let found = client.destinations(service.key).unwrap()[0].destination;
    assert_eq!(
        found,
        Destination {
            weight: 7.into(),
            ..destination
        }
    );
}

fn an_update_that_changes_nothing_writes_nothing() {
    let mut client = Client::open().unwrap();
    client
        .add_service(Service::new(web(1), Scheduler::RR))
        .unwrap();
    let mut edited = false;
    client.update_service(web(1), |_| edited = true).unwrap();
    assert!(edited);
    // The key must not be edited.
    client
        .update_service(web(1), |service| service.key = web(2))
        .unwrap();
    assert_eq!(client.services().unwrap()[0].service.key, web(1));
}

fn a_client_speaks_for_the_namespace_it_was_opened_for() {
    let here = Client::open().unwrap();
    let there = Namespace::new().unwrap();
    let path = path(&there);
    let mut clients = [
        here,
        Client::open_path(&path).unwrap(),
        Client::open_in(File::open(&path).unwrap()).unwrap(),
    ];
    clients[1]
        .add_service(Service::new(web(1), Scheduler::RR))
        .unwrap();
    let counts = clients
        .each_mut()
        .map(|client| client.services().unwrap().len());
    assert_eq!(counts, [0, 1, 1]);
    // The calling thread is where it was.
    assert_eq!(Client::open().unwrap().services().unwrap().len(), 0);

    let error = Client::open_path("/nonexistent").unwrap_err();
    assert_eq!(error.errno(), Some(ipvs_netlink::Errno(2)));
    assert!(
        error
            .to_string()
            .starts_with("open the network namespace: "),
        "{error}"
    );
    let not_a_namespace = File::open("/proc/version").unwrap();
    let error = Client::open_in(not_a_namespace).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("enter the network namespace: "),
        "{error}"
    );
}

fn a_client_keeps_its_namespace_on_any_thread() {
    let mut client = Client::open().unwrap();
    client
        .add_service(Service::new(web(1), Scheduler::RR))
        .unwrap();
    let elsewhere = Namespace::new().unwrap();
    let found = thread::scope(|scope| {
        let path = path(&elsewhere);
        let client = &mut client;
        let find = move || {
            nix::sched::setns(
                File::open(path).unwrap(),
                nix::sched::CloneFlags::CLONE_NEWNET,
            )
            .unwrap();
            (
                client.services().unwrap().len(),
                Client::open().unwrap().services().unwrap().len(),
            )
        };
        scope.spawn(find).join().unwrap()
    });
    assert_eq!(found, (1, 0));
}

fn lo() -> InterfaceName {
    InterfaceName::new("lo").unwrap()
}

fn sync_daemons_start_are_listed_and_stop() {
    let mut client = Client::open().unwrap();
    client.set_timeout(DAEMON_TIME).unwrap();
    assert_eq!(client.daemons().unwrap(), []);
    client
        .start_daemon(SyncDaemon::new(DaemonState::Master, lo(), 5))
        .unwrap();
    client
        .start_daemon(SyncDaemon::new(DaemonState::Backup, lo(), 6))
        .unwrap();
    let mut found = client.daemons().unwrap();
    found.sort_by_key(|daemon| daemon.state);
    assert_eq!(found.len(), 2);
    for (daemon, (state, sync_id)) in found
        .iter()
        .zip([(DaemonState::Master, 5), (DaemonState::Backup, 6)])
    {
        assert_eq!(
            (daemon.state, daemon.interface, daemon.sync_id),
            (state, lo(), sync_id)
        );
        // What the kernel filled in.
        let group = IpAddr::from(daemon.group.unwrap());
        assert_eq!(group, IpAddr::from([224, 0, 0, 81]));
        assert_eq!((daemon.port, daemon.ttl), (Some(8848), Some(1)));
        assert!(daemon.max_length.is_some());
    }
    client.stop_daemon(DaemonState::Master).unwrap();
    assert_eq!(client.daemons().unwrap().len(), 1);
    client.stop_daemon(DaemonState::Backup).unwrap();
    assert_eq!(client.daemons().unwrap(), []);
}

fn a_sync_daemon_gets_all_its_settings() {
    // A group of IPv6 needs an interface with a link-local address.
    let lan = Lan::new().unwrap();
    let host = lan.host("director", &["192.0.2.1/24"]).unwrap();
    let interface = InterfaceName::new(host.interface()).unwrap();
    let mut client = Client::open_in(host.namespace()).unwrap();
    client.set_timeout(DAEMON_TIME).unwrap();
    for group in [IpAddr::from([239, 1, 2, 3]), "ff02::81".parse().unwrap()] {
        let daemon = SyncDaemon {
            max_length: Some(1000),
            group: MulticastGroup::new(group).ok(),
            port: Some(9000),
            ttl: Some(3),
            ..SyncDaemon::new(DaemonState::Master, interface, 255)
        };
        client.start_daemon(daemon).unwrap();
        assert_eq!(client.daemons().unwrap(), [daemon]);
        client.stop_daemon(DaemonState::Master).unwrap();
    }
}

fn sync_daemons_become_the_wanted_ones() {
    let lan = Lan::new().unwrap();
    let host = lan.host("director", &["192.0.2.1/24"]).unwrap();
    let interface = InterfaceName::new(host.interface()).unwrap();
    let mut client = Client::open_in(host.namespace()).unwrap();
    client.set_timeout(DAEMON_TIME).unwrap();
    let daemon = |state| SyncDaemon::new(state, interface, 7);
    let (master, backup) = (daemon(DaemonState::Master), daemon(DaemonState::Backup));
    let short = SyncDaemon {
        max_length: Some(10),
        ..backup
    };
    // Each is made, and then there is nothing to do.
    for (wanted, changes) in [
        (vec![backup], 1),
        (vec![master], 2),
        (vec![master, backup], 1),
        (vec![master, short], 2),
        (vec![], 2),
    ] {
        let report = client.reconcile_daemons(&wanted).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.applied.len(), changes, "{report:?}");
        assert_eq!(client.daemons().unwrap().len(), wanted.len());
        let again = client.reconcile_daemons(&wanted).unwrap();
        assert_eq!(again.applied, [], "{wanted:?}");
    }
}

fn timeouts_of_zero_are_left_as_they_are() {
    let mut client = Client::open().unwrap();
    let before = client.timeouts().unwrap();
    assert_eq!(
        before,
        Timeouts {
            tcp: 900,
            tcp_fin: 120,
            udp: 300
        }
    );
    client
        .set_timeouts(Timeouts {
            tcp: 0,
            tcp_fin: 60,
            udp: 0,
        })
        .unwrap();
    assert_eq!(
        client.timeouts().unwrap(),
        Timeouts {
            tcp_fin: 60,
            ..before
        }
    );
    client
        .set_timeouts(Timeouts {
            tcp: 7_200,
            tcp_fin: 30,
            udp: 10,
        })
        .unwrap();
    assert_eq!(
        client.timeouts().unwrap(),
        Timeouts {
            tcp: 7_200,
            tcp_fin: 30,
            udp: 10
        }
    );
}

fn info_says_the_version() {
    let info = Client::open().unwrap().info().unwrap();
    assert_eq!(info.version.to_string(), "1.2.1");
    assert!(info.connection_table_size.is_power_of_two(), "{info:?}");
}

fn a_lost_answer_is_an_error_after_which_the_client_goes_on() {
    let mut client = Client::open().unwrap();
    // Room for a few answers only.
    setsockopt(&client.as_fd(), RcvBuf, &1).unwrap();
    let batch: Vec<_> = (1..=64)
        .map(|host| Change::DeleteService(web(host)))
        .collect();
    let results = client.apply(&[batch.clone(), batch].concat());
    assert_eq!(results.len(), 128);
    let unanswered = |error: &Error| {
        matches!(
            error,
            Error::Unanswered {
                cause: NoAnswer::Overrun,
                ..
            }
        ) && error.is_unanswered()
    };
    let errors: Vec<_> = results.into_iter().map(Result::unwrap_err).collect();
    assert!(errors[..64].iter().any(unanswered), "{:?}", errors[0]);
    assert!(
        errors[..64]
            .iter()
            .all(|error| unanswered(error) || error.is_missing())
    );
    assert!(
        errors[64..]
            .iter()
            .all(|error| matches!(error, Error::NotSent(_)))
    );
    // The rest of the answer does not confuse the next call.
    client
        .add_service(Service::new(web(1), Scheduler::RR))
        .unwrap();
    assert_eq!(client.services().unwrap().len(), 1);
}

fn an_answer_that_does_not_come_ends_with_the_time_limit() {
    let mut client = Client::open().unwrap();
    client.set_timeout(Duration::from_millis(50)).unwrap();
    // Another holder of the socket takes the answer away.
    let thief = client.as_fd().try_clone_to_owned().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut room = vec![0; 65_536];
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = nix::sys::socket::MsgFlags::empty();
                // The socket's time limit ends this too.
                let _ = nix::sys::socket::recv(thief.as_raw_fd(), &mut room, flags);
            }
        });
        // Each answer goes to either reader by chance, but not a hundred times to the same.
        let start = Instant::now();
        let late = (0..1_000).find_map(|_| {
            let start = Instant::now();
            client.info().err().map(|error| (error, start.elapsed()))
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some((error, took)) = late {
            let expected = "get info: no answer within the time limit";
            assert_eq!(error.to_string(), expected);
            assert!(took >= Duration::from_millis(50), "{took:?}");
            assert!(took < Duration::from_secs(2), "{took:?}");
        } else {
            panic!("all answers came, in {:?}", start.elapsed());
        }
    });
    assert_eq!(client.info().unwrap().version.to_string(), "1.2.1");
}

fn flush_leaves_nothing() {
    let mut client = Client::open().unwrap();
    for host in 1..=20 {
        client
            .add_service(Service::new(web(host), Scheduler::RR))
            .unwrap();
        client.add_destination(web(host), masquerade(1)).unwrap();
    }
    let table = client.table().unwrap();
    assert_eq!(table.entries.len(), 20);
    assert!(
        table
            .entries
            .iter()
            .all(|entry| entry.destinations.len() == 1)
    );
    client.flush().unwrap();
    assert_eq!(client.table().unwrap().entries, []);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn the_async_client_has_the_results_of_the_blocking_one() {
    let mut blocking = Client::open().unwrap();
    runtime().block_on(async {
        let mut client = AsyncClient::open().await.unwrap();
        client
            .add_service(Service::new(web(1), Scheduler::RR))
            .await
            .unwrap();
        assert!(
            client
                .delete_service(web(2))
                .await
                .unwrap_err()
                .is_missing()
        );
        let batch: Vec<_> = (1..=300)
            .map(|host| Change::AddDestination {
                service: web(1),
                destination: masquerade(host),
            })
            .collect();
        assert!(client.apply(&batch).await.iter().all(Result::is_ok));
        client
            .update_destination(web(1), server(3), |server| server.weight = 9.into())
            .await
            .unwrap();
        assert_eq!(
            client.confirmed_table().await.unwrap(),
            blocking.confirmed_table().unwrap()
        );
        assert_eq!(client.info().await, blocking.info());
        assert_eq!(client.timeouts().await, blocking.timeouts());
        client
            .start_daemon(SyncDaemon::new(DaemonState::Backup, lo(), 1))
            .await
            .unwrap();
        assert_eq!(client.daemons().await, blocking.daemons());
        client.stop_daemon(DaemonState::Backup).await.unwrap();
        client.set_timeout(Duration::from_secs(1));
        client.flush().await.unwrap();
        assert_eq!(client.services().await.unwrap(), []);

        let there = Namespace::new().unwrap();
        let mut other = AsyncClient::open_path(path(&there)).await.unwrap();
        other
            .add_service(Service::new(web(1), Scheduler::RR))
            .await
            .unwrap();
        assert_eq!(client.services().await.unwrap(), []);
    });
}

fn an_async_call_that_is_dropped_leaves_the_client_usable() {
    let mut blocking = Client::open().unwrap();
    let batch: Vec<_> = (0..=255_u8)
        .flat_map(|a| (0..4).map(move |b| ServiceKey::tcp((Ipv4Addr::new(10, 9, b, a), 80))))
        .map(|key| Change::AddService(Service::new(key, Scheduler::RR)))
        .collect();
    assert!(blocking.apply(&batch).iter().all(Result::is_ok));
    runtime().block_on(async {
        let mut client = AsyncClient::open().await.unwrap();
        for _ in 0..5 {
            // A long list, dropped at the first moment at which it waits, or done at once.
            let _ = tokio::time::timeout(Duration::ZERO, client.table()).await;
            assert_eq!(client.services().await.unwrap().len(), 1024);
            assert!(client.service(web(1)).await.unwrap_err().is_missing());
        }
    });
    assert!(fs::exists("/proc/net/ip_vs").unwrap());
}

/// Unloads IPVS with its schedulers, once the namespaces of earlier tests are gone.
fn unload() {
    let unloaded = || {
        let modules = fs::read_to_string("/proc/modules").unwrap();
        let names = modules.lines().filter_map(|line| line.split(' ').next());
        let mut loaded: Vec<_> = names.filter(|name| name.starts_with("ip_vs")).collect();
        // The other modules need it.
        loaded.sort_unstable_by_key(|name| *name == "ip_vs");
        for name in &loaded {
            // It may be in use for a moment: it is tried again.
            let _ = Command::new("modprobe")
                .args(["-r", name])
                .stderr(Stdio::null())
                .status();
        }
        loaded.is_empty().then_some(())
    };
    wait_for(
        "the end of the module ip_vs",
        Duration::from_secs(20),
        unloaded,
    )
    .unwrap();
}

fn the_family_is_found_again_after_the_module_was_reloaded() {
    let mut client = Client::open().unwrap();
    client.info().unwrap();
    unload();
    assert_eq!(client.services().unwrap(), []);
    unload();
    let batch = [web(1), web(2)].map(|key| Change::AddService(Service::new(key, Scheduler::RR)));
    assert_eq!(client.apply(&batch), [Ok(()), Ok(())]);
    assert_eq!(client.services().unwrap().len(), 2);
    client.flush().unwrap();
    // A missing object is not taken for a family that has moved.
    let nope = Service::new(web(1), Scheduler::new("nope").unwrap());
    let error = client.add_service(nope).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::SchedulerUnavailable));
}
