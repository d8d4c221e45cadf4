//! The measurements of the benches, and their methods.
//!
//! `cargo bench -p vrrp-benches` runs all of them; `-- --quick` takes fewer samples, and `--bench
//! NAME` runs one.
//!
//! | bench | shows |
//! |---|---|
//! | `codec` | time to decode and to encode a message, beside a [floor](codec::Floor) over the same octets |
//! | `fleet` | time of a packet among many routers, octets per router, ways to keep deadlines in order and to find a packet's router |
//! | `fsm` | time of a step of the state machine, octets per router, allocations per packet |
//! | `instructions` | instructions of the same work, counted by valgrind: the same in every run on every machine |
//! | `ipvs` | time to fill, read and change the kernel's IPVS table in a guest kernel, beside a sender of prepared octets and ipvsadm |
//! | `ipvs_codec` | time to decode and to encode a message of IPVS, beside floors over the same octets; allocations |
//! | `ipvs_controller` | time of the program for up to 10,000 Services of a Kubernetes cluster, beside the kernel's part and ipvsadm |
//! | `ipvs_reconcile` | time to find that the kernel's table needs no change, beside `table()` and ipvsadm |
//! | `keepalived` | the program `keepalived` beside keepalived, with 1,000 instances and 1,000 virtual servers: start, check of the file, reload, memory |
//! | `plan` | time to plan the changes of 10,000 services, beside one lookup of each object |
//! | `pool` | time of a check among up to 100,000, beside a heap of their times; allocations, octets per check |
//! | `side_by_side` | up to 5,000 routers under the driver and under keepalived: CPU time, system calls, lateness, memory, mass takeovers |
//! | `takeover` | time until a Backup has taken over, beside keepalived |
//!
//! Budgets are ratios where they can be, because times differ from machine to machine and from
//! minute to minute. A missed budget is shown and is no failure; only a bench that cannot run
//! fails.

pub mod codec;
pub mod deadlines;
pub mod fleet;
pub mod fsm;
mod guest;
pub mod index;
pub mod ipvs;
mod measure;
pub mod process;
pub mod side_by_side;
mod subprocess;
mod table;

pub use guest::run_guest;
pub use measure::{Repeat, Samples, interleave, is_quick, median, repeat, verdict};
pub use subprocess::{Subprocess, ready};
pub use table::Table;

/// An error of a bench.
pub type Error = Box<dyn std::error::Error>;
