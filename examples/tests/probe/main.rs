//! Probes against servers in namespaces and on the loopback interface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    Destination, DestinationKey, ForwardingMethod, Scheduler, Service, ServiceKey,
    pool::{Check, Config, FailureKind, Initial, Outcome, RealServer, VirtualServer, WeightReport},
};
use vrrp_examples::{
    balancer::{Balancer, Options},
    probe::{Agent, Bytes, Probe, Source, Tcp, probe},
};
use vrrp_lab::{Host, Lan};

mod forms;
mod malformed;
mod scripts;
mod servers;

/// Longer than any probe that gets an answer takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A network of a client and a server.
fn lan() -> (Lan, Host, Host) {
    let lan = Lan::new().unwrap();
    let client = lan
        .host(
            "client",
            &["192.0.2.1/24", "192.0.2.7/24", "2001:db8::1/64"],
        )
        .unwrap();
    let server = lan
        .host("server", &["192.0.2.2/24", "2001:db8::2/64"])
        .unwrap();
    (lan, client, server)
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn listen(server: &Host, address: &str) -> TcpListener {
    server
        .namespace()
        .run(|| TcpListener::bind(at(address)).unwrap())
}

/// Runs a probe on a host.
fn run(host: &Host, attempt: impl AsyncFnOnce() -> Outcome + Send) -> Outcome {
    host.namespace().run(|| block_on(attempt()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Makes an attempt from this network namespace.
fn attempt(attempt: &Probe, target: SocketAddr, limit: Duration) -> Outcome {
    block_on(probe(attempt, target, Instant::now() + limit))
}

fn probe_tcp(host: &Host, target: &str, limit: Duration, source: &Source) -> Outcome {
    let attempt = Probe::Tcp(Tcp {
        source: source.clone(),
    });
    run(host, async || {
        probe(&attempt, at(target), Instant::now() + limit).await
    })
}

/// The kind of a failure.
#[track_caller]
fn kind(outcome: &Outcome) -> FailureKind {
    match outcome {
        Outcome::Failure(failure) => failure.kind,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_local(outcome: &Outcome, text: &str) {
    match outcome {
        Outcome::LocalFailure(found) => assert!(found.contains(text), "{found}"),
        other => panic!("{other}"),
    }
}

#[test]
fn tcp_succeeds_where_somebody_listens_and_leaves_no_socket_behind() {
    let (_lan, client, server) = lan();
    for target in ["192.0.2.2:80", "[2001:db8::2]:80"] {
        let _listener = listen(&server, target);
        let outcome = probe_tcp(&client, target, LIMIT, &Source::default());
        assert_eq!(outcome, Outcome::SUCCESS, "{target}");
    }
    for host in [&client, &server] {
        let mut ss = host.namespace().command("ss");
        let output = ss.args(["-tanH", "state", "time-wait"]).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}

#[test]
fn tcp_fails_where_nobody_listens_answers_or_leads() {
    let (_lan, client, server) = lan();
    let default = Source::default();
    let refused = probe_tcp(&client, "192.0.2.2:81", LIMIT, &default);
    assert_eq!(kind(&refused), FailureKind::Refused);
    let unreachable = probe_tcp(&client, "203.0.113.1:80", LIMIT, &default);
    assert_eq!(kind(&unreachable), FailureKind::Unreachable);

    let _listener = listen(&server, "192.0.2.2:80");
    server.partition().unwrap();
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let silent = probe_tcp(&client, "192.0.2.2:80", limit, &default);
    assert_eq!(kind(&silent), FailureKind::TimeLimit);
    assert!(started.elapsed() >= limit);
}

#[test]
fn tcp_does_not_take_itself_for_a_server() {
    let (_lan, client, _server) = lan();
    // The port of the target is the only free port.
    let range = "40000 40000";
    client
        .namespace()
        .set_sysctl("ipv4.ip_local_port_range", range)
        .unwrap();
    let itself = probe_tcp(&client, "192.0.2.1:40000", LIMIT, &Source::default());
    assert_eq!(kind(&itself), FailureKind::Refused);
    assert!(itself.to_string().contains("reached itself"), "{itself}");
}

#[test]
fn tcp_goes_by_the_address_interface_and_mark_of_its_source() {
    let (_lan, client, server) = lan();
    let listener = listen(&server, "192.0.2.2:80");
    let source = Source {
        address: Some("192.0.2.7".parse().unwrap()),
        ..Source::default()
    };
    assert_eq!(
        probe_tcp(&client, "192.0.2.2:80", LIMIT, &source),
        Outcome::SUCCESS
    );
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), source.address.unwrap());

    // Packets with this mark have no route.
    let mut ip = client.namespace().command("ip");
    ip.args(["rule", "add", "fwmark", "7", "unreachable"]);
    assert!(ip.status().unwrap().success());
    let marked = |mark| Source {
        mark: Some(mark),
        ..Source::default()
    };
    let outcome = probe_tcp(&client, "192.0.2.2:80", LIMIT, &marked(7));
    assert_eq!(kind(&outcome), FailureKind::Unreachable);
    let outcome = probe_tcp(&client, "192.0.2.2:80", LIMIT, &marked(8));
    assert_eq!(outcome, Outcome::SUCCESS);

    let by = |interface: &str| Source {
        interface: Some(interface.into()),
        ..Source::default()
    };
    assert_eq!(
        probe_tcp(&client, "192.0.2.2:80", LIMIT, &by("eth0")),
        Outcome::SUCCESS
    );
    let outcome = probe_tcp(
        &client,
        "192.0.2.2:80",
        Duration::from_millis(300),
        &by("lo"),
    );
    assert!(matches!(outcome, Outcome::Failure(_)), "{outcome}");
}

#[test]
fn what_this_host_lacks_says_nothing_about_the_server() {
    let (_lan, client, server) = lan();
    let _listener = listen(&server, "192.0.2.2:80");
    let source = Source {
        address: Some("192.0.2.9".parse().unwrap()),
        ..Source::default()
    };
    let outcome = probe_tcp(&client, "192.0.2.2:80", LIMIT, &source);
    assert_local(&outcome, "bind to address 192.0.2.9: ");
    let source = Source {
        interface: Some("eth9".into()),
        ..Source::default()
    };
    let outcome = probe_tcp(&client, "192.0.2.2:80", LIMIT, &source);
    assert_local(&outcome, "bind to interface eth9: ");

    // The only port is in use by another connection.
    let range = "40000 40000";
    let namespace = client.namespace();
    namespace
        .set_sysctl("ipv4.ip_local_port_range", range)
        .unwrap();
    let _taken = namespace.run(|| std::net::TcpStream::connect(at("192.0.2.2:80")).unwrap());
    let outcome = probe_tcp(&client, "192.0.2.2:80", LIMIT, &Source::default());
    assert_local(&outcome, "connect: ");
}

/// Runs a probe with this request to an agent that answers with these bytes.
fn ask(request: &'static [u8], answer: &'static [u8]) -> Outcome {
    let (_lan, client, server) = lan();
    let listener = listen(&server, "192.0.2.2:5000");
    let agent_thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = vec![0; request.len()];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(read, request);
        // The probe may have closed the connection already.
        let _ = stream.write_all(answer);
        // The connection stays open until the probe has ended.
        let _ = stream.read(&mut [0]);
    });
    let limit = Duration::from_secs(2);
    let attempt = Probe::Agent(Agent {
        request: Bytes(request.to_vec()),
        ..Agent::default()
    });
    let outcome = run(&client, async || {
        probe(&attempt, at("192.0.2.2:5000"), Instant::now() + limit).await
    });
    agent_thread.join().unwrap();
    outcome
}

#[test]
fn an_agent_is_asked_and_its_line_counts() {
    assert_eq!(
        ask(b"web1\n", b"up 40%\r\n"),
        Outcome::Weight(WeightReport::Percent(40), "up 40%".into())
    );
    assert_eq!(
        kind(&ask(b"", b"down # disk full\nup\n")),
        FailureKind::Reported
    );
}

#[test]
fn an_agent_without_a_proper_answer_changes_nothing() {
    static LONG: [u8; 4096] = [b'x'; 4096];
    for answer in [&b"certainly\n"[..], b"\n", b"up", &LONG] {
        assert_local(&ask(b"", answer), "no answer of the agent: ");
    }
    let (_lan, client, _server) = lan();
    let attempt = Probe::Agent(Agent::default());
    let outcome = run(&client, async || {
        probe(&attempt, at("192.0.2.2:5000"), Instant::now() + LIMIT).await
    });
    assert_local(&outcome, "no answer of the agent: Connection refused");
}

#[test]
fn a_silent_agent_takes_no_server_down() {
    // The kernel accepts the connections, and nothing answers.
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = DestinationKey::new(agent.local_addr().unwrap());
    let server = Destination::new(key, ForwardingMethod::Masquerade);
    let service = Service::new(ServiceKey::tcp(([127, 0, 0, 1], 9)), Scheduler::RR);
    let mut service = VirtualServer::new(service);
    service.servers.push(RealServer::new(server));
    service.checks.push(Check {
        interval: Duration::from_millis(1),
        time_limit: Duration::from_millis(100),
        fall: 1,
        initial: Initial::Up,
        ..Check::new(Probe::Agent(Agent::default()))
    });
    let config = Config {
        services: vec![service],
        ..Config::default()
    };
    let options = Options {
        // Nothing but the time limits wakes the balancer.
        interval: Duration::from_secs(3600),
        dry_run: true,
        ..Options::default()
    };
    let counters = block_on(async {
        let mut balancer = Balancer::open(config, options).await.unwrap();
        let end = Instant::now() + LIMIT;
        while balancer.pool().counters().local_failures < 20 && Instant::now() < end {
            let moment = Duration::from_secs(3);
            drop(tokio::time::timeout(moment, balancer.next()).await);
        }
        balancer.pool().counters()
    });
    assert!(counters.local_failures >= 20, "{counters:?}");
    assert_eq!((counters.failures, counters.time_limits), (0, 0));
}
