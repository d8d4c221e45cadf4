//! The kernel drops packets for VRIDs that a socket does not serve.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use vrrp_fsm::{Config, State};
use vrrp_lab::{Host, wait_for};
use vrrp_net::{Datagram, Driver, ForeignPackets, ReceiveBatch, RouterConfig, VridSet, VrrpSocket};
use vrrp_proto::{Endpoints, Family, Interval, group};

use crate::rig::{LIMIT, VIP4, ip, lan_of, vrid};

/// Sends a packet that begins like an advertisement to the group, for each of these VRIDs.
fn send(from: &Host, source: IpAddr, vrids: &[u8]) {
    let destination = group(if source.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    });
    let endpoints = Endpoints::new(source, destination).unwrap();
    let messages: Vec<[u8; 12]> = vrids
        .iter()
        .map(|vrid| [0x31, *vrid, 100, 1, 0, 10, 0, 0, 192, 0, 2, 254])
        .collect();
    let socket = from
        .namespace()
        .run(|| VrrpSocket::open(endpoints.family()).unwrap());
    let datagrams = messages.iter().map(|octets| Datagram {
        interface: from.index(),
        endpoints,
        ttl: 255,
        octets,
    });
    socket.send(datagrams, |_, error| panic!("{error}"));
}

#[test]
fn a_socket_receives_packets_of_its_filter_and_changes_it_in_one_step() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    for (family, source) in [
        (Family::Ipv4, ip("192.0.2.2")),
        (Family::Ipv6, r2.link_local().into()),
    ] {
        let mut socket = r1.namespace().run(|| VrrpSocket::open(family).unwrap());
        socket.join(r1.index()).unwrap();
        let mut batch = ReceiveBatch::new();
        // The packets are there when the call that sends them returns; the last one has a VRID that
        // always passes.
        let mut received = |socket: &VrrpSocket, vrids: &[u8]| -> Vec<u8> {
            send(&r2, source, vrids);
            let mut received = Vec::new();
            wait_for("the last packet", LIMIT, || {
                socket.receive(&mut batch).unwrap();
                received.extend(batch.iter().map(|received| received.payload[1]));
                (received.last() == vrids.last()).then_some(())
            })
            .unwrap();
            received
        };
        assert_eq!(
            received(&socket, &[1, 50, 51, 255]),
            [1, 50, 51, 255],
            "no filter"
        );
        let set = |vrids: &[u8]| -> Option<VridSet> {
            Some(vrids.iter().map(|number| vrid(*number)).collect())
        };
        socket.set_filter(set(&[51, 255])).unwrap();
        assert_eq!(
            received(&socket, &[1, 50, 51, 52, 83, 254, 255]),
            [51, 255],
            "{family}"
        );
        socket.set_filter(set(&[1, 255])).unwrap();
        assert_eq!(received(&socket, &[1, 51, 255]), [1, 255]);
        socket.set_filter(None).unwrap();
        assert_eq!(received(&socket, &[1, 51, 255]), [1, 51, 255]);
    }
}

/// A Backup that has nothing to do for a long time.
fn idle_router(number: u8) -> RouterConfig {
    let mut fsm = Config::new(vrid(number), Family::Ipv4);
    fsm.interval = Interval::centis(4000).unwrap();
    RouterConfig::new("eth0", fsm, vec![VIP4.parse().unwrap()])
}

/// Whether something wakes the driver within a short time.
fn wakes(driver: &mut Driver) -> bool {
    const PAUSE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    driver.wait(Some(PAUSE)).unwrap();
    start.elapsed() < PAUSE
}

#[test]
fn packets_for_vrids_of_others_do_not_wake_the_driver() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let mut driver = r1.namespace().run(|| Driver::new().unwrap());
    let add = |driver: &mut Driver, number| {
        let id = r1
            .namespace()
            .run(|| driver.add(idle_router(number)).unwrap());
        assert_eq!(driver.get(id).unwrap().state(), State::Backup);
        id
    };
    let finish_work = |driver: &mut Driver| {
        wait_for("a driver with nothing to do", LIMIT, || {
            driver.turn().unwrap();
            (!wakes(driver)).then_some(())
        })
        .unwrap();
    };
    add(&mut driver, 51);
    finish_work(&mut driver);
    let source = ip("192.0.2.2");
    send(&r2, source, &[7; 10]);
    assert!(!wakes(&mut driver), "by VRID 7");
    send(&r2, source, &[51]);
    assert!(wakes(&mut driver), "by its own");
    finish_work(&mut driver);

    let seven = add(&mut driver, 7);
    finish_work(&mut driver);
    send(&r2, source, &[7]);
    assert!(wakes(&mut driver), "by VRID 7, which it has now");
    finish_work(&mut driver);
    driver.remove(seven).unwrap();
    finish_work(&mut driver);
    send(&r2, source, &[7; 10]);
    assert!(!wakes(&mut driver), "by VRID 7, which it has no longer");
    send(&r2, source, &[51]);
    assert!(wakes(&mut driver), "by its own");

    driver.set_foreign_packets(ForeignPackets::Counted).unwrap();
    finish_work(&mut driver);
    send(&r2, source, &[7]);
    assert!(wakes(&mut driver), "where foreign packets are counted");
}
