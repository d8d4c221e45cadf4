//! The transition table of `docs/conformance.md` section 5 as data, compared with the machine over
//! all combinations.

use core::net::IpAddr;

use vrrp_fsm::{Action, Config, Event, Preempt, Profile, ShutdownCause, State};
use vrrp_proto::{Family, Interval, Priority, Version, Versions};

use crate::host::{Advert, Host, address, centis, ms, seconds, vrid};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Startup,
    Shutdown,
    TimerFires,
    Advertisement,
}

/// The actions, as the table abbreviates them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    SendAdvert,
    SendAdvertZero,
    Activate,
    Announce,
    Deactivate,
}

/// The effect on the one election timer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Timer {
    Off,
    Unchanged,
    SkewTime,
    ActiveDownInterval,
    AdvertisementInterval,
}

/// A router's versions and family, and the version that it receives.
#[derive(Clone, Copy, Debug)]
struct Kind {
    profile: Profile,
    versions: Versions,
    family: Family,
    received: Version,
}

const fn kind(profile: Profile, versions: Versions, family: Family, received: Version) -> Kind {
    Kind {
        profile,
        versions,
        family,
        received,
    }
}

const KINDS: [Kind; 9] = [
    kind(Profile::Rfc3768, Versions::V2, Family::Ipv4, Version::V2),
    kind(Profile::Rfc5798, Versions::V3, Family::Ipv4, Version::V3),
    kind(Profile::Rfc5798, Versions::V3, Family::Ipv6, Version::V3),
    kind(Profile::Rfc5798, Versions::Both, Family::Ipv4, Version::V2),
    kind(Profile::Rfc5798, Versions::Both, Family::Ipv4, Version::V3),
    kind(Profile::Rfc9568, Versions::V3, Family::Ipv4, Version::V3),
    kind(Profile::Rfc9568, Versions::V3, Family::Ipv6, Version::V3),
    kind(Profile::Rfc9568, Versions::Both, Family::Ipv4, Version::V2),
    kind(Profile::Rfc9568, Versions::Both, Family::Ipv4, Version::V3),
];

impl Kind {
    /// Whether the address owner accepts the advertisements of others: RFC 9568 with erratum 8298,
    /// and not in version 2 (P-43).
    fn owner_receives(self) -> bool {
        self.profile == Profile::Rfc9568 && self.received == Version::V3
    }

    fn config(self, priority: u8) -> Config {
        let mut own = match self.versions {
            Versions::V2 => Config::v2(vrid()),
            Versions::V3 | Versions::Both => Config::new(vrid(), self.family),
        };
        own.versions = self.versions;
        own.profile = self.profile;
        own.priority = Priority::new(priority);
        own
    }

    /// The interval that others advertise, in version 3 this one.
    fn interval(self, centiseconds: u16) -> Interval {
        match self.received {
            Version::V2 => seconds(1),
            Version::V3 => centis(centiseconds),
        }
    }
}

/// The variables of the guards, named as in the table.
#[derive(Clone, Copy, Debug)]
struct Situation {
    kind: Kind,
    /// A Backup has accepted an Active, of another interval where that is learned.
    follows: bool,
    preempt: bool,
    own_priority: u8,
    own_address: IpAddr,
    p: u8,
    a: IpAddr,
}

impl Situation {
    fn owner(&self) -> bool {
        self.own_priority == 255
    }

    /// Whether a Backup defers to the sender.
    fn defers(&self) -> bool {
        self.p >= self.own_priority || !(self.preempt || self.owner())
    }

    /// Whether the sender takes over from an Active.
    fn wins(&self) -> bool {
        self.p > self.own_priority || (self.p == self.own_priority && self.a > self.own_address)
    }
}

struct Row {
    state: State,
    input: Input,
    guard: fn(&Situation) -> bool,
    done: &'static [Done],
    timer: Timer,
    learns: bool,
    next: State,
}

const fn row(
    state: State,
    input: Input,
    guard: fn(&Situation) -> bool,
    done: &'static [Done],
    timer: Timer,
    next: State,
) -> Row {
    Row {
        state,
        input,
        guard,
        done,
        timer,
        learns: false,
        next,
    }
}

const fn learning(mut row: Row) -> Row {
    row.learns = true;
    row
}

use Done::{Activate, Announce, Deactivate, SendAdvert, SendAdvertZero};
use State::{Active, Backup, Initialize};

const TAKE_OVER: &[Done] = &[SendAdvert, Activate, Announce];

/// The first row whose guard holds counts.
#[rustfmt::skip]
const TABLE: [Row; 18] = [
    row(Initialize, Input::Startup, Situation::owner, TAKE_OVER, Timer::AdvertisementInterval, Active),
    row(Initialize, Input::Startup, always, &[], Timer::ActiveDownInterval, Backup),
    row(Initialize, Input::Shutdown, always, &[], Timer::Off, Initialize),
    row(Initialize, Input::TimerFires, always, &[], Timer::Off, Initialize),
    row(Initialize, Input::Advertisement, always, &[], Timer::Off, Initialize),

    row(Backup, Input::Startup, always, &[], Timer::Unchanged, Backup),
    row(Backup, Input::Shutdown, always, &[], Timer::Off, Initialize),
    row(Backup, Input::TimerFires, always, TAKE_OVER, Timer::AdvertisementInterval, Active),
    row(Backup, Input::Advertisement, |s| s.p == 0, &[], Timer::SkewTime, Backup),
    learning(row(Backup, Input::Advertisement, Situation::defers, &[], Timer::ActiveDownInterval, Backup)),
    row(Backup, Input::Advertisement, always, &[], Timer::Unchanged, Backup),

    row(Active, Input::Startup, always, &[], Timer::Unchanged, Active),
    row(Active, Input::Shutdown, always, &[SendAdvertZero, Deactivate], Timer::Off, Initialize),
    row(Active, Input::TimerFires, always, &[SendAdvert], Timer::AdvertisementInterval, Active),
    row(Active, Input::Advertisement, |s| s.p == 0, &[SendAdvert], Timer::AdvertisementInterval, Active),
    learning(row(Active, Input::Advertisement, Situation::wins, &[Deactivate], Timer::ActiveDownInterval, Backup)),
    row(Active, Input::Advertisement, |s| s.kind.profile == Profile::Rfc9568, &[SendAdvert], Timer::Unchanged, Active),
    row(Active, Input::Advertisement, always, &[], Timer::Unchanged, Active),
];

const fn always(_: &Situation) -> bool {
    true
}

/// A router of this situation in this state, half a second after it entered the state, or `None` if
/// it cannot enter it.
fn host_in(state: State, situation: &Situation) -> Option<Host> {
    let kind = situation.kind;
    let mut own = kind.config(situation.own_priority);
    own.preempt = if situation.preempt {
        Preempt::Always
    } else {
        Preempt::Never
    };
    // Behaviour beyond the table has tests of its own.
    own.advertise_on_yield = false;
    own.announce.second_burst_after = None;
    own.announce.rival_repeat = 0;

    let mut host = match state {
        State::Initialize => Host::new(own),
        State::Active => Host::active(own),
        State::Backup if situation.owner() => {
            if !situation.follows || !kind.owner_receives() {
                return None;
            }
            Host::active(own)
        }
        State::Backup => Host::started(own),
    };
    if state == State::Backup && situation.follows {
        let active = Advert::priority(255)
            .from(address(kind.family, 77))
            .every(kind.interval(25));
        let _ = host.receive(active);
    }
    assert_eq!(host.state(), state);
    host.pass(ms(500));
    Some(host)
}

fn advert_of(situation: &Situation) -> Advert {
    Advert::priority(situation.p)
        .from(situation.a)
        .every(situation.kind.interval(50))
}

fn compare(row: &Row, situation: &Situation) -> bool {
    let Some(mut host) = host_in(row.state, situation) else {
        return false;
    };
    let advert = advert_of(situation);
    let before = host;
    let actions = match row.input {
        Input::Startup => host.startup(),
        Input::Shutdown => host.event(Event::Shutdown(ShutdownCause::Administrative)),
        Input::TimerFires if row.state == Initialize => host.wake_after(ms(10_000)),
        Input::TimerFires => host.fire(),
        Input::Advertisement => {
            let Ok(received) = advert.check(&host.router) else {
                // Discarded before the table (P-43).
                assert!(situation.owner() && !situation.kind.owner_receives());
                return false;
            };
            host.event(Event::Advertisement(received))
        }
    };

    let context = format!("{:?} {:?} {situation:?}", row.state, row.input);
    let done: Vec<Done> = actions
        .iter()
        .filter_map(|action| match action {
            Action::SendAdvertisement(outgoing) if outgoing.priority.is_resign() => {
                Some(SendAdvertZero)
            }
            Action::SendAdvertisement(outgoing) => {
                assert_eq!(outgoing.priority.get(), situation.own_priority, "{context}");
                Some(SendAdvert)
            }
            Action::InstallAddresses => Some(Activate),
            Action::Announce { .. } => Some(Announce),
            Action::RemoveAddresses => Some(Deactivate),
            Action::StateChanged(transition) => {
                assert_eq!(
                    (transition.from, transition.to),
                    (row.state, row.next),
                    "{context}"
                );
                None
            }
            _ => panic!("{context}: {action:?}"),
        })
        .collect();
    assert_eq!(done, row.done, "{context}");
    let reported = actions
        .iter()
        .any(|action| matches!(action, Action::StateChanged(_)));
    assert_eq!(reported, row.state != row.next, "{context}");
    assert_eq!(host.state(), row.next, "{context}");
    if row.learns {
        assert_eq!(host.router.active_interval(), advert.interval, "{context}");
    } else {
        assert_eq!(
            host.router.active_interval(),
            before.router.active_interval(),
            "{context}"
        );
    }
    let expected = match row.timer {
        Timer::Off => None,
        Timer::Unchanged => before.router.poll_timeout(),
        Timer::SkewTime => Some(host.now + host.router.skew_time()),
        Timer::ActiveDownInterval => Some(host.now + host.router.active_down_interval()),
        Timer::AdvertisementInterval => Some(host.now + ms(1000)),
    };
    assert_eq!(host.router.poll_timeout(), expected, "{context}");
    true
}

#[test]
fn the_machine_is_the_transition_table() {
    for kind in KINDS {
        let mut reached = [0; TABLE.len()];
        for (preempt, follows) in [(true, true), (true, false), (false, true), (false, false)] {
            for own_priority in [1, 2, 100, 254, 255] {
                for p in 0..=255 {
                    for last in [10, 12] {
                        let situation = Situation {
                            kind,
                            follows,
                            preempt,
                            own_priority,
                            own_address: address(kind.family, 11),
                            p,
                            a: address(kind.family, last),
                        };
                        compare_all(&situation, &mut reached);
                    }
                }
            }
        }
        let older = kind.profile != Profile::Rfc9568;
        for (row, times) in TABLE.iter().zip(reached) {
            let is_answer = row.state == Active
                && row.input == Input::Advertisement
                && row.done == [SendAdvert]
                && row.timer == Timer::Unchanged;
            let is_silence =
                row.state == Active && row.input == Input::Advertisement && row.done.is_empty();
            let is_of_the_other_profile = if older { is_answer } else { is_silence };
            assert_eq!(times == 0, is_of_the_other_profile, "{kind:?} {reached:?}");
        }
    }
}

/// Compares the reaction of each state to each input with the table, and counts the rows that were
/// reached.
fn compare_all(situation: &Situation, reached: &mut [u32; TABLE.len()]) {
    for state in [Initialize, Backup, Active] {
        for input in [
            Input::Startup,
            Input::Shutdown,
            Input::TimerFires,
            Input::Advertisement,
        ] {
            let is_this =
                |row: &Row| row.state == state && row.input == input && (row.guard)(situation);
            let index = TABLE.iter().position(is_this).unwrap();
            reached[index] += u32::from(compare(&TABLE[index], situation));
        }
    }
}
