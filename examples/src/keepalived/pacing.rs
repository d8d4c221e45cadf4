//! The pace of announcements.

use vrrp_net::{AnnouncementPace, PaceGroup, Pacing};

use super::translate::micros;
use crate::keepalived_conf::configuration::Configuration;

/// The pace of `vrrp_garp_interval`, `vrrp_gna_interval` and each `garp_group`.
pub(super) fn pacing(configuration: &Configuration) -> Pacing {
    let pace = |garp: i64, gna: i64| AnnouncementPace {
        gratuitous_arp: micros(garp),
        neighbor_advertisement: micros(gna),
    };
    let global = |word: &str| configuration.global.numbers.get(word).copied().unwrap_or(0);
    let groups = configuration.garp_groups.iter().map(|group| PaceGroup {
        interfaces: group.interfaces.clone(),
        pace: pace(group.garp_interval, group.gna_interval),
    });
    Pacing {
        each: pace(global("vrrp_garp_interval"), global("vrrp_gna_interval")),
        groups: groups.collect(),
    }
}
