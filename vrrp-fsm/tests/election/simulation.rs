//! Several routers on a LAN.

use core::time::Duration;

use vrrp_fsm::{Config, Preempt, State};
use vrrp_proto::{Family, Priority, Versions};

use crate::{
    host::{centis, config, config_v2, ms, vrid},
    lan::Lan,
};

fn every_kind(priorities: &[u8]) -> Vec<Vec<Config>> {
    let with = |base: Config| {
        priorities
            .iter()
            .map(|priority| {
                let mut own = base;
                own.priority = Priority::new(*priority);
                own
            })
            .collect()
    };
    let mut fast = config(100);
    fast.interval = centis(10);
    let mut both = config(100);
    both.versions = Versions::Both;
    let six = Config::new(vrid(), Family::Ipv6);
    [config(100), config_v2(100), six, fast, both]
        .map(with)
        .into()
}

#[test]
fn the_highest_priority_is_elected_and_survives_alone() {
    for configs in every_kind(&[50, 200, 100]) {
        let mut lan = Lan::new(configs, 1);
        lan.start_all();
        lan.run(ms(20_000));
        assert_eq!(lan.actives(), [1]);
        assert_eq!(
            lan.history
                .iter()
                .filter(|(_, _, to)| *to == State::Active)
                .count(),
            1
        );
    }
}

#[test]
fn takeover_after_a_kill_comes_within_the_down_interval_of_the_next() {
    for configs in every_kind(&[50, 200, 100]) {
        let mut lan = Lan::new(configs, 2);
        lan.start_all();
        lan.run(ms(20_300));
        lan.kill(1);
        let killed = lan.now;
        let bound = lan.nodes[2].router.active_down_interval() + lan.delay;
        lan.run(ms(10_000));
        assert_eq!(lan.actives(), [2]);
        let (taken, ..) = lan.history.last().unwrap();
        assert!(
            *taken - killed <= bound,
            "{:?} of {bound:?}",
            *taken - killed
        );
    }
}

#[test]
fn takeover_after_a_resignation_comes_after_the_skew_of_the_next() {
    for configs in every_kind(&[50, 200, 100]) {
        let mut lan = Lan::new(configs, 3);
        lan.start_all();
        lan.run(ms(20_300));
        let stopped = lan.now;
        lan.stop(1);
        let skew = lan.nodes[2].router.skew_time();
        lan.run(ms(10_000));
        assert_eq!(lan.actives(), [2]);
        let (taken, ..) = lan.history.last().unwrap();
        assert!(*taken - stopped <= skew + lan.delay * 2);
        assert_eq!(lan.announced.unwrap().1, 2);
    }
}

#[test]
fn a_higher_priority_that_comes_back_preempts_without_a_gap() {
    let mut lan = Lan::new([config(100), config(200)], 4);
    lan.start_all();
    lan.run(ms(10_000));
    lan.kill(1);
    lan.run(ms(10_000));
    assert_eq!(lan.actives(), [0]);
    lan.revive(1);
    lan.run(ms(10_000));
    assert_eq!(lan.actives(), [1]);
    let [.., (took, 1, State::Active), (let_go, 0, State::Backup)] = lan.history[..] else {
        panic!("{:?}", lan.history);
    };
    assert!(let_go - took <= lan.delay);
}

#[test]
fn s_34_with_preemption_off_everywhere_no_router_preempts() {
    let configs = [10, 60, 254, 120].map(|priority| {
        let mut own = config(priority);
        own.preempt = Preempt::Never;
        own
    });
    let mut lan = Lan::new(configs, 5);
    lan.start(0);
    lan.run(ms(5000));
    assert_eq!(lan.actives(), [0]);
    for later in 1..4 {
        lan.start(later);
        lan.run(ms(30_000));
        assert_eq!(lan.actives(), [0]);
    }
    // The highest priority replaces a router that is gone. The router does not preempt when it is
    // back.
    lan.kill(0);
    lan.run(ms(10_000));
    assert_eq!(lan.actives(), [2]);
    lan.kill(2);
    lan.run(ms(10_000));
    assert_eq!(lan.actives(), [3]);
    lan.revive(2);
    lan.run(ms(100_000));
    assert_eq!(lan.actives(), [3]);
}

#[test]
fn routers_held_together_take_over_in_the_order_of_their_priorities() {
    let priorities: Vec<u8> = (1..=40).map(|step| step * 6).collect();
    let configs = priorities.iter().map(|priority| {
        let mut own = config(*priority);
        own.startup_hold = ms(30_000);
        own
    });
    let mut lan = Lan::new(configs, 6);
    lan.start_all();
    lan.run(ms(29_999));
    assert_eq!(lan.history.len(), 40, "forty times Initialize to Backup");
    lan.run(ms(30_000));
    assert_eq!(lan.actives(), [39]);
    assert_eq!(lan.history.len(), 41);
}

#[test]
fn a_healed_partition_ends_with_one_active_that_has_announced() {
    for (own, kind) in every_kind(&[50, 200, 100]).into_iter().zip(0..) {
        let mut lan = Lan::new(own, 7 + kind);
        lan.start_all();
        lan.run(ms(10_000));
        lan.nodes[1].isolated = true;
        lan.run(ms(60_000));
        assert_eq!(lan.actives(), [1, 2]);
        lan.nodes[1].isolated = false;
        let healed = lan.now;
        lan.run(ms(10_000));
        assert_eq!(lan.actives(), [1]);
        let (when, who) = lan.announced.unwrap();
        assert_eq!(who, 1);
        assert!(when > healed, "the neighbours may hold the loser's entry");
    }
}

#[test]
fn two_owners_resolve_by_address() {
    let mut lan = Lan::new([config(255), config(255), config(100)], 8);
    lan.start_all();
    assert_eq!(lan.actives(), [0, 1]);
    lan.run(ms(5000));
    assert_eq!(lan.actives(), [1]);
}

#[test]
fn both_versions_follow_one_active() {
    let mut both = config(150);
    both.versions = Versions::Both;
    let mut lan = Lan::new([config(50), config_v2(60), both], 9);
    lan.start_all();
    lan.run(ms(60_000));
    assert_eq!(lan.actives(), [2]);
    lan.stop(2);
    lan.run(ms(10_000));
    assert_eq!(
        lan.actives(),
        [0, 1],
        "without a translator the two cannot hear each other"
    );
}

#[test]
fn a_lossy_network_has_one_active_once_it_is_quiet() {
    for seed in 0..30 {
        let mut own = [60, 120, 120, 200].map(config);
        own[3].preempt = Preempt::AfterDelay(ms(3000));
        let mut lan = Lan::new(own, seed);
        lan.loss = 150;
        lan.delay = ms(300);
        lan.start_all();
        lan.run(ms(120_000));
        lan.kill(usize::try_from(seed % 4).unwrap());
        lan.run(ms(60_000));
        lan.loss = 0;
        lan.delay = Duration::from_millis(1);
        lan.run(ms(30_000));
        assert_eq!(lan.actives().len(), 1, "seed {seed}");
        let stable = lan.history.len();
        lan.run(ms(1_000_000));
        assert_eq!(
            lan.history.len(),
            stable,
            "seed {seed}: nothing moves any more"
        );
    }
}

#[test]
fn a_run_is_repeated_exactly() {
    let run = || {
        let mut lan = Lan::new([60, 120, 120, 200].map(config), 42);
        lan.loss = 180;
        lan.delay = ms(700);
        lan.start_all();
        lan.run(ms(600_000));
        lan.history
    };
    let history = run();
    assert!(history.len() > 20, "{}", history.len());
    assert_eq!(history, run());
}
