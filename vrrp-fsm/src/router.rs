//! The state machine: RFC 9568 section 6.4, to be read beside `docs/conformance.md` section 5.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use vrrp_proto::{
    Addresses, Advertisement, Authentication, ChecksumForm, Family, Interval, Priority, Version,
    Versions,
};

use crate::{
    Action, Actions, ChecksumSending, Config, ConfigError, Counters, Event, Heard, Instant,
    NewActiveReason, Outgoing, Profile, Reason, ShutdownCause, StallPolicy, State, Transition,
    announce::{Schedule, next_in_rhythm},
    counters::count,
    preempt::PreemptHold,
    settings::Settings,
};

/// The least time between two answers to rivals of lower priority (AMB-13): 10 ms, the shortest interval that the protocol has.
///
/// One answer goes to all rivals at once, so that a second one within the time of the fastest periodic advertisement tells nobody
/// anything new; and two Actives that each believe to be the greater one cannot answer each other faster than that.
const ANSWER_GAP: u64 = 10_000_000;

/// One virtual router of one family on one interface: the state machine of RFC 9568 section 6.4, with its deadlines inside.
///
/// It is a plain value: copying it copies the router, deadlines and all. The [crate] documentation says how to drive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct VirtualRouter {
    pub(crate) settings: Settings,
    pub(crate) phase: Phase,
    /// Unspecified before the first Startup.
    pub(crate) primary_address: IpAddr,
    pub(crate) effective_priority: Priority,
    /// Active_Adver_Interval. In version 2 it is always the own interval, because a message with another one is discarded (P-29).
    pub(crate) active_interval: Interval,
    pub(crate) checksum_form: ChecksumForm,
    pub(crate) last_reason: Option<Reason>,
    pub(crate) new_active_reason: NewActiveReason,
    pub(crate) counters: Counters,
}

/// The state with what exists in it only. So there is one election timer in Backup and in Active and none in Initialize (T-09), and
/// what is left of an announcement goes with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Initialize(Option<ShutdownCause>),
    Backup(Backup),
    Active(Active),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    /// Active_Down_Timer.
    pub(crate) down: Instant,
    /// The end of the start-up hold.
    pub(crate) not_before: Instant,
    pub(crate) preempt_hold: PreemptHold,
    /// The Active last accepted.
    pub(crate) active: Option<ActiveRouter>,
    /// What it means when the timer fires.
    pub(crate) expiry: Expiry,
    /// The timer was set anew after a stall, and nobody was heard since.
    pub(crate) stalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    /// Adver_Timer.
    pub(crate) adver: Instant,
    pub(crate) schedule: Schedule,
    /// Until then no rival of lower priority is answered.
    pub(crate) answer_after: Instant,
}

/// What was heard since the Active_Down_Timer was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Nothing: when the timer fires, the Active is silent.
    Silence,
    /// The Active's resignation.
    Resignation,
    /// An Active of lower priority that is to be preempted.
    LowerPriority,
}

/// Who is Active, as far as this router knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActiveRouter {
    /// Its primary address.
    pub address: IpAddr,
    /// The priority that it advertised.
    pub priority: Priority,
    /// The version of its last advertisement that was accepted.
    pub version: Version,
    /// How many version 3 advertisements came from it since the last one of version 2. Counted with [`Versions::Both`] only.
    pub v3_without_v2: u8,
}

impl VirtualRouter {
    /// A router in Initialize.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field that does not fit.
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
            checksum_form: settings.checksum.form(),
            last_reason: None,
            new_active_reason: NewActiveReason::NotActive,
            counters: Counters::default(),
        })
    }

    /// Something has happened. The actions are to be done in order.
    #[inline]
    pub fn handle_event(&mut self, now: Instant, event: Event) -> Actions {
        match (self.phase, event) {
            (_, Event::EffectivePriority(priority)) => self.set_priority(priority),
            (Phase::Initialize(_), Event::Startup { primary_address }) => {
                self.start(now, primary_address)
            }
            // S-03, S-32
            (Phase::Initialize(_), _)
            | (_, Event::Startup { .. })
            | (Phase::Backup(_), Event::AddressesChanged | Event::Reannounce) => Actions::NONE,
            (_, Event::PrimaryAddress(address)) => self.set_primary_address(address),

            (Phase::Backup(_), Event::Shutdown(cause)) => {
                self.phase = Phase::Initialize(Some(cause));
                Actions::of([Some(self.changed(
                    State::Backup,
                    State::Initialize,
                    Reason::Shutdown(cause),
                ))])
            }
            (Phase::Backup(backup), Event::Advertisement(heard)) => {
                self.hear_as_backup(now, backup, &heard);
                Actions::NONE
            }

            (Phase::Active(_), Event::Shutdown(cause)) => self.resign(cause),
            (Phase::Active(active), Event::Advertisement(heard)) => {
                self.hear_as_active(now, active, &heard)
            }
            (Phase::Active(active), Event::AddressesChanged) => {
                let advertisement = self.advertise();
                let announcement = self.announce_anew(now, active);
                Actions::of([
                    Some(advertisement),
                    Some(Action::InstallAddresses),
                    Some(announcement),
                ])
            }
            (Phase::Active(active), Event::Reannounce) => {
                Actions::of([Some(self.announce_anew(now, active))])
            }
        }
    }

    /// Time has passed. Before [`poll_timeout`](Self::poll_timeout) this does nothing.
    ///
    /// The host first hands over what its sockets hold: what was sent while it slept comes before what it slept through.
    #[inline]
    pub fn handle_timeout(&mut self, now: Instant) -> Actions {
        match self.phase {
            Phase::Backup(backup) if backup.down.is_due(now) => self.down_timer_fired(now, backup),
            Phase::Initialize(_) | Phase::Backup(_) => Actions::NONE,
            Phase::Active(active) => self.serve_as_active(now, active),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do: in Backup and Active always, in Initialize never.
    ///
    /// It moves with every call of `handle_event`, `handle_timeout` and `reconfigure`. It may lie in the past, where the host is late.
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

    fn start(&mut self, now: Instant, primary_address: IpAddr) -> Actions {
        self.primary_address = primary_address;
        self.active_interval = self.settings.interval; // T-07
        let held = self.settings.startup_hold != 0;
        if self.settings.priority.is_owner() && !held {
            return self.become_active(now, State::Initialize, Reason::OwnerStartup);
        }
        let not_before = now.after(self.settings.startup_hold);
        let mut backup = Backup::new(not_before);
        backup.preempt_hold = PreemptHold::started(now, self.settings.preempt);
        let wait = if self.settings.priority.is_owner() {
            0
        } else {
            self.active_down_nanos()
        };
        self.set_down_timer(now, &mut backup, wait);
        self.phase = Phase::Backup(backup);
        Actions::of([Some(self.changed(
            State::Initialize,
            State::Backup,
            Reason::Startup,
        ))])
    }

    // Backup.

    fn hear_as_backup(&mut self, now: Instant, mut backup: Backup, heard: &Heard) {
        self.count_heard(heard);
        if self.settings.versions == Versions::Both && backup.ignores(heard) {
            self.phase = Phase::Backup(backup);
            return;
        }
        self.follow_checksum(heard);
        let at_least_equal = heard.priority >= self.effective_priority;
        if heard.priority.is_resign() {
            // S-11: nothing else of this message counts.
            backup.expiry = Expiry::Resignation;
            self.set_down_timer(now, &mut backup, self.skew_nanos());
        } else if at_least_equal || !self.preempts(now, &mut backup) {
            // S-12, S-13, S-15
            if at_least_equal {
                backup.preempt_hold = PreemptHold::STOPPED;
            }
            self.accept(now, &mut backup, heard);
        } else {
            // S-14: the timer runs on.
            backup.expiry = Expiry::LowerPriority;
        }
        self.phase = Phase::Backup(backup);
    }

    /// Whether the Active of lower priority that was just heard is to be preempted. The owner always does so (S-25).
    fn preempts(&self, now: Instant, backup: &mut Backup) -> bool {
        self.settings.priority.is_owner()
            || backup.preempt_hold.preempts(now, self.settings.preempt)
    }

    /// Follows an Active: learns its interval and waits for its next advertisement (S-12, S-17).
    fn accept(&mut self, now: Instant, backup: &mut Backup, heard: &Heard) {
        self.active_interval = heard.interval;
        backup.expiry = Expiry::Silence;
        backup.stalled = false;
        backup.remember(heard, self.settings.versions);
        self.set_down_timer(now, backup, self.active_down_nanos());
    }

    /// Sets the Active_Down_Timer from now (T-15), but not before the end of the start-up hold and Skew_Time after it.
    fn set_down_timer(&self, now: Instant, backup: &mut Backup, wait: u64) {
        backup.down = now
            .after(wait)
            .max(backup.not_before.after(self.skew_nanos()));
    }

    fn down_timer_fired(&mut self, now: Instant, mut backup: Backup) -> Actions {
        if self.settings.stall == StallPolicy::Yield && self.is_stalled(now) && !backup.stalled {
            backup.stalled = true;
            backup.expiry = Expiry::Silence;
            self.set_down_timer(now, &mut backup, self.active_down_nanos());
            self.phase = Phase::Backup(backup);
            return Actions::NONE;
        }
        let reason = match backup.expiry {
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

    /// S-04 to S-06, S-09: the advertisement goes out first (S-10), and the addresses exist before they are announced.
    fn become_active(&mut self, now: Instant, from: State, reason: Reason) -> Actions {
        let mut schedule = Schedule::new(now, &self.settings.announcements);
        let announcement = schedule.burst(now, &self.settings.announcements);
        self.phase = Phase::Active(Active {
            adver: now.after(self.settings.interval.as_nanos()),
            schedule,
            answer_after: Instant::ZERO,
        });
        self.counters.active_transitions = self.counters.active_transitions.saturating_add(1);
        Actions::of([
            Some(self.advertise()),
            Some(Action::InstallAddresses),
            Some(announcement),
            Some(self.changed(from, State::Active, reason)),
        ])
    }

    fn hear_as_active(&mut self, now: Instant, mut active: Active, heard: &Heard) -> Actions {
        self.count_heard(heard);
        self.follow_checksum(heard);
        let announcements = &self.settings.announcements;
        if heard.priority.is_resign() {
            // S-16. Who resigns was Active beside us: the neighbours have to hear who is left.
            active.adver = now.after(self.settings.interval.as_nanos());
            let announcement = active.schedule.rival(now, announcements);
            self.phase = Phase::Active(active);
            return Actions::of([Some(self.advertise()), announcement]);
        }
        if heard.priority > self.effective_priority {
            return self.yield_to(now, heard, Reason::HigherPriority);
        }
        // S-19: `IpAddr` compares the octets in network order, unsigned.
        if heard.priority == self.effective_priority && heard.source > self.primary_address {
            return self.yield_to(now, heard, Reason::GreaterAddress);
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

    /// S-17, S-18
    fn yield_to(&mut self, now: Instant, heard: &Heard, reason: Reason) -> Actions {
        let last_word = self.settings.advertise_on_yield.then(|| self.advertise());
        let mut backup = Backup::new(now);
        self.accept(now, &mut backup, heard);
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

    fn serve_as_active(&mut self, now: Instant, mut active: Active) -> Actions {
        let stalled = self.is_stalled(now);
        if stalled && self.settings.stall == StallPolicy::Yield {
            self.active_interval = self.settings.interval;
            let mut backup = Backup::new(now);
            self.set_down_timer(now, &mut backup, self.active_down_nanos());
            return self.step_down(backup, None, Reason::Stall);
        }
        let advertise = active.adver.is_due(now);
        if advertise {
            // S-23, T-08: the own interval, never the learned one.
            active.adver = next_in_rhythm(active.adver, now, self.settings.interval.as_nanos());
        }
        let announcements = &self.settings.announcements;
        let mut announcement = active.schedule.due(now, announcements);
        if stalled {
            // Somebody else may have been Active meanwhile, and gone again.
            announcement = Some(active.schedule.burst(now, announcements));
        }
        self.phase = Phase::Active(active);
        Actions::of([advertise.then(|| self.advertise()), announcement])
    }

    /// S-31: what the Active does is undone before the change is told.
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

    fn announce_anew(&mut self, now: Instant, mut active: Active) -> Action {
        let announcement = active.schedule.burst(now, &self.settings.announcements);
        self.phase = Phase::Active(active);
        announcement
    }

    fn advertise(&mut self) -> Action {
        self.send(self.effective_priority)
    }

    fn send(&mut self, priority: Priority) -> Action {
        let messages = match self.settings.versions {
            Versions::Both => 2,
            Versions::V2 | Versions::V3 => 1,
        };
        for _ in 0..messages {
            count(&mut self.counters.advertisements_sent);
            if priority.is_resign() {
                count(&mut self.counters.priority_zero_sent);
            }
        }
        Action::SendAdvertisement(Outgoing {
            priority,
            versions: self.settings.versions,
            checksum: self.checksum_form(),
        })
    }

    // In every state.

    fn count_heard(&mut self, heard: &Heard) {
        let counters = &mut self.counters;
        count(&mut counters.advertisements_received);
        if heard.priority.is_resign() {
            count(&mut counters.priority_zero_received);
        }
        if heard.version() == Version::V3
            && heard.interval.as_centis() != self.settings.interval.as_centis()
        {
            count(&mut counters.interval_errors);
        }
        if heard.notes.address_list_differs {
            count(&mut counters.address_list_errors);
        }
        if heard.notes.owner_conflict {
            count(&mut counters.owner_conflicts);
        }
    }

    /// AMB-01
    fn follow_checksum(&mut self, heard: &Heard) {
        if heard.version() == Version::V3
            && let ChecksumSending::Adaptive(_) = self.settings.checksum
            && let Some(form) = heard.checksum.form()
        {
            self.checksum_form = form;
        }
    }

    fn set_priority(&mut self, wanted: Priority) -> Actions {
        let priority = self.settings.effective_priority(wanted);
        if core::mem::replace(&mut self.effective_priority, priority) == priority {
            return Actions::NONE;
        }
        self.advertise_if_active()
    }

    fn set_primary_address(&mut self, address: IpAddr) -> Actions {
        if core::mem::replace(&mut self.primary_address, address) == address {
            return Actions::NONE;
        }
        self.advertise_if_active()
    }

    fn advertise_if_active(&mut self) -> Actions {
        let active = matches!(self.phase, Phase::Active(_));
        Actions::of([active.then(|| self.advertise())])
    }

    /// Replaces the configuration of a running router, without a re-election (AMB-21).
    ///
    /// * Another priority becomes the effective one, and whoever tracks then sends [`Event::EffectivePriority`]; while `priority` stays
    ///   what it was, so does the effective one.
    /// * An Active advertises at once what others must know: another priority, interval, version, or checksum form. With another
    ///   interval the Adver_Timer starts from now. Another refresh starts from now as well.
    /// * A Backup's running timer stays as it is. The new values count from the next time that it is set. A hold that runs ends when
    ///   it was to end; another `startup_hold` counts from the next Startup.
    ///
    /// The addresses are the host's: [`Event::AddressesChanged`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as for [`new`](Self::new), and for another VRID or family. Nothing has changed then.
    pub fn reconfigure(&mut self, now: Instant, config: Config) -> Result<Actions, ConfigError> {
        let old = self.settings;
        if config.vrid != old.vrid {
            return Err(ConfigError::VridChanged {
                configured: old.vrid,
                requested: config.vrid,
            });
        }
        if config.family != old.family {
            return Err(ConfigError::FamilyChanged {
                configured: old.family,
                requested: config.family,
            });
        }
        let new = Settings::new(&config)?;
        let said_before = self.said();
        self.settings = new;
        if new.priority != old.priority {
            self.effective_priority = new.priority;
        }
        if new.checksum != old.checksum {
            self.checksum_form = new.checksum.form();
        }
        let follows_nobody = !matches!(
            self.phase,
            Phase::Backup(Backup {
                active: Some(_),
                ..
            })
        );
        if new.versions == Versions::V2 || (follows_nobody && new.interval != old.interval) {
            self.active_interval = new.interval;
        }
        let said_now = self.said();
        if let Phase::Active(active) = &mut self.phase {
            if new.interval.as_nanos() != old.interval.as_nanos() {
                active.adver = now.after(new.interval.as_nanos());
            }
            if new.announcements != old.announcements {
                active.schedule.reconfigure(now, &new.announcements);
            }
            if said_before != said_now {
                return Ok(Actions::of([Some(self.advertise())]));
            }
        }
        Ok(Actions::NONE)
    }

    /// What an advertisement of this router says, but for the addresses.
    fn said(&self) -> (Priority, Interval, Versions, ChecksumForm) {
        (
            self.effective_priority,
            self.settings.interval,
            self.settings.versions,
            self.checksum_form(),
        )
    }

    /// The messages that [`Action::SendAdvertisement`] asks for, ready to be encoded: one, or with [`Versions::Both`] one of version 3
    /// and one of version 2, whose interval is rounded up to whole seconds (AMB-28).
    ///
    /// `authentication` is for version 2; version 3 has none (O-01).
    pub fn advertisements<'a>(
        &self,
        outgoing: Outgoing,
        authentication: Authentication,
        addresses: Addresses<'a>,
    ) -> impl Iterator<Item = Advertisement<'a>> + use<'a> {
        let (vrid, own) = (self.settings.vrid, self.settings.interval);
        [Version::V3, Version::V2]
            .into_iter()
            .filter(move |version| outgoing.versions.include(*version))
            .map(move |version| {
                let (interval, authentication) = match version {
                    Version::V3 => (own, Authentication::None),
                    Version::V2 => (own.to_seconds_rounded_up(), authentication),
                };
                Advertisement {
                    vrid,
                    priority: outgoing.priority,
                    interval,
                    authentication,
                    addresses,
                }
            })
    }

    /// How late [`handle_timeout`](Self::handle_timeout) would be now: the time since [`poll_timeout`](Self::poll_timeout), or zero.
    #[must_use]
    pub fn lateness(&self, now: Instant) -> Duration {
        self.poll_timeout()
            .map_or(Duration::ZERO, |deadline| now - deadline)
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) would be so late now that others must have acted, so that the
    /// [`StallPolicy`] decides: in Active, when the Adver_Timer is overdue by more than the Active_Down_Interval that others have of
    /// us; in Backup, when the Active_Down_Timer is overdue by more than one interval of the Active.
    #[must_use]
    pub fn is_stalled(&self, now: Instant) -> bool {
        let (deadline, allowed) = match &self.phase {
            Phase::Initialize(_) => return false,
            Phase::Backup(backup) => (backup.down, self.active_interval.as_nanos()),
            Phase::Active(active) => (
                active.adver,
                self.settings
                    .active_down_interval(self.effective_priority, self.settings.interval),
            ),
        };
        deadline.is_due(now) && now.as_nanos() - deadline.as_nanos() > allowed
    }

    fn skew_nanos(&self) -> u64 {
        self.settings
            .skew_time(self.effective_priority, self.active_interval)
    }

    fn active_down_nanos(&self) -> u64 {
        self.settings
            .active_down_interval(self.effective_priority, self.active_interval)
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Initialize(_) => State::Initialize,
            Phase::Backup(_) => State::Backup,
            Phase::Active(_) => State::Active,
        }
    }

    /// Why the router was shut down, while it is; `None` before the first Startup and while it runs.
    #[must_use]
    pub const fn shutdown_cause(&self) -> Option<ShutdownCause> {
        match self.phase {
            Phase::Initialize(cause) => cause,
            Phase::Backup(_) | Phase::Active(_) => None,
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.settings.config()
    }

    /// The priority that counts now: in advertisements, in comparisons and in Skew_Time (T-10).
    #[must_use]
    pub const fn effective_priority(&self) -> Priority {
        self.effective_priority
    }

    /// The address from which the host advertises, as it last said; unspecified before the first Startup.
    #[must_use]
    pub const fn primary_address(&self) -> IpAddr {
        self.primary_address
    }

    /// Who is Active: in Active this router, in Backup the Active last accepted, if any was.
    #[must_use]
    pub fn active(&self) -> Option<ActiveRouter> {
        match &self.phase {
            Phase::Initialize(_) => None,
            Phase::Backup(backup) => backup.active,
            Phase::Active(_) => Some(ActiveRouter {
                address: self.primary_address,
                priority: self.effective_priority,
                version: match self.settings.versions {
                    Versions::V2 => Version::V2,
                    Versions::V3 | Versions::Both => Version::V3,
                },
                v3_without_v2: 0,
            }),
        }
    }

    /// Whether the Active leaves the version 2 routers alone (O-13): with [`Versions::Both`], as many version 3 advertisements in a row
    /// came from it without one of version 2 as may be missed.
    #[must_use]
    pub fn active_sends_no_v2(&self) -> bool {
        matches!(&self.phase, Phase::Backup(Backup { active: Some(active), .. })
            if active.v3_without_v2 >= self.settings.missed_advertisements)
    }

    /// Whether the Active was heard with the priority of this Backup (O-06): the address then decides between them, which somebody may
    /// not have meant.
    #[must_use]
    pub fn active_has_equal_priority(&self) -> bool {
        matches!(&self.phase, Phase::Backup(Backup { active: Some(active), .. })
            if active.priority == self.effective_priority)
    }

    /// The reason of the last change of state, `None` before the first; `last-event` of RFC 8347 is
    /// [`Reason::last_event`] of it, or `vrrp-event-none`.
    #[must_use]
    pub const fn last_reason(&self) -> Option<Reason> {
        self.last_reason
    }

    /// Why this router last became Active: `new-master-reason` of RFC 8347 (O-22).
    #[must_use]
    pub const fn new_active_reason(&self) -> NewActiveReason {
        self.new_active_reason
    }

    /// Active_Adver_Interval: the interval of the Active last accepted, or the own (S-12, T-07).
    #[must_use]
    pub const fn active_interval(&self) -> Interval {
        self.active_interval
    }

    /// Skew_Time (T-03, T-04).
    #[must_use]
    pub fn skew_time(&self) -> Duration {
        Duration::from_nanos(self.skew_nanos())
    }

    /// Active_Down_Interval (T-05, T-06).
    #[doc(alias = "master_down_interval")]
    #[must_use]
    pub fn active_down_interval(&self) -> Duration {
        Duration::from_nanos(self.active_down_nanos())
    }

    /// Whether packets to the virtual addresses are to be accepted by this host now: in Active, by the owner and with Accept_Mode
    /// (M-07, M-08). Version 2 has no Accept_Mode. IPv6 neighbor solicitations and advertisements are accepted in any case.
    #[must_use]
    pub fn accepts_traffic(&self) -> bool {
        self.state() == State::Active
            && (self.settings.priority.is_owner()
                || (self.settings.accept_mode && self.settings.versions != Versions::V2))
    }

    /// The checksum form in use for version 3 (AMB-01): over IPv6 always [`ChecksumForm::PseudoHeader`].
    #[must_use]
    pub const fn checksum_form(&self) -> ChecksumForm {
        match self.settings.family {
            Family::Ipv4 => self.checksum_form,
            Family::Ipv6 => ChecksumForm::PseudoHeader,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Backup {
    const fn new(not_before: Instant) -> Self {
        Self {
            down: Instant::MAX,
            not_before,
            preempt_hold: PreemptHold::STOPPED,
            active: None,
            expiry: Expiry::Silence,
            stalled: false,
        }
    }

    /// O-12: the version 2 advertisements of an Active that also sends version 3 are ignored, but noted (O-13).
    fn ignores(&mut self, heard: &Heard) -> bool {
        match &mut self.active {
            Some(active)
                if active.address == heard.source
                    && active.version == Version::V3
                    && heard.version() == Version::V2 =>
            {
                active.v3_without_v2 = 0;
                true
            }
            _ => false,
        }
    }

    fn remember(&mut self, heard: &Heard, versions: Versions) {
        let before = match self.active {
            Some(active) if active.address == heard.source => active.v3_without_v2,
            _ => 0,
        };
        self.active = Some(ActiveRouter {
            address: heard.source,
            priority: heard.priority,
            version: heard.version(),
            v3_without_v2: match (versions, heard.version()) {
                (Versions::Both, Version::V3) => before.saturating_add(1),
                _ => 0,
            },
        });
    }
}
