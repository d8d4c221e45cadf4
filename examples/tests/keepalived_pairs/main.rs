//! The same pair of configurations under keepalived, under this program, and under one of each: the
//! same changes are reported, and the addresses are in the same places.
//!
//! Named differences, which the comparison leaves out: times; `state MASTER` does not shorten the
//! first wait.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "helpers of tests"
)]

mod cloud;
mod daemon;
mod groups;
mod guides;
mod reload;
mod replace;
mod rig;
mod scripts;
mod service_manager;
mod settings;
mod startup;

use std::{
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rig::{Kind, Rig};
use vrrp_lab::wait_for;

use Kind::{Keepalived, Ours};

const KINDS: [[Kind; 2]; 4] = [
    [Keepalived, Keepalived],
    [Ours, Ours],
    [Ours, Keepalived],
    [Keepalived, Ours],
];

/// The time after which every script has noted its change.
const NOTING: Duration = Duration::from_secs(40);

/// With a longer stall a Backup of these tests may take over from an Active that lives: it waits
/// for 1.8 s, and hears the Active every half second.
const TOLERABLE_STALL: Duration = Duration::from_secs(1);

/// Runs a trial with each choice of programs, and compares the reports. Other reports of a machine
/// that stalled say nothing about the programs; the trial is then repeated, twice at most.
fn compare(configs: [&str; 2], trial: impl Fn(&mut Rig) + Sync) {
    for is_last in [false, false, true] {
        let ((are_equal, reports), stall) = watched(|| run_all(configs, &trial));
        if are_equal {
            return;
        }
        let named: Vec<_> = KINDS.iter().zip(&reports).collect();
        let is_disturbed = stall > TOLERABLE_STALL;
        assert!(
            is_disturbed && !is_last,
            "longest stall {stall:?}: {named:#?}"
        );
        eprintln!("repeated, because the machine stalled for {stall:?}: {named:#?}");
    }
}

/// Runs a trial with each choice of programs. Returns whether the reports are equal, and the
/// reports.
fn run_all(
    configs: [&str; 2],
    trial: &(impl Fn(&mut Rig) + Sync),
) -> (bool, Vec<[Vec<String>; 2]>) {
    let run = |kinds: [Kind; 2]| {
        let mut rig = Rig::new(kinds, configs);
        trial(&mut rig);
        rig
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads = KINDS.map(|kinds| scope.spawn(move || run(kinds)));
        threads
            .map(thread::ScopedJoinHandle::join)
            .into_iter()
            .collect()
    });
    let mut rigs: Vec<_> = results
        .into_iter()
        .map(|it| it.expect("the trial fails"))
        .collect();
    // The trial waited for a change that a script may not have noted yet.
    let reports = || rigs.iter().map(Rig::notes).collect::<Vec<_>>();
    let are_equal = || reports().windows(2).all(|pair| pair[0] == pair[1]);
    let waited = wait_for("equal reports", NOTING, || are_equal().then_some(()));
    let reports = reports();
    for rig in &mut rigs {
        rig.kill();
    }
    (waited.is_ok(), reports)
}

/// Calls `run`. Returns its result, and the longest time for which the machine woke no thread and
/// ran no program in the meantime.
fn watched<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    const PAUSE: Duration = Duration::from_millis(50);

    thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let mut longest = Duration::ZERO;
            loop {
                let start = Instant::now();
                let is_over = ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout);
                Command::new("true").status().unwrap();
                longest = longest.max(start.elapsed().saturating_sub(PAUSE));
                if is_over {
                    return longest;
                }
            }
        });
        let result = run();
        drop(end);
        (result, watch.join().unwrap())
    })
}

/// An instance with the settings that most tests share, half a second between advertisements, and a
/// script that notes each change.
fn instance(priority: u8, further: &str) -> String {
    format!(
        "global_defs {{
    script_user root
    dynamic_interfaces
}}
vrrp_instance VI_1 {{
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.5
    priority {priority}
    virtual_ipaddress {{
        192.0.2.100/24
    }}
    notify_master \"DIR/note MASTER\"
    notify_backup \"DIR/note BACKUP\"
    notify_fault \"DIR/note FAULT\"
    notify_stop \"DIR/note STOP\"
{further}
}}
"
    )
}
