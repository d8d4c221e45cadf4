//! The steps from the kernel's table to the wanted one, which other programs may disturb.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

use super::{
    Draining, Plan, Policy, Rejected, Scope, Step, Wanted,
    compare::Comparison,
    target::{Target, Targets},
};
use crate::{Destination, DestinationKey, Error, ServiceKey, Table, Weight, message::Change};

/// The most readings of the table. One is enough while no other program changes it, two if a change
/// was refused or an idle destination is deleted at once.
const ROUNDS: usize = 8;

/// One call of a [`Reconciler`](super::Reconciler): brings the kernel's table to the wanted one
/// without I/O of its own. [`next`](Self::next) returns the next action, and the `handle_*` methods
/// take its result.
///
/// ```
/// # use ipvs_netlink::{Error, ServiceKey, Table, message::Change};
/// # use ipvs_netlink::plan::{Next, Reconciliation, ReconcileError, ReconcileReport};
/// fn run(
///     mut work: Reconciliation<'_>,
///     mut read: impl FnMut() -> Result<Table, Error>,
///     mut read_services: impl FnMut(&[ServiceKey]) -> Result<Table, Error>,
///     mut apply: impl FnMut(&[Change]) -> Vec<Result<(), Error>>,
/// ) -> Result<ReconcileReport, ReconcileError> {
///     loop {
///         let table = match work.next() {
///             Next::Read => read(),
///             Next::ReadServices(services) => read_services(&services),
///             Next::Apply(changes) => {
///                 work.handle_results(apply(&changes));
///                 continue;
///             }
///             Next::Done(report) => return Ok(report),
///         };
///         match table {
///             Ok(table) => work.handle_table(&table),
///             Err(error) => return Err(work.fail(error)),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Reconciliation<'a> {
    targets: Targets<'a>,
    policy: Policy,
    now: Duration,
    draining: &'a mut Draining,
    state: State,
    rounds: usize,
    /// The services that have to be read again.
    reread: Reread,
    /// Additions of this round that were refused.
    unmade: HashSet<Object>,
    /// Objects that were refused for good. They are not tried again.
    given_up: HashSet<Object>,
    /// Services that could not be added: nothing of them is tried again.
    never_added: HashSet<ServiceKey>,
    /// Objects that exist by the kernel's answer.
    known: HashMap<Object, Known>,
    /// Destinations without connections that may go as soon as they have weight 0.
    idle: HashSet<(ServiceKey, DestinationKey)>,
    report: ReconcileReport,
}

/// The services to read again after another program changed the table.
#[derive(Debug, Default)]
struct Reread {
    services: BTreeSet<ServiceKey>,
    /// Whether answers are missing, so anything may have changed.
    all: bool,
    /// Whether another program is the reason.
    is_contended: bool,
}

#[derive(Debug)]
enum State {
    /// The table has to be read, or some services.
    Read(Option<HashSet<ServiceKey>>),
    /// These steps have to be made, and then the removals.
    Apply { steps: Vec<Step>, later: Vec<Step> },
    /// Nothing is left to do.
    Done,
}

/// The object of a change: a service, or a destination of it.
type Object = (Option<ServiceKey>, Option<DestinationKey>);

fn object(change: &Change) -> Object {
    (change.service(), change.destination())
}

/// How an object that a list left out is known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It could not be added, because it exists.
    Exists,
    /// It has been written since.
    Written,
}

/// The next action of a [`Reconciliation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the table, preferably a confirmed one, and hand it to [`Reconciliation::handle_table`].
    Read,
    /// Read these services, each with its destinations, and hand a table of those that exist to
    /// [`Reconciliation::handle_table`]. Other services in it are ignored.
    ReadServices(Vec<ServiceKey>),
    /// Make these changes in order, and hand the results to [`Reconciliation::handle_results`].
    Apply(Vec<Change>),
    /// Nothing: it is done.
    Done(ReconcileReport),
}

/// The results of a [`Reconciliation`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileReport {
    /// The steps that succeeded, in order.
    pub applied: Vec<Step>,
    /// The steps that were refused for good.
    pub failed: Vec<Failure>,
    /// Removals held back because every replacement destination was refused.
    pub held_back: Vec<Step>,
    /// Parts of the wanted table that are not applied.
    pub rejected: Vec<Rejected>,
    /// Services that keep an unwanted scheduler, because the policy does not allow the change.
    pub schedulers_kept: Vec<ServiceKey>,
    /// The longest time to wait before the next call: until the limit of the first draining
    /// destination, of any scope. Its connections may end earlier, and the kernel sends no
    /// notification of that. `None` if nothing is being drained.
    pub wait: Option<Duration>,
    /// Whether the table that was read last may have been incomplete, so something unwanted may
    /// still be there.
    pub may_be_incomplete: bool,
    /// Whether it gave up because another program changed the table again and again, or the kernel
    /// did not answer.
    pub contended: bool,
}

impl ReconcileReport {
    /// Whether the table is as wanted, except for destinations that are being drained.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_made = self.failed.is_empty() && self.rejected.is_empty();
        is_made && !self.may_be_incomplete && !self.contended
    }
}

/// A step that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The reason.
    pub error: Error,
}

/// The table could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileError {
    /// The error of the client.
    pub error: Error,
    /// The results until then.
    pub report: Box<ReconcileReport>,
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, report } = self;
        match report.applied.len() {
            0 => write!(f, "{error} (nothing was changed)"),
            1 => write!(f, "{error} (after 1 change)"),
            changes => write!(f, "{error} (after {changes} changes)"),
        }
    }
}

impl std::error::Error for ReconcileError {}

impl<'a> Reconciliation<'a> {
    pub(super) fn new(
        draining: &'a mut Draining,
        wanted: Wanted<'a>,
        policy: Policy,
        now: Duration,
    ) -> Self {
        let targets = Targets::new(wanted);
        let report = ReconcileReport {
            rejected: targets.rejected.clone(),
            ..ReconcileReport::default()
        };
        let services = match wanted.scope {
            Scope::Services(services) => Some(services.iter().copied().collect()),
            Scope::All | Scope::Matching(_) => None,
        };
        Self {
            targets,
            policy,
            now,
            draining,
            state: State::Read(services),
            rounds: 0,
            reread: Reread::default(),
            unmade: HashSet::new(),
            given_up: HashSet::new(),
            never_added: HashSet::new(),
            known: HashMap::new(),
            idle: HashSet::new(),
            report,
        }
    }

    /// Returns the next action.
    #[must_use]
    pub fn next(&self) -> Next {
        match &self.state {
            State::Read(None) => Next::Read,
            State::Read(Some(services)) => {
                let mut services: Vec<_> = services.iter().copied().collect();
                services.sort_unstable();
                Next::ReadServices(services)
            }
            State::Apply { steps, .. } => {
                Next::Apply(steps.iter().map(|step| step.change).collect())
            }
            State::Done => Next::Done(self.results()),
        }
    }

    /// Ends the work because the table could not be read.
    #[must_use]
    pub fn fail(self, error: Error) -> ReconcileError {
        let report = Box::new(self.results());
        ReconcileError { error, report }
    }

    fn results(&self) -> ReconcileReport {
        ReconcileReport {
            wait: self.draining.wait(self.now),
            ..self.report.clone()
        }
    }

    /// Takes the table for [`Next::Read`] or [`Next::ReadServices`]. Ignored at any other time.
    pub fn handle_table(&mut self, table: &Table) {
        let State::Read(only) = &self.state else {
            return;
        };
        self.rounds += 1;
        self.reread = Reread::default();
        self.unmade.clone_from(&self.given_up);
        let Comparison {
            plan:
                Plan {
                    mut steps,
                    draining,
                    schedulers_kept,
                    ..
                },
            idle,
        } = self
            .targets
            .compare(table, only.as_ref(), &self.policy, self.draining, self.now);
        let is_concerned =
            |service: &ServiceKey| only.as_ref().is_none_or(|it| it.contains(service));
        *self.draining = draining;
        self.idle = idle;
        self.report
            .schedulers_kept
            .retain(|service| !is_concerned(service));
        self.report.schedulers_kept.extend(schedulers_kept);
        // A later round that reads only some services cannot prove the table complete.
        let whole = self.rounds == 1 || only.is_none();
        self.report.may_be_incomplete =
            table.may_be_incomplete || (!whole && self.report.may_be_incomplete);
        let is_held = |step: &Step| step.change.service().as_ref().is_some_and(is_concerned);
        self.report.held_back.retain(|step| !is_held(step));
        if !table.may_be_incomplete && table.unreadable.is_empty() {
            // An unlisted object does not exist, whatever was known before.
            let is_read = |object: &Object| object.0.as_ref().is_some_and(is_concerned);
            self.known.retain(|object, _| !is_read(object));
        }
        steps.retain_mut(|step| self.is_to_be_made(step));
        let takes = steps.iter().position(Step::takes_away);
        let later = steps.split_off(takes.unwrap_or(steps.len()));
        self.proceed(steps, later);
    }

    /// Whether a step of a plan is made. A step that adds an object that exists, although no list
    /// shows it, becomes an update.
    fn is_to_be_made(&self, step: &mut Step) -> bool {
        let object = object(&step.change);
        if self.given_up.contains(&object) || self.is_of_a_service_never_added(step) {
            return false;
        }
        let update = match step.change {
            Change::AddService(service) => Change::UpdateService(service),
            Change::AddDestination {
                service,
                destination,
            } => Change::UpdateDestination {
                service,
                destination,
            },
            _ => return true,
        };
        match self.known.get(&object) {
            None => true,
            Some(Known::Written) => false,
            Some(Known::Exists) => {
                step.change = update;
                true
            }
        }
    }

    fn is_of_a_service_never_added(&self, step: &Step) -> bool {
        let service = step.change.service();
        service.is_some_and(|service| self.never_added.contains(&service))
    }

    /// Takes the results of the changes of [`Next::Apply`], in their order. Ignored at any other
    /// time.
    pub fn handle_results(&mut self, results: Vec<Result<(), Error>>) {
        let State::Apply { steps, later } = &mut self.state else {
            return;
        };
        let (steps, mut later) = (std::mem::take(steps), std::mem::take(later));
        let mut results = results.into_iter();
        for step in steps {
            match results.next() {
                Some(Ok(())) => self.made(step),
                Some(Err(error)) if !is_unknown(&error) => self.refused(step, error),
                // The result is unknown until the table is read.
                Some(Err(_)) | None => {
                    self.reread.all = true;
                    self.reread.is_contended = true;
                    later.clear();
                }
            }
        }
        self.proceed(Vec::new(), later);
    }

    fn made(&mut self, step: Step) {
        let object = object(&step.change);
        if let Some(known) = self.known.get_mut(&object) {
            *known = Known::Written;
            // If lists show it now, it can be compared.
            self.reread_service(object.0);
        }
        if let (Some(service), Some(destination)) = object
            && self.idle.contains(&(service, destination))
        {
            // It had no connections before it got weight 0. If it still has none, it can be
            // deleted.
            self.reread.services.insert(service);
        }
        self.report.applied.push(step);
    }

    fn refused(&mut self, step: Step, error: Error) {
        let object = object(&step.change);
        self.unmade.insert(object);
        if error.already_exists() {
            self.known.insert(object, Known::Exists);
            self.reread_service(object.0);
        } else if error.is_missing() {
            self.known.remove(&object);
            // Expected if the service does not exist; otherwise another program was faster.
            if !self.is_of_a_service_never_added(&step) {
                self.reread_service(object.0);
            }
        } else {
            self.given_up.insert(object);
            if let Change::AddService(service) = step.change {
                self.never_added.insert(service.key);
            }
            self.report.failed.push(Failure { step, error });
        }
    }

    /// Marks a service that another program has changed.
    fn reread_service(&mut self, service: Option<ServiceKey>) {
        self.reread.is_contended = true;
        match service {
            Some(service) => {
                self.reread.services.insert(service);
            }
            None => self.reread.all = true,
        }
    }

    /// Continues with these steps, then the later ones, then the next round.
    fn proceed(&mut self, mut steps: Vec<Step>, mut later: Vec<Step>) {
        if steps.is_empty() {
            steps = self.hold_back(std::mem::take(&mut later));
        }
        self.state = if !steps.is_empty() {
            State::Apply { steps, later }
        } else if self.reread.is_empty() {
            State::Done
        } else if self.rounds < ROUNDS {
            State::Read(self.next_reading())
        } else {
            self.report.contended = self.reread.is_contended;
            State::Done
        };
    }

    /// The services to read again; `None` for the whole table.
    fn next_reading(&mut self) -> Option<HashSet<ServiceKey>> {
        let Reread { services, all, .. } = std::mem::take(&mut self.reread);
        // Another reading may show objects that this one left out.
        let all = all || self.report.may_be_incomplete;
        match self.targets.wanted.scope {
            Scope::Services(ours) if all => Some(ours.iter().copied().collect()),
            _ if all => None,
            _ => Some(services.into_iter().collect()),
        }
    }

    /// Holds back removals from a service while none of the replacement destinations could be
    /// added.
    fn hold_back(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let has_rejected = |server: &Target<'_>| server.has_rejected;
        if steps.is_empty()
            || (self.unmade.is_empty() && !self.targets.servers.iter().any(has_rejected))
        {
            return steps;
        }
        let is_bare = |server: &&Target<'_>| {
            let serving = |wanted: &&Destination| wanted.weight != Weight::ZERO;
            let is_unmade = |wanted: &Destination| {
                let object = (Some(server.service.key), Some(wanted.key));
                self.unmade.contains(&object)
            };
            let mut serving = server.destinations.iter().filter(serving).peekable();
            (server.has_rejected || serving.peek().is_some()) && serving.all(is_unmade)
        };
        let bare: HashSet<ServiceKey> = self
            .targets
            .servers
            .iter()
            .filter(is_bare)
            .map(|server| server.service.key)
            .collect();
        let is_held = |step: &Step| {
            let service = step.change.service();
            service.is_some_and(|service| bare.contains(&service))
        };
        let (held_back, steps): (Vec<Step>, _) = steps.into_iter().partition(is_held);
        for step in &held_back {
            // The destination stays in use.
            if let (Some(service), Some(destination)) = object(&step.change) {
                let draining = &mut self.draining.destinations;
                draining.remove(&(service, destination));
            }
        }
        self.report.held_back.extend(held_back);
        steps
    }
}

impl Reread {
    fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.all
    }
}

/// Whether the result of a change is unknown.
fn is_unknown(error: &Error) -> bool {
    error.is_unanswered() || matches!(error, Error::NotSent(_))
}
