//! The state machine: RFC 9568 section 6.4. Read it together with `docs/conformance.md` section 5.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_proto::{
    Addresses, Advertisement, ChecksumForm, Family, Interval, MessageAuthentication, Priority,
    Version, Versions,
};

use crate::{
    AcceptedAdvertisement, Action, Actions, ChecksumEvidence, Config, ConfigError, Counters, Event,
    Expiry, Instant, NewActiveReason, Outgoing, Profile, Reason, ShutdownCause, StallPolicy, State,
    Transition,
    announce::{Schedule, next_in_rhythm},
    backup::Backup,
    counters::count,
    preempt::PreemptHold,
    settings::Settings,
    timers::Timers,
};

/// The least time between two answers to rivals of lower priority (AMB-13): 10 ms, the shortest
/// interval of the protocol.
///
/// One answer reaches all rivals, so a second answer within the shortest interval adds nothing; and
/// two Actives that both expect to win cannot answer each other faster.
const ANSWER_GAP: u64 = 10_000_000;

/// One virtual router of one family on one interface: the state machine of RFC 9568 section 6.4,
/// with its deadlines inside.
///
/// It is a plain value: a copy is an independent router with the same deadlines. The [crate]
/// documentation describes how to drive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VirtualRouter {
    pub(crate) settings: Settings,
    pub(crate) phase: Phase,
    /// Unspecified before the first Startup.
    pub(crate) primary_address: IpAddr,
    pub(crate) effective_priority: Priority,
    /// Active_Adver_Interval. In version 2 it is always this router's interval, because messages
    /// with another interval are discarded (P-29).
    pub(crate) active_interval: Interval,
    pub(crate) checksum_evidence: ChecksumEvidence,
    pub(crate) last_reason: Option<Reason>,
    pub(crate) new_active_reason: NewActiveReason,
    pub(crate) counters: Counters,
}

/// The state with its data. So there is one election timer in Backup and in Active and none in
/// Initialize (T-09), and pending announcements end with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Initialize(Option<ShutdownCause>),
    Backup(Backup),
    Active(Active),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    /// Adver_Timer.
    pub(crate) adver: Instant,
    pub(crate) schedule: Schedule,
    /// Until then no rival of lower priority is answered.
    pub(crate) answer_after: Instant,
    /// Until then an Active that was preempted may still advertise: it has not received ours, or
    /// yields with a last advertisement.
    pub(crate) hand_over_until: Instant,
}

impl VirtualRouter {
    /// Makes a router in Initialize.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the invalid field.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let settings = Settings::new(&config)?;
        Ok(Self {
            settings,
            phase: Phase::Initialize(None),
            primary_address: match settings.family {
                Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            },
            effective_priority: settings.priority,
            active_interval: settings.interval,
            checksum_evidence: ChecksumEvidence::default(),
            last_reason: None,
            new_active_reason: NewActiveReason::NotActive,
            counters: Counters::default(),
        })
    }

    /// Handles an event. The actions are performed in order.
    #[inline]
    pub fn handle_event(&mut self, now: Instant, event: Event) -> Actions {
        match (self.phase, event) {
            (_, Event::EffectivePriority(priority)) => self.set_priority(now, priority),
            (Phase::Initialize(_), Event::Startup { primary_address }) => {
                self.start(now, primary_address, false)
            }
            // S-03, S-32
            (Phase::Initialize(_), _)
            | (_, Event::Startup { .. })
            | (Phase::Backup(_), Event::AddressesChanged | Event::Reannounce) => Actions::NONE,
            (_, Event::PrimaryAddress(address)) => self.set_primary_address(now, address),

            (Phase::Backup(_), Event::Shutdown(cause)) => {
                self.phase = Phase::Initialize(Some(cause));
                Actions::of([Some(self.changed(
                    State::Backup,
                    State::Initialize,
                    Reason::Shutdown(cause),
                ))])
            }
            (Phase::Backup(_), Event::Advertisement(accepted)) => {
                self.receive_as_backup(now, &accepted);
                Actions::NONE
            }

            (Phase::Active(_), Event::Shutdown(cause)) => self.resign(cause),
            (Phase::Active(active), Event::Advertisement(accepted)) => {
                self.receive_as_active(now, active, &accepted)
            }
            (Phase::Active(_), Event::AddressesChanged) if self.must_yield(now) => {
                Actions::of([Some(Action::InstallAddresses)])
            }
            (Phase::Active(_), Event::Reannounce) if self.must_yield(now) => Actions::NONE,
            (Phase::Active(active), Event::AddressesChanged) => {
                let advertisement = self.advertise();
                let announcement = self.announce_again(now, active);
                Actions::of([
                    Some(advertisement),
                    Some(Action::InstallAddresses),
                    Some(announcement),
                ])
            }
            (Phase::Active(active), Event::Reannounce) => {
                Actions::of([Some(self.announce_again(now, active))])
            }
        }
    }

    /// Handles the passage of time. It has no effect before [`poll_timeout`](Self::poll_timeout).
    ///
    /// Drain the sockets first: packets that arrived before the deadline must be handled before the
    /// timeout.
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) -> Actions {
        match self.phase {
            Phase::Backup(backup) if backup.down.is_due(now) => self.down_timer_fired(now, backup),
            Phase::Initialize(_) | Phase::Backup(_) => Actions::NONE,
            Phase::Active(active) => self.serve_as_active(now, active),
        }
    }

    /// Returns the deadline of the next [`handle_timeout`](Self::handle_timeout): always in Backup
    /// and Active, never in Initialize.
    ///
    /// Every call of `handle_event`, `handle_timeout` and `reconfigure` may change it. It is in the
    /// past if the host is late.
    #[inline]
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Initialize(_) => None,
            Phase::Backup(backup) => Some(backup.down),
            Phase::Active(active) => Some(active.adver.min(active.schedule.next())),
        }
    }

    // Initialize.

    /// `held` prevents the address owner from becoming Active at once, as its own start-up hold
    /// does.
    pub(crate) fn start(&mut self, now: Instant, primary_address: IpAddr, held: bool) -> Actions {
        self.primary_address = primary_address;
        self.active_interval = self.settings.interval; // T-07
        let held = held || self.settings.startup_hold != 0;
        if self.settings.priority.is_owner() && !held {
            return self.become_active(now, State::Initialize, Reason::OwnerStartup);
        }
        let mut backup = Backup::new(now.after(self.settings.startup_hold));
        backup.preempt_hold = PreemptHold::started(now, self.settings.preempt);
        if self.settings.priority.is_owner() {
            backup.wait_for_hold(now, &self.timers());
        } else {
            backup.wait_for_silence(now, &self.timers());
        }
        self.phase = Phase::Backup(backup);
        Actions::of([Some(self.changed(
            State::Initialize,
            State::Backup,
            Reason::Startup,
        ))])
    }

    // Backup.

    #[inline]
    fn receive_as_backup(&mut self, now: Instant, accepted: &AcceptedAdvertisement) {
        self.count_received(accepted);
        // In place, because this is the most frequent step.
        let Phase::Backup(backup) = &mut self.phase else {
            return;
        };
        let settings = &self.settings;
        if settings.versions == Versions::Both && backup.ignores(accepted) {
            return;
        }
        let priority = self.effective_priority;
        let at_least_equal = accepted.priority >= priority;
        if accepted.priority.is_resign() {
            // S-11: nothing else of this message counts.
            let timers = settings.timers(priority, self.active_interval);
            backup.wait_for_successor(now, &timers);
        } else if at_least_equal || !backup.preempt_hold.preempts(now, settings.preempt_policy()) {
            // S-12, S-13, S-15
            if at_least_equal {
                backup.preempt_hold = PreemptHold::STOPPED;
            }
            self.active_interval = accepted.interval;
            let is_second_form = self.checksum_evidence.is_completed_by(accepted.checksum);
            backup.follow(accepted, settings.versions, is_second_form);
            backup.wait_for_silence(now, &settings.timers(priority, accepted.interval));
        } else {
            // S-14: the timer runs on.
            backup.expiry = Expiry::LowerPriority;
        }
        self.follow_checksum(accepted);
    }

    fn down_timer_fired(&mut self, now: Instant, backup: Backup) -> Actions {
        if self.waits_after_stall(now, backup) {
            return Actions::NONE;
        }
        self.take_over(now, backup.expiry)
    }

    /// Whether a Backup whose timer fires late waits once more, because it was not listening.
    pub(crate) fn waits_after_stall(&mut self, now: Instant, mut backup: Backup) -> bool {
        let waits =
            self.settings.stall == StallPolicy::Yield && self.is_stalled(now) && !backup.stalled;
        if waits {
            backup.stalled = true;
            backup.wait_for_silence(now, &self.timers());
            self.phase = Phase::Backup(backup);
        }
        waits
    }

    /// Takes over from Backup. `expiry` is the reason of the timer.
    pub(crate) fn take_over(&mut self, now: Instant, expiry: Expiry) -> Actions {
        let reason = match expiry {
            Expiry::Silence => Reason::ActiveDown,
            Expiry::Resignation => Reason::ActiveResigned,
            Expiry::LowerPriority if self.settings.priority.is_owner() => Reason::OwnerPreempt,
            Expiry::LowerPriority if self.settings.preempt.has_delay() => {
                Reason::PreemptHoldTimeout
            }
            Expiry::LowerPriority => Reason::LowerPriorityActive,
        };
        self.become_active(now, State::Backup, reason)
    }

    // Active.

    /// S-04 to S-06, S-09: the advertisement is sent first (S-10), and the addresses exist before
    /// they are announced.
    fn become_active(&mut self, now: Instant, from: State, reason: Reason) -> Actions {
        let mut schedule = Schedule::new(now, &self.settings.announcements);
        let announcement = schedule.burst(now, &self.settings.announcements);
        let interval = self.settings.interval.as_nanos();
        let preempts = reason.new_active_reason() == Some(NewActiveReason::Preempted);
        self.phase = Phase::Active(Active {
            adver: now.after(interval),
            schedule,
            answer_after: Instant::ZERO,
            hand_over_until: if preempts { now.after(interval) } else { now },
        });
        self.counters.active_transitions = self.counters.active_transitions.saturating_add(1);
        Actions::of([
            Some(self.advertise()),
            Some(Action::InstallAddresses),
            Some(announcement),
            Some(self.changed(from, State::Active, reason)),
        ])
    }

    fn receive_as_active(
        &mut self,
        now: Instant,
        mut active: Active,
        accepted: &AcceptedAdvertisement,
    ) -> Actions {
        if self.must_yield(now) {
            let actions = self.stand_back(now, Reason::Stall);
            self.receive_as_backup(now, accepted);
            return actions;
        }
        self.count_received(accepted);
        self.follow_checksum(accepted);
        let announcements = &self.settings.announcements;
        if accepted.priority.is_resign() {
            // S-16. A router that resigns was Active too: the neighbours must learn the remaining
            // Active.
            active.adver = now.after(self.settings.interval.as_nanos());
            let announcement = active.schedule.rival(now, announcements);
            self.phase = Phase::Active(active);
            return Actions::of([Some(self.advertise()), announcement]);
        }
        if accepted.priority > self.effective_priority {
            return self.yield_to(now, accepted, Reason::HigherPriority);
        }
        // S-19: `IpAddr` compares the octets in network order, unsigned.
        if accepted.priority == self.effective_priority && accepted.source > self.primary_address {
            return self.yield_to(now, accepted, Reason::GreaterAddress);
        }
        // S-20, S-21
        let announcement = active.schedule.rival(now, announcements);
        let answer = self.settings.profile == Profile::Rfc9568 && now >= active.answer_after;
        if answer {
            active.answer_after = now.after(ANSWER_GAP);
        }
        self.phase = Phase::Active(active);
        Actions::of([answer.then(|| self.advertise()), announcement])
    }

    /// Whether an advertisement that this router has just handled shows a second Active (S-20):
    /// this router is Active, and another router that does not resign advertises too.
    ///
    /// For one interval after this router preempted an Active it is `false`: the preempted router
    /// may still advertise until it has received the first advertisement of its successor, and a
    /// last time when it yields ([`Config::advertise_on_yield`]).
    #[must_use]
    pub fn is_rival(&self, now: Instant, accepted: &AcceptedAdvertisement) -> bool {
        matches!(&self.phase, Phase::Active(active)
            if !accepted.priority.is_resign() && now >= active.hand_over_until)
    }

    /// S-17, S-18
    fn yield_to(
        &mut self,
        now: Instant,
        accepted: &AcceptedAdvertisement,
        reason: Reason,
    ) -> Actions {
        let last_word = self.settings.advertise_on_yield.then(|| self.advertise());
        self.active_interval = accepted.interval;
        let mut backup = Backup::new(now);
        backup.follow(accepted, self.settings.versions, false);
        backup.wait_for_silence(now, &self.timers());
        self.step_down(backup, last_word, reason)
    }

    /// S-24, S-31
    fn resign(&mut self, cause: ShutdownCause) -> Actions {
        let advertisement = self.send(Priority::RESIGN);
        self.phase = Phase::Initialize(Some(cause));
        Actions::of([
            Some(advertisement),
            Some(Action::RemoveAddresses),
            Some(self.changed(State::Active, State::Initialize, Reason::Shutdown(cause))),
        ])
    }

    /// Whether an Active has stalled, and yields. Another router must have taken over, and would
    /// yield to an advertisement of this one: it sends nothing, and becomes Backup before it
    /// handles a waiting advertisement.
    pub(crate) fn must_yield(&self, now: Instant) -> bool {
        self.settings.stall == StallPolicy::Yield
            && matches!(self.phase, Phase::Active(_))
            && self.is_stalled(now)
    }

    fn serve_as_active(&mut self, now: Instant, mut active: Active) -> Actions {
        if self.must_yield(now) {
            return self.stand_back(now, Reason::Stall);
        }
        let stalled = self.is_stalled(now);
        let advertise = active.adver.is_due(now);
        if advertise {
            // S-23, T-08: this router's interval, never the learned one.
            active.adver = next_in_rhythm(active.adver, now, self.settings.interval.as_nanos());
        }
        let announcements = &self.settings.announcements;
        let mut announcement = active.schedule.due(now, announcements);
        if stalled {
            // Another router may have been Active in the meantime, and announce once more before it
            // receives our advertisement.
            announcement = Some(active.schedule.burst(now, announcements));
            active.schedule.await_silence(now, announcements);
        }
        self.phase = Phase::Active(active);
        Actions::of([advertise.then(|| self.advertise()), announcement])
    }

    /// Advertises ahead of the schedule, which stays, if an Active's Adver_Timer fires by `until`.
    #[cfg(feature = "alloc")]
    pub(crate) fn advertise_ahead(&mut self, until: Instant) -> Actions {
        match &mut self.phase {
            Phase::Active(active) if active.adver.is_due(until) => {
                active.adver = active.adver.after(self.settings.interval.as_nanos());
                Actions::of([Some(self.advertise())])
            }
            _ => Actions::NONE,
        }
    }

    /// Changes to Backup without an advertisement of another router.
    pub(crate) fn stand_back(&mut self, now: Instant, reason: Reason) -> Actions {
        self.active_interval = self.settings.interval;
        let mut backup = Backup::new(now);
        backup.wait_for_silence(now, &self.timers());
        self.step_down(backup, None, reason)
    }

    /// S-31: the addresses are removed before the change is reported.
    fn step_down(&mut self, backup: Backup, last_word: Option<Action>, reason: Reason) -> Actions {
        self.phase = Phase::Backup(backup);
        Actions::of([
            last_word,
            Some(Action::RemoveAddresses),
            Some(self.changed(State::Active, State::Backup, reason)),
        ])
    }

    fn changed(&mut self, from: State, to: State, reason: Reason) -> Action {
        self.last_reason = Some(reason);
        if let Some(reason) = reason.new_active_reason() {
            self.new_active_reason = reason;
        }
        Action::StateChanged(Transition { from, to, reason })
    }

    fn announce_again(&mut self, now: Instant, mut active: Active) -> Action {
        let announcement = active.schedule.burst(now, &self.settings.announcements);
        self.phase = Phase::Active(active);
        announcement
    }

    pub(crate) fn advertise(&mut self) -> Action {
        self.send(self.effective_priority)
    }

    fn send(&mut self, priority: Priority) -> Action {
        let outgoing = Outgoing {
            priority,
            versions: self.settings.versions,
            checksum: self.checksum_forms(),
        };
        self.counters.count_sent(outgoing);
        Action::SendAdvertisement(outgoing)
    }

    /// Subtracts an advertisement that the host could not send from the counters.
    pub fn not_sent(&mut self, outgoing: Outgoing) {
        self.counters.count_unsent(outgoing);
    }

    // In every state.

    pub(crate) const fn timers(&self) -> Timers {
        self.settings
            .timers(self.effective_priority, self.active_interval)
    }

    fn count_received(&mut self, accepted: &AcceptedAdvertisement) {
        let counters = &mut self.counters;
        count(&mut counters.advertisements_received);
        if accepted.priority.is_resign() {
            count(&mut counters.priority_zero_received);
        }
        if accepted.version() == Version::V3
            && accepted.interval.as_centis() != self.settings.interval.as_centis()
        {
            count(&mut counters.interval_errors);
        }
        if accepted.mismatches.address_list_differs {
            count(&mut counters.address_list_errors);
        }
        if accepted.mismatches.owner_conflict {
            count(&mut counters.owner_conflicts);
        }
    }

    /// AMB-01
    fn follow_checksum(&mut self, accepted: &AcceptedAdvertisement) {
        if accepted.version() == Version::V3 {
            self.checksum_evidence.add(accepted.checksum);
        }
    }

    fn set_priority(&mut self, now: Instant, wanted: Priority) -> Actions {
        let priority = self.settings.effective_priority(wanted);
        if core::mem::replace(&mut self.effective_priority, priority) == priority {
            return Actions::NONE;
        }
        self.advertise_change(now)
    }

    fn set_primary_address(&mut self, now: Instant, address: IpAddr) -> Actions {
        if core::mem::replace(&mut self.primary_address, address) == address {
            return Actions::NONE;
        }
        self.advertise_change(now)
    }

    fn advertise_change(&mut self, now: Instant) -> Actions {
        let advertises = matches!(self.phase, Phase::Active(_)) && !self.must_yield(now);
        Actions::of([advertises.then(|| self.advertise())])
    }

    /// Returns the messages of [`Action::SendAdvertisement`], in the order of sending, each with
    /// the checksum form to encode it with: one of version 3, or two in [both
    /// forms](crate::ChecksumForms::Both) (AMB-01), and with [`Versions::Both`] one of version 2
    /// after them, whose interval is rounded up to whole seconds (AMB-28).
    ///
    /// `authentication` is for version 2; version 3 has none (O-01).
    pub fn advertisements<'a>(
        &self,
        outgoing: Outgoing,
        authentication: MessageAuthentication,
        addresses: Addresses<'a>,
    ) -> impl Iterator<Item = (Advertisement<'a>, ChecksumForm)> + use<'a> {
        let (vrid, own) = (self.settings.vrid, self.settings.interval);
        let v3 = outgoing.checksum.iter().map(|form| (Version::V3, form));
        let v2 = core::iter::once((Version::V2, ChecksumForm::MessageOnly));
        v3.chain(v2)
            .filter(move |(version, _)| outgoing.versions.include(*version))
            .map(move |(version, form)| {
                let (interval, authentication) = match version {
                    Version::V3 => (own, MessageAuthentication::None),
                    Version::V2 => (own.to_seconds_rounded_up(), authentication),
                };
                let advertisement = Advertisement {
                    vrid,
                    priority: outgoing.priority,
                    interval,
                    authentication,
                    addresses,
                };
                (advertisement, form)
            })
    }
}
