//! A host that is late (rule: drain, then decide).

use core::time::Duration;

use vrrp_fsm::{Config, Reason, StallPolicy, State};

use crate::host::{Advert, Host, REMOVE, advertise, announce, changed, config, ms};

fn with(stall: StallPolicy) -> Config {
    let mut own = config(100);
    own.stall = stall;
    own.announce.second_burst_after = None;
    own
}

const NANO: Duration = Duration::from_nanos(1);

/// The longest time between two advertisements of an Active that is not yet a stall.
fn active_limit(host: &Host) -> Duration {
    ms(1000) + host.router.active_down_interval()
}

#[test]
fn a_stalled_active_that_resumes_advertises_and_announces_again() {
    let mut host = Host::active(with(StallPolicy::Resume));
    let limit = active_limit(&host);
    assert_eq!(host.wake_after(limit + NANO), [advertise(100), announce(5)]);
    assert_eq!(host.state(), State::Active);
    assert_eq!(host.remaining(), ms(500));
    assert_eq!(host.fire(), [announce(5)]);
    assert_eq!(host.remaining(), ms(500));
}

#[test]
fn a_stalled_active_that_yields_becomes_a_backup() {
    let mut host = Host::active(with(StallPolicy::Yield));
    let limit = active_limit(&host);
    assert_eq!(
        host.wake_after(limit + NANO),
        [REMOVE, changed(State::Active, State::Backup, Reason::Stall)]
    );
    assert_eq!(host.remaining(), host.router.active_down_interval());
    assert_eq!(host.fire()[0], advertise(100), "nobody was there");
}

#[test]
fn an_active_that_is_only_late_goes_on() {
    for stall in [StallPolicy::Resume, StallPolicy::Yield] {
        let mut host = Host::active(with(stall));
        let limit = active_limit(&host);
        assert_eq!(host.wake_after(limit), [advertise(100)], "{stall:?}");
    }
}

#[test]
fn a_stalled_backup_that_resumes_takes_over() {
    let mut host = Host::backup(with(StallPolicy::Resume));
    let late = host.remaining() + ms(60_000);
    assert_eq!(host.wake_after(late)[0], advertise(100));
}

#[test]
fn a_stalled_backup_that_yields_listens_once_more() {
    let mut host = Host::backup(with(StallPolicy::Yield));
    let late = host.remaining() + ms(1000) + NANO;
    assert_eq!(host.wake_after(late), []);
    assert_eq!(host.state(), State::Backup);
    assert_eq!(host.remaining(), host.router.active_down_interval());
    // Only once: a host that is always late must not leave the addresses without an Active.
    assert_eq!(host.wake_after(late)[0], advertise(100));

    // Once for each Active that falls silent.
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.wake_after(late), []);
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.wake_after(late), []);
}

#[test]
fn a_backup_that_is_only_late_takes_over() {
    let mut host = Host::backup(with(StallPolicy::Yield));
    let late = host.remaining() + ms(1000);
    assert_eq!(host.wake_after(late)[0], advertise(100));
}

#[test]
fn waiting_packets_come_before_the_timeout() {
    for stall in [StallPolicy::Resume, StallPolicy::Yield] {
        let mut backup = Host::backup(with(stall));
        backup.pass(ms(60_000));
        assert_eq!(backup.receive(Advert::priority(200)), []);
        assert_eq!(backup.wake_after(ms(0)), []);
        assert_eq!(backup.state(), State::Backup);

        let mut active = Host::active(with(stall));
        active.pass(ms(60_000));
        let _ = active.receive(Advert::priority(101));
        assert_eq!(active.wake_after(ms(0)), []);
        assert_eq!(active.state(), State::Backup);
    }
}

#[test]
fn the_host_can_see_a_stall() {
    let mut host = Host::new(with(StallPolicy::Resume));
    assert_eq!(host.router.lateness(host.now), Duration::ZERO);
    assert!(!host.router.is_stalled(host.now + ms(1_000_000)));

    host = Host::backup(with(StallPolicy::Resume));
    let due = host.router.poll_timeout().unwrap();
    assert_eq!(host.router.lateness(due - ms(1)), Duration::ZERO);
    assert_eq!(host.router.lateness(due + ms(7)), ms(7));
    assert!(!host.router.is_stalled(due + ms(1000)));
    assert!(host.router.is_stalled(due + ms(1000) + NANO));

    host = Host::active(with(StallPolicy::Resume));
    let limit = active_limit(&host);
    assert!(!host.router.is_stalled(host.now + limit));
    assert!(host.router.is_stalled(host.now + limit + NANO));
}

#[test]
fn an_active_that_yields_to_a_stall_forgets_the_learned_interval() {
    let mut host = Host::backup(with(StallPolicy::Yield));
    let _ = host.receive(Advert::priority(200).every(crate::host::centis(4095)));
    let _ = host.fire();
    let _ = host.wake_after(ms(60_000));
    assert_eq!(host.router.last_reason(), Some(Reason::Stall));
    assert_eq!(host.remaining().as_nanos(), 3_609_375_000);
}
