//! What the host decides about a virtual router.

use core::{fmt, time::Duration};

use vrrp_proto::{Family, Interval, OutOfRange, Priority, Version, Versions, Vrid};

use crate::ChecksumSending;

/// The configuration of a virtual router. [`VirtualRouter::new`](crate::VirtualRouter::new) and
/// [`VirtualRouter::reconfigure`](crate::VirtualRouter::reconfigure) check it.
///
/// Make one with [`new`](Self::new) or [`v2`](Self::v2) and set what is to differ:
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
    /// The virtual router. It cannot change while the router lives.
    pub vrid: Vrid,
    /// The family that it serves. It cannot change while the router lives; the same VRID in the other family is another router (S-01).
    pub family: Family,
    /// The versions that it speaks. Version 2 is for IPv4 only.
    #[cfg_attr(feature = "serde", serde(default = "default::versions"))]
    pub versions: Versions,
    /// Which RFC decides where they differ.
    #[cfg_attr(feature = "serde", serde(default = "default::profile"))]
    pub profile: Profile,
    /// 1 to 255. 255 says that the router owns the virtual addresses (P-18, AMB-25), and no preemption policy then holds it back.
    #[cfg_attr(feature = "serde", serde(default = "default::priority"))]
    pub priority: Priority,
    /// Advertisement_Interval: seconds where `versions` is [`Versions::V2`], else centiseconds. Default 1 s.
    #[cfg_attr(feature = "serde", serde(default = "default::interval"))]
    pub interval: Interval,
    /// Whether a live Active of lower priority is taken over from. Default [`Preempt::Always`] (S-29).
    #[cfg_attr(feature = "serde", serde(default = "default::preempt"))]
    pub preempt: Preempt,
    /// Accept_Mode: whether an Active that does not own the addresses accepts packets to them (S-30, M-08). It changes nothing in the
    /// machine but what [`VirtualRouter::accepts_traffic`](crate::VirtualRouter::accepts_traffic) says. Default false (AMB-22), and
    /// false in version 2, which has no such thing.
    #[cfg_attr(feature = "serde", serde(default = "default::accept_mode"))]
    pub accept_mode: bool,
    /// How many of the Active's advertisements must stay out before a Backup takes over: 1 to 100. The RFCs know 3, the default;
    /// anything else leaves them (AMB-34).
    #[cfg_attr(feature = "serde", serde(default = "default::missed_advertisements"))]
    pub missed_advertisements: u8,
    /// How long after Startup the router may not become Active: time for the link, the switch port and routing to come up. 0 (the
    /// default) to [`LONGEST_DELAY`](Self::LONGEST_DELAY).
    ///
    /// Until then it listens as a Backup, the address owner too; then Skew_Time follows in any case, so that routers that were
    /// started together still take over in the order of their priorities. No RFC has this.
    #[cfg_attr(feature = "serde", serde(default = "default::startup_hold"))]
    pub startup_hold: Duration,
    /// When an Active announces its addresses, and how often.
    #[cfg_attr(feature = "serde", serde(default = "default::announce"))]
    pub announce: AnnouncePolicy,
    /// Whether an Active that yields to another router advertises once more before it lets go. Default true.
    ///
    /// The RFCs do not ask for it. But the winner may have been Active all the time, on the other side of a network that was cut, and
    /// its own advertisement may be the first that crosses: without this last word it does not learn that the neighbours may hold the
    /// loser's entry, and announces nothing.
    #[doc(alias = "higher_prio_send_advert")]
    #[cfg_attr(feature = "serde", serde(default = "default::advertise_on_yield"))]
    pub advertise_on_yield: bool,
    /// The checksum forms of version 3 over IPv4. Default [`ChecksumSending::Adaptive`].
    #[cfg_attr(feature = "serde", serde(default = "default::checksum"))]
    pub checksum: ChecksumSending,
    /// What to do when the host was late. Default [`StallPolicy::Resume`].
    #[cfg_attr(feature = "serde", serde(default = "default::stall"))]
    pub stall: StallPolicy,
}

impl Config {
    /// The longest of all delays that can be configured: 365 days.
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

    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// The first field that does not fit, in the order in which they are declared.
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

/// The values of fields that a configuration file does not have: those of [`Config::new`].
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

/// Which RFC decides where they differ (`docs/conformance.md` section 4). The timers depend on the version only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Profile {
    /// RFC 3768, for version 2: an Active does not answer a rival of lower priority (S-21), and the address owner discards the
    /// advertisements of others (P-43).
    Rfc3768,
    /// RFC 5798, for version 3: as above, and another interval than the own is learned without a note (P-30). Many of its routers
    /// expect [`ChecksumForm::PseudoHeader`](vrrp_proto::ChecksumForm::PseudoHeader) (P-34, AMB-01).
    Rfc5798,
    /// RFC 9568 with its verified errata: an Active answers a rival of lower priority at once (S-20), and the address owner hears
    /// others, yields to another owner with a greater address (S-26, erratum 8298), and notes it. In version 2 messages the owner
    /// keeps to RFC 3768 and discards (AMB-02).
    Rfc9568,
}

/// Whether a Backup takes over from a live Active of lower priority. The address owner always does (S-25).
///
/// There is one policy, applied alike whatever led to Backup. It plays no part in Active: two Actives always resolve by priority and
/// address (S-22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Preempt {
    /// Preempt_Mode True: its advertisements are ignored, and the router takes over when the running Active_Down_Interval is over
    /// (S-14).
    #[default]
    Always,
    /// Preempt_Mode False: it is left in peace for as long as it advertises (S-12).
    Never,
    /// As [`Never`](Self::Never) while the delay runs, then as [`Always`](Self::Always) (O-20, AMB-20). At most
    /// [`Config::LONGEST_DELAY`].
    ///
    /// The delay starts at Startup, and when an Active of lower priority is heard while none runs. An advertisement of equal or higher
    /// priority stops it; the next one of lower priority then starts it anew.
    AfterDelay(Duration),
}

/// What to do when [`VirtualRouter::handle_timeout`](crate::VirtualRouter::handle_timeout) comes so late that others must have acted
/// meanwhile: the process was stopped, the machine paused, the processor taken away.
///
/// Either way the host first drains its sockets, so that what was sent meanwhile is heard before anything is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StallPolicy {
    /// Carry on. An Active advertises and announces anew, a Backup takes over: shortest outage when nobody else is there.
    #[default]
    Resume,
    /// Stand back. An Active that is late by more than Active_Down_Interval becomes a Backup; a Backup that is late by more than
    /// one interval of the Active cannot have been listening, and waits once more for Active_Down_Interval: no dual Active when
    /// somebody else is there.
    Yield,
}

/// When an Active announces its virtual addresses. The defaults are those of keepalived, except `after_last_rival`, which it lacks.
///
/// A *burst* is one [`Action::Announce`](crate::Action::Announce). Delays are from
/// [`Config::SHORTEST_ANNOUNCEMENT_GAP`] to [`Config::LONGEST_DELAY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct AnnouncePolicy {
    /// Messages per address in a burst: on becoming Active, after a stall, and when the host asks. 1 to 255, default 5.
    pub repeat: u8,
    /// When such a burst is repeated. Default after 5 s.
    pub second_burst_after: Option<Duration>,
    /// How often the addresses are announced without any cause. Default never.
    ///
    /// A cut that heals in one direction alone leaves the neighbours with the entry of a router that yielded, and the Active
    /// unaware of it: only this mends it, within one refresh.
    pub refresh: Option<Duration>,
    /// Messages per address then. 1 to 255, default 1.
    pub refresh_repeat: u8,
    /// Messages per address after a rival was heard: another router that advertised while this one is Active, and may have drawn the
    /// traffic to itself. 0 to 255, default 5; with 0 nothing is announced.
    pub rival_repeat: u8,
    /// When that burst is repeated. Default after 5 s.
    ///
    /// Until then further advertisements of rivals cause no burst at once.
    pub rival_second_burst_after: Option<Duration>,
    /// The time from the last advertisement of a rival to one more burst of `rival_repeat`: from
    /// [`Config::SHORTEST_ANNOUNCEMENT_GAP`] to 4 s. Default 500 ms.
    ///
    /// What the rival announced may reach the neighbours after the burst that answered it, and they would then send to the rival
    /// until the second burst. This burst ends that within a second of the last advertisement, however the rival went: it
    /// yielded, resigned, crashed or was cut off. Each advertisement of a rival starts the time again, so that there are at most
    /// two such bursts in a second.
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

/// Why a [`Config`] was refused: the field, its value, and what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `versions` includes version 2, and `family` is IPv6 (P-54).
    #[error("versions include version 2, which exists over IPv4 only, but family is IPv6")]
    V2OverIpv6,
    /// `profile` is RFC 3768, and `versions` includes version 3.
    #[error("profile RFC 3768 knows version 2 only, but versions include version 3")]
    ProfileWithoutV3,
    /// A number is outside its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    /// `interval` is not in the unit that `versions` asks for.
    #[error("interval {interval} is not in the unit of {unit}: {}", match unit { Version::V2 => "1 to 255 s", Version::V3 => "1 to 4095 cs" })]
    IntervalUnit {
        /// The interval.
        interval: Interval,
        /// The version in whose unit it has to be.
        unit: Version,
    },
    /// A delay is outside its range.
    #[error("{field} {value:?} is not in {lowest:?}..={highest:?}")]
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
    /// Only another virtual router has another VRID.
    #[error(
        "vrid {requested} is not {configured}: it cannot change while the virtual router lives"
    )]
    VridChanged {
        /// The VRID of the router.
        configured: Vrid,
        /// The one in the new configuration.
        requested: Vrid,
    },
    /// Only another virtual router has another family.
    #[error(
        "family {requested} is not {configured}: it cannot change while the virtual router lives"
    )]
    FamilyChanged {
        /// The family of the router.
        configured: Family,
        /// The one in the new configuration.
        requested: Family,
    },
}
