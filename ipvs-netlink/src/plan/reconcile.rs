//! From a wanted table to the kernel's, whatever other programs do meanwhile.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Draining, Plan, PlanError, Policy, Scope, Step, compare::Target};
use crate::{
    Destination, DestinationKey, Error, ServiceKey, Table, VirtualServer, Weight, message::Change,
};

/// How often the table is read. With one program at the table it is once, or twice if something was refused; others can make it more.
const ROUNDS: usize = 8;

/// Brings the kernel's table to the wanted one, without doing I/O itself: it says [what to do next](Self::next), and is told what came of it.
///
/// ```
/// # use std::time::Duration;
/// # use ipvs_netlink::{Error, Table, VirtualServer, message::Change, plan::{Next, Reconciler, Report}};
/// fn run(
///     mut work: Reconciler<'_>,
///     mut read: impl FnMut() -> Result<Table, Error>,
///     mut apply: impl FnMut(&[Change]) -> Vec<Result<(), Error>>,
/// ) -> Result<Report, Error> {
///     loop {
///         match work.next() {
///             Next::Read => work.handle_table(&read()?),
///             Next::Apply(changes) => work.handle_results(apply(&changes)),
///             Next::Done(report) => return Ok(report),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Reconciler<'a> {
    target: Target<'a>,
    policy: Policy,
    now: Duration,
    state: State,
    rounds: usize,
    /// Whether this round met something that only the table can tell.
    look_again: bool,
    /// What this round did not make of what gives.
    unmade: HashSet<Object>,
    /// What was refused for good, and is not tried again.
    given_up: HashSet<Object>,
    /// Services that could not be added: nothing of them is tried again.
    never_added: HashSet<ServiceKey>,
    /// What the kernel has by its own word.
    known: HashMap<Object, Known>,
    report: Report,
}

#[derive(Debug)]
enum State {
    /// The table is to be read.
    Read,
    /// These steps are to be made, and when they are, those that take away.
    Apply { steps: Vec<Step>, later: Vec<Step> },
    /// Nothing is left to do.
    Done,
}

/// What a change is about: a service, or a destination of it.
type Object = (Option<ServiceKey>, Option<DestinationKey>);

fn object(change: &Change) -> Object {
    (change.service(), change.destination())
}

/// How an object that a list left out is known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It could not be added, because it exists.
    Exists,
    /// It was written since.
    Written,
}

/// What a [`Reconciler`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the table, best a confirmed one, and hand it to [`Reconciler::handle_table`].
    Read,
    /// Make these changes in order, and hand the results to [`Reconciler::handle_results`].
    Apply(Vec<Change>),
    /// Nothing: it is done.
    Done(Report),
}

/// What a [`Reconciler`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The steps that were made, in order.
    pub applied: Vec<Step>,
    /// The steps that were refused for good.
    pub failed: Vec<Failure>,
    /// The steps that were not made, because all that was to serve in place of what they take away was refused.
    pub held_back: Vec<Step>,
    /// What is being drained, for the next time.
    pub draining: Draining,
    /// When a destination has been drained long enough.
    pub next_deadline: Option<Duration>,
    /// Services that keep a scheduler that is not the wanted one, because the policy says so.
    pub schedulers_kept: Vec<ServiceKey>,
    /// Whether the table that was read last may have been incomplete, so that something unwanted may still be there.
    pub may_be_incomplete: bool,
    /// Whether it gave up because another program changed the table again and again, or the kernel did not answer.
    pub contended: bool,
}

impl Report {
    /// Whether the table is what it should be, but for what is being drained.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.failed.is_empty() && !self.may_be_incomplete && !self.contended
    }
}

/// A step that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// Why.
    pub error: Error,
}

impl<'a> Reconciler<'a> {
    /// Prepares to bring the services of a scope to what is wanted. `draining` is what the last [`Report`] said of it, `now` the time by
    /// the clock of that time.
    ///
    /// # Errors
    ///
    /// A [`PlanError`] if what is wanted contradicts itself or the scope.
    pub fn new(
        desired: &'a [VirtualServer],
        scope: Scope<'a>,
        policy: Policy,
        draining: Draining,
        now: Duration,
    ) -> Result<Self, PlanError> {
        Ok(Self {
            target: Target::new(desired, scope)?,
            policy,
            now,
            state: State::Read,
            rounds: 0,
            look_again: false,
            unmade: HashSet::new(),
            given_up: HashSet::new(),
            never_added: HashSet::new(),
            known: HashMap::new(),
            report: Report {
                draining,
                ..Report::default()
            },
        })
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> Next {
        match &self.state {
            State::Read => Next::Read,
            State::Apply { steps, .. } => {
                Next::Apply(steps.iter().map(|step| step.change).collect())
            }
            State::Done => Next::Done(self.report.clone()),
        }
    }

    /// Takes the table that [`Next::Read`] asked for; at any other time it is ignored.
    pub fn handle_table(&mut self, table: &Table) {
        if !matches!(self.state, State::Read) {
            return;
        }
        self.rounds += 1;
        self.look_again = false;
        self.unmade.clone_from(&self.given_up);
        let before = &self.report.draining;
        let Plan {
            mut steps,
            draining,
            next_deadline,
            schedulers_kept,
        } = self.target.plan(table, &self.policy, before, self.now);
        self.report.draining = draining;
        self.report.next_deadline = next_deadline;
        self.report.schedulers_kept = schedulers_kept;
        self.report.may_be_incomplete = table.may_be_incomplete;
        self.report.held_back.clear();
        if !table.may_be_incomplete && table.unreadable.is_empty() {
            // What is not listed is not there, whatever was said before.
            self.known.clear();
        }
        steps.retain_mut(|step| self.is_to_be_made(step));
        let takes = steps.iter().position(Step::takes_away);
        let later = steps.split_off(takes.unwrap_or(steps.len()));
        self.proceed(steps, later);
    }

    /// Whether a step of a plan is to be made. One that adds what exists, although no list shows it, becomes an update.
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

    /// Takes what became of the changes of [`Next::Apply`], in their order; at any other time it is ignored.
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
                // First it has to be seen what came of it.
                Some(Err(_)) | None => {
                    self.look_again = true;
                    later.clear();
                }
            }
        }
        self.proceed(Vec::new(), later);
    }

    fn made(&mut self, step: Step) {
        if let Some(known) = self.known.get_mut(&object(&step.change)) {
            *known = Known::Written;
            // If lists show it now, it can be compared.
            self.look_again = true;
        }
        self.report.applied.push(step);
    }

    fn refused(&mut self, step: Step, error: Error) {
        let object = object(&step.change);
        self.unmade.insert(object);
        if error.already_exists() {
            self.known.insert(object, Known::Exists);
            self.look_again = true;
        } else if error.is_missing() {
            self.known.remove(&object);
            // Without its service it is no wonder; otherwise somebody was faster.
            self.look_again |= !self.is_of_a_service_never_added(&step);
        } else {
            self.given_up.insert(object);
            if let Change::AddService(service) = step.change {
                self.never_added.insert(service.key);
            }
            self.report.failed.push(Failure { step, error });
        }
    }

    /// Goes on with these steps, or with the later ones, or with the next round.
    fn proceed(&mut self, mut steps: Vec<Step>, mut later: Vec<Step>) {
        if steps.is_empty() {
            steps = self.hold_back(std::mem::take(&mut later));
        }
        self.state = if !steps.is_empty() {
            State::Apply { steps, later }
        } else if self.look_again && self.rounds < ROUNDS {
            State::Read
        } else {
            self.report.contended = self.look_again;
            State::Done
        };
    }

    /// Leaves out what takes from a service while none of the destinations that are to serve could be made.
    fn hold_back(&mut self, steps: Vec<Step>) -> Vec<Step> {
        if steps.is_empty() || self.unmade.is_empty() {
            return steps;
        }
        let is_bare = |server: &&VirtualServer| {
            let serving = |wanted: &&Destination| wanted.weight != Weight::ZERO;
            let is_unmade = |wanted: &Destination| {
                let object = (Some(server.service.key), Some(wanted.key));
                self.unmade.contains(&object)
            };
            let mut serving = server.destinations.iter().filter(serving).peekable();
            serving.peek().is_some() && serving.all(is_unmade)
        };
        let bare: HashSet<ServiceKey> = self
            .target
            .desired
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
            // It still serves.
            if let (Some(service), Some(destination)) = object(&step.change) {
                let draining = &mut self.report.draining.destinations;
                draining.remove(&(service, destination));
            }
        }
        self.report.next_deadline = self.report.draining.next_deadline(&self.policy);
        self.report.held_back = held_back;
        steps
    }
}

/// Whether it is unknown what came of a change.
fn is_unknown(error: &Error) -> bool {
    error.is_unanswered() || matches!(error, Error::NotSent(_))
}
