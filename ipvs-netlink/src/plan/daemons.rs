//! Compares the wanted sync daemons with the running ones.

use std::net::{IpAddr, Ipv4Addr};

use crate::{DaemonState, Error, SyncDaemon, message::Change};

/// The results of `Client::reconcile_daemons`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonReport {
    /// The daemons that were started or stopped, in order.
    pub applied: Vec<Change>,
    /// Changes that the kernel refused or did not answer.
    pub failed: Vec<(Change, Error)>,
    /// Daemons that are wanted twice with different settings. They stay as they are.
    pub rejected: Vec<DaemonState>,
}

impl DaemonReport {
    /// Whether the daemons are in the wanted state.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.rejected.is_empty()
    }
}

/// The defaults of the kernel (`start_sync_thread` in its `ip_vs_sync.c`).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
const PORT: u16 = 8848;
const TTL: u8 = 1;

/// Plans how to get from the running sync daemons to the wanted ones, and names those that are
/// wanted twice with different settings. A daemon that is missing is started before another is
/// stopped, because stopping takes time; a daemon with other settings is stopped and started again.
///
/// A setting that is `None` is equal to the kernel's default. The longest message is compared as
/// the kernel limits it; `None` matches any.
#[must_use]
pub fn plan_daemons(
    actual: &[SyncDaemon],
    wanted: &[SyncDaemon],
) -> (Vec<Change>, Vec<DaemonState>) {
    let mut starts = Vec::new();
    let mut restarts = Vec::new();
    let mut stops = Vec::new();
    let mut rejected = Vec::new();
    for state in [DaemonState::Master, DaemonState::Backup] {
        let of_state = |daemon: &&SyncDaemon| daemon.state == state;
        let running = actual.iter().find(of_state);
        let mut all = wanted.iter().filter(of_state);
        let first = all.next();
        if all.any(|other| Some(other) != first) {
            rejected.push(state);
            continue;
        }
        match (running, first) {
            (None, Some(daemon)) => starts.push(Change::StartDaemon(*daemon)),
            (Some(running), Some(daemon)) if !is_as_wanted(running, daemon) => {
                restarts.extend([Change::StopDaemon(state), Change::StartDaemon(*daemon)]);
            }
            (Some(_), None) => stops.push(Change::StopDaemon(state)),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    starts.append(&mut restarts);
    starts.append(&mut stops);
    (starts, rejected)
}

fn is_as_wanted(running: &SyncDaemon, wanted: &SyncDaemon) -> bool {
    let group = |daemon: &SyncDaemon| daemon.group.map_or(GROUP.into(), IpAddr::from);
    let port = |daemon: &SyncDaemon| daemon.port.unwrap_or(PORT);
    let ttl = |daemon: &SyncDaemon| daemon.ttl.unwrap_or(TTL);
    running.interface == wanted.interface
        && running.sync_id == wanted.sync_id
        && group(running) == group(wanted)
        && port(running) == port(wanted)
        && ttl(running) == ttl(wanted)
        && is_length_as_wanted(running, wanted)
}

/// The kernel uses at least 1024 octets for a backup, and at most 65535 less the headers of IP and
/// UDP.
fn is_length_as_wanted(running: &SyncDaemon, wanted: &SyncDaemon) -> bool {
    let (Some(running), Some(length)) = (running.max_length, wanted.max_length) else {
        return true;
    };
    let headers = match wanted.group.map(IpAddr::from) {
        Some(IpAddr::V6(_)) => 48,
        Some(IpAddr::V4(_)) | None => 28,
    };
    let least = match wanted.state {
        DaemonState::Master => 1,
        DaemonState::Backup => 1024,
    };
    running == length.clamp(least, u16::MAX - headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InterfaceName, MulticastGroup};

    fn daemon(state: DaemonState) -> SyncDaemon {
        SyncDaemon::new(state, InterfaceName::new("eth0").unwrap(), 7)
    }

    /// A daemon as the kernel lists it.
    fn running(state: DaemonState) -> SyncDaemon {
        SyncDaemon {
            max_length: Some(1472),
            group: MulticastGroup::new(GROUP).ok(),
            port: Some(PORT),
            ttl: Some(TTL),
            ..daemon(state)
        }
    }

    fn lines(actual: &[SyncDaemon], wanted: &[SyncDaemon]) -> Vec<String> {
        let (changes, rejected) = plan_daemons(actual, wanted);
        assert_eq!(rejected, []);
        changes.iter().map(ToString::to_string).collect()
    }

    use DaemonState::{Backup, Master};

    #[test]
    fn defaults_of_the_kernel_are_no_difference() {
        assert!(lines(&[running(Master)], &[daemon(Master)]).is_empty());
        let both = [running(Master), running(Backup)];
        assert!(lines(&both, &[daemon(Backup), daemon(Master), daemon(Master)]).is_empty());
    }

    #[test]
    fn a_change_of_role_starts_before_it_stops() {
        assert_eq!(
            lines(&[running(Backup)], &[daemon(Master)]),
            [
                "start master sync daemon on eth0",
                "stop backup sync daemon"
            ]
        );
        assert_eq!(
            lines(&[running(Master), running(Backup)], &[]),
            ["stop master sync daemon", "stop backup sync daemon"]
        );
    }

    #[test]
    fn every_setting_is_compared() {
        let edits: [fn(&mut SyncDaemon); 6] = [
            |daemon| daemon.interface = InterfaceName::new("eth1").unwrap(),
            |daemon| daemon.sync_id = 8,
            |daemon| daemon.max_length = Some(1000),
            |daemon| daemon.group = MulticastGroup::new(Ipv4Addr::new(239, 0, 0, 1)).ok(),
            |daemon| daemon.port = Some(9000),
            |daemon| daemon.ttl = Some(2),
        ];
        for edit in edits {
            let mut wanted = daemon(Master);
            edit(&mut wanted);
            let changes = [Change::StopDaemon(Master), Change::StartDaemon(wanted)];
            let found = plan_daemons(&[running(Master)], &[wanted]);
            assert_eq!(found, (changes.to_vec(), Vec::new()));
        }
    }

    #[test]
    fn a_length_is_compared_as_the_kernel_limits_it() {
        for (state, wanted, has) in [
            (Backup, 100, 1024),
            (Master, 100, 100),
            (Master, u16::MAX, 65_507),
        ] {
            let running = SyncDaemon {
                max_length: Some(has),
                ..running(state)
            };
            let wanted = SyncDaemon {
                max_length: Some(wanted),
                ..daemon(state)
            };
            assert!(lines(&[running], &[wanted]).is_empty());
        }
    }

    #[test]
    fn a_clash_leaves_the_daemon_alone() {
        let other = SyncDaemon {
            sync_id: 9,
            ..daemon(Master)
        };
        let (changes, rejected) = plan_daemons(&[], &[daemon(Master), daemon(Backup), other]);
        assert_eq!(changes, [Change::StartDaemon(daemon(Backup))]);
        assert_eq!(rejected, [Master]);
    }
}
