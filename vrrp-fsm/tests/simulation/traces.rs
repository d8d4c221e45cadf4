//! A run can be repeated: from its seed, and from its trace.

use vrrp_fsm::{
    fleet::VrrpRouter,
    sim::{Property, Scenario, Simulation, Trace, minimise},
};

use crate::scenarios::{Run, all_faults, at, everything, run};

fn scenario() -> Scenario {
    let mut scenario = everything(3);
    scenario.faults = all_faults(at(300));
    scenario
}

fn first_run(seed: u64) -> Run {
    let simulation = Simulation::<VrrpRouter>::new(&scenario(), seed).unwrap();
    run(simulation, seed, at(330))
}

#[test]
fn a_seed_gives_the_same_run_again() {
    assert_eq!(first_run(1), first_run(1));
    assert_ne!(first_run(1).lines, first_run(2).lines);
    assert_ne!(first_run(1).end, first_run(2).end);
}

#[test]
fn a_seed_gives_the_same_run_on_every_platform() {
    // FNV-1a of the trace.
    let digest = first_run(1)
        .lines
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(digest, 0x99c1_9630_e8ff_a15a, "{digest:#x}");
}

#[test]
fn a_replayed_trace_is_equal_to_the_octet_and_ends_in_the_same_state() {
    for seed in 0..5 {
        let first = first_run(seed);
        let trace: Trace = first.lines.parse().unwrap();
        let lasting = |word: &str| first.lines.lines().any(|line| line.contains(word));
        for word in [
            "crash",
            "stall",
            "stop",
            "priority",
            "interval",
            "object",
            "partition",
            "oneway",
            "lose",
            "duplicate",
            "late",
            "replay",
        ] {
            assert!(lasting(word), "seed {seed} has no {word}");
        }
        // A replay ignores the rates.
        let replayed = Simulation::<VrrpRouter>::replay(&everything(3), &trace).unwrap();
        let second = run(replayed, seed, at(330));
        assert!(first.lines == second.lines, "seed {seed}");
        assert_eq!(first.end, second.end);
        let written: Trace = trace.to_string().parse().unwrap();
        assert_eq!(written, trace);
    }
}

#[test]
fn a_fault_that_is_left_out_leaves_the_others_as_they_are() {
    let mut trace: Trace = first_run(3).lines.parse().unwrap();
    let left_out = trace.faults.len() / 2;
    trace.faults.remove(left_out);
    let replayed = Simulation::<VrrpRouter>::replay(&everything(3), &trace).unwrap();
    let run = run(replayed, 3, at(330));
    assert_eq!(run.violations, []);
    assert_ne!(run.lines, first_run(3).lines);
}

#[test]
fn nothing_is_minimised_where_nothing_is_broken() {
    let trace: Trace = first_run(1).lines.parse().unwrap();
    for property in Property::ALL {
        let least = minimise::<VrrpRouter>(&everything(3), &trace, property, at(330), 10);
        assert_eq!(least.unwrap(), None);
    }
}

#[test]
fn empty_lines_and_comments_are_passed_over() {
    let text = "# a comment\n\nseed 7\n\n# another one\n12.000000000 crash 2 for 1.500000000\n";
    let trace: Trace = text.parse().unwrap();
    assert_eq!(
        trace.to_string(),
        "seed 7\n12.000000000 crash 2 for 1.500000000\n"
    );
}

#[test]
fn a_line_that_is_none_is_refused_with_its_reason() {
    for (text, reason) in [
        (
            "12.000000000 crash 2 for 1.500000000",
            "the first line is `seed` and a number",
        ),
        (
            "seed 7\n12 crash 2 for 1.500000000",
            "a time is seconds with nine digits",
        ),
        (
            "seed 7\n12.50000000 crash 2 for 1.500000000",
            "a time is seconds with nine digits",
        ),
        (
            "seed 7\n12.000000000 crash 2 for 1.+50000000",
            "a time is seconds with nine digits",
        ),
        (
            "seed 7\n12.000000000 crash",
            "no such word with so many arguments",
        ),
        (
            "seed 7\n12.000000000 priority 1 1 255 for 1.500000000",
            "a priority is 1 to 254",
        ),
        ("seed 7\n12.000000000 lose 1 2", "a > is missing"),
        (
            "seed 7\n12.000000000 stall x for 1.500000000",
            "not a number, or too great a one",
        ),
        ("seed 7\nnothing", "no time"),
    ] {
        assert_eq!(text.parse::<Trace>().unwrap_err().reason, reason, "{text}");
    }
}
