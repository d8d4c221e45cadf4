//! Preemption after a delay (AMB-20), and the hold after Startup.

use vrrp_fsm::{Action, Config, Event, Preempt, Reason, State, VirtualRouter};

use crate::host::{Advert, Host, REMOVE, advertise, changed, config, ms};

const DELAY: u64 = 60_000;

fn delayed() -> Config {
    let mut own = config(200);
    own.preempt = Preempt::AfterDelay(ms(DELAY));
    own
}

/// Receives an advertisement of this priority every second for this time. Returns the resulting
/// transition, if any.
fn listen(host: &mut Host, priority: u8, millis: u64) -> Option<Reason> {
    for _ in 0..millis / 1000 {
        host.pass(ms(1000));
        if let Some(transition) = host.router.handle_timeout(host.now).transition() {
            return Some(transition.reason);
        }
        let _ = host.receive(Advert::priority(priority));
    }
    None
}

#[test]
fn amb_20_the_hold_starts_at_startup() {
    let mut host = Host::started(delayed());
    assert_eq!(listen(&mut host, 100, DELAY - 1000), None);
    assert_eq!(
        listen(&mut host, 100, 4000),
        Some(Reason::PreemptHoldTimeout)
    );
}

#[test]
fn amb_20_while_held_a_lower_priority_is_followed_and_learned_from() {
    let mut host = Host::started(delayed());
    host.pass(ms(1000));
    let _ = host.receive(Advert::priority(1).every(crate::host::centis(300)));
    assert_eq!(host.router.active_interval(), crate::host::centis(300));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    // A silent Active is replaced, not preempted: no hold delays that.
    assert_eq!(
        host.fire().last(),
        Some(&changed(State::Backup, State::Active, Reason::ActiveDown))
    );
}

#[test]
fn amb_20_an_equal_or_higher_priority_stops_the_hold() {
    for stopping in [200, 201] {
        let mut host = Host::started(delayed());
        assert_eq!(listen(&mut host, 100, DELAY - 5000), None);
        assert_eq!(listen(&mut host, stopping, 1000), None);
        // The next advertisement of a lower priority starts it again.
        assert_eq!(listen(&mut host, 100, DELAY), None, "{stopping}");
        assert_eq!(
            listen(&mut host, 100, 5000),
            Some(Reason::PreemptHoldTimeout)
        );
    }
}

#[test]
fn amb_20_the_hold_is_the_same_after_every_entry_into_backup() {
    let mut host = Host::active(delayed());
    assert!(host.receive(Advert::priority(201)).contains(&REMOVE));
    host.pass(ms(500));
    assert_eq!(listen(&mut host, 100, DELAY), None);
    assert_eq!(
        listen(&mut host, 100, 5000),
        Some(Reason::PreemptHoldTimeout)
    );

    let _ = host.shutdown();
    let _ = host.startup();
    assert_eq!(listen(&mut host, 100, DELAY - 1000), None);
    assert_eq!(
        listen(&mut host, 100, 4000),
        Some(Reason::PreemptHoldTimeout)
    );
}

#[test]
fn amb_20_a_resignation_neither_starts_nor_stops_the_hold() {
    let mut host = Host::started(delayed());
    assert_eq!(listen(&mut host, 100, DELAY - 2000), None);
    let _ = host.receive(Advert::priority(0));
    assert_eq!(host.remaining(), host.router.skew_time());
    let _ = host.receive(Advert::priority(100));
    assert_eq!(
        listen(&mut host, 100, 6000),
        Some(Reason::PreemptHoldTimeout)
    );
}

#[test]
fn amb_20_no_delay_is_as_always() {
    let mut own = config(200);
    own.preempt = Preempt::AfterDelay(ms(0));
    let mut host = Host::started(own);
    let before = host.router.poll_timeout();
    host.pass(ms(1));
    let _ = host.receive(Advert::priority(100));
    assert_eq!(host.router.poll_timeout(), before);
}

#[test]
fn amb_20_the_owner_is_exempt() {
    let mut own = delayed();
    own.priority = vrrp_proto::Priority::OWNER;
    let host = Host::started(own);
    assert_eq!(host.state(), State::Active);
}

#[test]
fn amb_24_without_preemption_a_backup_follows_any_priority() {
    let mut own = config(254);
    own.preempt = Preempt::Never;
    let mut host = Host::started(own);
    assert_eq!(listen(&mut host, 1, 100_000), None);
    assert_eq!(host.state(), State::Backup);
}

fn held(priority: u8) -> Config {
    let mut own = config(priority);
    own.startup_hold = ms(30_000);
    own
}

#[test]
fn a_held_router_takes_over_a_skew_time_after_the_hold() {
    for priority in [1, 100, 254, 255] {
        let mut host = Host::new(held(priority));
        assert_eq!(
            host.startup(),
            [changed(State::Initialize, State::Backup, Reason::Startup)]
        );
        assert_eq!(host.remaining(), ms(30_000) + host.router.skew_time());
        assert_eq!(host.fire()[0], advertise(priority));
    }
}

#[test]
fn a_hold_shorter_than_the_down_interval_changes_nothing() {
    let mut own = config(100);
    own.startup_hold = ms(2000);
    let host = Host::started(own);
    assert_eq!(host.remaining(), host.router.active_down_interval());
    own.priority = vrrp_proto::Priority::OWNER;
    let host = Host::started(own);
    assert_eq!(
        host.remaining(),
        ms(2000) + host.router.skew_time(),
        "the owner waits for the hold only"
    );
}

#[test]
fn a_resignation_does_not_end_the_hold() {
    let mut host = Host::started(held(100));
    host.pass(ms(10_000));
    let _ = host.receive(Advert::priority(0));
    assert_eq!(host.remaining(), ms(20_000) + host.router.skew_time());
    host.pass(ms(20_100));
    let _ = host.receive(Advert::priority(0));
    assert_eq!(host.remaining(), host.router.skew_time());
}

#[test]
fn a_held_router_follows_an_active() {
    let mut host = Host::started(held(100));
    host.pass(ms(29_900));
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    assert_eq!(host.router.active().unwrap().priority.get(), 200);
}

#[test]
fn the_hold_counts_from_every_startup_and_from_nothing_else() {
    let mut host = Host::active(held(100));
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    let _ = host.shutdown();
    let _ = host.startup();
    assert_eq!(host.remaining(), ms(30_000) + host.router.skew_time());
    let taken_over = host.fire();
    assert!(
        taken_over
            .iter()
            .any(|action| matches!(action, Action::Announce { .. }))
    );
}

#[test]
fn amb_24_preemption_that_is_turned_off_while_a_hold_runs_stays_off() {
    let mut host = Host::started(delayed());
    assert_eq!(listen(&mut host, 100, 5000), None);
    let mut own = delayed();
    own.preempt = Preempt::Never;
    let _ = host.router.reconfigure(host.now, own).unwrap();
    assert_eq!(listen(&mut host, 100, 2 * DELAY), None);
    assert_eq!(host.state(), State::Backup);
}

/// Handles an advertisement of this priority, and returns whether it shows a second Active.
fn is_rival(host: &mut Host, priority: u8) -> bool {
    let received = Advert::priority(priority).check(&host.router).unwrap();
    let _ = host.event(Event::Advertisement(received));
    host.router.is_rival(host.now, &received)
}

#[test]
fn the_last_advertisement_of_a_preempted_active_is_no_rival() {
    let mut host = Host::started(config(200));
    assert_eq!(
        listen(&mut host, 100, 4000),
        Some(Reason::LowerPriorityActive)
    );
    // A periodic advertisement that crossed with ours, and the one with which it yields.
    for _ in 0..2 {
        host.pass(ms(1));
        assert!(!is_rival(&mut host, 100));
    }
    // The handover takes one interval at most.
    host.pass(ms(997));
    assert!(!is_rival(&mut host, 100));
    host.pass(ms(1));
    assert!(is_rival(&mut host, 100));
}

#[test]
fn a_second_active_that_did_not_preempt_is_a_rival_at_once() {
    let mut host = Host::active(config(200));
    assert!(is_rival(&mut host, 100));
    assert!(!is_rival(&mut host, 0), "it resigns");
    assert!(!is_rival(&mut host, 201), "this router yields");
    assert_eq!(host.state(), State::Backup);
    assert!(!is_rival(&mut host, 100), "a Backup has no rival");
}

#[test]
fn a_snapshot_keeps_the_end_of_a_handover() {
    let mut host = Host::started(config(200));
    let _ = listen(&mut host, 100, 4000);
    host.pass(ms(500));
    let snapshot = host.router.snapshot(host.now);
    host.router = VirtualRouter::restore(host.router.config(), snapshot, host.now).unwrap();
    assert!(!is_rival(&mut host, 100));
    host.pass(ms(500));
    assert!(is_rival(&mut host, 100));
}
