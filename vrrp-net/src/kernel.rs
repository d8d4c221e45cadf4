//! The parts that talk to the kernel. They build on `sys`, `rtnetlink` and `filter`, and are
//! independent of each other.

pub(crate) mod filter;
pub(crate) mod frame_socket;
pub(crate) mod link_socket;
pub(crate) mod macvlan;
mod membership;
pub(crate) mod monitor;
pub(crate) mod netlink;
pub(crate) mod poller;
pub(crate) mod proxy_socket;
pub(crate) mod resolution_frame;
pub(crate) mod route_watch;
pub(crate) mod rtnetlink;
pub(crate) mod socket;
pub(crate) mod sys;
pub(crate) mod sysctl;
pub(crate) mod vrid_set;
