//! Other configurations than the usual one, with every kind of fault.

use std::time::Duration;

use vrrp_fsm::{
    Config, Preempt, StallPolicy,
    fleet::VrrpRouter,
    sim::{Scenario, Simulation},
};
use vrrp_proto::{Family, Interval, Priority, Versions};

use crate::scenarios::{all_faults, at, everything, per_cent, run};

/// Changes the configuration of each virtual router, told which host has it and whether it is in a sync group.
fn assert_nothing_goes_wrong_with(
    scenario: impl Fn(&mut Scenario),
    configure: impl Fn(usize, bool, &mut Config),
) {
    for seed in 0..4 {
        let mut plan = everything(3);
        plan.faults = all_faults(at(120));
        scenario(&mut plan);
        for (number, host) in plan.hosts.iter_mut().enumerate() {
            for (place, member) in host.members.iter_mut().enumerate() {
                configure(number, place >= 4, &mut member.config);
            }
        }
        let simulation = Simulation::<VrrpRouter>::new(&plan, seed).unwrap();
        let run = run(simulation, seed, at(200));
        assert_eq!(run.violations, [], "seed {seed}");
        // The groups, the four others, or two of them at least.
        assert!(run.checks[0] > 8, "{:?}", run.checks);
    }
}

fn centis(count: u16) -> Interval {
    Interval::centis(count).unwrap()
}

#[test]
fn the_shortest_interval() {
    assert_nothing_goes_wrong_with(
        |plan| {
            plan.faults.until = at(20);
            plan.network.longest_delay = Duration::from_micros(300);
        },
        |_, _, config| config.interval = centis(1),
    );
}

#[test]
fn a_network_whose_delay_is_a_quarter_of_the_interval() {
    assert_nothing_goes_wrong_with(
        |plan| plan.network.longest_delay = Duration::from_millis(50),
        |_, _, config| config.interval = centis(20),
    );
}

#[test]
fn a_network_that_loses_a_fifth() {
    assert_nothing_goes_wrong_with(|plan| plan.faults.loss = per_cent(20), |_, _, _| {});
}

#[test]
fn preemption_after_a_delay_and_never() {
    assert_nothing_goes_wrong_with(
        |_| {},
        |_, _, config| config.preempt = Preempt::AfterDelay(Duration::from_secs(3)),
    );
    assert_nothing_goes_wrong_with(|_| {}, |_, _, config| config.preempt = Preempt::Never);
}

#[test]
fn a_start_after_a_while() {
    assert_nothing_goes_wrong_with(
        |_| {},
        |_, _, config| config.startup_hold = Duration::from_secs(5),
    );
}

#[test]
fn hosts_that_yield_after_a_stall() {
    assert_nothing_goes_wrong_with(|_| {}, |_, _, config| config.stall = StallPolicy::Yield);
}

#[test]
fn an_owner_among_routers_of_equal_priority() {
    assert_nothing_goes_wrong_with(
        |_| {},
        |host, is_grouped, config| {
            if !is_grouped {
                config.priority = Priority::new([100, 100, 255][host]);
            }
        },
    );
}

#[test]
fn intervals_that_differ_from_host_to_host() {
    assert_nothing_goes_wrong_with(
        |_| {},
        |host, is_grouped, config| {
            if !is_grouped {
                config.interval = centis([100, 50, 200][host]);
            }
        },
    );
}

#[test]
fn version_2() {
    assert_nothing_goes_wrong_with(
        |_| {},
        |_, _, config| {
            if config.family == Family::Ipv4 {
                config.versions = Versions::V2;
                config.interval = Interval::seconds(1).unwrap();
            }
        },
    );
}
