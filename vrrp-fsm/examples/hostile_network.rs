//! Ten virtual routers on three hosts whose network loses a tenth of the messages and whose hosts
//! crash, for an hour of simulated time.
//!
//! `cargo run -p vrrp-fsm --features sim --example hostile_network`

use std::{error::Error, time::Duration};

use vrrp_fsm::{
    Instant,
    fleet::VrrpRouter,
    sim::{Chance, Occurrence, Property, Rate, Scenario, Simulation},
};

fn main() -> Result<(), Box<dyn Error>> {
    let end = Instant::ZERO + Duration::from_secs(3600);
    let mut scenario = Scenario::uniform(3, 10)?;
    scenario.faults.until = end;
    scenario.faults.loss = Chance::per_million(100_000)?;
    scenario.faults.crash = Some(Rate {
        every: Duration::from_secs(60),
        longest: Duration::from_secs(20),
    });

    let mut simulation = Simulation::<VrrpRouter>::new(&scenario, 7)?;
    let (mut crashes, mut changes, mut violations) = (0, 0, 0);
    simulation.run_until(end, &mut |at, occurrence| match occurrence {
        Occurrence::Fault(fault) if fault.to_string().starts_with("crash") => crashes += 1,
        Occurrence::State(..) => changes += 1,
        Occurrence::Violated(violation) => {
            violations += 1;
            println!("{at}: {violation}");
        }
        _ => {}
    });
    println!("{crashes} crashes, {changes} changes of state, {violations} violations");
    for property in Property::ALL {
        println!("{property}: checked {} times", simulation.checks(property));
    }
    Ok(())
}
