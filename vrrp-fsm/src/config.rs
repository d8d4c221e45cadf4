//! Configuration of a virtual router.

use core::{fmt, time::Duration};

use vrrp_proto::{Family, Interval, OutOfRange, Priority, Version, Versions, Vrid};

use crate::ChecksumSending;

/// The configuration of a virtual router. [`VirtualRouter::new`](crate::VirtualRouter::new) and
/// [`VirtualRouter::reconfigure`](crate::VirtualRouter::reconfigure) check it.
///
/// Make one with [`new`](Self::new) or [`v2`](Self::v2), and change its fields:
///
/// ```
/// use core::time::Duration;
/// use vrrp_fsm::{Config, Preempt, VirtualRouter};
/// use vrrp_proto::{Family, Interval, Priority, Vrid};
///
/// let mut config = Config::new(Vrid::new(51).ok_or("VRID")?, Family::Ipv6);
/// config.priority = Priority::new(200);
/// config.interval = Interval::centis(10)?;
/// config.preempt = Preempt::AfterDelay(Duration::from_secs(30));
/// let router = VirtualRouter::new(config)?;
///
/// config.priority = Priority::RESIGN;
/// assert_eq!(VirtualRouter::new(config).unwrap_err().to_string(), "priority 0 is not in 1..=255");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// The VRID. It is fixed for the life of the router.
    pub vrid: Vrid,
    /// The family. It is fixed for the life of the router; the same VRID in the other family is
    /// another router (S-01).
    pub family: Family,
    /// The versions of its messages. Version 2 is for IPv4 only.
    #[cfg_attr(feature = "serde", serde(default = "default::versions"))]
    pub versions: Versions,
    /// The RFC that decides where the RFCs differ.
    #[cfg_attr(feature = "serde", serde(default = "default::profile"))]
    pub profile: Profile,
    /// 1 to 255. 255 marks the owner of the virtual addresses (P-18, AMB-25), to which no
    /// preemption policy applies.
    #[cfg_attr(feature = "serde", serde(default = "default::priority"))]
    pub priority: Priority,
    /// Advertisement_Interval: seconds where `versions` is [`Versions::V2`], else centiseconds.
    /// Default 1 s.
    #[cfg_attr(feature = "serde", serde(default = "default::interval"))]
    pub interval: Interval,
    /// Whether this router preempts a live Active of lower priority. Default [`Preempt::Always`]
    /// (S-29).
    #[cfg_attr(feature = "serde", serde(default = "default::preempt"))]
    pub preempt: Preempt,
    /// Accept_Mode: whether an Active that does not own the addresses accepts packets to them
    /// (S-30, M-08). It only affects
    /// [`VirtualRouter::accepts_traffic`](crate::VirtualRouter::accepts_traffic). Default false
    /// (AMB-22). Version 2 has no Accept_Mode.
    #[cfg_attr(feature = "serde", serde(default = "default::accept_mode"))]
    pub accept_mode: bool,
    /// The number of missed advertisements after which a Backup takes over: 1 to 100. The default
    /// is 3, the value of the RFCs (AMB-34).
    #[cfg_attr(feature = "serde", serde(default = "default::missed_advertisements"))]
    pub missed_advertisements: u8,
    /// The time after Startup in which the router does not become Active, until link, switch port
    /// and routing are up. 0 (the default) to [`LONGEST_DELAY`](Self::LONGEST_DELAY).
    ///
    /// During the hold every router is a Backup, the address owner too. Skew_Time follows, so
    /// routers that started together take over in the order of their priorities. No RFC has this.
    #[cfg_attr(feature = "serde", serde(default = "default::startup_hold"))]
    pub startup_hold: Duration,
    /// The schedule of the announcements of an Active.
    #[cfg_attr(feature = "serde", serde(default = "default::announce"))]
    pub announce: AnnouncePolicy,
    /// Whether an Active that yields to another router advertises one last time. Default true.
    ///
    /// The RFCs do not require it. After a network partition, the winner's advertisement may be the
    /// first that crosses. Without this last advertisement, the winner does not learn of the other
    /// Active, does not announce, and the neighbours keep the loser's entry.
    #[doc(alias = "higher_prio_send_advert")]
    #[cfg_attr(feature = "serde", serde(default = "default::advertise_on_yield"))]
    pub advertise_on_yield: bool,
    /// The checksum forms of version 3 over IPv4. Default [`ChecksumSending::Adaptive`].
    #[cfg_attr(feature = "serde", serde(default = "default::checksum"))]
    pub checksum: ChecksumSending,
    /// The reaction to a late host. Default [`StallPolicy::Resume`].
    #[cfg_attr(feature = "serde", serde(default = "default::stall"))]
    pub stall: StallPolicy,
}

impl Config {
    /// The longest delay that can be configured: 365 days.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// The shortest time between two bursts of announcements: 10 ms.
    pub const SHORTEST_ANNOUNCEMENT_GAP: Duration = Duration::from_millis(10);

    /// Version 3 with the defaults of RFC 9568.
    #[must_use]
    pub const fn new(vrid: Vrid, family: Family) -> Self {
        Self {
            vrid,
            family,
            versions: Versions::V3,
            profile: Profile::Rfc9568,
            priority: Priority::DEFAULT,
            interval: Interval::DEFAULT_V3,
            preempt: Preempt::Always,
            accept_mode: false,
            missed_advertisements: 3,
            startup_hold: Duration::ZERO,
            announce: AnnouncePolicy::DEFAULT,
            advertise_on_yield: true,
            checksum: ChecksumSending::Adaptive,
            stall: StallPolicy::Resume,
        }
    }

    /// Version 2, over IPv4, with the defaults of RFC 3768.
    #[must_use]
    pub const fn v2(vrid: Vrid) -> Self {
        let mut config = Self::new(vrid, Family::Ipv4);
        config.versions = Versions::V2;
        config.profile = Profile::Rfc3768;
        config.interval = Interval::DEFAULT_V2;
        config
    }

    /// Validates the fields that the types do not.
    ///
    /// # Errors
    ///
    /// The first invalid field, in the order of declaration.
    pub fn check(&self) -> Result<(), ConfigError> {
        let speaks_v2 = self.versions.include(Version::V2);
        if speaks_v2 && self.family == Family::Ipv6 {
            return Err(ConfigError::V2OverIpv6);
        }
        if self.profile == Profile::Rfc3768 && self.versions != Versions::V2 {
            return Err(ConfigError::ProfileWithoutV3);
        }
        within("priority", self.priority.get(), 1, 255)?;
        let unit = if self.versions == Versions::V2 {
            Version::V2
        } else {
            Version::V3
        };
        if self.interval.version() != unit {
            return Err(ConfigError::IntervalUnit {
                interval: self.interval,
                unit,
            });
        }
        if let Preempt::AfterDelay(delay) = self.preempt {
            within_delay("preempt", delay, Duration::ZERO)?;
        }
        within("missed_advertisements", self.missed_advertisements, 1, 100)?;
        within_delay("startup_hold", self.startup_hold, Duration::ZERO)?;
        self.announce.check()
    }

    /// Whether the router owns the virtual addresses: its priority is 255 (AMB-25).
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.priority.is_owner()
    }
}

/// Defaults of fields that a configuration file omits: those of [`Config::new`].
#[cfg(feature = "serde")]
mod default {
    use core::time::Duration;

    use vrrp_proto::{Family, Interval, Priority, Versions, Vrid};

    use super::{AnnouncePolicy, ChecksumSending, Config, Preempt, Profile, StallPolicy};

    macro_rules! fields {
        ($($field:ident: $type:ty),* $(,)?) => {
            $(pub(super) fn $field() -> $type {
                Config::new(Vrid::MIN, Family::Ipv4).$field
            })*
        };
    }

    fields! {
        versions: Versions,
        profile: Profile,
        priority: Priority,
        interval: Interval,
        preempt: Preempt,
        accept_mode: bool,
        missed_advertisements: u8,
        startup_hold: Duration,
        announce: AnnouncePolicy,
        advertise_on_yield: bool,
        checksum: ChecksumSending,
        stall: StallPolicy,
    }
}

fn within(field: &'static str, value: u8, lowest: u8, highest: u8) -> Result<(), ConfigError> {
    if (lowest..=highest).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange(OutOfRange {
        field,
        value: value.into(),
        lowest: lowest.into(),
        highest: highest.into(),
    }))
}

fn within_delay(field: &'static str, value: Duration, lowest: Duration) -> Result<(), ConfigError> {
    let highest = Config::LONGEST_DELAY;
    if (lowest..=highest).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Delay {
        field,
        value,
        lowest,
        highest,
    })
}

/// The RFC that decides where the RFCs differ (`docs/conformance.md` section 4). The timers depend
/// on the version only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Profile {
    /// RFC 3768, for version 2: an Active does not answer a rival of lower priority (S-21), and the
    /// address owner discards the advertisements of others (P-43).
    Rfc3768,
    /// RFC 5798, for version 3: as above, and a different interval is learned without a mismatch
    /// (P-30). Many of its routers expect
    /// [`ChecksumForm::PseudoHeader`](vrrp_proto::ChecksumForm::PseudoHeader) (P-34, AMB-01).
    Rfc5798,
    /// RFC 9568 with its verified errata: an Active answers a rival of lower priority at once
    /// (S-20), and the address owner accepts the advertisements of others, reports the conflict,
    /// and yields to another owner with a greater address (S-26, erratum 8298). It discards version
    /// 2 messages, as RFC 3768 requires (AMB-02).
    Rfc9568,
}

/// Whether a Backup preempts a live Active of lower priority. The address owner always does (S-25).
///
/// The policy does not depend on the reason for Backup. It has no effect in Active: two Actives
/// always resolve by priority and address (S-22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Preempt {
    /// Preempt_Mode True: the advertisements of such an Active are ignored, and the router takes
    /// over when the running Active_Down_Interval is over (S-14).
    #[default]
    Always,
    /// Preempt_Mode False: the Active stays Active while it advertises (S-12).
    Never,
    /// As [`Never`](Self::Never) while the delay runs, then as [`Always`](Self::Always) (O-20,
    /// AMB-20). At most [`Config::LONGEST_DELAY`].
    ///
    /// The delay starts at Startup, and at an advertisement of lower priority if no delay runs. An
    /// advertisement of equal or higher priority stops it; the next one of lower priority restarts
    /// it.
    AfterDelay(Duration),
}

/// The reaction to a call of
/// [`VirtualRouter::handle_timeout`](crate::VirtualRouter::handle_timeout) that is so late that
/// another router must have taken over: the process was stopped, the machine was paused, or the
/// processor was busy.
///
/// With either policy the host first drains its sockets: packets that arrived before the deadline
/// are handled before the timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StallPolicy {
    /// Continue. An Active advertises and announces again, a Backup takes over: the shortest outage
    /// if there is no other router.
    #[default]
    Resume,
    /// Yield. An Active that is late by more than Active_Down_Interval becomes a Backup, and before
    /// it handles a packet that waited: it answers none, because its answer would make a router
    /// yield that has taken over. A Backup that is late by more than one interval of the Active
    /// waits once more for Active_Down_Interval. So there is no dual Active if another router has
    /// taken over.
    Yield,
}

/// The schedule by which an Active announces its virtual addresses. The defaults are those of
/// keepalived, except `after_last_rival`, which it lacks.
///
/// A *burst* is one [`Action::Announce`](crate::Action::Announce). Delays are from
/// [`Config::SHORTEST_ANNOUNCEMENT_GAP`] to [`Config::LONGEST_DELAY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AnnouncePolicy {
    /// Messages per address in a burst: on becoming Active, after a stall, and when the host asks.
    /// 1 to 255, default 5.
    pub repeat: u8,
    /// The delay of a second burst. Default 5 s; `None` for no second burst.
    pub second_burst_after: Option<Duration>,
    /// The interval of periodic announcements. Default never.
    ///
    /// If a partition heals in one direction only, the neighbours may keep the entry of a router
    /// that yielded, and the Active receives no sign of it. Only periodic announcements correct
    /// this, within one interval.
    pub refresh: Option<Duration>,
    /// Messages per address in a periodic announcement. 1 to 255, default 1.
    pub refresh_repeat: u8,
    /// Messages per address after the advertisement of a rival: another router that is Active too,
    /// and may have attracted the traffic. 0 to 255, default 5; with 0 there is no announcement.
    pub rival_repeat: u8,
    /// The delay of a second burst after a rival. Default 5 s; `None` for no second burst.
    ///
    /// Until then, further advertisements of rivals cause no immediate burst.
    pub rival_second_burst_after: Option<Duration>,
    /// The time from the last advertisement of a rival to one more burst of `rival_repeat`: from
    /// [`Config::SHORTEST_ANNOUNCEMENT_GAP`] to 4 s. Default 500 ms.
    ///
    /// An announcement of the rival may reach the neighbours after the burst that answered it, and
    /// they would send to the rival until the second burst. This burst corrects them within a
    /// second of the last advertisement, whether the rival yielded, resigned, crashed or was cut
    /// off. Each advertisement of a rival restarts the time, so there are at most two such bursts
    /// in a second.
    pub after_last_rival: Duration,
}

impl AnnouncePolicy {
    const DEFAULT: Self = Self {
        repeat: 5,
        second_burst_after: Some(Duration::from_secs(5)),
        refresh: None,
        refresh_repeat: 1,
        rival_repeat: 5,
        rival_second_burst_after: Some(Duration::from_secs(5)),
        after_last_rival: Duration::from_millis(500),
    };

    fn check(&self) -> Result<(), ConfigError> {
        within("announce.repeat", self.repeat, 1, 255)?;
        within("announce.refresh_repeat", self.refresh_repeat, 1, 255)?;
        let delays = [
            ("announce.second_burst_after", self.second_burst_after),
            ("announce.refresh", self.refresh),
            (
                "announce.rival_second_burst_after",
                self.rival_second_burst_after,
            ),
        ];
        for (field, delay) in delays {
            if let Some(delay) = delay {
                within_delay(field, delay, Config::SHORTEST_ANNOUNCEMENT_GAP)?;
            }
        }
        let (lowest, highest) = (Config::SHORTEST_ANNOUNCEMENT_GAP, Duration::from_secs(4));
        if !(lowest..=highest).contains(&self.after_last_rival) {
            return Err(ConfigError::Delay {
                field: "announce.after_last_rival",
                value: self.after_last_rival,
                lowest,
                highest,
            });
        }
        Ok(())
    }
}

impl Default for AnnouncePolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rfc3768 => "RFC 3768",
            Self::Rfc5798 => "RFC 5798",
            Self::Rfc9568 => "RFC 9568",
        })
    }
}

/// The reason why a [`Config`] is invalid: the field, its value, and the allowed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `versions` includes version 2, and `family` is IPv6 (P-54).
    V2OverIpv6,
    /// `profile` is RFC 3768, and `versions` includes version 3.
    ProfileWithoutV3,
    /// A number is out of range.
    OutOfRange(OutOfRange),
    /// `interval` is not in the unit of `versions`.
    IntervalUnit {
        /// The interval.
        interval: Interval,
        /// The version whose unit it must have.
        unit: Version,
    },
    /// A delay is out of range.
    Delay {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Duration,
        /// The shortest allowed.
        lowest: Duration,
        /// The longest allowed.
        highest: Duration,
    },
    /// The VRID of a virtual router cannot change.
    VridChanged {
        /// The VRID of the router.
        configured: Vrid,
        /// The one in the new configuration.
        requested: Vrid,
    },
    /// The family of a virtual router cannot change.
    FamilyChanged {
        /// The family of the router.
        configured: Family,
        /// The one in the new configuration.
        requested: Family,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V2OverIpv6 => f.write_str(
                "versions include version 2, which exists over IPv4 only, but family is IPv6",
            ),
            Self::ProfileWithoutV3 => {
                f.write_str("profile RFC 3768 knows version 2 only, but versions include version 3")
            }
            Self::OutOfRange(fault) => fault.fmt(f),
            Self::IntervalUnit { interval, unit } => write!(
                f,
                "interval {interval} is not in the unit of {unit}: {}",
                match unit {
                    Version::V2 => "1 to 255 s",
                    Version::V3 => "1 to 4095 cs",
                }
            ),
            Self::Delay {
                field,
                value,
                lowest,
                highest,
            } => write!(f, "{field} {value:?} is not in {lowest:?}..={highest:?}"),
            Self::VridChanged {
                configured,
                requested,
            } => write!(
                f,
                "vrid {requested} is not {configured}: \
                 it cannot change while the virtual router lives"
            ),
            Self::FamilyChanged {
                configured,
                requested,
            } => write!(
                f,
                "family {requested} is not {configured}: \
                 it cannot change while the virtual router lives"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<OutOfRange> for ConfigError {
    fn from(error: OutOfRange) -> Self {
        Self::OutOfRange(error)
    }
}
