//! The operations of both clients, except reading lists.

use super::{exchange::Exchange, socket::Transport};
use crate::{
    Destination, DestinationKey, Error, Info, Service, ServiceKey, SyncDaemon, Timeouts,
    message::{Change, Command, DecodeError, Query, Reply},
    plan::{DaemonReport, Next, ReconcileError, ReconcileReport, Reconciliation, plan_daemons},
};

impl<T: Transport> Exchange<T> {
    pub(super) async fn change(&mut self, change: Change) -> Result<(), Error> {
        self.apply(&[change]).await.pop().unwrap_or(Ok(()))
    }

    pub(super) async fn update_service(
        &mut self,
        key: ServiceKey,
        edit: impl FnOnce(&mut Service),
    ) -> Result<(), Error> {
        let before = self.service(key).await?.service;
        let mut after = before;
        edit(&mut after);
        after.key = key;
        if after == before {
            return Ok(());
        }
        self.change(Change::UpdateService(after)).await
    }

    pub(super) async fn update_destination(
        &mut self,
        service: ServiceKey,
        key: DestinationKey,
        edit: impl FnOnce(&mut Destination),
    ) -> Result<(), Error> {
        let before = self.destination(service, key).await?.destination;
        let mut after = before;
        edit(&mut after);
        after.key = key;
        if after == before {
            return Ok(());
        }
        self.change(Change::UpdateDestination {
            service,
            destination: after,
        })
        .await
    }

    pub(super) async fn reconcile(
        &mut self,
        mut work: Reconciliation<'_>,
    ) -> Result<ReconcileReport, ReconcileError> {
        loop {
            let table = match work.next() {
                Next::Read => self.confirmed_table().await,
                Next::ReadServices(services) => self.table_of(&services).await,
                Next::Apply(changes) => {
                    work.handle_results(self.apply(&changes).await);
                    continue;
                }
                Next::Done(report) => return Ok(report),
            };
            match table {
                Ok(table) => work.handle_table(&table),
                Err(error) => return Err(work.fail(error)),
            }
        }
    }

    pub(super) async fn reconcile_daemons(
        &mut self,
        wanted: &[SyncDaemon],
    ) -> Result<DaemonReport, Error> {
        let (changes, rejected) = plan_daemons(&self.daemons().await?, wanted);
        let mut report = DaemonReport {
            rejected,
            ..DaemonReport::default()
        };
        for change in changes {
            match self.change(change).await {
                Ok(()) => report.applied.push(change),
                Err(error) => report.failed.push((change, error)),
            }
        }
        Ok(report)
    }

    pub(super) async fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let mut daemons = Vec::new();
        self.query(Query::Daemons, |reply| daemons.push(reply))
            .await?;
        daemons
            .into_iter()
            .map(|reply| match reply {
                Ok(Reply::Daemon(daemon)) => Ok(daemon),
                Ok(other) => Err(unexpected(Query::Daemons, other.command())),
                Err(error) => Err(Error::decode(Query::Daemons, error)),
            })
            .collect()
    }

    pub(super) async fn timeouts(&mut self) -> Result<Timeouts, Error> {
        match self.one(Query::Timeouts).await? {
            Reply::Timeouts(timeouts) => Ok(timeouts),
            other => Err(unexpected(Query::Timeouts, other.command())),
        }
    }

    pub(super) async fn info(&mut self) -> Result<Info, Error> {
        match self.one(Query::Info).await? {
            Reply::Info(info) => Ok(info),
            other => Err(unexpected(Query::Info, other.command())),
        }
    }
}

pub(super) fn unexpected(query: Query, command: Command) -> Error {
    Error::decode(query, DecodeError::Command(command as u8))
}
