//! Settings of the kernel's IPVS that apply while the daemon runs.

use ipvs_netlink::{Error, ServiceKey, SyncDaemon, Timeouts};
use vrrp_examples::{balancer::TableNamespace, keepalived::kernel_settings::KernelSettings};

use crate::log::Log;

/// The wanted settings, and the settings before the first change.
pub(crate) struct Settings {
    namespace: TableNamespace,
    wanted: KernelSettings,
    /// The timeouts before the first change.
    timeouts_before: Option<Timeouts>,
    /// Whether sync daemons were ever wanted.
    has_daemons: bool,
}

impl Settings {
    pub(crate) fn new(namespace: TableNamespace) -> Self {
        Self {
            namespace,
            wanted: KernelSettings::default(),
            timeouts_before: None,
            has_daemons: false,
        }
    }

    /// Continues with the state of a predecessor.
    pub(crate) fn resume(&mut self, timeouts_before: Option<Timeouts>, has_daemons: bool) {
        self.timeouts_before = timeouts_before;
        self.has_daemons = has_daemons;
    }

    /// The timeouts before the first change.
    pub(crate) const fn timeouts_before(&self) -> Option<Timeouts> {
        self.timeouts_before
    }

    /// Replaces the wanted settings.
    pub(crate) fn replace(&mut self, wanted: KernelSettings) {
        self.wanted = wanted;
    }

    /// Sets the configured timeouts, and restores the others.
    pub(crate) async fn apply_timeouts(&mut self, log: &Log) {
        if let Err(error) = self.try_timeouts().await {
            log.warning(&format!("lvs_timeouts: {error}"));
        }
    }

    async fn try_timeouts(&mut self) -> Result<(), Error> {
        let wanted = self.wanted.timeouts;
        if wanted == Timeouts::default() && self.timeouts_before.is_none() {
            return Ok(());
        }
        let mut client = self.namespace.client().await?;
        let before = match self.timeouts_before {
            Some(before) => before,
            None => client.timeouts().await?,
        };
        self.timeouts_before = Some(before);
        let or = |wanted, before| if wanted == 0 { before } else { wanted };
        client
            .set_timeouts(Timeouts {
                tcp: or(wanted.tcp, before.tcp),
                tcp_fin: or(wanted.tcp_fin, before.tcp_fin),
                udp: or(wanted.udp, before.udp),
            })
            .await
    }

    /// With `lvs_flush`, deletes the services that are not configured. The others stay, with their
    /// connections.
    pub(crate) async fn flush(&self, configured: &[ServiceKey]) -> Result<(), Error> {
        if !self.wanted.flushes_at_start {
            return Ok(());
        }
        let mut client = self.namespace.client().await?;
        let table = client.confirmed_table().await?;
        if !table.unreadable.is_empty() {
            return client.flush().await;
        }
        let listed = table.entries.iter().map(|entry| entry.service.service.key);
        for key in listed.filter(|key| !configured.contains(key)) {
            match client.delete_service(key).await {
                Err(error) if !error.is_missing() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The sync daemons that have to run; `None` if none were ever wanted.
    pub(crate) fn daemons(&mut self, is_active: bool) -> Option<Vec<SyncDaemon>> {
        let sync = self.wanted.sync.as_ref();
        self.has_daemons |= sync.is_some();
        self.has_daemons
            .then(|| sync.map_or_else(Vec::new, |sync| sync.daemons(is_active)))
    }

    pub(crate) const fn has_daemons(&self) -> bool {
        self.has_daemons
    }

    /// Restores the timeouts. With `flushes`, and if `lvs_flush_on_stop` is set, deletes the whole
    /// table.
    pub(crate) async fn end(&mut self, flushes: bool, log: &Log) {
        if flushes && self.wanted.flushes_at_stop {
            let result = match self.namespace.client().await {
                Ok(mut client) => client.flush().await,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                log.warning(&format!("lvs_flush_on_stop: {error}"));
            }
        }
        self.wanted.timeouts = Timeouts::default();
        self.apply_timeouts(log).await;
    }
}
