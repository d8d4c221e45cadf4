//! Times and counts that checks take from the blocks around them.

use crate::keepalived_conf::tree::Node;

/// Times and counts that a real server and its checks take from the virtual server.
#[derive(Clone, Copy)]
pub(super) struct Defaults {
    pub(super) delay_loop: i64,
    pub(super) connect_timeout: i64,
    pub(super) retry: Option<i64>,
    pub(super) delay_before_retry: Option<i64>,
    pub(super) warmup: Option<i64>,
}

impl Defaults {
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
    pub(super) fn retries(&self) -> Option<u32> {
        self.retry.and_then(|it| u32::try_from(it).ok())
    }
}
