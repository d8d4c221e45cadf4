//! One program takes over from another.

use vrrp_lab::{BackgroundProgram, wait_for};

use crate::{VIP, ask_for_state, events, lan_of, router, wait_for_event, wait_for_state};

#[test]
fn a_program_takes_over_from_another_without_an_election() {
    let (_lan, [r1, r2]) = lan_of::<2>();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("take-over");
    let socket = socket.to_str().unwrap();
    let mut one = router(&r1, &["--take-over", socket]);
    wait_for_state(&one, "Active");
    let other = router(&r2, &["--priority", "50"]);
    wait_for_state(&other, "Backup");

    let start = |more: &[&str]| {
        let options = [&["--take-over", socket], more].concat();
        router(&r1, &options)
    };
    // The same options, then another priority, which needs no election either.
    for (more, priority) in [(&[][..], 100), (&["--priority", "120"], 120)] {
        let next = start(more);
        wait_for_event(&one, "handed-over");
        wait_for_event(&one, "stopped");
        let state = ask_for_state(&next);
        assert_eq!(state["state"], "Active");
        assert_eq!(state["priority"], priority);
        assert!(r1.addresses().unwrap().contains(&VIP.parse().unwrap()));
        let changes = |of: &BackgroundProgram| {
            let of = events(of);
            of.iter()
                .filter(|it| it["event"] == "state-changed")
                .count()
        };
        assert_eq!(changes(&next), 0);
        one = next;
    }
    let changes = events(&other);
    assert!(
        changes.iter().all(|it| it["to"] != "Active"),
        "{changes:#?}"
    );

    // A router that is no longer on the command line goes.
    let next = router(&r1, &["--take-over", socket, "--vrid", "52"]);
    wait_for_event(&one, "stopped");
    wait_for_state(&next, "Active");
    wait_for_state(&other, "Active");
    drop(next);
}

#[test]
fn a_tracked_object_with_another_target_is_watched_at_its_new_target_after_a_take_over() {
    let (_lan, [host]) = lan_of::<1>();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("take-over");
    let socket = socket.to_str().unwrap();
    let start = |option: &str, track: &str| router(&host, &["--take-over", socket, option, track]);
    let wait_for_explanation = |router: &BackgroundProgram, expected: &str| {
        wait_for(expected, BackgroundProgram::LIMIT, || {
            (ask_for_state(router)["explanation"] == expected).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}; there was {:#?}", router.lines()));
    };
    let mut one = start("--track-address", "uplink:-50 is 192.0.2.1");
    wait_for_state(&one, "Active");
    wait_for_explanation(&one, "priority 100: 100 configured, uplink up");
    for (option, track, explanation) in [
        // Another address, then another kind of object, which reports at once and later.
        (
            "--track-address",
            "uplink:-50 is 203.0.113.9",
            "priority 50: 100 configured, uplink down -50",
        ),
        (
            "--track-script",
            "uplink:-50 run true",
            "priority 100: 100 configured, uplink up",
        ),
        (
            "--track-script",
            "uplink:-50 run false",
            "priority 50: 100 configured, uplink down -50",
        ),
        (
            "--track-route",
            "uplink:-50 to 192.0.2.0/24",
            "priority 100: 100 configured, uplink up",
        ),
        (
            "--track-address",
            "uplink:-50 is 192.0.2.1",
            "priority 100: 100 configured, uplink up",
        ),
    ] {
        let next = start(option, track);
        wait_for_event(&one, "stopped");
        wait_for_explanation(&next, explanation);
        assert_eq!(ask_for_state(&next)["state"], "Active");
        one = next;
    }
}
