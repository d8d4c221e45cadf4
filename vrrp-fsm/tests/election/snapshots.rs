//! Snapshot and restore in special cases; `properties` covers the rest.

use vrrp_fsm::{
    Action, ChecksumEvidence, ChecksumForms, ChecksumSending, Config, Deadline, Event, Instant,
    Preempt, ShutdownCause, SnapshotPhase, StallPolicy, State, VirtualRouter,
};
use vrrp_proto::{ChecksumForm, ChecksumMatch, Priority};

use crate::host::{Advert, Host, advertise, announce, centis, config, config_v2, ms, seconds};

/// The same router in a process whose clock started at another time.
fn handed_over(host: &Host, now: Instant) -> Host {
    let snapshot = host.router.snapshot(host.now);
    Host {
        router: VirtualRouter::restore(host.router.config(), snapshot, now).unwrap(),
        now,
    }
}

/// The same router in a process with another configuration.
fn handed_over_to(own: Config, host: &Host) -> Host {
    let snapshot = host.router.snapshot(host.now);
    Host {
        router: VirtualRouter::restore(own, snapshot, host.now).unwrap(),
        now: host.now,
    }
}

/// The actions up to a time, with a limit on the timeouts that are served.
fn actions_within(host: &mut Host, time: core::time::Duration) -> Vec<Action> {
    let end = host.now + time;
    let mut actions = Vec::new();
    for _ in 0..100 {
        if host.router.poll_timeout().unwrap() > end {
            return actions;
        }
        actions.append(&mut host.fire());
    }
    panic!("the time does not pass {}", host.now);
}

#[test]
fn an_active_goes_on_advertising_under_another_epoch() {
    let mut host = Host::active(config(100));
    host.pass(ms(250));
    let mut heir = handed_over(&host, Instant::from_nanos(17));
    assert_eq!(heir.state(), State::Active);
    assert_eq!(heir.remaining(), ms(750));
    assert_eq!(heir.fire(), [advertise(100)]);
    assert_eq!(
        heir.router.counters().advertisements_sent,
        4,
        "both forms, twice"
    );
    assert_eq!(heir.router.active(), host.router.active());
}

#[test]
fn a_backup_keeps_what_it_learned() {
    let mut own = config(100);
    own.preempt = Preempt::AfterDelay(ms(60_000));
    let mut host = Host::backup(own);
    for _ in 0..ChecksumEvidence::ENOUGH {
        let advert = Advert::priority(200).every(centis(30));
        let _ = host.receive(advert.with_checksum(ChecksumMatch::PseudoHeader));
    }
    let _ = host.event(Event::EffectivePriority(Priority::new(77)));
    host.pass(ms(123));
    let heir = handed_over(&host, Instant::from_nanos(1 << 60));
    assert_eq!(heir.remaining(), host.remaining());
    assert_eq!(heir.router.active_interval(), centis(30));
    assert_eq!(heir.router.effective_priority().get(), 77);
    let pseudo_header = ChecksumForms::Only(ChecksumForm::PseudoHeader);
    assert_eq!(heir.router.checksum_forms(), pseudo_header);
    assert_eq!(heir.router.active(), host.router.active());
}

#[test]
fn a_stall_across_the_change_is_still_seen() {
    let mut own = config(100);
    own.stall = StallPolicy::Yield;
    let mut host = Host::active(own);
    host.pass(ms(60_000));
    let SnapshotPhase::Active { adver, .. } = host.router.snapshot(host.now).phase else {
        panic!("Active");
    };
    assert_eq!(adver, Deadline::Overdue(ms(59_000)));
    let mut heir = handed_over(&host, Instant::from_nanos(1 << 50));
    let _ = heir.wake_after(ms(0));
    assert_eq!(heir.state(), State::Backup);
}

#[test]
fn a_deadline_that_never_comes_stays_away() {
    let mut own = config(100);
    own.announce.second_burst_after = None;
    let host = Host::active(own);
    let SnapshotPhase::Active { burst, refresh, .. } = host.router.snapshot(host.now).phase else {
        panic!("Active");
    };
    assert_eq!((burst, refresh), (Deadline::Never, Deadline::Never));
    assert_eq!(handed_over(&host, host.now).router, host.router);
}

#[test]
fn initialize_keeps_its_cause_and_its_counters() {
    let mut host = Host::active(config(100));
    let _ = host.event(Event::Shutdown(ShutdownCause::Group));
    let heir = handed_over(&host, Instant::ZERO);
    assert_eq!(heir.router, host.router);
}

#[test]
fn another_configuration_counts() {
    let mut host = Host::backup(config(100));
    let _ = host.event(Event::EffectivePriority(Priority::new(77)));
    let snapshot = host.router.snapshot(host.now);

    let owner = VirtualRouter::restore(config(255), snapshot, host.now).unwrap();
    assert_eq!(owner.effective_priority(), Priority::OWNER);

    let mut own = config_v2(100);
    own.interval = seconds(3);
    let v2 = VirtualRouter::restore(own, snapshot, host.now).unwrap();
    assert_eq!(v2.active_interval(), seconds(3));

    let mut own = config(100);
    own.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    let fixed = VirtualRouter::restore(own, snapshot, host.now).unwrap();
    let pseudo_header = ChecksumForms::Only(ChecksumForm::PseudoHeader);
    assert_eq!(fixed.checksum_forms(), pseudo_header);

    assert!(VirtualRouter::restore(config(0), snapshot, host.now).is_err());
}

/// Version 3 at 30 s without second bursts, refreshed this often.
fn refreshing(refresh: Option<core::time::Duration>) -> Config {
    let mut own = config(100);
    own.interval = centis(3000);
    own.announce.second_burst_after = None;
    own.announce.refresh = refresh;
    own
}

#[test]
fn without_a_refresh_a_restored_active_does_not_announce_again() {
    let host = Host::active(refreshing(Some(ms(10_000))));
    let mut heir = handed_over_to(refreshing(None), &host);
    assert_eq!(actions_within(&mut heir, ms(30_000)), [advertise(100)]);
}

#[test]
fn a_new_or_changed_refresh_starts_when_an_active_is_restored() {
    for before in [None, Some(ms(2000)), Some(ms(60_000))] {
        let mut host = Host::active(refreshing(before));
        host.pass(ms(1000));
        let mut heir = handed_over_to(refreshing(Some(ms(10_000))), &host);
        assert_eq!(heir.remaining(), ms(10_000), "{before:?}");
        assert_eq!(heir.fire(), [announce(1)]);
        assert_eq!(heir.remaining(), ms(10_000));
    }
}

#[test]
fn a_snapshot_that_refreshes_without_an_interval_does_not_loop() {
    let host = Host::active(refreshing(None));
    let mut snapshot = host.router.snapshot(host.now);
    let SnapshotPhase::Active { refresh, .. } = &mut snapshot.phase else {
        panic!("Active");
    };
    *refresh = Deadline::In(ms(10_000));
    let mut heir = Host {
        router: VirtualRouter::restore(host.router.config(), snapshot, host.now).unwrap(),
        now: host.now,
    };
    let once = [announce(1), advertise(100)];
    assert_eq!(actions_within(&mut heir, ms(30_000)), once);
}

#[test]
fn under_another_priority_a_restored_router_has_that_priority() {
    for (before, after) in [(100, 200), (200, 100), (255, 100), (100, 255)] {
        let heir = handed_over_to(config(after), &Host::active(config(before)));
        let effective = heir.router.effective_priority().get();
        assert_eq!(effective, after, "{before} before");
    }
}

#[test]
fn under_another_interval_a_restored_active_advertises_by_the_earlier_of_both() {
    let every = |interval| {
        let mut own = config(100);
        own.interval = centis(interval);
        own
    };
    let mut host = Host::active(every(4000));
    host.pass(ms(500));
    let mut heir = handed_over_to(every(100), &host);
    assert_eq!(heir.router.active_interval(), centis(100));
    assert_eq!(heir.remaining(), ms(1000), "the new interval");
    assert_eq!(heir.fire(), [advertise(100)]);

    // Backups expect the old interval until they receive the new one.
    let mut host = Host::active(every(100));
    host.pass(ms(500));
    let mut heir = handed_over_to(every(4000), &host);
    assert_eq!(heir.remaining(), ms(500), "the old one");
    assert_eq!(heir.fire(), [advertise(100)]);
}

#[test]
fn a_snapshot_of_the_other_family_is_refused() {
    let own = Config::new(crate::host::vrid(), vrrp_proto::Family::Ipv6);
    let ipv6 = Host::started(own).router.snapshot(Instant::ZERO);
    let refused = VirtualRouter::restore(config(100), ipv6, Instant::ZERO).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "family IPv4 is not IPv6: it cannot change while the virtual router lives"
    );
}
