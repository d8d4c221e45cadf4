//! Code that the example programs share and that tests cover. The programs are the folders beside
//! this one; the README lists them, and its example is a test here.

#[cfg(feature = "programs")]
pub mod announce;
#[cfg(feature = "programs")]
pub mod balancer;
#[cfg(feature = "programs")]
pub mod command;
#[cfg(feature = "programs")]
pub mod control;
#[cfg(feature = "programs")]
pub mod demo;
#[cfg(feature = "programs")]
pub mod event_log;
#[cfg(feature = "programs")]
pub mod ipvsadm;
#[cfg(feature = "programs")]
pub mod keepalived;
pub mod keepalived_conf;
pub mod kubernetes;
#[cfg(feature = "programs")]
pub mod memory;
#[cfg(feature = "programs")]
pub mod notify;
#[cfg(feature = "programs")]
pub mod pages;
pub mod password;
#[cfg(feature = "programs")]
pub mod probe;
#[cfg(feature = "programs")]
pub mod regrouping;
#[cfg(feature = "programs")]
pub mod status;
#[cfg(feature = "programs")]
pub mod succession;
#[cfg(feature = "programs")]
pub mod toml_file;
#[cfg(feature = "programs")]
pub mod tracked;
#[cfg(feature = "programs")]
pub mod virtual_routers;
#[cfg(feature = "programs")]
pub mod whole_file;
#[cfg(feature = "programs")]
pub mod worker;

/// The example of the README.
#[cfg(all(doctest, feature = "programs"))]
#[doc = include_str!("../../README.md")]
struct Readme;
