//! Seeds that must not lead to a violation: some fixed, and some new each time.

use std::time::{SystemTime, UNIX_EPOCH};

use vrrp_fsm::{
    fleet::VrrpRouter,
    sim::{Property, Simulation},
};

use crate::scenarios::{all_faults, at, everything, run};

fn assert_nothing_goes_wrong(seed: u64) -> [u64; Property::ALL.len()] {
    let mut scenario = everything(2 + u32::try_from(seed % 3).unwrap());
    scenario.faults = all_faults(at(300));
    let simulation = Simulation::<VrrpRouter>::new(&scenario, seed).unwrap();
    let run = run(simulation, seed, at(330));
    assert_eq!(run.violations, [], "seed {seed}:\n{}", tail(&run.lines));
    run.checks
}

/// The last lines up to the first violation.
fn tail(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().collect();
    let first = lines.iter().position(|line| line.contains("violated"));
    let end = first.map_or(lines.len(), |place| place + 1);
    lines[end.saturating_sub(80)..end].join("\n")
}

#[test]
fn nothing_goes_wrong_with_thirty_seeds() {
    let mut checks = Property::ALL.map(|property| (property, 0));
    for seed in 0..30 {
        for ((_, total), count) in checks.iter_mut().zip(assert_nothing_goes_wrong(seed)) {
            *total += count;
        }
    }
    for (property, total) in checks {
        // Without authentication a copy cannot be distinguished from its original.
        if property == Property::ReplayIsDiscarded {
            assert_eq!(total, 0);
            continue;
        }
        assert!(total >= 20, "{property} was looked at {total} times only");
    }
}

#[test]
fn nothing_goes_wrong_with_new_seeds() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for number in 0..5 {
        let seed = now.as_secs() * 10 + number;
        println!("seed {seed}");
        assert_nothing_goes_wrong(seed);
    }
}
