//! A load balancer as a value: a [`Pool`], its probes, and the kernel's table.
//!
//! [`Balancer`] joins [`ipvs_netlink::pool`], [`probe`] and the reconciliation of
//! [`ipvs_netlink::plan`] into one loop. It does not know where its configuration comes from, so a
//! program with a file of its own converts it into a [`Config`] and is done.
//!
//! * [`Balancer::open`] reads the kernel's table and adopts it: a server that the kernel has goes
//!   on, so a restart breaks no connection.
//! * [`Balancer::next`] makes probes, keeps the table right, and returns the next [`Notice`]. It is
//!   cancel-safe; call it again and again in `tokio::select!`.
//! * [`Balancer::reconfigure`] takes a new configuration at any time.
//! * [`Balancer::stop`] begins the end; [`Balancer::next`] returns `None` once it is reached.
//!
//! Every change, by this program or another, ends in the same step: the wanted table is compared
//! with the kernel's. Changed services are compared at once, all of them every
//! [`Options::interval`].
//!
//! ```no_run
//! use ipvs_netlink::pool::{Config, Level, PoolChange};
//! use vrrp_examples::{balancer::{Balancer, Notice, Options, Stop}, probe::Probe};
//!
//! # async fn example(config: Config<Probe>) -> Result<(), Box<dyn std::error::Error>> {
//! let mut balancer = Balancer::open(config, Options::default()).await?;
//! loop {
//!     tokio::select! {
//!         notice = balancer.next() => match notice {
//!             Some(Notice::Event(event)) => {
//!                 println!("{event}");
//!                 // Report `balancer.pool().quorum_of_all()` to the tracked object of VRRP here.
//!             }
//!             Some(notice) => println!("{notice}"),
//!             None => break,
//!         },
//!         _ = tokio::signal::ctrl_c() => balancer.stop(Stop::Leave),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod drains;
mod dry;
mod hand_over;
mod kernel;
mod namespace;
mod operator;
mod saved;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    future::pending,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    DestinationKey, Error, ServiceKey, SyncDaemon, Table, Weight,
    plan::{DaemonReport, Drain, Draining, Failure, Policy, Reconciler, Rejected, Removals, Step},
    pool::{Action, Config, ConfigErrors, Event, Operator, Outcome, Pool, ProbeId, UnknownServer},
};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

pub(crate) use self::drains::boot_time;
pub use self::{
    drains::SavedDrains,
    hand_over::HandOver,
    namespace::TableNamespace,
    operator::{OperatorSetting, OperatorSettings},
    saved::SavedState,
};
use self::{
    drains::rules_at_the_end,
    dry::DryTable,
    hand_over::identify,
    kernel::{Done, Job, Kernel, Worker},
};
use crate::probe::{Probe, name_places, probe};

/// The pause after an error of the kernel.
const RETRY: Duration = Duration::from_secs(1);
/// A table that takes long to read is read less often: reading takes at most this fraction of the
/// time.
const SHARE: u32 = 20;
/// A timer that is served this late shows that the program, and with it each probe, stood still.
const LATE: Duration = Duration::from_millis(20);
/// The notices for which an empty queue keeps its memory.
const KEPT: usize = 64;
/// How often sync daemons are compared.
const DAEMON_INTERVAL: Duration = Duration::from_secs(10);

/// Settings of a [`Balancer`] that have nothing to do with servers.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often everything that the pool owns is compared with the kernel's table. Default: 1 s.
    pub interval: Duration,
    /// Whether nothing is written: changes are made in a copy of the kernel's table. Default:
    /// false.
    pub dry_run: bool,
    /// The state that an earlier run has saved: the settings of the operator and drains continue,
    /// and services that the configuration no longer has are removed.
    pub saved: SavedState,
    /// The state of the balancer that this one succeeds. `saved` is ignored then.
    pub predecessor: Option<HandOver>,
    /// The network namespace of the kernel's table. Default: that of the calling thread.
    pub namespace: TableNamespace,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            dry_run: false,
            saved: SavedState::default(),
            predecessor: None,
            namespace: TableNamespace::default(),
        }
    }
}

/// How a [`Balancer`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The kernel's table stays as it is: connections continue, and the next start adopts the
    /// table.
    Leave,
    /// Services are removed at once, with their connections.
    Remove,
    /// Servers get no new connections; services are removed when their connections have ended, or
    /// after this time.
    Drain(Duration),
}

/// What a [`Balancer`] reports. As text it is one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An event of the pool.
    Event(Event),
    /// A change of the kernel's table, or with [`Options::dry_run`] one that would be made.
    Changed(Step),
    /// A change that the kernel refuses. It is reported once until it succeeds or another takes its
    /// place.
    Refused(Failure),
    /// A part of the configuration that cannot be made.
    Rejected(Rejected),
    /// The table cannot be read or written. The next attempt follows after a second.
    Trouble(Error),
    /// Sync daemons were started or stopped, or could not be.
    Daemons(DaemonReport),
    /// Everything that the pool owns was compared with this table, which the kernel had before the
    /// changes.
    Compared(Table),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Changed(step) => step.fmt(f),
            Self::Refused(failure) => write!(f, "{}: {}", failure.step, failure.error),
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Trouble(error) => error.fmt(f),
            Self::Daemons(report) => {
                let applied = report.applied.iter().map(ToString::to_string);
                let failed = report.failed.iter();
                let failed = failed.map(|(change, error)| format!("{change}: {error}"));
                f.write_str(&applied.chain(failed).collect::<Vec<_>>().join("; "))
            }
            Self::Compared(_) => f.write_str("table compared"),
        }
    }
}

/// A balancer cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration has wrong values.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The kernel's table cannot be read.
    #[error("read the IPVS table: {0}")]
    Kernel(#[from] Error),
}

/// A pool with its probes and its table. The [module](self) explains how to drive it.
#[derive(Debug)]
pub struct Balancer {
    pool: Pool<Probe>,
    epoch: Instant,
    interval: Duration,
    dry_run: bool,
    namespace: TableNamespace,
    probes: JoinSet<(ProbeId, Outcome)>,
    running: HashMap<ProbeId, AbortHandle>,
    worker: Worker,
    /// Services to compare before everything is due.
    changed: BTreeSet<ServiceKey>,
    /// When everything is compared.
    due: Duration,
    leftovers: BTreeSet<ServiceKey>,
    refused: Vec<Failure>,
    rejected: Vec<Rejected>,
    draining: Draining,
    daemons: Daemons,
    notices: VecDeque<Notice>,
    end: End,
    /// The time since the boot of the host at which the end began.
    end_begun: Duration,
}

/// The sync daemons; none of them is touched until some are wanted.
#[derive(Debug, Default)]
struct Daemons {
    wanted: Option<Vec<SyncDaemon>>,
    due: Duration,
    /// Whether they have not been compared since they last changed.
    is_changed: bool,
    work: Option<JoinHandle<Result<DaemonReport, Error>>>,
    failed: Vec<(ipvs_netlink::message::Change, Error)>,
}

/// The progress towards the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Running,
    /// The table has to reach the state in which this stop leaves it.
    Begun(Stop),
    Reached,
    /// A successor continues.
    HandedOver,
}

impl Balancer {
    /// Reads the kernel's table, and begins. With [`Options::dry_run`] a kernel without IPVS has an
    /// empty table. With [`Options::predecessor`] checks are due before the table is read.
    ///
    /// # Errors
    ///
    /// An [`OpenError`]; nothing was changed.
    pub async fn open(mut config: Config<Probe>, options: Options) -> Result<Self, OpenError> {
        name_places(&mut config);
        let namespace = options.namespace;
        let (kernel, pool, epoch, saved) = match options.predecessor {
            Some(predecessor) if !options.dry_run => {
                let kernel = Kernel::Real(namespace.client().await?);
                let now = predecessor.now();
                let HandOver { pool, saved, .. } = predecessor;
                let pool = Pool::restore(now, config, &pool, identify)?;
                // The pool began after the boot, so an `Instant` can express its beginning.
                let epoch = Instant::now().checked_sub(now).unwrap_or_else(Instant::now);
                (kernel, pool, epoch, saved)
            }
            _ => {
                let (kernel, table) = open(&namespace, options.dry_run).await?;
                let mut pool = Pool::new(Duration::ZERO, config, &table)?;
                let saved = options.saved;
                saved.operator.apply(Duration::ZERO, &mut pool);
                (kernel, pool, Instant::now(), saved)
            }
        };
        let draining = saved.drains.draining();
        Ok(Self {
            pool,
            epoch,
            interval: options.interval,
            dry_run: options.dry_run,
            probes: JoinSet::new(),
            running: HashMap::new(),
            worker: Worker::new(
                kernel,
                namespace.clone(),
                Reconciler::resume(Policy::AT_ONCE, draining.clone()),
            ),
            namespace,
            changed: BTreeSet::new(),
            due: Duration::ZERO,
            leftovers: saved.services.into_iter().collect(),
            refused: Vec::new(),
            rejected: Vec::new(),
            draining,
            daemons: Daemons::default(),
            notices: VecDeque::new(),
            end: End::Running,
            end_begun: Duration::ZERO,
        })
    }

    /// The pool, for queries.
    #[must_use]
    pub const fn pool(&self) -> &Pool<Probe> {
        &self.pool
    }

    /// The time of the pool: since [`open`](Self::open), or since that of the first predecessor.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The moment of a time of the pool.
    #[must_use]
    pub fn instant(&self, time: Duration) -> Instant {
        self.epoch + time
    }

    /// The destinations that are leaving the table and still have connections. Times are those of
    /// `CLOCK_BOOTTIME`.
    #[must_use]
    pub const fn draining(&self) -> &Draining {
        &self.draining
    }

    /// The changes that the kernel refused when the table was compared last.
    #[must_use]
    pub fn refused(&self) -> &[Failure] {
        &self.refused
    }

    /// The services that are configured, and those of an earlier configuration or run that may
    /// still be in the kernel's table.
    #[must_use]
    pub fn owned(&self) -> Vec<ServiceKey> {
        let mut owned = self.leftovers.clone();
        owned.extend(self.pool.owned());
        owned.into_iter().collect()
    }

    /// Replaces the configuration: see [`Pool::reconfigure`].
    ///
    /// # Errors
    ///
    /// All wrong values. Nothing has changed then.
    pub fn reconfigure(&mut self, mut config: Config<Probe>) -> Result<(), ConfigErrors> {
        name_places(&mut config);
        let now = self.now();
        self.pool.reconfigure(now, config)?;
        self.due = now;
        Ok(())
    }

    /// Sets how often everything that the pool owns is compared with the kernel's table.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.due = self.due.min(self.now() + interval);
    }

    /// Sets the state that the operator gives a server.
    ///
    /// # Errors
    ///
    /// [`UnknownServer`], and nothing has changed.
    pub fn set_operator(
        &mut self,
        service: &ServiceKey,
        server: &DestinationKey,
        operator: Operator,
    ) -> Result<(), UnknownServer> {
        let now = self.now();
        self.pool.set_operator(now, service, server, operator)
    }

    /// Sets a weight in place of the configured one; `None` restores the configured weight.
    ///
    /// # Errors
    ///
    /// [`UnknownServer`], and nothing has changed.
    pub fn set_weight(
        &mut self,
        service: &ServiceKey,
        server: &DestinationKey,
        weight: Option<Weight>,
    ) -> Result<(), UnknownServer> {
        let now = self.now();
        self.pool.set_weight(now, service, server, weight)
    }

    /// Suspends the checks of a service, or lets them continue: see [`Pool::set_suspended`].
    ///
    /// # Errors
    ///
    /// [`UnknownServer::Service`], and nothing has changed.
    pub fn set_suspended(
        &mut self,
        service: &ServiceKey,
        suspended: bool,
    ) -> Result<(), UnknownServer> {
        let now = self.now();
        self.pool.set_suspended(now, service, suspended)
    }

    /// The state for a later run, once it is [saved](SavedState::write). It changes with the
    /// configuration, with settings of the operator, and with drains.
    #[must_use]
    pub fn saved_state(&self) -> SavedState {
        SavedState {
            operator: OperatorSettings::of(&self.pool),
            services: self.owned(),
            drains: SavedDrains::of(&self.draining),
        }
    }

    /// Sets the sync daemons that have to run. Until the first call, no sync daemon is touched.
    pub fn set_daemons(&mut self, daemons: Vec<SyncDaemon>) {
        self.daemons.wanted = Some(daemons);
        self.daemons.is_changed = !self.dry_run;
        self.daemons.due = Duration::ZERO;
    }

    /// Begins the end: no more probes, and the table as `stop` says. Services with
    /// [`omega`](ipvs_netlink::pool::VirtualServer::omega) report their end first. A second call
    /// may choose another `stop`.
    pub fn stop(&mut self, stop: Stop) {
        if matches!(self.end, End::Reached | End::HandedOver) {
            return;
        }
        if self.end == End::Running {
            self.end_begun = boot_time();
        }
        self.end = End::Begun(stop);
        let now = self.now();
        self.pool.stop(now);
        self.due = now;
    }

    /// Ends for a successor, and returns the state for it. The kernel's table stays as it is.
    /// Probes under way are given up, and the successor makes them again. [`next`](Self::next)
    /// returns the last notices, then `None`.
    pub async fn hand_over(&mut self) -> HandOver {
        // Nothing may write to the kernel once the successor begins.
        if !self.worker.is_idle() {
            let done = finished(&mut self.worker.task).await;
            self.finish_comparison(done);
        }
        if self.daemons.work.is_some() {
            let report = finished(&mut self.daemons.work).await;
            self.take_daemons(report);
        }
        while let Some(result) = self.probes.try_join_next() {
            if let Ok((id, outcome)) = result {
                self.take(id, outcome);
            }
        }
        self.probes.abort_all();
        while let Some(event) = self.pool.poll_event() {
            self.notices.push_back(Notice::Event(event));
        }
        self.end = End::HandedOver;
        HandOver::new(self.pool.snapshot(self.now(), identify), self.saved_state())
    }

    /// Waits for the next notice; `None` once the end that [`stop`](Self::stop) began is reached.
    ///
    /// It is cancel-safe. Nothing happens unless this is polled, except probes and changes of the
    /// table that are under way.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if self.end != End::HandedOver {
                self.drain_probes().await;
                self.turn();
            }
            if let Some(notice) = self.notices.pop_front() {
                if self.notices.is_empty() {
                    // A new configuration brings a notice for each server and each change.
                    self.notices.shrink_to(KEPT);
                }
                return Some(notice);
            }
            if matches!(self.end, End::Reached | End::HandedOver) {
                return None;
            }
            let wake = self.wake_at();
            let timer = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(result) = self.probes.join_next() => {
                    // An aborted probe has no result.
                    if let Ok((id, outcome)) = result {
                        self.take(id, outcome);
                    }
                }
                done = finished(&mut self.worker.task) => self.finish_comparison(done),
                report = finished(&mut self.daemons.work) => self.take_daemons(report),
                () = timer => {}
            }
        }
    }

    /// After a stall, and at each time limit, lets the probes read the answers that have arrived,
    /// and report what their own deadlines mean, before time limits count. It ends when a turn of
    /// the runtime brings no more results; a turn polls sockets after tasks, so it takes two.
    async fn drain_probes(&mut self) {
        let now = self.now();
        let is_late = |due: Duration| now.saturating_sub(due) >= LATE;
        if !self.pool.poll_timeout().is_some_and(is_late)
            && self.pool.next_time_limit().is_none_or(|limit| limit > now)
        {
            return;
        }
        let mut idle = 0;
        while idle < 3 {
            tokio::task::yield_now().await;
            idle += 1;
            while let Some(result) = self.probes.try_join_next() {
                idle = 0;
                if let Ok((id, outcome)) = result {
                    self.take(id, outcome);
                }
            }
        }
    }

    /// Does everything that can be done without waiting. Results come before timers.
    fn turn(&mut self) {
        while let Some(result) = self.probes.try_join_next() {
            if let Ok((id, outcome)) = result {
                self.take(id, outcome);
            }
        }
        let now = self.now();
        self.pool.handle_timeout(now);
        while let Some(action) = self.pool.poll_action(now) {
            match action {
                Action::Cancel(id) => {
                    if let Some(running) = self.running.remove(&id) {
                        running.abort();
                    }
                }
                Action::Probe(probe_) => {
                    let (id, target) = (probe_.id, probe_.address);
                    let attempt = probe_.attempt.clone();
                    let deadline = self.epoch + probe_.until;
                    let running = self
                        .probes
                        .spawn(async move { (id, probe(&attempt, target, deadline).await) });
                    self.running.insert(id, running);
                }
            }
        }
        while let Some(event) = self.pool.poll_event() {
            self.notices.push_back(Notice::Event(event));
        }
        while let Some(service) = self.pool.poll_changed() {
            self.changed.insert(service);
        }
        self.compare_daemons(now);
        self.compare(now);
    }

    fn take(&mut self, id: ProbeId, outcome: Outcome) {
        self.running.remove(&id);
        let now = self.now();
        self.pool.handle_result(now, id, outcome);
    }

    /// When something is due, apart from results.
    fn wake_at(&self) -> Option<Instant> {
        let table = self.worker.is_idle().then_some(self.due);
        let daemons = &self.daemons;
        let daemons = (daemons.wanted.is_some() && daemons.work.is_none()).then_some(daemons.due);
        let at = [self.pool.poll_timeout(), table, daemons];
        at.into_iter().flatten().min().map(|at| self.epoch + at)
    }

    /// Begins to compare the table, if that is due and not under way.
    fn compare(&mut self, now: Duration) {
        if !self.worker.is_idle() || self.end == End::Reached {
            return;
        }
        if self.end == End::Begun(Stop::Leave) {
            self.end_if_nothing_is_left();
            self.due = now.saturating_add(self.interval);
            return;
        }
        let is_whole = now >= self.due;
        let scope: Vec<_> = if is_whole {
            self.changed.clear();
            self.owned()
        } else {
            std::mem::take(&mut self.changed).into_iter().collect()
        };
        if scope.is_empty() {
            if is_whole {
                self.due = now.saturating_add(self.interval);
                self.end_if_nothing_is_left();
            }
            return;
        }
        let wanted = if is_whole {
            self.pool.wanted()
        } else {
            let all = scope.iter();
            all.filter_map(|service| self.pool.wanted_of(service))
                .collect()
        };
        let removals = self.removals(&scope);
        self.worker.start(Job {
            wanted,
            scope,
            removals,
            now: boot_time(),
            is_whole,
            end: self.end,
        });
    }

    /// How servers that are no longer wanted leave.
    fn removals(&self, scope: &[ServiceKey]) -> Removals {
        let of_services = |drain: Option<Drain>| Removals {
            services: scope.iter().map(|service| (*service, drain)).collect(),
            ..Removals::default()
        };
        match self.end {
            End::Begun(Stop::Drain(at_most)) => {
                let drain = Drain {
                    at_most,
                    at_most_udp: at_most.min(Drain::default().at_most_udp),
                    ..Drain::default()
                };
                Removals {
                    destinations: rules_at_the_end(&self.draining, self.end_begun, drain),
                    ..of_services(Some(drain))
                }
            }
            End::Begun(_) => of_services(None),
            End::Running | End::Reached | End::HandedOver => {
                let mut removals = self.pool.removals();
                let leftovers = self.leftovers.iter().map(|service| (*service, None));
                removals.services.extend(leftovers);
                removals
            }
        }
    }

    /// Takes the result of a comparison.
    fn finish_comparison(&mut self, done: Done) {
        self.worker.task = None;
        let now = self.now();
        let failed_to_read = done.result.is_err();
        // If the end has begun since then, the table is compared again at once.
        let is_current = done.end == self.end;
        let report = match done.result {
            Ok(report) => {
                if done.is_whole && is_current {
                    self.due = now + self.interval.max(done.took * SHARE);
                }
                report
            }
            Err(error) => {
                self.notices.push_back(Notice::Trouble(error.error));
                self.due = now + RETRY;
                *error.report
            }
        };
        self.notices
            .extend(report.applied.into_iter().map(Notice::Changed));
        let known = |failure: &Failure| self.refused.contains(failure);
        let failed = report.failed.iter().filter(|failure| !known(failure));
        let failed: Vec<_> = failed.cloned().map(Notice::Refused).collect();
        let known = |rejected: &Rejected| self.rejected.contains(rejected);
        let rejected = report.rejected.iter().filter(|it| !known(it));
        let rejected: Vec<_> = rejected.copied().map(Notice::Rejected).collect();
        self.notices.extend(failed.into_iter().chain(rejected));
        if done.is_whole {
            self.refused = report.failed;
            self.rejected = report.rejected;
        }
        self.draining = done.draining;
        if let Some(table) = done.table.filter(|_| done.is_whole) {
            self.pool.handle_table(now, &table);
            if !table.may_be_incomplete {
                let listed = table.entries.iter();
                let listed: BTreeSet<_> = listed.map(|entry| entry.service.service.key).collect();
                self.leftovers.retain(|service| listed.contains(service));
            }
            self.notices.push_back(Notice::Compared(table));
        }
        if matches!(self.end, End::Begun(_)) && report.wait.is_some() {
            // Connections may end at any time.
            self.due = self.due.min(now + RETRY);
        } else if done.is_whole && is_current && !failed_to_read {
            self.end_if_nothing_is_left();
        }
    }

    /// Ends if the sync daemons are compared too. Changes that the kernel refuses do not prevent
    /// that.
    fn end_if_nothing_is_left(&mut self) {
        if matches!(self.end, End::Begun(_)) && self.daemons.are_compared() {
            self.end = End::Reached;
        }
    }

    /// Begins to compare the sync daemons, if that is due and not under way.
    fn compare_daemons(&mut self, now: Duration) {
        let daemons = &mut self.daemons;
        let Some(wanted) = &daemons.wanted else {
            return;
        };
        if self.dry_run || daemons.work.is_some() || now < daemons.due {
            return;
        }
        let wanted = wanted.clone();
        let namespace = self.namespace.clone();
        daemons.due = now + DAEMON_INTERVAL;
        daemons.is_changed = false;
        // With a client of its own, because the kernel may take seconds to stop a daemon.
        daemons.work = Some(tokio::spawn(async move {
            let mut client = namespace.client().await?;
            client.reconcile_daemons(&wanted).await
        }));
    }

    fn take_daemons(&mut self, report: Result<DaemonReport, Error>) {
        self.daemons.work = None;
        match report {
            Ok(report) => {
                let is_known = report.applied.is_empty() && report.failed == self.daemons.failed;
                self.daemons.failed.clone_from(&report.failed);
                if !is_known {
                    self.notices.push_back(Notice::Daemons(report));
                }
            }
            Err(error) => self.notices.push_back(Notice::Trouble(error)),
        }
        if matches!(self.end, End::Begun(_)) {
            self.due = self.now();
        }
    }
}

impl Daemons {
    /// Whether the wanted daemons have been compared since they last changed.
    fn are_compared(&self) -> bool {
        self.work.is_none() && !self.is_changed
    }
}

/// Opens the kernel's table, and reads it.
async fn open(namespace: &TableNamespace, dry_run: bool) -> Result<(Kernel, Table), Error> {
    let client = namespace.client().await;
    if !dry_run {
        let mut client = client?;
        let table = client.confirmed_table().await?;
        return Ok((Kernel::Real(client), table));
    }
    let table = match client {
        Ok(mut client) => client.confirmed_table().await?,
        Err(_) => Table::default(),
    };
    Ok((Kernel::Dry(DryTable::new(table.clone())), table))
}

/// Waits for the end of a task; forever if there is none.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> T {
    let Some(task) = task else {
        return pending().await;
    };
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // This happens only at the end of the runtime.
            Err(_) => pending().await,
        },
    }
}
