//! A host that is late (rule: drain, then decide).

use core::time::Duration;

use vrrp_fsm::{Config, Event, Preempt, Reason, StallPolicy, State};
use vrrp_proto::Priority;

use crate::host::{
    Advert, Host, INSTALL, REMOVE, address, advertise, announce, centis, changed, config, ms,
};

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

/// An Active of priority 200 that yields, and has just woken up from a stall.
fn woken(preempt: Preempt) -> Host {
    let mut own = with(StallPolicy::Yield);
    own.priority = Priority::new(200);
    own.preempt = preempt;
    let mut host = Host::active(own);
    host.pass(active_limit(&host) + NANO);
    host
}

#[test]
fn a_stalled_active_that_yields_answers_no_waiting_packet() {
    // A router of lower priority has taken over, one has resigned, or one of higher priority is
    // there: an answer would make the new Active yield too.
    for priority in [100, 0, 201] {
        for preempt in [Preempt::Always, Preempt::Never] {
            let mut host = woken(preempt);
            assert_eq!(
                host.receive(Advert::priority(priority)),
                [REMOVE, changed(State::Active, State::Backup, Reason::Stall)],
                "{priority}, {preempt:?}"
            );
            assert_eq!(host.wake_after(ms(0)), []);
            assert_eq!(host.state(), State::Backup);
        }
    }
}

#[test]
fn a_stalled_active_that_yields_handles_the_waiting_packet_as_a_backup() {
    // S-12: the new Active stays.
    let mut host = woken(Preempt::Never);
    let _ = host.receive(Advert::priority(100).every(centis(200)));
    assert_eq!(host.router.active().unwrap().priority, Priority::new(100));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    assert!(host.remaining() > ms(6000));

    // S-14: the new Active is preempted after Active_Down_Interval, as by any other Backup.
    let mut host = woken(Preempt::Always);
    let _ = host.receive(Advert::priority(100));
    assert_eq!(host.remaining(), host.router.active_down_interval());
    let actions = host.fire();
    let reason = Reason::LowerPriorityActive;
    assert_eq!(
        actions.last(),
        Some(&changed(State::Backup, State::Active, reason))
    );

    // S-11
    let mut host = woken(Preempt::Never);
    let _ = host.receive(Advert::priority(0));
    assert_eq!(host.remaining(), host.router.skew_time());
}

#[test]
fn a_stalled_active_that_yields_sends_nothing_before_its_timeout() {
    let mut host = woken(Preempt::Never);
    let primary = address(host.router.config().family, 12);
    assert_eq!(host.event(Event::PrimaryAddress(primary)), []);
    assert_eq!(host.event(Event::EffectivePriority(Priority::new(201))), []);
    assert_eq!(host.event(Event::Reannounce), []);
    assert_eq!(host.event(Event::AddressesChanged), [INSTALL]);
    let yields = [REMOVE, changed(State::Active, State::Backup, Reason::Stall)];
    assert_eq!(host.wake_after(ms(0)), yields);

    // A new configuration does not hide the stall.
    let mut host = woken(Preempt::Never);
    let mut new = host.router.config();
    new.interval = centis(4095);
    let actions = host.router.reconfigure(host.now, new).unwrap();
    assert_eq!(actions.as_slice(), yields);
    assert_eq!(host.wake_after(ms(0)), []);
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
    let _ = host.receive(Advert::priority(200).every(centis(4095)));
    let _ = host.fire();
    let _ = host.wake_after(ms(60_000));
    assert_eq!(host.router.last_reason(), Some(Reason::Stall));
    assert_eq!(host.remaining().as_nanos(), 3_609_375_000);
}
