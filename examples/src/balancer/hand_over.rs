//! From one balancer to the next, in another process of the same host.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    time::Duration,
};

use ipvs_netlink::pool::PoolSnapshot;
use serde::{Deserialize, Serialize};

use super::{SavedState, boot_time};
use crate::probe::Probe;

/// The state of a [`Balancer`](super::Balancer) for its successor: health, counts and schedules of
/// all checks, settings of the operator, and drains.
///
/// The kernel's table does not change in the meantime, so the successor finds it as it should be.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HandOver {
    /// By `CLOCK_BOOTTIME`, which all processes share.
    taken_at: Duration,
    pub(super) pool: PoolSnapshot,
    pub(super) saved: SavedState,
}

impl HandOver {
    pub(super) fn new(pool: PoolSnapshot, saved: SavedState) -> Self {
        Self {
            taken_at: boot_time(),
            pool,
            saved,
        }
    }

    /// The time of the pool now.
    pub(super) fn now(&self) -> Duration {
        let lasted = boot_time().saturating_sub(self.taken_at);
        self.pool.taken_at().saturating_add(lasted)
    }
}

/// A number for attempts, equal in all processes of one version of the program. Another version may
/// compute other numbers; its checks then count as changed.
pub(super) fn identify(attempts: &[Probe]) -> u64 {
    // Its keys are constants.
    let mut hasher = DefaultHasher::new();
    format!("{attempts:?}").hash(&mut hasher);
    hasher.finish()
}
