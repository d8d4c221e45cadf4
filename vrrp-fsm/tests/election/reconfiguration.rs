//! Changes to a running router without a re-election (AMB-21).

use vrrp_fsm::{
    Action, ChecksumForms, ChecksumSending, Config, ConfigError, Event, Outgoing, Preempt, State,
};
use vrrp_proto::{ChecksumForm, Family, Priority, Versions, Vrid};

use crate::host::{
    Advert, Host, advertise, announce, centis, config, config_v2, list, ms, seconds, vrid,
};

fn change(host: &mut Host, change: impl FnOnce(&mut Config)) -> Vec<Action> {
    let mut own = host.router.config();
    change(&mut own);
    list(host.router.reconfigure(host.now, own).unwrap())
}

#[test]
fn amb_21_an_active_advertises_another_priority_at_once() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    assert_eq!(
        change(&mut host, |own| own.priority = Priority::new(150)),
        [advertise(150)]
    );
    assert_eq!(host.remaining(), ms(700));
    assert_eq!(host.router.effective_priority().get(), 150);
}

#[test]
fn amb_21_another_interval_is_advertised_and_sets_the_timer_from_now() {
    let mut host = Host::active(config(100));
    host.pass(ms(300));
    // Longer: the Backups must learn it before their timers for the old one fire.
    assert_eq!(
        change(&mut host, |own| own.interval = centis(200)),
        [advertise(100)]
    );
    assert_eq!(host.remaining(), ms(2000));
    assert_eq!(
        change(&mut host, |own| own.interval = centis(10)),
        [advertise(100)]
    );
    assert_eq!(host.remaining(), ms(100));
}

#[test]
fn amb_21_a_running_backup_timer_stays() {
    let mut host = Host::backup(config(100));
    let timer = host.router.poll_timeout();
    host.pass(ms(300));
    let actions = change(&mut host, |own| {
        own.priority = Priority::new(1);
        own.interval = centis(10);
        own.missed_advertisements = 10;
        own.preempt = Preempt::Never;
        own.startup_hold = ms(100_000);
    });
    assert_eq!(actions, []);
    assert_eq!(host.router.poll_timeout(), timer);
    assert_eq!(
        host.router.active_interval(),
        centis(100),
        "learned from the Active"
    );
    let _ = host.receive(Advert::priority(200));
    assert_eq!(host.remaining().as_nanos(), 10_996_093_750);
}

#[test]
fn amb_21_a_backup_without_an_active_takes_its_own_new_interval() {
    let mut host = Host::started(config(100));
    let _ = change(&mut host, |own| own.interval = centis(10));
    assert_eq!(host.router.active_interval(), centis(10));
}

#[test]
fn amb_21_the_tracked_priority_stays_while_the_configured_one_does() {
    let mut host = Host::active(config(100));
    let _ = host.event(Event::EffectivePriority(Priority::new(80)));
    assert_eq!(change(&mut host, |own| own.accept_mode = true), []);
    assert_eq!(host.router.effective_priority().get(), 80);
    assert!(host.router.accepts_traffic());
}

#[test]
fn amb_21_no_change_does_nothing() {
    for mut host in [
        Host::new(config(100)),
        Host::backup(config(100)),
        Host::active(config(100)),
    ] {
        host.pass(ms(300));
        let before = host.router;
        assert_eq!(change(&mut host, |_| ()), []);
        assert_eq!(host.router, before);
    }
}

#[test]
fn amb_21_no_change_leads_to_another_state() {
    let changes: [fn(&mut Config); 6] = [
        |own| own.priority = Priority::OWNER,
        |own| own.priority = Priority::new(1),
        |own| own.preempt = Preempt::Never,
        |own| own.versions = Versions::Both,
        |own| own.interval = centis(1),
        |own| own.announce.refresh = Some(ms(10)),
    ];
    for each in changes {
        for mut host in [
            Host::new(config(100)),
            Host::backup(config(100)),
            Host::active(config(100)),
        ] {
            let before = host.state();
            let actions = change(&mut host, each);
            assert_eq!(host.state(), before);
            assert!(
                !actions
                    .iter()
                    .any(|action| matches!(action, Action::StateChanged(_)))
            );
        }
    }
}

#[test]
fn another_version_is_advertised() {
    let mut host = Host::active(config(100));
    let actions = change(&mut host, |own| own.versions = Versions::Both);
    assert!(matches!(
        actions[..],
        [Action::SendAdvertisement(Outgoing {
            versions: Versions::Both,
            ..
        })]
    ));
    let actions = change(&mut host, |own| {
        own.versions = Versions::V2;
        own.interval = seconds(1);
    });
    assert!(matches!(
        actions[..],
        [Action::SendAdvertisement(Outgoing {
            versions: Versions::V2,
            ..
        })]
    ));
}

#[test]
fn from_version_3_to_version_2_the_learned_interval_is_forgotten() {
    let mut host = Host::backup(config(100));
    let _ = host.receive(Advert::priority(200).every(centis(4095)));
    let _ = change(&mut host, |own| {
        own.versions = Versions::V2;
        own.interval = seconds(2);
    });
    assert_eq!(host.router.active_interval(), seconds(2));
    let mut v2 = Host::backup_v2();
    let _ = change(&mut v2, |own| own.interval = seconds(3));
    assert_eq!(v2.router.active_interval(), seconds(3));
}

impl Host {
    fn backup_v2() -> Self {
        let mut host = Host::started(config_v2(100));
        let _ = host.receive(Advert::priority(200).every(seconds(1)));
        host
    }
}

#[test]
fn from_version_3_to_version_2_the_active_is_still_accepted() {
    let mut host = Host::backup(config(100));
    let _ = change(&mut host, |own| {
        own.versions = Versions::V2;
        own.interval = seconds(1);
    });
    host.pass(ms(1000));
    let _ = host.receive(Advert::priority(200).every(seconds(1)));
    assert_eq!(host.remaining(), host.router.active_down_interval());
}

#[test]
fn another_checksum_setting_counts_at_once() {
    let mut host = Host::active(config(100));
    let actions = change(&mut host, |own| {
        own.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    });
    assert!(matches!(
        actions[..],
        [Action::SendAdvertisement(Outgoing {
            checksum: ChecksumForms::Only(ChecksumForm::PseudoHeader),
            ..
        })]
    ));
}

#[test]
fn another_refresh_starts_from_now_and_a_pending_burst_stays() {
    let mut host = Host::active({
        let mut own = config(100);
        own.interval = centis(4095);
        own
    });
    host.pass(ms(1000));
    assert_eq!(
        change(&mut host, |own| own.announce.refresh = Some(ms(2500))),
        []
    );
    assert_eq!(host.remaining(), ms(2500));
    assert_eq!(host.fire(), [announce(1)]);
    assert_eq!(host.remaining(), ms(1500));
    assert_eq!(
        host.fire(),
        [announce(5)],
        "the second burst of the takeover"
    );
    assert_eq!(change(&mut host, |own| own.announce.refresh = None), []);
    assert_eq!(host.remaining(), ms(35_950));
}

#[test]
fn vrid_and_family_cannot_change() {
    for mut host in [Host::new(config(100)), Host::active(config(100))] {
        let before = host.router;
        let mut own = config(100);
        own.vrid = Vrid::new(52).unwrap();
        let refused = host.router.reconfigure(host.now, own).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "vrid 52 is not 51: it cannot change while the virtual router lives"
        );
        let six = Config::new(vrid(), Family::Ipv6);
        let refused = host.router.reconfigure(host.now, six).unwrap_err();
        assert_eq!(
            refused,
            ConfigError::FamilyChanged {
                configured: Family::Ipv4,
                requested: Family::Ipv6
            }
        );
        assert!(host.router.reconfigure(host.now, config(0)).is_err());
        assert_eq!(host.router, before, "nothing has changed");
    }
}

#[test]
fn a_backup_that_becomes_the_owner_takes_over_at_the_end_of_its_timer() {
    let mut host = Host::backup(config(100));
    let _ = change(&mut host, |own| own.priority = Priority::OWNER);
    let timer = host.router.poll_timeout();
    host.pass(ms(1000));
    let _ = host.receive(Advert::priority(254));
    assert_eq!(host.router.poll_timeout(), timer);
    assert_eq!(host.fire()[0], advertise(255));
    assert_eq!(host.state(), State::Active);
}
