//! The requirements of `docs/conformance.md` that concern octets, one test or more for each row,
//! its ID first in the name.

// Helpers outside `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Counts and lengths are cut to the width of their field where they are known to fit.
#![allow(clippy::cast_possible_truncation)]

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
mod values;
