//! Lasting faults: each has its effect, and another one of its kind may begin before it is over.

use std::time::Duration;

use vrrp_fsm::{
    Instant, State,
    fleet::{FleetSnapshot, RouterId, VrrpRouter},
    sim::{Condition, Fault, Simulation, Trace},
};
use vrrp_proto::{Interval, Priority};

use crate::scenarios::{at, everything, run};

/// A condition from 20 s to 30 s, and one from 25 s to 40 s; then looks at the hosts at 15, 22, 27,
/// 32 and 55 s.
fn look_at<T>(
    first: Condition,
    second: Condition,
    look: impl Fn(&Simulation<VrrpRouter>) -> T,
) -> Vec<T> {
    let lasting = |from, condition, seconds| {
        let lasts = Duration::from_secs(seconds);
        (at(from), Fault::Lasting(condition, lasts))
    };
    let trace = Trace {
        seed: 1,
        faults: vec![lasting(20, first, 10), lasting(25, second, 15)],
    };
    let mut simulation = Simulation::<VrrpRouter>::replay(&everything(3), &trace).unwrap();
    let times = [15, 22, 27, 32, 55];
    let looks = times.map(|time| {
        simulation.run_until(at(time), &mut |_, _| {});
        assert_eq!(simulation.now(), at(time));
        look(&simulation)
    });
    looks.into()
}

fn state(simulation: &Simulation<VrrpRouter>, host: u32, router: u32) -> Option<State> {
    let fleet = simulation.host(host)?;
    Some(fleet.get(RouterId::nth(router)).unwrap().state())
}

/// The hosts that are Active for a virtual router.
fn actives(simulation: &Simulation<VrrpRouter>, router: u32) -> Vec<u32> {
    let is_active = |host: &u32| state(simulation, *host, router) == Some(State::Active);
    (0..3).filter(is_active).collect()
}

#[test]
fn a_host_that_crashes_is_gone_until_the_last_crash_is_over() {
    let crash = Condition::Crash { host: 0 };
    let looks = look_at(crash.clone(), crash, |simulation| {
        (simulation.host(0).is_some(), actives(simulation, 0))
    });
    let gone = (false, vec![1]);
    let there = (true, vec![0]);
    // At 22 s the host has just crashed, and the other one has not taken over yet.
    assert_eq!(looks[0], there);
    assert_eq!(looks[1], (false, vec![]));
    assert_eq!(looks[2..], [gone.clone(), gone, there]);
}

#[test]
fn a_host_that_stalls_does_nothing_until_the_last_stall_is_over() {
    let stall = Condition::Stall { host: 0 };
    let looks = look_at(stall.clone(), stall, |simulation| {
        let router = simulation.host(0).unwrap().get(RouterId::nth(0)).unwrap();
        (
            router.counters().advertisements_sent,
            actives(simulation, 0),
        )
    });
    let sent: Vec<u64> = looks.iter().map(|(sent, _)| *sent).collect();
    assert!(sent[0] < sent[1], "{sent:?}");
    assert!(sent[1] == sent[2] && sent[2] == sent[3], "{sent:?}");
    assert!(sent[3] < sent[4], "{sent:?}");
    let actives: Vec<&[u32]> = looks.iter().map(|(_, actives)| &actives[..]).collect();
    assert_eq!(actives, [&[0][..], &[0], &[0, 1], &[0, 1], &[0]]);
}

#[test]
fn a_virtual_router_that_is_stopped_is_so_with_its_group_until_the_last_stop_is_over() {
    for routers in [0..1, 4..6] {
        let [first, .., last] = [routers.start, routers.end - 1];
        let [first, second] = [first, last].map(|router| Condition::Stop { host: 0, router });
        let looks = look_at(first, second, |simulation| {
            let states = routers.clone().map(|router| state(simulation, 0, router));
            states.map(Option::unwrap).collect::<Vec<_>>()
        });
        let all = |state| vec![state; routers.len()];
        // In the group host 0 has the lowest priority.
        let runs = all(if routers.len() == 1 {
            State::Active
        } else {
            State::Backup
        });
        let stopped = all(State::Initialize);
        let expected = [&runs, &stopped, &stopped, &stopped, &runs];
        assert_eq!(looks.iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_configuration_lasts_until_it_is_over_or_another_one_comes() {
    let priority = |priority| Condition::Priority {
        host: 0,
        router: 0,
        priority: Priority::new(priority),
    };
    let looks = look_at(priority(50), priority(60), |simulation| {
        let fleet = simulation.host(0).unwrap();
        [0, 1].map(|router| {
            fleet
                .member(RouterId::nth(router))
                .unwrap()
                .config
                .priority
                .get()
        })
    });
    assert_eq!(
        looks,
        [[200, 199], [50, 199], [60, 199], [60, 199], [200, 199]]
    );

    let interval = |centis| Condition::Interval {
        host: 0,
        router: 5,
        interval: Interval::centis(centis).unwrap(),
    };
    let looks = look_at(interval(50), interval(70), |simulation| {
        let fleet = simulation.host(0).unwrap();
        [3, 4, 5].map(|router| {
            fleet
                .member(RouterId::nth(router))
                .unwrap()
                .config
                .interval
                .as_duration()
                .as_millis()
        })
    });
    // With its group.
    assert_eq!(
        looks,
        [
            [1000, 1000, 1000],
            [1000, 500, 500],
            [1000, 700, 700],
            [1000, 700, 700],
            [1000, 1000, 1000]
        ]
    );
}

#[test]
fn an_object_is_bad_until_the_last_fault_of_it_is_over() {
    let object = Condition::Object { host: 0, object: 0 };
    let looks = look_at(object.clone(), object, |simulation| {
        state(simulation, 0, 0).unwrap()
    });
    let fault = State::Initialize;
    assert_eq!(looks, [State::Active, fault, fault, fault, State::Active]);
}

#[test]
fn an_object_whose_fault_counts_after_a_while_disturbs_the_network_when_it_does() {
    let mut plan = everything(3);
    for host in &mut plan.hosts {
        host.objects[0].object.debounce.down = Duration::from_secs(8);
    }
    let object = Condition::Object { host: 0, object: 0 };
    let trace = Trace {
        seed: 1,
        faults: vec![(at(20), Fault::Lasting(object, Duration::from_secs(20)))],
    };
    let simulation = Simulation::<VrrpRouter>::replay(&plan, &trace).unwrap();
    let run = run(simulation, 1, at(60));
    assert_eq!(run.violations, []);
    // The network was quiet again by the time the debounced fault counted.
    let changed = "\n28.000000000 state 0 lan 1 IPv4 vrid 1 Active to Initialize";
    assert!(run.lines.contains(changed), "{}", run.lines);
}

#[test]
fn a_lan_is_cut_until_the_last_cut_is_mended() {
    let partition = |island: &[u32]| Condition::Partition {
        interface: 1,
        island: island.into(),
    };
    let looks = look_at(partition(&[0]), partition(&[0]), |simulation| {
        actives(simulation, 0)
    });
    assert_eq!(looks, [vec![0], vec![0], vec![0, 1], vec![0, 1], vec![0]]);
    // One is inside the other.
    let looks = look_at(partition(&[0]), partition(&[0, 1]), |simulation| {
        actives(simulation, 0)
    });
    assert_eq!(looks, [vec![0], vec![0], vec![0, 1], vec![0, 2], vec![0]]);

    let one_way = Condition::OneWay {
        interface: 1,
        from: 0,
        to: 1,
    };
    let looks = look_at(one_way.clone(), one_way, |simulation| {
        actives(simulation, 0)
    });
    assert_eq!(looks, [vec![0], vec![0], vec![0, 1], vec![0, 1], vec![0]]);
}

#[test]
fn nothing_happens_before_the_first_step_and_nothing_after_the_end() {
    let trace = Trace {
        seed: 1,
        faults: vec![],
    };
    let mut simulation = Simulation::<VrrpRouter>::replay(&everything(3), &trace).unwrap();
    assert_eq!(simulation.now(), Instant::ZERO);
    assert!(simulation.host(0).is_none());
    while simulation.step(at(3), &mut |at, _| assert!(at <= crate::scenarios::at(3))) {}
    let before = simulation.now();
    assert!(before < at(3));
    assert!(!simulation.step(before, &mut |_, _| panic!("nothing is due")));
    simulation.run_until(at(3), &mut |_, _| panic!("nothing is due"));
    assert_eq!(simulation.now(), at(3));
    let snapshot = simulation.snapshot();
    let fleets = snapshot.iter().flatten();
    assert_eq!(
        fleets.map(FleetSnapshot::router_count).collect::<Vec<_>>(),
        [6, 6, 6]
    );
}
