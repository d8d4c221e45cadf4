//! Parts that the example programs share, and that their tests test. The programs are the folders
//! beside this one; the README lists them, and its example is a test here.

pub mod announce;
pub mod balancer;
pub mod command;
pub mod control;
pub mod demo;
pub mod event_log;
pub mod ipvsadm;
pub mod keepalived;
pub mod keepalived_conf;
pub mod kubernetes;
pub mod notify;
pub mod pages;
pub mod probe;
pub mod status;
pub mod succession;
pub mod toml_file;
pub mod tracked;
pub mod virtual_routers;
pub mod worker;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
