//! Taking a destination away while traffic flows.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::{
    echo::{Conversation, PATIENCE, connect, octets},
    network::{Network, ReturnPath, listed, serve_web, virtual_socket, web, web_server},
};
use ipvs_netlink::{Client, Family, Timeouts, Weight};
use vrrp_lab::{GuestTest, guest_tests, wait_for};

pub(crate) fn tests() -> Vec<GuestTest> {
    guest_tests![
        a_drained_destination_is_removed_without_a_broken_connection,
        a_dead_destination_is_removed_while_traffic_flows,
        a_destination_that_comes_back_has_its_connections_again,
    ]
    .to_vec()
}

/// Two conversations with each server.
fn conversations() -> Vec<Conversation> {
    (0..6)
        .map(|_| Conversation::begin(virtual_socket(Family::V4, 80)).unwrap())
        .collect()
}

/// The conversations with server 2, and the others.
fn with_the_second(conversations: Vec<Conversation>) -> [Vec<Conversation>; 2] {
    let (second, others) = conversations
        .into_iter()
        .partition(|conversation| conversation.server == 2);
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

/// Whether nothing of a destination is left, by its counts and by the list of connections.
fn is_idle(network: &Network, ipvs: &mut Client) -> bool {
    let listed = listed(ipvs, web_server(2));
    let address = listed.destination.key.address;
    listed.active_connections + listed.inactive_connections == 0
        && network
            .connections()
            .iter()
            .all(|connection| connection.destination.ip() != address)
}

fn a_drained_destination_is_removed_without_a_broken_connection() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    // Otherwise a connection is remembered for two minutes after its end.
    ipvs.set_timeouts(Timeouts {
        tcp_fin: 1,
        ..Timeouts::default()
    })
    .unwrap();
    let [mut drained, mut others] = with_the_second(conversations());
    assert_eq!(drained.len(), 2);

    ipvs.update_destination(web(), web_server(2), |server| server.weight = Weight::ZERO)
        .unwrap();
    assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
    for conversation in drained.iter_mut().chain(&mut others) {
        conversation.exchange(&octets(10_000)).unwrap();
    }
    assert_eq!(listed(&mut ipvs, web_server(2)).active_connections, 2);
    assert!(!is_idle(&network, &mut ipvs));

    drop(drained);
    wait_for("the end of the connections", 2 * PATIENCE, || {
        is_idle(&network, &mut ipvs).then_some(())
    })
    .unwrap();
    ipvs.delete_destination(web(), web_server(2)).unwrap();
    for mut conversation in others {
        conversation.exchange(&octets(10_000)).unwrap();
    }
    assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
}

/// Talks until it is told to stop, and counts how often it was answered.
fn talk(
    mut conversation: Conversation,
    exchanges: &AtomicU32,
    stop: &AtomicBool,
) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        conversation.exchange(&octets(1_000))?;
        exchanges.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn a_dead_destination_is_removed_while_traffic_flows() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    // Packets for a destination that is gone are answered with a reset.
    network
        .director
        .namespace()
        .set_sysctl("ipv4.vs.expire_nodest_conn", "1")
        .unwrap();
    let [dead, others] = with_the_second(conversations());
    let [dead_exchanges, other_exchanges]: [Vec<_>; 2] =
        [&dead, &others].map(|talks| talks.iter().map(|_| AtomicU32::new(0)).collect());
    let stop = AtomicBool::new(false);
    let ten_more = |exchanges: &[AtomicU32]| {
        let load = || exchanges.iter().map(|count| count.load(Ordering::Relaxed));
        let before: Vec<_> = load().collect();
        wait_for("ten more exchanges in each conversation", PATIENCE, || {
            load()
                .zip(&before)
                .all(|(now, before)| now >= before + 10)
                .then_some(())
        })
        .unwrap();
    };

    thread::scope(|scope| {
        let stop = &stop;
        let talk =
            |(conversation, exchanges)| scope.spawn(move || talk(conversation, exchanges, stop));
        let dead: Vec<_> = dead.into_iter().zip(&dead_exchanges).map(talk).collect();
        let others: Vec<_> = others.into_iter().zip(&other_exchanges).map(talk).collect();
        ten_more(&dead_exchanges);
        ten_more(&other_exchanges);

        network.server(2).unplug().unwrap();
        ten_more(&other_exchanges);
        ipvs.delete_destination(web(), web_server(2)).unwrap();
        for talk in dead {
            let error = talk.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        assert_eq!(servers_of_new_connections(), [1, 1, 1, 3, 3, 3]);
        ten_more(&other_exchanges);
        stop.store(true, Ordering::Relaxed);
        for talk in others {
            talk.join().unwrap().unwrap();
        }
    });
}

fn a_destination_that_comes_back_has_its_connections_again() {
    let network = Network::new(ReturnPath::Direct);
    let mut ipvs = network.controller();
    serve_web(&mut ipvs);
    let [mut second, _others] = with_the_second(conversations());
    let destination = listed(&mut ipvs, web_server(2)).destination;

    ipvs.delete_destination(web(), web_server(2)).unwrap();
    let conversation = &mut second[0];
    conversation
        .stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let error = conversation.exchange(b"lost").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");

    ipvs.add_destination(web(), destination).unwrap();
    assert_eq!(listed(&mut ipvs, web_server(2)).active_connections, 2);
    for conversation in &mut second {
        conversation
            .stream
            .set_read_timeout(Some(PATIENCE))
            .unwrap();
    }
    // What was sent meanwhile is sent again.
    let mut heard = [0; 4];
    io::Read::read_exact(&mut second[0].stream, &mut heard).unwrap();
    assert_eq!(&heard, b"lost");
    for conversation in &mut second {
        conversation.exchange(&octets(10_000)).unwrap();
    }
}
