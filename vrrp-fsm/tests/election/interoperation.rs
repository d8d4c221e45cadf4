//! Versions 2 and 3 on one virtual router (O-09 to O-13), and both checksum forms.

use vrrp_fsm::{Action, ChecksumEvidence, ChecksumForms, ChecksumSending, Config, Outgoing, State};
use vrrp_proto::{
    Advertisement, ChecksumAcceptance, ChecksumForm, ChecksumMatch, Discard, Endpoints, Family,
    MessageAuthentication, Password, Priority, Version, Versions,
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

/// The messages that the host must send.
fn messages(
    host: &Host,
    outgoing: Outgoing,
    authentication: MessageAuthentication,
) -> Vec<Advertisement<'static>> {
    let addresses = virtual_addresses(Family::Ipv4);
    host.router
        .advertisements(outgoing, authentication, addresses)
        .map(|(message, _)| message)
        .collect()
}

#[test]
fn o_09_a_flag_makes_a_router_send_and_accept_both_versions() {
    let host = Host::backup(both(100));
    assert!(v2(100).check(&host.router).is_ok());
    assert!(Advert::priority(100).check(&host.router).is_ok());
    // Without `Versions::Both`, the other version is a version error (AMB-27).
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
    assert_eq!(host.router.counters().advertisements_sent, 6);

    let messages = messages(&host, outgoing, MessageAuthentication::None);
    let [v3, _, v2] = messages[..] else {
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
    assert_eq!(host.router.counters().priority_zero_sent, 3);
}

#[test]
fn o_11_a_backup_times_out_on_the_rate_that_is_advertised() {
    let mut own = both(100);
    own.interval = centis(130);
    let mut host = Host::started(own);
    let _ = host.receive(Advert::priority(200).every(seconds(2)));
    let from_v2 = host.remaining();
    let _ = host.receive(Advert::priority(200).every(centis(10)));
    let from_v3 = host.remaining();
    assert_eq!(from_v2.as_nanos(), 7_218_750_000);
    assert_eq!(from_v3.as_nanos(), 360_937_500);
}

#[test]
fn o_12_the_v2_messages_of_a_v3_active_are_ignored() {
    let mut host = Host::started(both(100));
    let _ = host.receive(Advert::priority(200).every(centis(10)));
    let before = host.router.poll_timeout();
    host.pass(ms(50));
    assert_eq!(host.receive(v2(200)), []);
    assert_eq!(host.receive(v2(0)), []);
    assert_eq!(host.router.poll_timeout(), before);
    assert_eq!(host.router.active_interval(), centis(10));
    assert_eq!(host.router.active().unwrap().version, Version::V3);

    // Version 2 messages of another router are not ignored.
    let _ = host.receive(v2(210).from([192, 0, 2, 30]));
    assert_eq!(
        host.router.active().unwrap().address,
        address(Family::Ipv4, 30)
    );
    assert_eq!(host.router.active_interval(), seconds(1));

    // Nor are those of the Active, once its version 3 messages have been missing for long enough to
    // take over.
    let _ = host.receive(Advert::priority(200).every(centis(10)));
    let _ = host.fire();
    assert_eq!(host.state(), State::Active);
    let _ = host.receive(v2(200));
    assert_eq!(host.state(), State::Backup);
    assert_eq!(host.router.active().unwrap().version, Version::V2);
}

#[test]
fn o_13_a_v3_active_that_sends_no_v2_is_reported() {
    let mut host = Host::started(both(100));
    for _ in 0..20 {
        host.pass(ms(1000));
        let _ = host.receive(Advert::priority(200));
        assert!(!host.router.active_sends_no_v2());
        let _ = host.receive(v2(200));
    }
    for unpaired in 1..=5 {
        host.pass(ms(1000));
        let _ = host.receive(Advert::priority(200));
        assert_eq!(host.router.active_sends_no_v2(), unpaired > 3, "{unpaired}");
    }
    let _ = host.receive(v2(200));
    assert!(!host.router.active_sends_no_v2());

    let mut without = Host::backup(config(100));
    for _ in 0..9 {
        let _ = without.receive(Advert::priority(200));
    }
    assert!(!without.router.active_sends_no_v2(), "nobody expects it");
}

#[test]
fn o_13_messages_without_v2_count_from_the_first_on() {
    let mut host = Host::started(both(100));
    for unpaired in 1..=4 {
        host.pass(ms(1000));
        let _ = host.receive(Advert::priority(200));
        assert_eq!(
            host.router.active_sends_no_v2(),
            unpaired == 4,
            "{unpaired}"
        );
    }
}

#[test]
fn o_13_an_advertisement_in_both_checksum_forms_counts_once() {
    let forms = [ChecksumMatch::PseudoHeader, ChecksumMatch::MessageOnly];
    for missed_advertisements in [1, 2, 3] {
        let mut own = both(100);
        own.missed_advertisements = missed_advertisements;
        let mut host = Host::started(own);
        let receive_v3 = |host: &mut Host, form| {
            let _ = host.receive(Advert::priority(200).with_checksum(form));
            host.router.active_sends_no_v2()
        };
        for _ in 0..10 {
            host.pass(ms(1000));
            for form in forms {
                assert!(!receive_v3(&mut host, form), "{missed_advertisements}");
            }
            let _ = host.receive(v2(200));
        }
        // As many messages of version 2 are lost as may be.
        for _ in 0..missed_advertisements {
            for form in forms {
                assert!(!receive_v3(&mut host, form), "{missed_advertisements}");
            }
        }
        assert!(receive_v3(&mut host, forms[0]), "{missed_advertisements}");
        let _ = host.receive(v2(200));

        // One message of each pair is lost, which does not hide an advertisement.
        for form in forms {
            for number in 0..=missed_advertisements {
                let is_reported = receive_v3(&mut host, form);
                assert_eq!(is_reported, number == missed_advertisements, "{form:?}");
            }
            let _ = host.receive(v2(200));
            // The last message of this form, so that the next one completes no advertisement.
            let _ = receive_v3(&mut host, ChecksumMatch::MessageOnly);
            let _ = host.receive(v2(200));
        }
    }
}

#[test]
fn o_13_each_active_is_counted_by_itself() {
    let mut host = Host::started(both(100));
    for _ in 0..5 {
        for sender in [20, 30] {
            for _ in 0..2 {
                host.pass(ms(500));
                let _ = host.receive(Advert::priority(200).from([192, 0, 2, sender]));
                assert!(!host.router.active_sends_no_v2());
            }
        }
    }
}

const MESSAGE_ONLY: ChecksumForms = ChecksumForms::Only(ChecksumForm::MessageOnly);
const PSEUDO_HEADER: ChecksumForms = ChecksumForms::Only(ChecksumForm::PseudoHeader);

/// Receives `times` advertisements of an Active in this form.
fn receive_in(host: &mut Host, form: ChecksumMatch, times: u8) {
    for _ in 0..times {
        let _ = host.receive(Advert::priority(200).with_checksum(form));
    }
}

#[test]
fn amb_01_both_forms_are_sent_until_the_field_shows_which_one_it_needs() {
    let mut host = Host::started(config(100));
    assert_eq!(host.router.checksum_forms(), ChecksumForms::Both);
    let enough = ChecksumEvidence::ENOUGH;
    receive_in(&mut host, ChecksumMatch::PseudoHeader, enough - 1);
    assert_eq!(host.router.checksum_forms(), ChecksumForms::Both);
    receive_in(&mut host, ChecksumMatch::PseudoHeader, 1);
    assert_eq!(host.router.checksum_forms(), PSEUDO_HEADER);
    receive_in(&mut host, ChecksumMatch::Both, 1);
    assert_eq!(host.router.checksum_forms(), PSEUDO_HEADER);

    let Action::SendAdvertisement(outgoing) = host.fire()[0] else {
        panic!("takeover");
    };
    assert_eq!(outgoing.checksum, PSEUDO_HEADER);
    assert_eq!(host.router.counters().advertisements_sent, 1);
    // A rival of the other kind must accept the answer, and the other routers must still accept it.
    let rival = Advert::priority(1).with_checksum(ChecksumMatch::MessageOnly);
    let Action::SendAdvertisement(answer) = host.receive(rival)[0] else {
        panic!("answer");
    };
    assert_eq!(answer.checksum, ChecksumForms::Both);
    assert_eq!(host.router.counters().advertisements_sent, 3);
}

#[test]
fn amb_01_a_sender_of_both_forms_is_no_evidence_for_one() {
    let mut host = Host::started(config(100));
    for _ in 0..3 * ChecksumEvidence::ENOUGH {
        receive_in(&mut host, ChecksumMatch::PseudoHeader, 1);
        receive_in(&mut host, ChecksumMatch::MessageOnly, 1);
        assert_eq!(host.router.checksum_forms(), ChecksumForms::Both);
    }
}

#[test]
fn amb_01_both_forms_are_two_messages_the_pseudo_header_first() {
    let mut host = Host::active(config(100));
    let sent = host.router.counters().advertisements_sent;
    let Action::SendAdvertisement(outgoing) = host.fire()[0] else {
        panic!("advertisement");
    };
    assert_eq!(host.router.counters().advertisements_sent, sent + 2);
    let addresses = virtual_addresses(Family::Ipv4);
    let endpoints = Endpoints::multicast(address(Family::Ipv4, 11));
    let matches: Vec<_> = host
        .router
        .advertisements(outgoing, MessageAuthentication::None, addresses)
        .map(|(message, form)| {
            let mut octets = vec![0; message.encoded_len()];
            message.encode(&mut octets, &endpoints, form).unwrap();
            ChecksumAcceptance::Either.fits(&octets, &endpoints)
        })
        .collect();
    let expected = [ChecksumMatch::PseudoHeader, ChecksumMatch::MessageOnly];
    assert_eq!(matches, expected.map(Some));
    let _ = host.shutdown();
    assert_eq!(host.router.counters().priority_zero_sent, 2);
}

#[test]
fn amb_01_the_forms_can_be_fixed() {
    for (sending, forms) in [
        (
            ChecksumSending::Fixed(ChecksumForm::PseudoHeader),
            PSEUDO_HEADER,
        ),
        (
            ChecksumSending::Fixed(ChecksumForm::MessageOnly),
            MESSAGE_ONLY,
        ),
        (ChecksumSending::Both, ChecksumForms::Both),
    ] {
        let mut own = config(100);
        own.checksum = sending;
        let mut host = Host::started(own);
        assert_eq!(host.router.checksum_forms(), forms);
        for form in [ChecksumMatch::MessageOnly, ChecksumMatch::PseudoHeader] {
            receive_in(&mut host, form, ChecksumEvidence::ENOUGH);
            assert_eq!(host.router.checksum_forms(), forms);
        }
    }
}

#[test]
fn amb_01_ipv6_and_version_2_have_one_form() {
    let mut six = Host::started(Config::new(vrid(), Family::Ipv6));
    assert_eq!(six.router.checksum_forms(), PSEUDO_HEADER);
    let Action::SendAdvertisement(outgoing) = six.fire()[0] else {
        panic!("takeover");
    };
    assert_eq!(outgoing.checksum, PSEUDO_HEADER);
    assert_eq!(six.router.counters().advertisements_sent, 1);

    let two = Host::active(crate::host::config_v2(100));
    assert_eq!(two.router.checksum_forms(), MESSAGE_ONLY);
    assert_eq!(two.router.counters().advertisements_sent, 1);

    let mut host = Host::started(both(100));
    for _ in 0..ChecksumEvidence::ENOUGH {
        let _ = host.receive(v2(210).from([192, 0, 2, 30]));
    }
    assert_eq!(
        host.router.checksum_forms(),
        ChecksumForms::Both,
        "version 2 is no evidence"
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
            checksum: MESSAGE_ONLY,
        };
        let messages = messages(&host, outgoing, MessageAuthentication::None);
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
        checksum: MESSAGE_ONLY,
    };
    let password = MessageAuthentication::SimpleText(Password::new(b"s3cret").unwrap());
    let authentications: Vec<_> = messages(&host, outgoing, password)
        .iter()
        .map(|message| (message.version(), message.authentication))
        .collect();
    assert_eq!(
        authentications,
        [
            (Version::V3, MessageAuthentication::None),
            (Version::V2, password)
        ]
    );
}
