//! Settings of IPVS that belong to no virtual server: timeouts, flushing, sync daemons.

use std::net::IpAddr;

use ipvs_netlink::{DaemonState, InterfaceName, MulticastGroup, SyncDaemon, Timeouts};

use crate::keepalived_conf::{configuration::Configuration, sync_daemon};

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelSettings {
    /// `lvs_timeouts`; 0 where none is given.
    pub timeouts: Timeouts,
    /// `lvs_flush`: services that are not configured go when the daemon starts.
    pub flushes_at_start: bool,
    /// `lvs_flush_on_stop` without `VS`: services of other programs go too when the daemon stops.
    pub flushes_at_stop: bool,
    /// `lvs_sync_daemon`.
    pub sync: Option<SyncPlan>,
}

/// The sync daemons, by the state of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPlan {
    /// The instance that determines the role. Without an instance, both roles run all the time.
    pub instance: Option<String>,
    /// The daemon in the role of the backup.
    backup: SyncDaemon,
}

impl SyncPlan {
    /// The daemons that have to run while the instance is Active, or is not Active.
    #[must_use]
    pub fn daemons(&self, is_active: bool) -> Vec<SyncDaemon> {
        let role = |state| SyncDaemon {
            state,
            ..self.backup
        };
        match (&self.instance, is_active) {
            (None, _) => vec![role(DaemonState::Master), self.backup],
            (Some(_), true) => vec![role(DaemonState::Master)],
            (Some(_), false) => vec![self.backup],
        }
    }
}

/// Reads the settings of a configuration. `notes` gets a sentence for each that cannot be used.
#[must_use]
pub fn kernel_settings(configuration: &Configuration, notes: &mut Vec<String>) -> KernelSettings {
    let global = &configuration.global;
    let [tcp, tcp_fin, udp] = global.lvs_timeouts.map(Option::unwrap_or_default);
    let sync = configuration.sync_daemon.as_ref();
    KernelSettings {
        timeouts: Timeouts { tcp, tcp_fin, udp },
        flushes_at_start: global.has("lvs_flush"),
        flushes_at_stop: global.has("lvs_flush_on_stop")
            && global.text("lvs_flush_on_stop") != Some("VS"),
        sync: sync.and_then(|sync| {
            sync_plan(sync, configuration)
                .map_err(|problem| notes.push(format!("lvs_sync_daemon: {problem}: none runs")))
                .ok()
        }),
    }
}

fn sync_plan(
    sync: &sync_daemon::SyncDaemon,
    configuration: &Configuration,
) -> Result<SyncPlan, String> {
    let sync_daemon::SyncDaemon {
        interface,
        instance,
        id,
        max_length,
        port,
        ttl,
        group,
    } = sync;
    let vrid = match instance {
        None => 0,
        Some(name) => {
            let mut instances = configuration.instances.iter();
            let found = instances.find(|it| it.name == *name);
            found
                .ok_or(format!("there is no vrrp_instance {name:?}"))?
                .vrid
        }
    };
    let interface: InterfaceName = interface
        .parse()
        .map_err(|error| format!("{interface:?}: {error}"))?;
    let multicast = |group: &IpAddr| MulticastGroup::new(*group).map_err(|it| it.to_string());
    let mut backup = SyncDaemon::new(DaemonState::Backup, interface, id.unwrap_or(vrid));
    backup.max_length = *max_length;
    backup.port = *port;
    backup.ttl = *ttl;
    backup.group = group.as_ref().map(multicast).transpose()?;
    Ok(SyncPlan {
        instance: instance.clone(),
        backup,
    })
}
