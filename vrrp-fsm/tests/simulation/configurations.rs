//! Other configurations than the usual one, with every kind of fault.

use std::time::Duration;

use vrrp_fsm::{
    Config, Preempt, StallPolicy,
    fleet::VrrpRouter,
    sim::{FaultRates, Property, Scenario, ScenarioError, Simulation},
    track::{Debounce, Report},
};
use vrrp_proto::{Family, Interval, Priority, Versions};

use crate::scenarios::{all_faults, at, everything, per_cent, rate, run};

/// Changes the configuration of each virtual router, by the number of its host and by whether it is
/// in a sync group.
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
fn objects_that_count_after_a_while() {
    assert_nothing_goes_wrong_with(
        |plan| {
            plan.faults.object = Some(rate(10, 20));
            for object in plan.hosts.iter_mut().flat_map(|host| &mut host.objects) {
                object.object.debounce = Debounce {
                    down: Duration::from_secs(3),
                    up: Duration::from_secs(7),
                };
            }
        },
        |_, _, _| {},
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

/// The number of checks of each property, in a run of three hosts with four virtual routers and no
/// fault except loss.
fn checks(loss: u32, change: impl Fn(&mut Scenario)) -> [u64; Property::ALL.len()] {
    let mut plan = Scenario::uniform(3, 4).unwrap();
    plan.faults.until = at(600);
    plan.faults.loss = per_cent(loss);
    change(&mut plan);
    let simulation = Simulation::<VrrpRouter>::new(&plan, 7).unwrap();
    let run = run(simulation, 7, at(700));
    assert_eq!(run.violations, []);
    run.checks
}

#[test]
fn lost_messages_disturb_a_quiet_network_only_where_several_in_a_row_are_lost() {
    // Each virtual router is checked once its network has been quiet for the bound, and again after
    // each disturbance.
    let [once, ..] = checks(3, |_| {});
    assert_eq!(once, 4);
    let [often, ..] = checks(20, |_| {});
    assert!(often > 8, "{often}");
    // If the delays of messages differ by more than the Skew_Times of different priorities, fewer
    // messages may be missed.
    let [seldom, ..] = checks(10, |plan| {
        plan.network.longest_delay = Duration::from_micros(100);
    });
    let [more, ..] = checks(10, |plan| {
        plan.network.longest_delay = Duration::from_millis(50);
    });
    assert!(more > 2 * seldom, "{more} {seldom}");
}

#[test]
fn the_last_announcement_counts_only_where_announcements_are_made_again() {
    let place = Property::ALL
        .iter()
        .position(|it| *it == Property::LastAnnouncementIsOfActive)
        .unwrap();
    let checks = |change: fn(&mut Config)| {
        let all = checks(0, |plan| {
            let members = plan.hosts.iter_mut().flat_map(|host| &mut host.members);
            members.for_each(|member| change(&mut member.config));
        });
        all[place]
    };
    assert_eq!(checks(|_| {}), 4);
    assert_eq!(
        checks(|config| config.announce.second_burst_after = None),
        0
    );
    assert_eq!(checks(|config| config.announce.rival_repeat = 0), 0);
}

#[test]
fn the_highest_priority_counts_only_where_routers_preempt() {
    let checks = |preempt| {
        let all = checks(0, |plan| {
            let members = plan.hosts.iter_mut().flat_map(|host| &mut host.members);
            members.for_each(|member| member.config.preempt = preempt);
        });
        all[Property::HighestPriorityActive as usize]
    };
    assert_eq!(checks(Preempt::Always), 4);
    assert_eq!(checks(Preempt::Never), 0);
}

#[test]
fn an_object_that_cannot_make_its_planned_report_is_rejected() {
    let mut plan = everything(2);
    plan.hosts[1].objects[0].good = Some(Report::Number(3));
    let refused = Simulation::<VrrpRouter>::new(&plan, 1).err().unwrap();
    assert!(
        matches!(refused, ScenarioError::Fleet { host: 1, .. }),
        "{refused}"
    );
}

#[test]
fn faults_concern_existing_routers_and_objects_only() {
    let mut plan = Scenario::uniform(2, 1).unwrap();
    plan.hosts[1].members.clear();
    plan.faults = FaultRates {
        until: at(300),
        stop: Some(rate(5, 5)),
        object: Some(rate(5, 5)),
        ..FaultRates::default()
    };
    let simulation = Simulation::<VrrpRouter>::new(&plan, 7).unwrap();
    let run = run(simulation, 7, at(300));
    assert!(run.lines.contains(" stop 0 0 "), "{}", run.lines);
    assert!(!run.lines.contains(" stop 1 "), "{}", run.lines);
    assert!(!run.lines.contains(" object "), "{}", run.lines);
}
