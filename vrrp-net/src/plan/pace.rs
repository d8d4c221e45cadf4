//! The spacing of announcements.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use vrrp_fsm::{Instant, fleet::RouterId};
use vrrp_proto::Family;

use crate::{Error, interface::check_link_name};

/// The least time between two announcements. The default is zero: all announcements of a burst
/// leave at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AnnouncementPace {
    /// Between two gratuitous ARP messages: 0 to a day.
    pub gratuitous_arp: Duration,
    /// Between two unsolicited neighbor advertisements: 0 to a day.
    pub neighbor_advertisement: Duration,
}

impl AnnouncementPace {
    /// The longest time between two announcements: a day.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    fn check(self) -> Result<(), Error> {
        for (field, time) in [
            ("gratuitous_arp", self.gratuitous_arp),
            ("neighbor_advertisement", self.neighbor_advertisement),
        ] {
            if time > Self::LONGEST {
                return Err(Error::Invalid {
                    field,
                    problem: format!("{time:?} is more than {:?}", Self::LONGEST),
                });
            }
        }
        Ok(())
    }

    const fn of(self, family: Family) -> Duration {
        match family {
            Family::Ipv4 => self.gratuitous_arp,
            Family::Ipv6 => self.neighbor_advertisement,
        }
    }
}

/// The pace of announcements on each interface, for switches that cannot take many of them at once:
/// [`Driver::set_pacing`](crate::Driver::set_pacing).
///
/// Addresses on a macvlan or ipvlan are announced at the pace of its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Pacing {
    /// The pace of each interface that is in no group. These interfaces do not wait for each other.
    pub each: AnnouncementPace,
    /// Interfaces that share a pace.
    pub groups: Vec<PaceGroup>,
}

/// Interfaces that share a pace, because they lead to the same switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PaceGroup {
    /// Their names. They need not exist yet.
    pub interfaces: Vec<String>,
    /// The pace of all of them together.
    pub pace: AnnouncementPace,
}

/// An address of a router on an interface, to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    pub(crate) router: RouterId,
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
}

/// The announcements that wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Interface(u32, Family),
    Group(usize, Family),
}

/// The announcements that wait for their turn. Each address is in it once, so it does not grow
/// where bursts come faster than they leave.
#[derive(Debug, Default)]
pub(crate) struct Paced {
    pacing: Pacing,
    /// The places of groups, by the names of their interfaces.
    groups: BTreeMap<String, usize>,
    lanes: BTreeMap<Lane, Waiting>,
    /// The lanes in which something waits, by the time at which the next one leaves.
    due: BTreeSet<(Instant, Lane)>,
}

/// The announcements of a lane. Every address is announced once before one is announced again.
#[derive(Debug)]
struct Waiting {
    interval: Duration,
    not_before: Instant,
    order: VecDeque<Announcement>,
    /// The number of times that each is still to be sent.
    left: BTreeMap<Announcement, u8>,
}

impl Paced {
    /// Replaces the paces. Returns the announcements that waited, each with the number of times
    /// that it is still to be sent.
    pub(crate) fn set(&mut self, pacing: Pacing) -> Result<Vec<(Announcement, u8)>, Error> {
        pacing.each.check()?;
        let mut groups = BTreeMap::new();
        for (place, group) in pacing.groups.iter().enumerate() {
            group.pace.check()?;
            for name in &group.interfaces {
                check_link_name("interfaces", name)?;
                if groups.insert(name.clone(), place).is_some() {
                    return Err(Error::Invalid {
                        field: "interfaces",
                        problem: format!("{name} is listed twice"),
                    });
                }
            }
        }
        self.pacing = pacing;
        self.groups = groups;
        self.due.clear();
        let mut waited = Vec::new();
        for (_, mut lane) in std::mem::take(&mut self.lanes) {
            for announcement in lane.order {
                let left = lane.left.remove(&announcement).unwrap_or(0);
                waited.push((announcement, left));
            }
        }
        Ok(waited)
    }

    /// The lane in which the announcements on an interface wait, and the time between two
    /// announcements of that lane; `None` where they leave at once.
    pub(crate) fn lane(&self, index: u32, name: &str, family: Family) -> Option<(Lane, Duration)> {
        let number = self.groups.get(name).copied();
        let group = number.and_then(|number| self.pacing.groups.get(number));
        let (lane, pace) = match (number, group) {
            (Some(number), Some(group)) => (Lane::Group(number, family), group.pace),
            _ => (Lane::Interface(index, family), self.pacing.each),
        };
        Some((lane, pace.of(family))).filter(|(_, interval)| !interval.is_zero())
    }

    /// Adds an announcement, to be sent `repeat` times. An announcement that already waits keeps
    /// its place.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        (lane, interval): (Lane, Duration),
        announcement: Announcement,
        repeat: u8,
    ) {
        if repeat == 0 {
            return;
        }
        let waiting = self.lanes.entry(lane).or_insert_with(|| Waiting {
            interval,
            not_before: now,
            order: VecDeque::new(),
            left: BTreeMap::new(),
        });
        if waiting.order.is_empty() {
            waiting.not_before = waiting.not_before.max(now);
            self.due.insert((waiting.not_before, lane));
        }
        let left = waiting.left.entry(announcement).or_insert_with(|| {
            waiting.order.push_back(announcement);
            0
        });
        *left = (*left).max(repeat);
    }

    /// Takes the announcements that leave now: one of each lane that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Announcement> {
        let mut taken = Vec::new();
        while let Some((at, lane)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let Some(waiting) = self.lanes.get_mut(&lane) else {
                continue;
            };
            taken.extend(waiting.take());
            waiting.not_before = now + waiting.interval;
            if !waiting.order.is_empty() {
                self.due.insert((waiting.not_before, lane));
            }
        }
        if !taken.is_empty() {
            let is_used = |it: &Waiting| !it.order.is_empty() || it.not_before > now;
            self.lanes.retain(|_, waiting| is_used(waiting));
        }
        taken
    }

    /// The time at which [`take_due`](Self::take_due) returns something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Drops the announcements of a router.
    pub(crate) fn forget(&mut self, router: RouterId) {
        for (lane, waiting) in &mut self.lanes {
            if waiting.of(router).next().is_none() {
                continue;
            }
            waiting.order.retain(|it| it.router != router);
            waiting.left.retain(|it, _| it.router != router);
            if waiting.order.is_empty() {
                self.due.remove(&(waiting.not_before, *lane));
            }
        }
    }

    /// The most announcements that are left for an address of a router.
    pub(crate) fn left(&self, router: RouterId) -> u8 {
        let left = self.lanes.values().flat_map(|it| it.of(router));
        left.max().unwrap_or(0)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Announcement> {
        let next = self.order.pop_front()?;
        let left = self.left.remove(&next).unwrap_or(0).saturating_sub(1);
        if left > 0 {
            self.left.insert(next, left);
            self.order.push_back(next);
        }
        Some(next)
    }

    /// The number of announcements that are left for each address of a router.
    fn of(&self, router: RouterId) -> impl Iterator<Item = u8> {
        let first = Announcement {
            router,
            interface: 0,
            address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        };
        let from = self.left.range(first..);
        from.take_while(move |(it, _)| it.router == router)
            .map(|(_, left)| *left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LANE: (Lane, Duration) = (Lane::Interface(2, Family::Ipv4), SECOND);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn announcement(router: u32, last: u8) -> Announcement {
        Announcement {
            router: RouterId::nth(router),
            interface: 2,
            address: [192, 0, 2, last].into(),
        }
    }

    /// The last octets of all announcements, each with its time in milliseconds.
    fn drain(paced: &mut Paced) -> Vec<(u64, u8)> {
        let mut all = Vec::new();
        while let Some(now) = paced.next_due() {
            for it in paced.take_due(now) {
                let IpAddr::V4(address) = it.address else {
                    panic!("{it:?}");
                };
                let millis = (now - Instant::ZERO).as_millis();
                all.push((u64::try_from(millis).unwrap(), address.octets()[3]));
            }
        }
        all
    }

    #[test]
    fn each_address_is_announced_once_before_one_is_announced_again() {
        let mut paced = Paced::default();
        for last in [1, 2, 3] {
            paced.push(at(500), LANE, announcement(7, last), 2);
        }
        let expected = [
            (500, 1),
            (1500, 2),
            (2500, 3),
            (3500, 1),
            (4500, 2),
            (5500, 3),
        ];
        assert_eq!(drain(&mut paced), expected);
    }

    #[test]
    fn a_late_burst_waits_for_the_pace_of_the_one_before() {
        let mut paced = Paced::default();
        paced.push(at(0), LANE, announcement(7, 1), 1);
        assert_eq!(paced.take_due(at(0)).len(), 1);
        paced.push(at(400), LANE, announcement(8, 2), 1);
        assert_eq!(paced.take_due(at(999)), []);
        assert_eq!(drain(&mut paced), [(1000, 2)]);
        // When the last announcement is longer ago than an interval, nothing waits.
        paced.push(at(5000), LANE, announcement(8, 2), 1);
        assert_eq!(drain(&mut paced), [(5000, 2)]);
    }

    #[test]
    fn lanes_do_not_wait_for_each_other_and_groups_are_one_lane() {
        let mut paced = Paced::default();
        let pace = |seconds| AnnouncementPace {
            gratuitous_arp: Duration::from_secs(seconds),
            neighbor_advertisement: Duration::ZERO,
        };
        let pacing = Pacing {
            each: pace(1),
            groups: vec![PaceGroup {
                interfaces: vec!["eth1".into(), "eth2".into()],
                pace: pace(3),
            }],
        };
        assert_eq!(paced.set(pacing).unwrap(), []);
        let lane = |index, name: &str| paced.lane(index, name, Family::Ipv4).unwrap();
        assert_eq!(lane(1, "eth1"), lane(2, "eth2"));
        assert_eq!(lane(1, "eth1").1, 3 * SECOND);
        assert_ne!(lane(3, "eth3").0, lane(4, "eth4").0);
        assert_eq!(lane(3, "eth3").1, SECOND);
        assert_eq!(paced.lane(1, "eth1", Family::Ipv6), None);
        let (first, other) = (lane(3, "eth3"), lane(4, "eth4"));
        paced.push(at(0), first, announcement(7, 1), 1);
        paced.push(at(0), other, announcement(7, 2), 1);
        assert_eq!(paced.take_due(at(0)).len(), 2);
    }

    #[test]
    fn a_router_that_resigns_announces_no_more_and_delays_no_other() {
        let mut paced = Paced::default();
        paced.push(at(0), LANE, announcement(7, 1), 5);
        paced.push(at(0), LANE, announcement(8, 2), 3);
        assert_eq!(paced.left(RouterId::nth(7)), 5);
        paced.forget(RouterId::nth(7));
        assert_eq!(paced.left(RouterId::nth(7)), 0);
        assert_eq!(drain(&mut paced), [(0, 2), (1000, 2), (2000, 2)]);
        paced.push(at(9000), LANE, announcement(8, 2), 3);
        paced.forget(RouterId::nth(8));
        assert_eq!(paced.next_due(), None);
    }

    #[test]
    fn a_changed_pace_gives_back_the_announcements_that_wait() {
        let mut paced = Paced::default();
        paced.push(at(0), LANE, announcement(7, 1), 5);
        paced.take_due(at(0));
        let waited = paced.set(Pacing::default()).unwrap();
        assert_eq!(waited, [(announcement(7, 1), 4)]);
        assert_eq!(paced.next_due(), None);
    }

    #[test]
    fn an_interface_in_two_groups_a_wrong_name_and_a_long_time_are_refused() {
        let group = |name: &str| PaceGroup {
            interfaces: vec![name.into()],
            pace: AnnouncementPace::default(),
        };
        let set = |each, groups| {
            let result = Paced::default().set(Pacing { each, groups });
            result.unwrap_err().to_string()
        };
        let twice = set(
            AnnouncementPace::default(),
            vec![group("eth0"), group("eth0")],
        );
        assert!(twice.contains("eth0 is listed twice"), "{twice}");
        let name = set(AnnouncementPace::default(), vec![group("a/b")]);
        assert!(name.contains("a/b"), "{name}");
        let long = AnnouncementPace {
            neighbor_advertisement: AnnouncementPace::LONGEST + SECOND,
            ..AnnouncementPace::default()
        };
        assert!(set(long, Vec::new()).contains("neighbor_advertisement"));
    }

    proptest! {
        /// Whatever is pushed at any time, announcements of a lane keep their distance, each is
        /// sent as often as was last asked for, and none is left over.
        #[test]
        fn announcements_keep_their_distance(
            bursts in prop::collection::vec((0_u64..5000, 0_u32..4, 1_u8..5), 1..40),
            interval in 1_u64..700,
        ) {
            let mut paced = Paced::default();
            let lane = (Lane::Group(0, Family::Ipv4), Duration::from_millis(interval));
            let mut now = 0;
            let mut last: Option<Instant> = None;
            let mut sent: BTreeMap<Announcement, u32> = BTreeMap::new();
            let mut wanted: BTreeMap<Announcement, u32> = BTreeMap::new();
            let mut note = |it: Announcement, now: Instant| {
                if let Some(last) = last {
                    assert!(now - last >= Duration::from_millis(interval));
                }
                last = Some(now);
                *sent.entry(it).or_default() += 1;
            };
            for (pause, router, repeat) in bursts {
                now += pause;
                while let Some(due) = paced.next_due().filter(|due| *due <= at(now)) {
                    for it in paced.take_due(due) {
                        note(it, due);
                    }
                }
                let it = announcement(router, 1);
                let left = u32::from(paced.left(it.router));
                *wanted.entry(it).or_default() += u32::from(repeat).saturating_sub(left);
                paced.push(at(now), lane, it, repeat);
            }
            while let Some(due) = paced.next_due() {
                for it in paced.take_due(due) {
                    note(it, due);
                }
            }
            prop_assert_eq!(sent, wanted);
            prop_assert!(paced.lanes.values().all(|it| it.left.is_empty()));
        }
    }
}
