//! Times and counts that checks take from the blocks around them.

use crate::keepalived_conf::tree::Node;

/// Times and counts that checks take from their real server, and that one from its virtual server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckDefaults {
    /// `delay_loop` in microseconds.
    pub delay_loop: i64,
    /// `connect_timeout` in microseconds.
    pub connect_timeout: i64,
    /// Failures before a check fails, less one, for checks that have no value of their own.
    pub(super) retry: Option<i64>,
    /// Microseconds before a retry.
    pub delay_before_retry: Option<i64>,
    /// Microseconds over which first checks are spread.
    pub warmup: Option<i64>,
}

impl CheckDefaults {
    /// The values where no block names others.
    pub(super) const OF_KEEPALIVED: Self = Self {
        delay_loop: 60_000_000,
        connect_timeout: 5_000_000,
        retry: None,
        delay_before_retry: None,
        warmup: None,
    };

    /// The values inside a block, which may name its own.
    pub(super) fn with(self, node: &Node) -> Self {
        Self {
            delay_loop: node.number("delay_loop").unwrap_or(self.delay_loop),
            connect_timeout: node
                .number("connect_timeout")
                .unwrap_or(self.connect_timeout),
            retry: node.number("retry").or(self.retry),
            delay_before_retry: node
                .number("delay_before_retry")
                .or(self.delay_before_retry),
            warmup: node.number("warmup").or(self.warmup),
        }
    }

    /// The number of retries, if it is given.
    #[must_use]
    pub fn retries(&self) -> Option<u32> {
        self.retry.and_then(|it| u32::try_from(it).ok())
    }
}
