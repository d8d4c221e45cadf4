//! Taking a destination away while traffic flows.

use std::{
    io::{self, Read, Write},
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    echo::{Conversation, PATIENCE, ask, connect, datagrams_to, octets},
    network::{Network, ReturnPath, listed, serve, serve_web, virtual_socket, web, web_server},
};
use ipvs_netlink::{
    Client, Family, Scheduler, Service, ServiceKey, Timeouts, Weight,
    message::Change,
    plan::{Policy, Reconciler, Wanted},
    sysctl::{Setting, Sysctls},
};
use nix::sys::socket::{setsockopt, sockopt};
use vrrp_lab::{GuestTest, guest_tests, wait_for};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        a_destination_is_drained_without_a_broken_connection,
        a_dead_destination_is_removed_while_traffic_flows,
        a_destination_that_comes_back_has_its_connections_again,
        udp_clients_of_a_removed_destination_get_no_answer,
        udp_clients_of_a_removed_destination_move_with_expire_nodest_conn,
    ]
    .to_vec()
}

/// Opens two conversations with each server: those with server 2, and the others.
fn conversations() -> [Vec<Conversation>; 2] {
    let (second, others): (Vec<_>, _) = (0..6)
        .map(|_| Conversation::begin(virtual_socket(Family::V4, 80)).unwrap())
        .partition(|conversation| conversation.server == 2);
    assert_eq!(second.len(), 2);
    [second, others]
}

/// The servers of six new connections, sorted.
fn servers_of_new_connections() -> Vec<u8> {
    let mut servers: Vec<_> = (0..6)
        .map(|_| connect(virtual_socket(Family::V4, 80)))
        .collect();
    servers.sort_unstable();
    servers
}

/// How many connections of server 2 the director knows.
fn connections_of_the_second(network: &Network) -> usize {
    let address = web_server(2).address;
    network
        .connections()
        .iter()
        .filter(|connection| connection.destination.ip() == address)
        .count()
}

fn a_destination_is_drained_without_a_broken_connection() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    // A connection whose client has closed it is otherwise remembered for two minutes.
    ipvs.set_timeouts(Timeouts {
        tcp_fin: 1,
        ..Timeouts::default()
    })
    .unwrap();
    let [mut second, mut others] = conversations();

    let mut drained = listed(&mut ipvs, web_server(2)).destination;
    drained.weight = Weight::ZERO;
    let mut wanted = ipvs.table().unwrap().servers();
    wanted[0]
        .destinations
        .retain(|destination| destination.key != drained.key);
    let started = Instant::now();
    let mut reconciler = Reconciler::new(Policy::default());
    let mut controller = network.controller();
    let mut reconcile = || {
        let now = started.elapsed();
        let report = controller.reconcile(&mut reconciler, Wanted::new(&wanted), now);
        let report = report.unwrap();
        assert!(report.is_complete(), "{report:?}");
        let changes = report.applied.into_iter().map(|step| step.change);
        changes.collect::<Vec<_>>()
    };

    let weight = Change::UpdateDestination {
        service: web(),
        destination: drained,
    };
    assert_eq!(reconcile(), [weight]);
    assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
    for conversation in second.iter_mut().chain(&mut others) {
        conversation.exchange(&octets(10_000)).unwrap();
    }
    assert_eq!(reconcile(), []);
    assert_eq!(listed(&mut ipvs, drained.key).active_connections, 2);
    assert_eq!(connections_of_the_second(&network), 2);

    drop(second);
    let changes = wait_for("the last change", 2 * PATIENCE, || {
        Some(reconcile()).filter(|changes| !changes.is_empty())
    });
    let deletion = Change::DeleteDestination {
        service: web(),
        destination: drained.key,
    };
    assert_eq!(changes.unwrap(), [deletion]);
    assert_eq!(connections_of_the_second(&network), 0);
    for mut conversation in others {
        conversation.exchange(&octets(10_000)).unwrap();
    }
    assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
}

/// A conversation without a pause, on a thread of its own.
struct Talk {
    exchanges: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Talk {
    fn start(mut conversation: Conversation) -> Self {
        // Only a packet of the client is answered with a reset. One that has received everything
        // and waits sends probes; the others send again, after ever longer pauses.
        let stream = &conversation.stream;
        setsockopt(stream, sockopt::KeepAlive, &true).unwrap();
        setsockopt(stream, sockopt::TcpKeepIdle, &1).unwrap();
        setsockopt(stream, sockopt::TcpKeepInterval, &1).unwrap();
        stream.set_read_timeout(None).unwrap();
        let exchanges = Arc::new(AtomicU32::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let exchanges = Arc::clone(&exchanges);
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    conversation.exchange(&octets(1_000))?;
                    exchanges.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        });
        Self {
            exchanges,
            stop,
            thread,
        }
    }

    /// Waits until it has made progress.
    fn goes_on(&self) {
        let before = self.exchanges.load(Ordering::Relaxed);
        wait_for("ten more exchanges", PATIENCE, || {
            (self.exchanges.load(Ordering::Relaxed) >= before + 10).then_some(())
        })
        .unwrap();
    }

    /// Ends it, and returns whether it went well until then.
    fn end(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn a_dead_destination_is_removed_while_traffic_flows() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    // A packet of a connection whose destination is gone ends the connection: its client receives a
    // reset.
    network
        .director
        .namespace()
        .set_sysctl("ipv4.vs.expire_nodest_conn", "1")
        .unwrap();
    let [dead, others] =
        conversations().map(|list| list.into_iter().map(Talk::start).collect::<Vec<_>>());
    dead.iter().chain(&others).for_each(Talk::goes_on);

    network.server(2).unplug().unwrap();
    others.iter().for_each(Talk::goes_on);
    ipvs.delete_destination(web(), web_server(2)).unwrap();
    for talk in dead {
        let error = talk.thread.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }
    assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
    others.iter().for_each(Talk::goes_on);
    for talk in others {
        talk.end().unwrap();
    }
}

fn a_destination_that_comes_back_has_its_connections_again() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    let [mut second, _others] = conversations();
    let destination = listed(&mut ipvs, web_server(2)).destination;

    ipvs.delete_destination(web(), destination.key).unwrap();
    let stream = &mut second[0].stream;
    stream.write_all(b"hello").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut received = [0; 5];
    let error = stream.read_exact(&mut received).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");

    ipvs.add_destination(web(), destination).unwrap();
    assert_eq!(listed(&mut ipvs, destination.key).active_connections, 2);
    // Lost packets are sent again.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
    for conversation in &mut second {
        conversation.exchange(&octets(10_000)).unwrap();
    }
}

/// A director with a UDP service, and a client that keeps its port, with the number of its server.
fn dns() -> (Network, Client, UdpSocket, u8) {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    let key = ServiceKey::udp(virtual_socket(Family::V4, 80));
    serve(&mut ipvs, Service::new(key, Scheduler::RR));
    let client = datagrams_to(virtual_socket(Family::V4, 80));
    let server = ask(&client, b"before");
    (network, ipvs, client, server)
}

/// Asks again and again until a server answers or the time is over, and returns the number of the
/// server.
fn ask_until(client: &UdpSocket, limit: Duration) -> Option<u8> {
    let wait = Some(Duration::from_millis(200));
    client.set_read_timeout(wait).unwrap();
    let end = Instant::now() + limit;
    let mut answer = [0; 64];
    while Instant::now() < end {
        client.send(b"after").unwrap();
        if client.recv(&mut answer).is_ok() {
            return Some(answer[0]);
        }
    }
    None
}

fn remove_udp_server(ipvs: &mut Client, server: u8) {
    let key = ServiceKey::udp(virtual_socket(Family::V4, 80));
    let destination = web_server(server);
    ipvs.delete_destination(key, destination).unwrap();
}

fn udp_clients_of_a_removed_destination_get_no_answer() {
    let (network, mut ipvs, client, server) = dns();
    let sysctls = Sysctls::open_in(network.director.namespace()).unwrap();
    let off = sysctls.set(&[Setting::ExpireNodestConn(false)]).unwrap();
    assert_eq!(off.old().count(), 0, "the kernel's default");
    remove_udp_server(&mut ipvs, server);
    assert_eq!(ask_until(&client, Duration::from_secs(3)), None);
}

fn udp_clients_of_a_removed_destination_move_with_expire_nodest_conn() {
    let (network, mut ipvs, client, server) = dns();
    let sysctls = Sysctls::open_in(network.director.namespace()).unwrap();
    let saved = sysctls.set(&[Setting::ExpireNodestConn(true)]).unwrap();
    remove_udp_server(&mut ipvs, server);
    let now = ask_until(&client, 4 * PATIENCE);
    assert!(now.is_some_and(|now| now != server), "{now:?}");
    saved.restore().unwrap();
}
