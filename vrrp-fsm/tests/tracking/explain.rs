//! The explanation names everything that counts.

use vrrp_fsm::track::{Ignored, IgnoredReason, Kind, Object, Report};
use vrrp_proto::Priority;

use crate::{Bench, check, ms, weighted};

#[test]
fn an_explanation_has_every_object_with_its_contribution() {
    let mut bench = Bench::default();
    let uplink = bench.add(Object::new("uplink", Kind::Interface));
    let _never = bench.add(Object::new("script", check(1, 1, None)));
    let load = bench.add(weighted("load", Kind::Number, -2));
    let peer = bench.add(weighted("peer", Kind::BfdSession, 20));
    let _stale = bench.add(weighted("probe", check(1, 1, Some(ms(10))), -5));
    bench.report(uplink, Report::Down);
    bench.report(load, Report::Number(4));
    bench.report(peer, Report::Up);
    bench.pass(ms(10));
    let explanation = bench.tracker.explain(Priority::new(100), &bench.uses);
    assert_eq!(
        explanation.to_string(),
        "priority 107: 100 configured, uplink down (fault), script unreported (holds), load 4 -8, peer up +20, probe stale -5"
    );
    assert_eq!(explanation.faults().collect::<Vec<_>>(), ["uplink"]);
    assert_eq!(explanation.unreported().collect::<Vec<_>>(), ["script"]);
    assert_eq!(explanation.effective.get(), bench.priority());
}

#[test]
fn the_owner_is_explained_as_255_without_points() {
    let mut bench = Bench::default();
    let load = bench.add(weighted("load", Kind::Number, -2));
    bench.report(load, Report::Number(4));
    let explanation = bench.tracker.explain(Priority::OWNER, &bench.uses);
    assert_eq!(explanation.effective, Priority::OWNER);
    let said = explanation.to_string();
    assert_eq!(
        said,
        "priority 255: 255 configured, load 4 (-2 does not count for the address owner)"
    );
    assert_eq!(
        explanation.influences[0].ignored,
        Some(Ignored {
            weight: -2,
            reason: IgnoredReason::Owner
        })
    );
}
