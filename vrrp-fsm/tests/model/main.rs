//! Model checking: every situation that some routers on a bad network can get into.
//! `docs/model-checking.md` describes the model, its limits and the number of situations.

#![allow(missing_docs)]
// The settings in clippy.toml do not reach the helpers of tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod network;
mod node;

use std::fs;

use network::{AN_ACTIVE_WHERE_A_ROUTER_TAKES_PART, AT_MOST_ONE_ACTIVE, Faults, Flaw, Network};
use node::Node;
use stateright::{Checker, HasDiscoveries, Model};
use vrrp_fsm::{ChecksumSending, Preempt, StallPolicy};
use vrrp_proto::ChecksumForm;

/// Any two faults of any kind.
const TWO_OF_ALL: Faults = Faults {
    limit: 2,
    without_limit: false,
    loss: true,
    duplication: true,
    reordering: Some(6),
    crashes: true,
    stops: true,
    priority: Some(64),
    // Longer than any Active_Down_Interval.
    stall: Some(18),
};

/// The number of longest delays that pass, in addition to Active_Down_Interval, from the last fault
/// until there is one Active. `it_is_not_stable_a_tick_earlier` shows that fewer are not enough.
const DELAYS: u8 = 4;

/// Routers of these priorities, and messages that take up to `delay` ticks.
fn network(priorities: &[u8], delay: u8, faults: Faults) -> Network {
    let lowest = priorities.iter().copied().chain(faults.priority).min();
    Network {
        routers: priorities.iter().copied().map(Node::config).collect(),
        delay,
        // Everything due at the last moment may still happen.
        stable_after: Node::active_down_ticks(lowest.unwrap()) + DELAYS * delay + 1,
        faults,
        flaw: None,
    }
}

/// Checks that every property holds in the end, and that the documentation has the numbers.
fn check(name: &str, network: Network) {
    let priorities: Vec<String> = network
        .routers
        .iter()
        .map(|config| config.priority.get().to_string())
        .collect();
    let row = format!(
        "| `{name}` | {} | {} | {} | {} |",
        priorities.join(", "),
        network.delay,
        network.faults,
        network.stable_after,
    );
    let checker = network.checker().spawn_bfs().join();
    checker.assert_properties();
    let row = format!("{row} {} |", checker.unique_state_count());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/model-checking.md");
    let documentation = fs::read_to_string(path).unwrap();
    assert!(
        documentation.lines().any(|line| line == row),
        "docs/model-checking.md lacks the line {row}"
    );
}

/// Checks that a violation of this property is found.
fn assert_found(property: &'static str, network: Network) {
    let found = HasDiscoveries::AnyOf([property].into());
    let checker = network.checker().finish_when(found).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

#[test]
fn two_routers() {
    check("two_routers", network(&[192, 128], 1, TWO_OF_ALL));
}

#[test]
fn two_routers_that_lose_any_number_of_messages() {
    let faults = Faults {
        limit: 1,
        without_limit: true,
        stall: None,
        ..TWO_OF_ALL
    };
    check(
        "two_routers_that_lose_any_number_of_messages",
        network(&[192, 128], 1, faults),
    );
}

#[test]
fn two_routers_of_equal_priority() {
    let faults = Faults {
        priority: None,
        stall: None,
        ..TWO_OF_ALL
    };
    check(
        "two_routers_of_equal_priority",
        network(&[128, 128], 1, faults),
    );
}

#[test]
fn two_routers_that_yield_after_a_stall() {
    let faults = Faults {
        stops: false,
        priority: None,
        ..TWO_OF_ALL
    };
    let mut network = network(&[192, 128], 1, faults);
    for config in &mut network.routers {
        config.stall = StallPolicy::Yield;
    }
    check("two_routers_that_yield_after_a_stall", network);
}

#[test]
fn two_routers_that_do_not_preempt() {
    let faults = Faults {
        priority: None,
        stall: None,
        ..TWO_OF_ALL
    };
    let mut network = network(&[192, 128], 1, faults);
    for config in &mut network.routers {
        config.preempt = Preempt::Never;
    }
    check("two_routers_that_do_not_preempt", network);
}

#[test]
fn two_routers_on_a_slow_network() {
    let faults = Faults {
        limit: 1,
        stall: None,
        ..TWO_OF_ALL
    };
    check(
        "two_routers_on_a_slow_network",
        network(&[192, 128], 2, faults),
    );
}

#[test]
fn three_routers() {
    let faults = Faults {
        priority: None,
        stall: None,
        ..TWO_OF_ALL
    };
    check("three_routers", network(&[192, 128, 64], 1, faults));
}

#[test]
fn three_routers_and_any_one_fault() {
    let faults = Faults {
        limit: 1,
        ..TWO_OF_ALL
    };
    check(
        "three_routers_and_any_one_fault",
        network(&[192, 128, 64], 1, faults),
    );
}

#[test]
fn three_routers_without_delay() {
    check(
        "three_routers_without_delay",
        network(&[192, 128, 64], 0, TWO_OF_ALL),
    );
}

/// A router that adapts its checksum form (AMB-01), with this place among routers that send and
/// accept one form each.
fn with_strict_routers(priorities: &[u8], adaptive: usize, forms: &[ChecksumForm]) -> Network {
    let faults = Faults {
        limit: 1,
        crashes: forms.len() == 1,
        stops: forms.len() == 1,
        priority: None,
        ..TWO_OF_ALL
    };
    let mut network = network(priorities, 0, faults);
    network.routers[adaptive].checksum = ChecksumSending::Adaptive;
    let strict = network.routers.iter_mut().enumerate();
    let strict = strict.filter(|(place, _)| *place != adaptive);
    for ((_, config), form) in strict.zip(forms) {
        config.checksum = ChecksumSending::Fixed(*form);
    }
    network
}

#[test]
fn an_adaptive_router_above_one_with_the_pseudo_header() {
    check(
        "an_adaptive_router_above_one_with_the_pseudo_header",
        with_strict_routers(&[192, 128], 0, &[ChecksumForm::PseudoHeader]),
    );
}

#[test]
fn an_adaptive_router_below_one_with_the_pseudo_header() {
    check(
        "an_adaptive_router_below_one_with_the_pseudo_header",
        with_strict_routers(&[192, 128], 1, &[ChecksumForm::PseudoHeader]),
    );
}

#[test]
fn an_adaptive_router_above_one_of_rfc_9568() {
    check(
        "an_adaptive_router_above_one_of_rfc_9568",
        with_strict_routers(&[192, 128], 0, &[ChecksumForm::MessageOnly]),
    );
}

#[test]
fn an_adaptive_router_below_one_of_rfc_9568() {
    check(
        "an_adaptive_router_below_one_of_rfc_9568",
        with_strict_routers(&[192, 128], 1, &[ChecksumForm::MessageOnly]),
    );
}

/// The two strict routers discard each other's packets: the adaptive one must keep both in Backup.
#[test]
fn an_adaptive_router_above_one_of_each_kind() {
    let forms = [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly];
    check(
        "an_adaptive_router_above_one_of_each_kind",
        with_strict_routers(&[192, 128, 64], 0, &forms),
    );
}

#[test]
fn a_router_that_sends_the_wrong_form_is_found() {
    for form in [ChecksumForm::PseudoHeader, ChecksumForm::MessageOnly] {
        let mut network = with_strict_routers(&[192, 128], 0, &[form]);
        network.routers[0].checksum = ChecksumSending::Fixed(match form {
            ChecksumForm::PseudoHeader => ChecksumForm::MessageOnly,
            ChecksumForm::MessageOnly => ChecksumForm::PseudoHeader,
        });
        assert_found(AT_MOST_ONE_ACTIVE, network);
    }
}

#[test]
fn it_is_not_stable_a_tick_earlier() {
    let mut network = network(&[192, 128], 1, TWO_OF_ALL);
    network.stable_after -= 1;
    assert_found(AT_MOST_ONE_ACTIVE, network);
}

#[test]
fn an_active_that_does_not_listen_is_found() {
    let mut network = network(&[192, 128], 1, TWO_OF_ALL);
    network.flaw = Some(Flaw::DeafActive);
    assert_found(AT_MOST_ONE_ACTIVE, network);
}

#[test]
fn an_active_that_does_not_listen_to_its_equals_is_found() {
    let mut network = network(&[128, 128], 1, TWO_OF_ALL);
    network.flaw = Some(Flaw::NoTieBreak);
    assert_found(AT_MOST_ONE_ACTIVE, network);
}

#[test]
fn a_backup_that_never_takes_over_is_found() {
    let mut network = network(&[192, 128], 1, TWO_OF_ALL);
    network.flaw = Some(Flaw::PatientBackup);
    assert_found(AN_ACTIVE_WHERE_A_ROUTER_TAKES_PART, network);
}
