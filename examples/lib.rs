//! Runnable programs on top of the crates. They stand beside this file; the README lists them, and its example is a test here.

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
