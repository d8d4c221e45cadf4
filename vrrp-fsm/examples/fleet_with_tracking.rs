//! Two virtual routers in a sync group that tracks an uplink and a check, and the effect of each
//! report.
//!
//! `cargo run -p vrrp-fsm --features alloc --example fleet_with_tracking`

use std::error::Error;

use vrrp_fsm::{
    Config, Instant,
    fleet::{Member, SyncGroup, VrrpRouter},
    track::{Check, Kind, Object, Report, TrackRef, Weight},
};
use vrrp_proto::{Family, Vrid};

fn main() -> Result<(), Box<dyn Error>> {
    let mut fleet = VrrpRouter::new();
    let now = Instant::ZERO;

    // While the uplink is down, 60 points of priority are missing. While the check fails, both
    // routers are in Initialize.
    let uplink = Object {
        weight: Weight::points(-60)?,
        ..Object::new("uplink", Kind::Interface)
    };
    let uplink = fleet.add_object(now, uplink)?;
    let service = fleet.add_object(now, Object::new("service", Kind::Check(Check::EACH)))?;

    let mut members = Vec::new();
    for (interface, vrid, last) in [(2, 51, 11), (3, 52, 12)] {
        let config = Config::new(Vrid::try_from(vrid)?, Family::Ipv4);
        let id = fleet.add(now, Member::new(interface, config))?;
        fleet.startup(now, id, [192, 0, 2, last].into())?;
        members.push(id);
    }
    let mut gateway = SyncGroup::new("gateway", members.clone());
    gateway.tracking = [uplink, service].map(TrackRef::of).into();
    fleet.add_group(now, gateway)?;

    fleet.report_all(now, [(uplink, Report::Up), (service, Report::Up)])?;
    print(&mut fleet, "all reports are good");

    // Nobody advertises: both routers become Active together.
    while let Some(deadline) = fleet
        .poll_timeout()
        .filter(|at| *at < Instant::from_nanos(4_000_000_000))
    {
        fleet.handle_timeout(deadline);
    }
    print(&mut fleet, "no advertisement for three intervals");

    fleet.report(now, uplink, Report::Down)?;
    print(&mut fleet, "the uplink is down");
    fleet.report(now, service, Report::Down)?;
    print(&mut fleet, "the check fails");
    Ok(())
}

fn print(fleet: &mut VrrpRouter, event: &str) {
    println!("-- {event}");
    while let Some((router, action)) = fleet.poll_action() {
        println!("{router}: {action:?}");
    }
    for (id, machine) in fleet.iter() {
        let explanation = fleet.explain(id).map(|it| it.to_string());
        println!(
            "{id}: {}, {}",
            machine.state(),
            explanation.unwrap_or_default()
        );
    }
}
