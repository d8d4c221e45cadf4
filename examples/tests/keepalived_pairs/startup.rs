//! The delay at the start.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    instance,
    rig::{Kind, LIMIT, Rig},
};

/// The delay. Without it, a router is Active within 2 seconds.
const DELAY: Duration = Duration::from_secs(5);

fn count(rig: &Rig, note: &str) -> usize {
    rig.node(0).notes().iter().filter(|it| *it == note).count()
}

/// Repeats an event until the router has become Active within the delay after it. With the delay,
/// it never does.
fn without_delay(rig: &Rig, note: &str, event: impl Fn()) {
    let end = Instant::now() + LIMIT;
    loop {
        let before = count(rig, note);
        let begun = Instant::now();
        event();
        rig.wait_until(note, |rig| count(rig, note) > before);
        if begun.elapsed() < DELAY {
            return;
        }
        assert!(Instant::now() < end, "{note} comes after the delay");
    }
}

#[test]
fn the_delay_at_the_start_ends_once_for_all_routers() {
    let delay = format!("global_defs {{\n    vrrp_startup_delay {}", DELAY.as_secs());
    let first = instance(100, "").replacen("global_defs {", &delay, 1);
    let second = instance(100, "")
        .split_once("vrrp_instance")
        .map(|(_, it)| "vrrp_instance".to_owned() + it)
        .unwrap()
        .replace("VI_1", "VI_2")
        .replace("router_id 51", "router_id 52")
        .replace("192.0.2.100", "192.0.2.102")
        .replace("note MASTER", "note SECOND");
    let mut rig = Rig::new([Kind::Ours, Kind::Keepalived], [&first, ""]);
    let begun = Instant::now();
    rig.start(0);
    rig.wait_for_note(0, "MASTER");
    assert!(begun.elapsed() >= DELAY);
    without_delay(&rig, "MASTER", || {
        let faults = count(&rig, "FAULT");
        rig.ip(0, "link set eth0 down");
        rig.wait_until("the fault", |rig| count(rig, "FAULT") > faults);
        rig.ip(0, "link set eth0 up");
    });
    without_delay(&rig, "SECOND", || {
        for config in [&first, &(first.clone() + &second)] {
            let reloads = |rig: &Rig| rig.node(0).log().matches("Reload complete").count();
            let before = reloads(&rig);
            rig.node(0).write_config(config);
            rig.node(0).signal(Signal::SIGHUP);
            rig.wait_until("the reload", |rig| reloads(rig) > before);
        }
    });
    // A successor does not begin the delay again.
    rig.nodes[0].replace();
    without_delay(&rig, "MASTER", || {
        let faults = count(&rig, "FAULT");
        rig.ip(0, "link set eth0 down");
        rig.wait_until("the fault", |rig| count(rig, "FAULT") > faults);
        rig.ip(0, "link set eth0 up");
    });
}
