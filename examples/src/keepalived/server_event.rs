//! Changes of virtual servers and real servers in keepalived's words: lines of the notification
//! FIFO, scripts, subjects of mails.

use std::{collections::BTreeMap, net::IpAddr};

use ipvs_netlink::{
    DestinationKey, ServiceKey,
    pool::{Cause, Event, PoolChange},
};

use crate::keepalived_conf::{lvs, script::Script};

/// The scripts and mails for the changes of a server or service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// `notify_up` or `quorum_up`.
    pub up: Option<Script>,
    /// `notify_down` or `quorum_down`.
    pub down: Option<Script>,
    /// Whether changes are mailed.
    pub mails: bool,
}

impl Reaction {
    /// The reaction, if there is any.
    #[must_use]
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// A service whose changes are reported, with its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedService {
    /// Its name in lines and mails, such as `[192.0.2.1]:tcp:80`.
    pub name: String,
    /// The protocol in the names of its servers.
    pub protocol: Option<&'static str>,
    /// The reaction to changes of its quorum.
    pub reaction: Reaction,
    /// Its servers. Most have no reaction.
    pub servers: BTreeMap<DestinationKey, Option<Box<Reaction>>>,
}

/// A server that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedServer<'a> {
    name: String,
    reaction: Option<&'a Reaction>,
}

/// All servers and services whose changes are reported. Of a group, only the first service is
/// reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The services.
    pub services: BTreeMap<ServiceKey, ReportedService>,
    /// `rs_init_notifies`: a server that is up from the start, or since a reload, is reported.
    pub reports_new_servers: bool,
}

impl Names {
    fn server(&self, service: &ServiceKey, key: DestinationKey) -> Option<ReportedServer<'_>> {
        let service = self.services.get(service)?;
        let reaction = service.servers.get(&key)?;
        Some(ReportedServer {
            name: trio(key.address, key.port, service.protocol),
            reaction: reaction.as_deref(),
        })
    }
}

/// The name of a virtual server.
#[must_use]
pub fn service_name(server: &lvs::VirtualServer) -> String {
    match &server.service {
        lvs::Service::Address(address, port) => trio(*address, *port, server.protocol),
        lvs::Service::Mark(mark) => format!("FWM {mark}"),
        lvs::Service::Group(name) => format!("[{name}]:0"),
    }
}

fn trio(address: IpAddr, port: u16, protocol: Option<&str>) -> String {
    let protocol = protocol.unwrap_or("none").to_ascii_lowercase();
    format!("[{address}]:{protocol}:{port}")
}

/// A change that is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent<'a> {
    /// The service.
    pub service: &'a ReportedService,
    /// The server, where the change is one of a server.
    pub server: Option<ReportedServer<'a>>,
    /// Whether it is up, or has its quorum.
    pub is_up: bool,
}

impl<'a> ServerEvent<'a> {
    /// The reported change for an event of the pool, if it is reported. `names` are those of the
    /// current configuration, and `before` those of the previous one.
    #[must_use]
    pub fn of(event: &Event, names: &'a Names, before: &'a Names) -> Option<Self> {
        let (server, is_up) = match event.change {
            PoolChange::ServerUp(_)
                if event.cause == Cause::Configuration && !names.reports_new_servers =>
            {
                return None;
            }
            PoolChange::ServerUp(key) => (Some(key), true),
            PoolChange::ServerDown(key) => (Some(key), false),
            PoolChange::ServerRemoved {
                server,
                was_up: true,
            } => (Some(server), false),
            PoolChange::QuorumGained(_) => (None, true),
            PoolChange::QuorumLost(_) => (None, false),
            _ => return None,
        };
        let service = names.services.get(&event.service);
        let service = service.or_else(|| before.services.get(&event.service))?;
        let server = match server {
            None => None,
            Some(key) => {
                let found = names.server(&event.service, key);
                Some(found.or_else(|| before.server(&event.service, key))?)
            }
        };
        Some(Self {
            service,
            server,
            is_up,
        })
    }

    const fn word(&self) -> &'static str {
        if self.is_up { "UP" } else { "DOWN" }
    }

    /// The reaction of the server, or of the service where the change is one of its quorum.
    fn reaction(&self) -> Option<&'a Reaction> {
        match &self.server {
            Some(server) => server.reaction,
            None => Some(&self.service.reaction),
        }
    }

    /// The script that runs.
    #[must_use]
    pub fn script(&self) -> Option<&'a Script> {
        let reaction = self.reaction()?;
        let script = if self.is_up {
            &reaction.up
        } else {
            &reaction.down
        };
        script.as_ref()
    }

    /// Whether the change is mailed.
    #[must_use]
    pub fn is_mailed(&self) -> bool {
        self.reaction().is_some_and(|reaction| reaction.mails)
    }

    /// The line of the FIFO, with its end.
    #[must_use]
    pub fn fifo_line(&self) -> String {
        let (service, word) = (&self.service.name, self.word());
        match &self.server {
            None => format!("VS {service} {word}\n"),
            Some(server) => format!("RS {} {service} {word}\n", server.name),
        }
    }

    /// The subject of a mail, after the name of the router.
    #[must_use]
    pub fn mail_subject(&self) -> String {
        let (service, word) = (&self.service.name, self.word());
        match &self.server {
            None => format!("Virtualserver {service} - {word}"),
            Some(server) => {
                let server = &server.name;
                format!("Realserver {server} of virtual server {service} - {word}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipvs_netlink::pool::LiveCapacity;

    use super::*;

    #[test]
    fn changes_are_reported_in_the_words_of_keepalived() {
        let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
        let server = DestinationKey::new(([10, 0, 0, 1], 80));
        let reported = ReportedService {
            name: "[192.0.2.1]:tcp:80".into(),
            protocol: Some("TCP"),
            servers: BTreeMap::from([(server, None)]),
            ..ReportedService::default()
        };
        let names = Names {
            services: BTreeMap::from([(service, reported)]),
            reports_new_servers: true,
        };
        let live = LiveCapacity {
            live: 0,
            bound: 1,
            percent: false,
        };
        let removed = |was_up| PoolChange::ServerRemoved { server, was_up };
        let rs = "RS [10.0.0.1]:tcp:80 [192.0.2.1]:tcp:80";
        for (change, line) in [
            (PoolChange::ServerUp(server), Some(format!("{rs} UP\n"))),
            (PoolChange::ServerDown(server), Some(format!("{rs} DOWN\n"))),
            (removed(true), Some(format!("{rs} DOWN\n"))),
            (removed(false), None),
            (
                PoolChange::QuorumLost(live),
                Some("VS [192.0.2.1]:tcp:80 DOWN\n".into()),
            ),
            (
                PoolChange::QuorumGained(live),
                Some("VS [192.0.2.1]:tcp:80 UP\n".into()),
            ),
            (PoolChange::Suspended, None),
        ] {
            let event = Event {
                sequence: 0,
                at: Duration::ZERO,
                service,
                change,
                cause: Cause::Configuration,
            };
            let nothing = Names {
                reports_new_servers: true,
                ..Names::default()
            };
            let found = ServerEvent::of(&event, &names, &nothing);
            assert_eq!(found.map(|it| it.fifo_line()), line, "{change:?}");
            // A server that left the configuration is reported under the name that it had.
            let found = ServerEvent::of(&event, &nothing, &names);
            assert_eq!(found.map(|it| it.fifo_line()), line, "{change:?}");
            let quiet = Names {
                reports_new_servers: false,
                ..names.clone()
            };
            let found = ServerEvent::of(&event, &quiet, &nothing);
            let quiet_line = line.filter(|_| change != PoolChange::ServerUp(server));
            assert_eq!(found.map(|it| it.fifo_line()), quiet_line, "{change:?}");
        }
    }
}
