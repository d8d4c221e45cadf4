//! Traffic of real sockets through real IPVS: a client, a router, a director and three servers,
//! each a namespace.

mod echo;
mod methods;
mod network;
mod persistence;
mod removal;
mod scheduling;
mod stats;

use vrrp_lab::GuestTest;

pub(crate) fn tests() -> Vec<GuestTest> {
    [
        methods::tests(),
        scheduling::tests(),
        persistence::tests(),
        removal::tests(),
        stats::tests(),
    ]
    .concat()
}
