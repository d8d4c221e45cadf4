//! Snapshot and restore in special cases; `properties` covers the rest.

use vrrp_fsm::{
    ChecksumEvidence, ChecksumForms, ChecksumSending, Deadline, Event, Instant, Preempt,
    SnapshotPhase, StallPolicy, State, VirtualRouter,
};
use vrrp_proto::{ChecksumForm, ChecksumMatch, Priority};

use crate::host::{Advert, Host, advertise, centis, config, config_v2, ms, seconds};

/// The same router in a process whose clock started at another time.
fn handed_over(host: &Host, now: Instant) -> Host {
    let snapshot = host.router.snapshot(host.now);
    Host {
        router: VirtualRouter::restore(host.router.config(), snapshot, now).unwrap(),
        now,
    }
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
    let _ = host.event(Event::Shutdown(vrrp_fsm::ShutdownCause::Group));
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
