//! Networks of namespaces, real peers and captures for tests, benches and example programs.
//!
//! A [`Lan`] is a bridge with [`Host`]s plugged into it, each in a network [`Namespace`] of its own.
//!
//! # Privileges
//!
//! `CAP_SYS_ADMIN`, `CAP_NET_ADMIN` and `CAP_NET_RAW` in the current user namespace are enough: root has them, so has
//! a normal user under `unshare -Urn` or after [`become_root_in_user_namespace`].
//!
//! # Nothing is left behind
//!
//! A namespace lives as long as the file descriptors and processes that hold it; it has no name in the file system.
//! Programs are killed and temporary files removed on drop, and the kernel kills the programs when the process that
//! started them dies without a chance to clean up.

mod error;
mod lan;
mod namespace;
mod netlink;
mod sys;
mod user_namespace;
mod wait;

pub use error::Error;
pub use lan::{Host, Lan};
pub use namespace::Namespace;
pub use user_namespace::become_root_in_user_namespace;
pub use wait::wait_for;
