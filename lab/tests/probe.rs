//! Measuring for how long an address does not answer.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::IpAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use vrrp_lab::{Answer, Host, Lan, Outage, Ping, Pings, Probe};

const MILLISECOND: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

fn lan() -> (Lan, Host, Host) {
    let lan = Lan::new().unwrap();
    let client = lan
        .host("client", &["192.0.2.100/24", "2001:db8::100/64"])
        .unwrap();
    let server = lan
        .host("server", &["192.0.2.1/24", "2001:db8::1/64"])
        .unwrap();
    (lan, client, server)
}

fn start(client: &Host, target: &str) -> Probe {
    let target: IpAddr = target.parse().unwrap();
    let probe = Probe::start(client, target, MILLISECOND).unwrap();
    probe.wait_for_answer(Instant::now(), LONG).unwrap();
    probe
}

#[test]
fn an_address_that_answers_has_no_outage() {
    let (_lan, client, server) = lan();
    for target in [
        "192.0.2.1".to_string(),
        "2001:db8::1".into(),
        server.link_local().to_string(),
    ] {
        let probe = start(&client, &target);
        sleep(100 * MILLISECOND);
        let pings = probe.stop().unwrap();
        // The very first request may have had to wait for the neighbour.
        let answered = pings
            .0
            .iter()
            .filter_map(|ping| ping.answer)
            .collect::<Vec<_>>();
        assert!(answered.len() >= 20, "{target}: {}", answered.len());
        assert!(answered.iter().all(|answer| answer.mac == server.mac()));
        assert!(
            pings
                .outages()
                .iter()
                .all(|outage| outage.start == pings.0[0].sent),
            "{target}"
        );
    }
}

#[test]
fn a_cut_of_the_line_is_measured_to_the_millisecond() {
    let (_lan, client, server) = lan();
    for target in ["192.0.2.1", "2001:db8::1"] {
        let probe = start(&client, target);
        let answered_before_cut = Instant::now();
        server.partition().unwrap();
        let cut = Instant::now();
        sleep(300 * MILLISECOND);
        let mending = Instant::now();
        server.mend().unwrap();
        let mended = probe.wait_for_answer(mending, LONG).unwrap();
        let pings = probe.stop().unwrap();

        let outages = pings.outages();
        let outage = outages
            .iter()
            .find(|outage| outage.length >= 300 * MILLISECOND);
        let outage = outage.unwrap_or_else(|| panic!("{target}: {outages:?}"));
        let tolerance = pings.longest_pause() * 2;
        assert!(outage.recovered);
        assert!(outage.start + tolerance >= answered_before_cut, "{target}");
        assert!(outage.start <= cut, "{target}");
        assert!(
            outage.start + outage.length <= mended + tolerance,
            "{target}"
        );
    }
}

#[test]
fn requests_that_waited_for_the_neighbour_count_as_lost() {
    let (lan, client, _server) = lan();
    // Slow enough that the kernel keeps all of them while it looks for the neighbour.
    let interval = 10 * MILLISECOND;
    let probe = Probe::start(&client, [192, 0, 2, 2].into(), interval).unwrap();
    sleep(200 * MILLISECOND);
    let came = Instant::now();
    let _late = lan.host("late", &["192.0.2.2/24"]).unwrap();
    // The kernel asks for the neighbour once a second, and then sends all that waited.
    probe.wait_for_answer(came, LONG).unwrap();
    sleep(50 * MILLISECOND);
    let pings = probe.stop().unwrap();
    let outage = pings.outages()[0];
    assert_eq!(outage.start, pings.0[0].sent);
    assert!(outage.recovered);
    assert!(outage.start + outage.length >= came);
}

#[test]
fn the_answer_names_the_responder() {
    let (lan, client, server) = lan();
    let other = lan.host("other", &["192.0.2.2/24"]).unwrap();
    server.add_address("192.0.2.254/32").unwrap();
    let probe = start(&client, "192.0.2.254");
    server.remove_address("192.0.2.254/32").unwrap();
    other.add_address("192.0.2.254/32").unwrap();
    // Nobody announces the move; the client finds out when the interface is flushed.
    client.shut().unwrap();
    client.mend().unwrap();
    probe.wait_for_answer(Instant::now(), LONG).unwrap();
    // The first answer may have been to a request that waited for the neighbour, which does not
    // count.
    sleep(50 * MILLISECOND);
    let macs: Vec<_> = probe
        .stop()
        .unwrap()
        .0
        .iter()
        .filter_map(|ping| ping.answer)
        .map(|answer| answer.mac)
        .collect();
    assert_eq!(macs.first(), Some(&server.mac()));
    assert_eq!(macs.last(), Some(&other.mac()));
}

#[test]
fn two_probes_on_one_host_do_not_mix_their_answers() {
    let (_lan, client, server) = lan();
    let right = start(&client, "192.0.2.1");
    let wrong = Probe::start(&client, [192, 0, 2, 99].into(), MILLISECOND).unwrap();
    let slow = Probe::start(&client, [192, 0, 2, 1].into(), 40 * MILLISECOND).unwrap();
    sleep(200 * MILLISECOND);
    drop(server);
    assert!(slow.stop().unwrap().0.len() <= 6);
    assert!(
        wrong
            .stop()
            .unwrap()
            .0
            .iter()
            .all(|ping| ping.answer.is_none())
    );
    assert!(
        right
            .stop()
            .unwrap()
            .0
            .iter()
            .any(|ping| ping.answer.is_some())
    );
}

#[test]
fn outages_reach_from_the_last_answer_to_the_next() {
    let start = Instant::now();
    let at = |millisecond: u32| start + millisecond * MILLISECOND;
    let pings = |answered: &[bool]| {
        let ping = |(millisecond, answered): (u32, &bool)| Ping {
            sent: at(millisecond),
            answer: answered.then(|| Answer {
                at: at(millisecond),
                mac: [0; 6],
            }),
        };
        Pings((0..).zip(answered).map(ping).collect())
    };
    let outage = |from, milliseconds: u32, recovered| Outage {
        start: at(from),
        length: milliseconds * MILLISECOND,
        recovered,
    };

    assert_eq!(pings(&[]).outages(), []);
    assert_eq!(pings(&[true, true]).outages(), []);
    assert_eq!(pings(&[true, false, true]).outages(), [outage(0, 2, true)]);
    assert_eq!(pings(&[false, false, true]).outages(), [outage(0, 2, true)]);
    assert_eq!(
        pings(&[true, true, false, false]).outages(),
        [outage(1, 2, false)]
    );
    assert_eq!(
        pings(&[true, false, true, false, true]).outages(),
        [outage(0, 2, true), outage(2, 2, true)]
    );
    assert_eq!(pings(&[true, true, true]).longest_pause(), MILLISECOND);
}
