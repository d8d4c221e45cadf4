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
mod guides;
mod reload;
mod replace;
mod rig;
mod service_manager;
mod settings;

use std::thread;

use rig::{Kind, LIMIT, Rig};
use vrrp_lab::wait_for;

/// Runs a trial with each choice of programs, and compares the reports.
fn compare(configs: [&str; 2], trial: impl Fn(&mut Rig) + Sync) {
    use Kind::{Keepalived, Ours};

    let kinds = [
        [Keepalived, Keepalived],
        [Ours, Ours],
        [Ours, Keepalived],
        [Keepalived, Ours],
    ];
    let run = |kinds: [Kind; 2]| {
        let mut rig = Rig::new(kinds, configs);
        trial(&mut rig);
        rig
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads = kinds.map(|kinds| scope.spawn(move || run(kinds)));
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
    let waited = wait_for("equal reports", LIMIT, || are_equal().then_some(()));
    let reports = reports();
    for rig in &mut rigs {
        rig.kill();
    }
    let named: Vec<_> = kinds.iter().zip(&reports).collect();
    assert!(waited.is_ok(), "{named:#?}");
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
