//! Advertisements that the host does not let out.

use vrrp_fsm::State;
use vrrp_lab::{Host, wait_for};
use vrrp_net::{DriverEvent, Fault, RouterId};
use vrrp_proto::Family;

use crate::rig::{DriverThread, LIMIT, has, lan_of, router, unicast};

/// Runs iptables(8), or ip6tables(8), in a host.
fn firewall(host: &Host, family: Family, arguments: &str) {
    let program = match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    };
    let output = host
        .namespace()
        .command(program)
        .args(arguments.split_whitespace())
        .output()
        .expect("iptables of the Debian package iptables");
    assert!(output.status.success(), "{output:?}");
}

fn sent(running: &DriverThread, id: RouterId) -> u64 {
    running.with(move |driver| {
        let counters = driver.get(id).unwrap().machine().counters();
        counters.advertisements_sent
    })
}

#[test]
fn o_17_a_router_whose_advertisements_a_firewall_drops_says_so_and_counts_none() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (_lan, [r1]) = lan_of::<1>();
        firewall(&r1, family, "-A OUTPUT -p 112 -j DROP");
        let (running, id) = DriverThread::with_router(r1.namespace(), router(family, 100));
        running.wait_for_state(id, State::Active);
        let reason = running.wait_for_event("the fault", |event| match event {
            DriverEvent::Fault(Fault::CannotSend(reason)) => Some(reason.clone()),
            _ => None,
        });
        assert!(reason.contains("Operation not permitted"), "{reason}");
        let text = running.faults(id)[0].to_string();
        assert!(text.contains("firewall") && text.contains("112"), "{text}");
        assert_eq!(sent(&running, id), 0);
        // There may be no other router, so it stays Active.
        assert_eq!(running.state(id), State::Active);
        let address = match family {
            Family::Ipv4 => crate::rig::VIP4,
            Family::Ipv6 => crate::rig::VIP6,
        };
        assert!(has(&r1, address));

        firewall(&r1, family, "-D OUTPUT -p 112 -j DROP");
        running.wait_for_event("the recovery", |event| {
            matches!(event, DriverEvent::Recovered(Fault::CannotSend(_))).then_some(())
        });
        assert_eq!(running.faults(id), []);
        wait_for("advertisements", LIMIT, || {
            (sent(&running, id) > 0).then_some(())
        })
        .unwrap();
        assert_eq!(running.count_transitions(State::Active), 1);
        running.stop();
    }
}

#[test]
fn o_17_an_advertisement_that_reaches_one_of_two_peers_is_sent() {
    let (_lan, [r1, _r2, _r3]) = lan_of::<3>();
    firewall(&r1, Family::Ipv4, "-A OUTPUT -p 112 -d 192.0.2.2 -j DROP");
    let config = unicast(router(Family::Ipv4, 100), &["192.0.2.2", "192.0.2.3"]);
    let (running, id) = DriverThread::with_router(r1.namespace(), config);
    running.wait_for_state(id, State::Active);
    running.wait_for_event("the refusal", |event| {
        matches!(event, DriverEvent::SendFailed { .. }).then_some(())
    });
    wait_for("twenty advertisements", LIMIT, || {
        (sent(&running, id) > 20).then_some(())
    })
    .unwrap();
    assert_eq!(running.faults(id), []);
}
