//! Versions 2 and 3 on one virtual router (O-09 to O-13), and both checksum camps.

use vrrp_fsm::{Action, ChecksumSending, Config, Outgoing, State};
use vrrp_proto::{
    Advertisement, Authentication, ChecksumForm, ChecksumMatch, Discard, Family, Password,
    Priority, Version, Versions,
};

use crate::host::{Advert, Host, address, centis, config, ms, seconds, virtual_addresses, vrid};

fn both(priority: u8) -> Config {
    let mut own = config(priority);
    own.versions = Versions::Both;
    own
}

fn v2(priority: u8) -> Advert {
    Advert::priority(priority).every(seconds(1))
}

/// What the host is to send.
fn messages(
    host: &Host,
    outgoing: Outgoing,
    authentication: Authentication,
) -> Vec<Advertisement<'static>> {
    let addresses = virtual_addresses(Family::Ipv4);
    host.router
        .advertisements(outgoing, authentication, addresses)
        .collect()
}

#[test]
fn o_09_a_flag_makes_a_router_send_and_hear_both_versions() {
    let host = Host::backup(both(100));
    assert!(v2(100).check(&host.router).is_ok());
    assert!(Advert::priority(100).check(&host.router).is_ok());
    // Without it, the other version is a version error (AMB-27).
    let without = v2(100).check(&Host::backup(config(100)).router);
    assert!(matches!(without, Err(Discard::Version(_))), "{without:?}");
}

#[test]
fn o_10_an_active_sends_both_versions_at_the_configured_rate() {
    let mut own = both(100);
    own.interval = centis(25);
    own.announce.second_burst_after = None;
    let mut host = Host::active(own);
    assert_eq!(host.remaining(), ms(250));
    let [Action::SendAdvertisement(outgoing)] = host.fire()[..] else {
        panic!("one advertisement");
    };
    assert_eq!(outgoing.versions, Versions::Both);
    assert_eq!(host.remaining(), ms(250));
    assert_eq!(host.router.counters().advertisements_sent, 4);

    let messages = messages(&host, outgoing, Authentication::None);
    let [v3, v2] = messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!((v3.priority.get(), v3.interval), (100, centis(25)));
    // AMB-28: rounded up.
    assert_eq!((v2.priority.get(), v2.interval), (100, seconds(1)));
    assert!(matches!(
        host.shutdown()[0],
        Action::SendAdvertisement(Outgoing {
            versions: Versions::Both,
            ..
        })
    ));
    assert_eq!(host.router.counters().priority_zero_sent, 2);
}

#[test]
fn o_11_a_backup_times_out_on_the_rate_that_is_advertised() {
    let mut own = both(100);
    own.interval = centis(130);
    let mut host = Host::started(own);
    let _ = host.hear(Advert::priority(200).every(seconds(2)));
    let from_v2 = host.remaining();
    let _ = host.hear(Advert::priority(200).every(centis(10)));
    let from_v3 = host.remaining();
    assert_eq!(from_v2.as_nanos(), 7_218_750_000);
    assert_eq!(from_v3.as_nanos(), 360_937_500);
}

#[test]
fn o_12_the_v2_messages_of_a_v3_active_are_ignored() {
    let mut host = Host::started(both(100));
    let _ = host.hear(Advert::priority(200).every(centis(10)));
    let before = host.router.poll_timeout();
    host.pass(ms(50));
    assert_eq!(host.hear(v2(200)), []);
    assert_eq!(host.hear(v2(0)), []);
    assert_eq!(host.router.poll_timeout(), before);
    assert_eq!(host.router.active_interval(), centis(10));
    assert_eq!(host.router.active().unwrap().version, Version::V3);

    // Those of another router are not.
    let _ = host.hear(v2(210).from([192, 0, 2, 30]));
    assert_eq!(
        host.router.active().unwrap().address,
        address(Family::Ipv4, 30)
    );
    assert_eq!(host.router.active_interval(), seconds(1));

    // Nor are they when the version 3 messages have stopped for long enough to take over.
    let _ = host.hear(Advert::priority(200).every(centis(10)));
    let _ = host.fire();
    assert_eq!(host.state(), State::Active);
    let _ = host.hear(v2(200));
    assert_eq!(host.state(), State::Backup);
    assert_eq!(host.router.active().unwrap().version, Version::V2);
}

#[test]
fn o_13_a_v3_active_that_sends_no_v2_is_reported() {
    let mut host = Host::started(both(100));
    for _ in 0..20 {
        host.pass(ms(1000));
        let _ = host.hear(Advert::priority(200));
        assert!(!host.router.active_sends_no_v2());
        let _ = host.hear(v2(200));
    }
    for unpaired in 1..=5 {
        host.pass(ms(1000));
        let _ = host.hear(Advert::priority(200));
        assert_eq!(
            host.router.active_sends_no_v2(),
            unpaired >= 3,
            "{unpaired}"
        );
    }
    let _ = host.hear(v2(200));
    assert!(!host.router.active_sends_no_v2());

    let mut without = Host::backup(config(100));
    for _ in 0..9 {
        let _ = without.hear(Advert::priority(200));
    }
    assert!(!without.router.active_sends_no_v2(), "nobody expects it");
}

#[test]
fn o_13_three_messages_without_v2_are_enough_from_the_first_on() {
    let mut host = Host::started(both(100));
    for unpaired in 1..=3 {
        host.pass(ms(1000));
        let _ = host.hear(Advert::priority(200));
        assert_eq!(
            host.router.active_sends_no_v2(),
            unpaired == 3,
            "{unpaired}"
        );
    }
}

#[test]
fn o_13_each_active_is_counted_by_itself() {
    let mut host = Host::started(both(100));
    for _ in 0..5 {
        for sender in [20, 30] {
            for _ in 0..2 {
                host.pass(ms(500));
                let _ = host.hear(Advert::priority(200).from([192, 0, 2, sender]));
                assert!(!host.router.active_sends_no_v2());
            }
        }
    }
}

#[test]
fn amb_01_sending_follows_the_form_of_the_last_advertisement() {
    let mut host = Host::started(config(100));
    let form = |host: &Host| host.router.checksum_form();
    assert_eq!(form(&host), ChecksumForm::MessageOnly);
    let _ = host.hear(Advert::priority(200).with_checksum(ChecksumMatch::PseudoHeader));
    assert_eq!(form(&host), ChecksumForm::PseudoHeader);
    let _ = host.hear(Advert::priority(200).with_checksum(ChecksumMatch::Both));
    assert_eq!(
        form(&host),
        ChecksumForm::PseudoHeader,
        "that one does not tell"
    );
    let Action::SendAdvertisement(outgoing) = host.fire()[0] else {
        panic!("takeover");
    };
    assert_eq!(outgoing.checksum, ChecksumForm::PseudoHeader);
    // A rival of the other camp must be able to read the answer.
    let Action::SendAdvertisement(answer) = host.hear(Advert::priority(1))[0] else {
        panic!("answer");
    };
    assert_eq!(answer.checksum, ChecksumForm::MessageOnly);
}

#[test]
fn amb_01_the_form_can_be_fixed() {
    let mut own = config(100);
    own.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
    let mut host = Host::started(own);
    let _ = host.hear(Advert::priority(200).with_checksum(ChecksumMatch::MessageOnly));
    assert_eq!(host.router.checksum_form(), ChecksumForm::PseudoHeader);
}

#[test]
fn amb_01_ipv6_and_version_2_have_one_form() {
    let mut six = Host::started(Config::new(vrid(), Family::Ipv6));
    assert_eq!(six.router.checksum_form(), ChecksumForm::PseudoHeader);
    let Action::SendAdvertisement(outgoing) = six.fire()[0] else {
        panic!("takeover");
    };
    assert_eq!(outgoing.checksum, ChecksumForm::PseudoHeader);

    let mut host = Host::started(both(100));
    let _ = host.hear(Advert::priority(200).with_checksum(ChecksumMatch::PseudoHeader));
    let _ = host.hear(v2(210).from([192, 0, 2, 30]));
    assert_eq!(
        host.router.checksum_form(),
        ChecksumForm::PseudoHeader,
        "version 2 tells nothing"
    );
}

#[test]
fn the_messages_of_one_version_have_its_unit() {
    for (own, version) in [
        (config(100), Version::V3),
        (crate::host::config_v2(100), Version::V2),
    ] {
        let host = Host::active(own);
        let outgoing = Outgoing {
            priority: Priority::RESIGN,
            versions: own.versions,
            checksum: ChecksumForm::MessageOnly,
        };
        let messages = messages(&host, outgoing, Authentication::None);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].version(), version);
        assert_eq!(messages[0].interval, own.interval);
        assert!(messages[0].priority.is_resign());
    }
}

#[test]
fn o_01_version_3_gets_no_authentication() {
    let host = Host::active(both(100));
    let outgoing = Outgoing {
        priority: Priority::DEFAULT,
        versions: Versions::Both,
        checksum: ChecksumForm::MessageOnly,
    };
    let password = Authentication::SimpleText(Password::new(b"s3cret").unwrap());
    let authentications: Vec<_> = messages(&host, outgoing, password)
        .iter()
        .map(|message| (message.version(), message.authentication))
        .collect();
    assert_eq!(
        authentications,
        [(Version::V3, Authentication::None), (Version::V2, password)]
    );
}
