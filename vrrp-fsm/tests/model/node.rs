//! One router of the model: the real machine, with its state in a form in which equal states are
//! equal.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use vrrp_fsm::{
    Action, Actions, AnnouncePolicy, ChecksumEvidence, ChecksumSending, Config, Counters, Deadline,
    Event, Instant, NewActiveReason, ReceiveContext, ShutdownCause, SnapshotPhase, StallPolicy,
    State, VirtualRouter,
};
use vrrp_proto::{
    Addresses, ChecksumAcceptance, ChecksumForm, Discard, Endpoints, Family, Interval, IpHeader,
    MAX_MESSAGE_LEN, MessageAuthentication, TTL, Vrid,
};

/// The constant time of the model: the deadlines come closer instead.
const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

/// The step of time: a quarter of the interval, and the least time between two answers to a rival
/// (AMB-13).
pub(crate) const TICK: Duration = Duration::from_millis(10);

const INTERVAL_CENTIS: u16 = 4;

/// The octets of an advertisement.
pub(crate) type Octets = Vec<u8>;

/// A router that takes part, or one that was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node(VirtualRouter);

impl Node {
    /// The configuration of a router in the model. Announcements have no part in the election. They
    /// are left out as far as possible, because their remains would make equal states different.
    pub(crate) fn config(priority: u8) -> Config {
        let mut config = Config::new(Vrid::new(51).unwrap(), Family::Ipv4);
        config.priority = priority.into();
        config.interval = Interval::centis(INTERVAL_CENTIS).unwrap();
        config.announce = AnnouncePolicy {
            second_burst_after: None,
            refresh: None,
            rival_repeat: 0,
            ..AnnouncePolicy::default()
        };
        // One message for each advertisement, and one situation for the two checksum forms.
        config.checksum = ChecksumSending::Fixed(ChecksumForm::PseudoHeader);
        config
    }

    /// Active_Down_Interval of a router of this priority.
    pub(crate) fn active_down_ticks(priority: u8) -> u8 {
        let interval = VirtualRouter::new(Self::config(priority))
            .unwrap()
            .active_down_interval();
        assert_eq!(
            interval.as_nanos() % TICK.as_nanos(),
            0,
            "priority {priority} has a Skew_Time between two ticks"
        );
        u8::try_from(interval.as_nanos() / TICK.as_nanos()).unwrap()
    }

    /// A router that has just started.
    pub(crate) fn started(config: Config, number: usize) -> (Self, Vec<Octets>) {
        let mut node = Self(VirtualRouter::new(config).unwrap());
        let sent = node.start(number);
        (node, sent)
    }

    /// Starts a router that was stopped.
    pub(crate) fn start(&mut self, number: usize) -> Vec<Octets> {
        self.handle_event(Event::Startup {
            primary_address: address(number),
        })
    }

    /// Shuts it down.
    pub(crate) fn stop(&mut self) -> Vec<Octets> {
        self.handle_event(Event::Shutdown(ShutdownCause::Administrative))
    }

    /// Tracked objects change the priority.
    pub(crate) fn set_priority(&mut self, priority: u8) -> Vec<Octets> {
        self.handle_event(Event::EffectivePriority(priority.into()))
    }

    /// Receives an advertisement from the router with this number, through every check.
    pub(crate) fn receive(&mut self, from: usize, octets: &[u8]) -> Vec<Octets> {
        let ip = IpHeader {
            endpoints: Endpoints::multicast(address(from)),
            ttl: TTL,
        };
        let mut context = ReceiveContext {
            addresses: Some(Addresses::from(&VIRTUAL_ADDRESSES[..])),
            ..ReceiveContext::multicast(Family::Ipv4)
        };
        context.decode.v3_ipv4_checksum = self.accepts();
        match self.0.handle_packet(NOW, &ip, octets, &context) {
            Ok((_, actions)) => self.sent_by(actions),
            Err(Discard::Checksum(_)) => Vec::new(),
            Err(discard) => panic!("{discard}"),
        }
    }

    /// The checksum forms that it accepts: a router that sends one form alone accepts no other.
    fn accepts(&self) -> ChecksumAcceptance {
        match self.0.config().checksum {
            ChecksumSending::Fixed(ChecksumForm::MessageOnly) => ChecksumAcceptance::MessageOnly,
            ChecksumSending::Fixed(ChecksumForm::PseudoHeader) => ChecksumAcceptance::PseudoHeader,
            _ => ChecksumAcceptance::Either,
        }
    }

    /// Whether its timer is due.
    pub(crate) fn is_due(&self) -> bool {
        self.0
            .poll_timeout()
            .is_some_and(|deadline| deadline <= NOW)
    }

    /// Whether it is an Active that has to yield because it has stalled.
    pub(crate) fn must_yield(&self) -> bool {
        self.state() == State::Active
            && self.0.config().stall == StallPolicy::Yield
            && self.0.is_stalled(NOW)
    }

    /// Serves its timer.
    pub(crate) fn handle_timeout(&mut self) -> Vec<Octets> {
        let actions = self.0.handle_timeout(NOW);
        self.sent_by(actions)
    }

    /// A tick passes.
    pub(crate) fn pass_tick(&mut self) {
        self.normalise(NOW + TICK);
    }

    pub(crate) fn state(&self) -> State {
        self.0.state()
    }

    pub(crate) fn priority(&self) -> u8 {
        self.0.effective_priority().get()
    }

    pub(crate) fn configured_priority(&self) -> u8 {
        self.0.config().priority.get()
    }

    fn handle_event(&mut self, event: Event) -> Vec<Octets> {
        let actions = self.0.handle_event(NOW, event);
        self.sent_by(actions)
    }

    fn sent_by(&mut self, actions: Actions) -> Vec<Octets> {
        let mut sent = Vec::new();
        for action in actions {
            if let Action::SendAdvertisement(outgoing) = action {
                let addresses = Addresses::from(&VIRTUAL_ADDRESSES[..]);
                let endpoints = Endpoints::multicast(self.0.primary_address());
                for (message, form) in
                    self.0
                        .advertisements(outgoing, MessageAuthentication::None, addresses)
                {
                    let mut octets = vec![0; MAX_MESSAGE_LEN];
                    let length = message.encode(&mut octets, &endpoints, form).unwrap();
                    octets.truncate(length);
                    sent.push(octets);
                }
            }
        }
        self.normalise(NOW);
        sent
    }

    /// Moves the time from `then` back to [`NOW`], and leaves out data on which no later step
    /// depends: the counters, the reasons, the last Active (used only with both versions), and how
    /// long ago a condition expired.
    fn normalise(&mut self, then: Instant) {
        let mut snapshot = self.0.snapshot(then);
        snapshot.counters = Counters::default();
        snapshot.last_reason = None;
        snapshot.new_active_reason = NewActiveReason::NotActive;
        if self.0.config().checksum != ChecksumSending::Adaptive {
            snapshot.checksum_evidence = ChecksumEvidence::default();
        }
        match &mut snapshot.phase {
            SnapshotPhase::Initialize { cause } => *cause = None,
            SnapshotPhase::Backup {
                not_before,
                preempt_hold,
                active,
                ..
            } => {
                *active = None;
                forget_age([not_before, preempt_hold]);
            }
            SnapshotPhase::Active {
                answer, hand_over, ..
            } => {
                forget_age([answer]);
                // Nothing but the report of a rival depends on it.
                *hand_over = Deadline::Never;
            }
        }
        self.0 = VirtualRouter::restore(self.0.config(), snapshot, NOW).unwrap();
    }
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let snapshot = self.0.snapshot(NOW);
        snapshot.effective_priority.hash(state);
        snapshot.active_interval.hash(state);
        snapshot.checksum_evidence.hash(state);
        match snapshot.phase {
            SnapshotPhase::Initialize { .. } => 0.hash(state),
            SnapshotPhase::Backup {
                down,
                not_before,
                preempt_hold,
                expiry,
                stalled,
                ..
            } => (1, down, not_before, preempt_hold, expiry, stalled).hash(state),
            SnapshotPhase::Active { adver, answer, .. } => (2, adver, answer).hash(state),
        }
    }
}

const VIRTUAL_ADDRESSES: [Ipv4Addr; 1] = [Ipv4Addr::new(192, 0, 2, 254)];

/// The primary address of the router of this number.
fn address(number: usize) -> IpAddr {
    [192, 0, 2, u8::try_from(number + 1).unwrap()].into()
}

fn forget_age<const N: usize>(deadlines: [&mut Deadline; N]) {
    for deadline in deadlines {
        if let Deadline::Overdue(_) = deadline {
            *deadline = Deadline::In(Duration::ZERO);
        }
    }
}
