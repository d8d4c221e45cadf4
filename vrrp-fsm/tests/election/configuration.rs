//! The rules for a configuration, and the error of each rule.

use core::time::Duration;

use vrrp_fsm::{AnnouncePolicy, Config, Preempt, Profile, StallPolicy, VirtualRouter};
use vrrp_proto::{ChecksumForm, Family, Priority, Versions};

use crate::host::{config, config_v2, ms, seconds, vrid};

fn refusal(own: Config) -> String {
    VirtualRouter::new(own).unwrap_err().to_string()
}

#[test]
fn each_refusal_names_the_field_the_value_and_the_range() {
    let mut six = Config::new(vrid(), Family::Ipv6);
    six.versions = Versions::Both;
    assert_eq!(
        refusal(six),
        "versions include version 2, which exists over IPv4 only, but family is IPv6"
    );

    let mut own = config(100);
    own.profile = Profile::Rfc3768;
    assert_eq!(
        refusal(own),
        "profile RFC 3768 knows version 2 only, but versions include version 3"
    );

    assert_eq!(refusal(config(0)), "priority 0 is not in 1..=255");

    let mut own = config(100);
    own.interval = seconds(1);
    assert_eq!(
        refusal(own),
        "interval 1 s is not in the unit of VRRPv3: 1 to 4095 cs"
    );

    let mut own = config_v2(100);
    own.interval = crate::host::centis(100);
    assert_eq!(
        refusal(own),
        "interval 100 cs is not in the unit of VRRPv2: 1 to 255 s"
    );

    for missed in [0, 101] {
        let mut own = config(100);
        own.missed_advertisements = missed;
        assert_eq!(
            refusal(own),
            format!("missed_advertisements {missed} is not in 1..=100")
        );
    }

    let too_long = Config::LONGEST_DELAY + Duration::from_nanos(1);
    let mut own = config(100);
    own.preempt = Preempt::AfterDelay(too_long);
    assert_eq!(
        refusal(own),
        "preempt 31536000.000000001s is not in 0ns..=31536000s"
    );

    let mut own = config(100);
    own.startup_hold = too_long;
    assert_eq!(
        refusal(own),
        "startup_hold 31536000.000000001s is not in 0ns..=31536000s"
    );

    let announce = |change: fn(&mut AnnouncePolicy)| {
        let mut own = config(100);
        change(&mut own.announce);
        refusal(own)
    };
    assert_eq!(
        announce(|policy| policy.repeat = 0),
        "announce.repeat 0 is not in 1..=255"
    );
    assert_eq!(
        announce(|policy| policy.refresh_repeat = 0),
        "announce.refresh_repeat 0 is not in 1..=255"
    );
    assert_eq!(
        announce(|policy| policy.refresh = Some(ms(9))),
        "announce.refresh 9ms is not in 10ms..=31536000s"
    );
    assert_eq!(
        announce(|policy| policy.after_last_rival = ms(9)),
        "announce.after_last_rival 9ms is not in 10ms..=4s"
    );
    assert_eq!(
        announce(|policy| policy.second_burst_after = Some(ms(0))),
        "announce.second_burst_after 0ns is not in 10ms..=31536000s"
    );
    assert_eq!(
        announce(|policy| policy.rival_second_burst_after = Some(Duration::MAX)),
        format!(
            "announce.rival_second_burst_after {:?} is not in 10ms..=31536000s",
            Duration::MAX
        )
    );
}

#[test]
fn the_limits_themselves_are_allowed() {
    let mut own = config(255);
    own.preempt = Preempt::AfterDelay(Config::LONGEST_DELAY);
    own.startup_hold = Config::LONGEST_DELAY;
    own.missed_advertisements = 100;
    own.announce.repeat = 255;
    own.announce.refresh = Some(Config::SHORTEST_ANNOUNCEMENT_GAP);
    own.announce.second_burst_after = Some(Config::LONGEST_DELAY);
    assert_eq!(VirtualRouter::new(own).unwrap().config(), own);
    own.missed_advertisements = 1;
    own.preempt = Preempt::Never; // the owner preempts anyway (S-25)
    assert!(VirtualRouter::new(own).is_ok());
}

#[test]
fn a_router_gives_its_configuration_back() {
    let mut own = Config::new(vrid(), Family::Ipv4);
    own.versions = Versions::Both;
    own.profile = Profile::Rfc5798;
    own.priority = Priority::new(7);
    own.interval = crate::host::centis(37);
    own.accept_mode = true;
    own.advertise_on_yield = false;
    own.missed_advertisements = 5;
    own.startup_hold = Duration::from_nanos(123_456_789);
    own.announce = AnnouncePolicy {
        repeat: 1,
        second_burst_after: None,
        refresh: Some(ms(77)),
        refresh_repeat: 2,
        rival_repeat: 0,
        rival_second_burst_after: Some(ms(88)),
        after_last_rival: ms(99),
    };
    own.checksum = vrrp_fsm::ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    own.stall = StallPolicy::Yield;
    for preempt in [
        Preempt::Always,
        Preempt::Never,
        Preempt::AfterDelay(Duration::ZERO),
        Preempt::AfterDelay(ms(5)),
    ] {
        own.preempt = preempt;
        assert_eq!(VirtualRouter::new(own).unwrap().config(), own);
    }
}

#[test]
fn version_2_with_the_answers_of_rfc_9568_is_allowed() {
    let mut own = config_v2(100);
    own.profile = Profile::Rfc9568;
    assert!(VirtualRouter::new(own).is_ok());
}

#[test]
fn a_router_fits_in_256_octets() {
    assert!(
        size_of::<VirtualRouter>() <= 256,
        "{}",
        size_of::<VirtualRouter>()
    );
}

#[test]
fn a_profile_is_called_by_its_rfc() {
    let profiles = [Profile::Rfc3768, Profile::Rfc5798, Profile::Rfc9568];
    assert_eq!(
        profiles.map(|profile| profile.to_string()),
        ["RFC 3768", "RFC 5798", "RFC 9568"]
    );
}
