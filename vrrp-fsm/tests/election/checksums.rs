//! Both checksum forms of version 3 over IPv4 in one network (AMB-01): either kind of receiver that
//! joins as Backup accepts the Active's advertisements.

use vrrp_fsm::{ChecksumEvidence, ChecksumForms, ChecksumSending, Config, Preempt, State};
use vrrp_proto::{ChecksumAcceptance, ChecksumForm};

use crate::{
    host::{config, ms},
    lan::Lan,
};

/// A kind of deployed router: the form that it sends, and the forms that it accepts.
#[derive(Clone, Copy, Debug)]
struct Kind {
    sends: ChecksumForm,
    accepts: ChecksumAcceptance,
}

/// keepalived and FRR with their defaults.
const PSEUDO_HEADER: Kind = Kind {
    sends: ChecksumForm::PseudoHeader,
    accepts: ChecksumAcceptance::PseudoHeader,
};

/// RFC 9568, and FRR with `no checksum-with-ipv4-pseudoheader`.
const MESSAGE_ONLY: Kind = Kind {
    sends: ChecksumForm::MessageOnly,
    accepts: ChecksumAcceptance::MessageOnly,
};

/// keepalived with `v3_checksum_as_v2`.
const AS_V2: Kind = Kind {
    sends: ChecksumForm::MessageOnly,
    accepts: ChecksumAcceptance::Either,
};

const KINDS: [Kind; 3] = [PSEUDO_HEADER, MESSAGE_ONLY, AS_V2];

/// Our router, and one of each of these kinds and priorities.
fn lan(ours: Config, others: &[(Kind, u8)]) -> Lan {
    let peers = others.iter().map(|(kind, priority)| {
        let mut peer = config(*priority);
        peer.checksum = ChecksumSending::Fixed(kind.sends);
        peer.preempt = Preempt::Never;
        peer
    });
    let mut lan = Lan::new([ours].into_iter().chain(peers), 1);
    for (node, (kind, _)) in lan.nodes.iter_mut().skip(1).zip(others) {
        node.accepts = kind.accepts;
    }
    lan
}

fn takeovers(lan: &Lan) -> Vec<usize> {
    let to_active = lan.history.iter().filter(|(.., to)| *to == State::Active);
    to_active.map(|(_, node, _)| *node).collect()
}

#[test]
fn amb_01_each_kind_of_receiver_that_joins_accepts_the_active_from_the_first_interval_on() {
    for kind in KINDS {
        for (ours, theirs) in [(150, 100), (50, 100)] {
            let mut lan = lan(config(ours), &[(kind, theirs)]);
            lan.start(0);
            lan.run(ms(20_300));
            lan.start(1);
            lan.run(ms(60_000));
            assert_eq!(takeovers(&lan), [0], "{kind:?}");
            let sent = lan.nodes[0].router.checksum_forms();
            assert_eq!(sent, ChecksumForms::Both);
        }
    }
}

#[test]
fn amb_01_receivers_of_both_kinds_accept_the_same_active() {
    let mut lan = lan(config(150), &[(PSEUDO_HEADER, 100), (MESSAGE_ONLY, 90)]);
    lan.start(0);
    lan.run(ms(10_000));
    lan.start(1);
    lan.start(2);
    lan.run(ms(60_000));
    assert_eq!(takeovers(&lan), [0]);
}

#[test]
fn amb_01_the_form_of_a_received_active_is_sent_alone() {
    for kind in KINDS {
        let mut lan = lan(config(50), &[(kind, 100)]);
        lan.start(1);
        lan.run(ms(5_000));
        lan.start(0);
        lan.run(ms(20_000));
        lan.stop(1);
        lan.run(ms(2_000));
        assert_eq!(lan.nodes[0].router.state(), State::Active);
        let sent = lan.nodes[0].router.checksum_forms();
        assert_eq!(sent, ChecksumForms::Only(kind.sends));
        lan.start(1);
        lan.run(ms(60_000));
        assert_eq!(takeovers(&lan), [1, 0], "{kind:?}");
    }
}

/// Our router has received one kind only. It receives the other kind when that takes over, and then
/// sends both forms.
#[test]
fn amb_01_a_receiver_of_the_other_kind_takes_over_once_at_most() {
    let mut lan = lan(config(150), &[(PSEUDO_HEADER, 200), (MESSAGE_ONLY, 90)]);
    lan.start(1);
    lan.run(ms(5_000));
    lan.start(0);
    lan.run(ms(1000) * u32::from(ChecksumEvidence::ENOUGH) + ms(5_000));
    lan.stop(1);
    lan.run(ms(2_000));
    lan.start(2);
    lan.run(ms(60_000));
    assert_eq!(takeovers(&lan), [1, 0, 2]);
    assert_eq!(lan.actives(), [0]);
    assert_eq!(lan.nodes[0].router.checksum_forms(), ChecksumForms::Both);
}

#[test]
fn amb_01_both_forms_always_serve_a_field_of_both_kinds_without_a_takeover() {
    let mut ours = config(150);
    ours.checksum = ChecksumSending::Both;
    let mut lan = lan(ours, &[(PSEUDO_HEADER, 200), (MESSAGE_ONLY, 90)]);
    lan.start(1);
    lan.run(ms(5_000));
    lan.start(0);
    lan.run(ms(20_000));
    lan.stop(1);
    lan.run(ms(2_000));
    lan.start(2);
    lan.run(ms(60_000));
    assert_eq!(takeovers(&lan), [1, 0]);
}

/// The consequence of sending a single form, whichever it is: the reason for sending both.
#[test]
fn amb_01_one_form_alone_is_discarded_by_the_other_kind() {
    for (form, deaf) in [
        (ChecksumForm::MessageOnly, PSEUDO_HEADER),
        (ChecksumForm::PseudoHeader, MESSAGE_ONLY),
    ] {
        let mut ours = config(150);
        ours.checksum = ChecksumSending::Fixed(form);
        let mut lan = lan(ours, &[(deaf, 100)]);
        lan.start(0);
        lan.run(ms(5_000));
        lan.start(1);
        lan.run(ms(60_000));
        assert_eq!(takeovers(&lan), [0, 1]);
        assert_eq!(lan.actives(), [0, 1], "for ever");
    }
}
