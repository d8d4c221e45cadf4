//! The transition table of `docs/conformance.md` section 5 as data, compared with the machine over all combinations.

use core::net::IpAddr;

use vrrp_fsm::{Action, Event, Preempt, Profile, ShutdownCause, State};
use vrrp_proto::Family;

use crate::host::{Advert, Host, address, centis, config, config_v2, ms, seconds};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Input {
    Startup,
    Shutdown,
    TimerFires,
    Advertisement,
}

/// What is done, as the table abbreviates it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    SendAdvert,
    SendAdvertZero,
    Activate,
    Announce,
    Deactivate,
}

/// What becomes of the one election timer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Timer {
    Off,
    Unchanged,
    SkewTime,
    ActiveDownInterval,
    AdvertisementInterval,
}

/// The variables of the guards, named as in the table.
#[derive(Clone, Copy, Debug)]
struct Situation {
    profile: Profile,
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

    /// The sender keeps a Backup quiet.
    fn defers(&self) -> bool {
        self.p >= self.own_priority || !(self.preempt || self.owner())
    }

    /// The sender takes over from an Active.
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
const TABLE: &[Row] = &[
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
    row(Active, Input::Advertisement, |s| s.profile == Profile::Rfc9568, &[SendAdvert], Timer::Unchanged, Active),
    row(Active, Input::Advertisement, always, &[], Timer::Unchanged, Active),
];

const fn always(_: &Situation) -> bool {
    true
}

/// A router of this situation in this state, half a second after it got there, or `None` where it cannot get there.
fn host_in(state: State, situation: &Situation) -> Option<Host> {
    let mut own = if situation.profile == Profile::Rfc3768 {
        config_v2(situation.own_priority)
    } else {
        config(situation.own_priority)
    };
    own.profile = situation.profile;
    own.preempt = if situation.preempt {
        Preempt::Always
    } else {
        Preempt::Never
    };
    // What goes beyond the table has tests of its own.
    own.advertise_on_yield = false;
    own.announce.second_burst_after = None;
    own.announce.rival_repeat = 0;

    let mut host = match state {
        State::Initialize => Host::new(own),
        State::Active => Host::active(own),
        State::Backup if situation.owner() => {
            if situation.profile != Profile::Rfc9568 {
                return None;
            }
            let mut host = Host::active(own);
            let _ = host.hear(Advert::priority(255).from([192, 0, 2, 77]));
            host
        }
        State::Backup => Host::started(own),
    };
    assert_eq!(host.state(), state);
    host.pass(ms(500));
    Some(host)
}

fn advert_of(situation: &Situation) -> Advert {
    let interval = if situation.profile == Profile::Rfc3768 {
        seconds(1)
    } else {
        centis(50)
    };
    Advert::priority(situation.p)
        .from(situation.a)
        .every(interval)
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
            let Ok(heard) = advert.check(&host.router) else {
                // The owner of an older profile: discarded before the table (P-43).
                assert!(situation.owner() && situation.profile != Profile::Rfc9568);
                return false;
            };
            host.event(Event::Advertisement(heard))
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
    let told = actions
        .iter()
        .any(|action| matches!(action, Action::StateChanged(_)));
    assert_eq!(told, row.state != row.next, "{context}");
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
    let own_address = address(Family::Ipv4, 11);
    let mut reached = vec![0; TABLE.len()];
    for profile in [Profile::Rfc3768, Profile::Rfc5798, Profile::Rfc9568] {
        for preempt in [true, false] {
            for own_priority in [1, 2, 100, 254, 255] {
                for p in 0..=255 {
                    for last in [10, 12] {
                        let situation = Situation {
                            profile,
                            preempt,
                            own_priority,
                            own_address,
                            p,
                            a: address(Family::Ipv4, last),
                        };
                        for state in [Initialize, Backup, Active] {
                            for input in [
                                Input::Startup,
                                Input::Shutdown,
                                Input::TimerFires,
                                Input::Advertisement,
                            ] {
                                let (index, row) = TABLE
                                    .iter()
                                    .enumerate()
                                    .find(|(_, row)| {
                                        row.state == state
                                            && row.input == input
                                            && (row.guard)(&situation)
                                    })
                                    .unwrap();
                                reached[index] += u32::from(compare(row, &situation));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(reached.iter().all(|times| *times > 0), "{reached:?}");
}
