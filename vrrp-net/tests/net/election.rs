//! Routers of one network elect an Active, and replace it.

use std::time::{Duration, Instant};

use vrrp_fsm::State;
use vrrp_lab::{Host, Lan};
use vrrp_proto::Family;

use crate::rig::{LIMIT, Running, VIP4, has, router, wait_for_address};

fn lan_of_two() -> (Lan, Host, Host) {
    let lan = Lan::new().unwrap();
    let r1 = lan.host("r1", &["192.0.2.1/24", "2001:db8::1/64"]).unwrap();
    let r2 = lan.host("r2", &["192.0.2.2/24", "2001:db8::2/64"]).unwrap();
    (lan, r1, r2)
}

#[test]
fn of_two_routers_the_one_with_the_higher_priority_is_active() {
    let (_lan, r1, r2) = lan_of_two();
    let (low, low_id) = Running::with_router(r1.namespace(), router(Family::Ipv4, 100));
    low.wait_for_state(low_id, State::Active);
    wait_for_address(&r1, VIP4, true);
    let (high, high_id) = Running::with_router(r2.namespace(), router(Family::Ipv4, 200));
    high.wait_for_state(high_id, State::Active);
    low.wait_for_state(low_id, State::Backup);
    wait_for_address(&r1, VIP4, false);
    assert!(has(&r2, VIP4));
    let killed = high.kill();
    low.wait_for_state(low_id, State::Active);
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    wait_for_address(&r1, VIP4, true);
    let started = Instant::now();
    low.stop();
    assert!(!has(&r1, VIP4));
    assert!(started.elapsed() < LIMIT);
}
