//! The kernel's table, and the task that compares it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ipvs_netlink::{
    AsyncClient, Error, ServiceKey, Table, VirtualServer,
    message::Change,
    plan::{Draining, Next, ReconcileError, ReconcileReport, Reconciler, Removals, Scope, Wanted},
};
use tokio::{sync::Mutex, task::JoinHandle};

use super::{End, TableNamespace, dry::DryTable};

/// The kernel's table, or a copy of it for a dry run.
#[derive(Debug)]
pub(super) enum Kernel {
    Real(AsyncClient),
    Dry(DryTable),
}

impl Kernel {
    async fn read(&mut self, services: Option<&[ServiceKey]>) -> Result<Table, Error> {
        match (self, services) {
            (Self::Real(client), None) => client.confirmed_table().await,
            (Self::Real(client), Some(services)) => client.table_of(services).await,
            (Self::Dry(table), services) => Ok(table.read(services)),
        }
    }

    async fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        match self {
            Self::Real(client) => client.apply(changes).await,
            Self::Dry(table) => {
                for change in changes {
                    table.apply(*change);
                }
                vec![Ok(()); changes.len()]
            }
        }
    }
}

/// One comparison of the table.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) wanted: Vec<VirtualServer>,
    pub(super) scope: Vec<ServiceKey>,
    pub(super) removals: Removals,
    /// The time since the boot of the host.
    pub(super) now: Duration,
    /// Whether the scope is everything that the pool owns.
    pub(super) is_whole: bool,
    /// The progress towards the end.
    pub(super) end: End,
}

/// The result of a comparison.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) result: Result<ReconcileReport, ReconcileError>,
    /// The table as it was read before the changes.
    pub(super) table: Option<Table>,
    pub(super) is_whole: bool,
    pub(super) end: End,
    pub(super) took: Duration,
    pub(super) draining: Draining,
}

/// Compares the table in a task of its own, which is never cut short.
#[derive(Debug)]
pub(super) struct Worker {
    state: Arc<Mutex<(Kernel, Reconciler)>>,
    namespace: TableNamespace,
    pub(super) task: Option<JoinHandle<Done>>,
}

impl Worker {
    pub(super) fn new(kernel: Kernel, namespace: TableNamespace, reconciler: Reconciler) -> Self {
        Self {
            state: Arc::new(Mutex::new((kernel, reconciler))),
            namespace,
            task: None,
        }
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.task.is_none()
    }

    pub(super) fn start(&mut self, job: Job) {
        let state = Arc::clone(&self.state);
        let namespace = self.namespace.clone();
        self.task = Some(tokio::spawn(async move {
            let mut state = state.lock().await;
            let (kernel, reconciler) = &mut *state;
            let done = compare(kernel, reconciler, &job).await;
            if done.result.is_err()
                && let Kernel::Real(client) = kernel
                // A socket that failed may never answer again.
                && let Ok(other) = namespace.client().await
            {
                *client = other;
            }
            done
        }));
    }
}

async fn compare(kernel: &mut Kernel, reconciler: &mut Reconciler, job: &Job) -> Done {
    let started = Instant::now();
    let wanted = Wanted::new(&job.wanted)
        .within(Scope::Services(&job.scope))
        .with_removals(&job.removals);
    let mut work = reconciler.begin(wanted, job.now);
    let mut first = None;
    let result = loop {
        let table = match work.next() {
            Next::Read => kernel.read(None).await,
            Next::ReadServices(services) => kernel.read(Some(&services)).await,
            Next::Apply(changes) => {
                work.handle_results(kernel.apply(&changes).await);
                continue;
            }
            Next::Done(report) => break Ok(report),
        };
        match table {
            Ok(table) => {
                work.handle_table(&table);
                first.get_or_insert(table);
            }
            Err(error) => break Err(work.fail(error)),
        }
    };
    Done {
        result,
        table: first,
        is_whole: job.is_whole,
        end: job.end,
        took: started.elapsed(),
        draining: reconciler.draining().clone(),
    }
}
