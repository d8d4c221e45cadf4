//! The requirements of `docs/conformance.md` that concern octets, one test or more for each row, its ID first in the name.

// Helpers outside `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ah;
mod captures;
mod check;
mod decode;
mod encode;
mod frames;
mod hmac;
mod peer_defects;
mod properties;
mod support;
mod tshark;
