//! From a wanted table to the kernel's, whatever other programs do meanwhile.

use std::{collections::HashSet, time::Duration};

use super::{Draining, Plan, PlanError, Policy, Scope, Step, plan};
use crate::{Error, ServiceKey, Table, VirtualServer, message::Change};

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
    desired: &'a [VirtualServer],
    scope: Scope<'a>,
    policy: Policy,
    now: Duration,
    state: State,
    /// Services with a change that was refused for good: what follows from it is not tried again.
    given_up: HashSet<ServiceKey>,
    rounds: usize,
    report: Report,
}

#[derive(Debug)]
enum State {
    /// The table is to be read.
    Read,
    /// These steps are to be made.
    Apply(Vec<Step>),
    /// Nothing is left to do.
    Done,
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
    /// What is being drained, for the next time.
    pub draining: Draining,
    /// When a destination has been drained long enough.
    pub next_deadline: Option<Duration>,
    /// Services that keep a scheduler that is not the wanted one, because the policy says so.
    pub schedulers_kept: Vec<ServiceKey>,
    /// Whether the table that was read last may have been incomplete, so that something unwanted may still be there.
    pub may_be_incomplete: bool,
    /// Whether it gave up because another program changed the table again and again.
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
    /// any clock that does not go back.
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
        // Contradictions show against any table.
        plan(&Table::default(), desired, &scope, &policy, &draining, now)?;
        Ok(Self {
            desired,
            scope,
            policy,
            now,
            state: State::Read,
            given_up: HashSet::new(),
            rounds: 0,
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
            State::Apply(steps) => Next::Apply(steps.iter().map(|step| step.change).collect()),
            State::Done => Next::Done(self.report.clone()),
        }
    }

    /// Takes a table that was read.
    pub fn handle_table(&mut self, table: &Table) {
        self.rounds += 1;
        let found = plan(
            table,
            self.desired,
            &self.scope,
            &self.policy,
            &self.report.draining,
            self.now,
        );
        // It was made sure at the beginning that there is a plan.
        let Plan {
            steps,
            draining,
            next_deadline,
            schedulers_kept,
        } = found.unwrap_or_default();
        self.report.draining = draining;
        self.report.next_deadline = next_deadline;
        self.report.schedulers_kept = schedulers_kept;
        self.report.may_be_incomplete = table.may_be_incomplete;
        let is_open = |step: &Step| {
            !step
                .change
                .service()
                .is_some_and(|service| self.given_up.contains(&service))
        };
        let steps: Vec<_> = steps.into_iter().filter(is_open).collect();
        self.state = if steps.is_empty() {
            State::Done
        } else {
            State::Apply(steps)
        };
    }

    /// Takes what became of the changes, in their order.
    pub fn handle_results(&mut self, results: Vec<Result<(), Error>>) {
        let State::Apply(steps) = std::mem::replace(&mut self.state, State::Done) else {
            return;
        };
        let mut lost_a_race = false;
        for (step, result) in steps.into_iter().zip(results) {
            match result {
                Ok(()) => self.report.applied.push(step),
                // Somebody was faster, or it is not known what came of it: the table has to tell.
                Err(error) if is_race(&error) => lost_a_race = true,
                Err(error) => {
                    self.given_up.extend(step.change.service());
                    self.report.failed.push(Failure { step, error });
                }
            }
        }
        if lost_a_race {
            if self.rounds < ROUNDS {
                self.state = State::Read;
            } else {
                self.report.contended = true;
            }
        }
    }
}

fn is_race(error: &Error) -> bool {
    error.is_missing()
        || error.already_exists()
        || error.is_unanswered()
        || matches!(error, Error::NotSent(_))
}
