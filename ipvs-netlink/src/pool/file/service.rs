//! A virtual server.

use serde::{Deserialize, Serialize};

use super::{
    server::{DrainForm, RealServerForm, SorryServerForm},
    span::Span,
    words::{EngineText, Forwarding, NetmaskForm, SchedulerText, ServiceText},
};
use crate::{
    Netmask, Persistence, PrefixLength, Scheduler, SchedulerFlags, Service,
    pool::{Check, Limit, Panic, Passive, Quorum, VirtualServer},
};

/// A virtual server as a file has it. Missing fields have their defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, bound(serialize = "P: Clone + Serialize"))]
pub(crate) struct VirtualServerForm<P> {
    service: ServiceText,
    scheduler: Option<SchedulerText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scheduler_flags: Vec<Flag>,
    #[serde(default)]
    one_packet: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence: Option<PersistenceForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence_engine: Option<EngineText>,
    /// The method of servers that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding: Option<Forwarding>,
    #[serde(default, with = "super::amount::quorum")]
    quorum: Quorum,
    #[serde(skip_serializing_if = "Option::is_none")]
    sorry_server: Option<SorryServerForm>,
    #[serde(
        default,
        with = "super::amount::brake",
        skip_serializing_if = "Option::is_none"
    )]
    brake: Option<Limit>,
    #[serde(default, with = "super::amount::panic")]
    panic: Panic,
    #[serde(default)]
    inhibit_on_failure: bool,
    #[serde(default)]
    omega: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<Span>,
    drain: Option<DrainForm>,
    drain_failed: Option<DrainForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passive: Option<Passive>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check<P>>,
    #[serde(default = "Vec::new")]
    servers: Vec<RealServerForm<P>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Flag {
    #[serde(rename = "flag-1", alias = "sh-fallback", alias = "mh-fallback")]
    One,
    #[serde(rename = "flag-2", alias = "sh-port", alias = "mh-port")]
    Two,
    #[serde(rename = "flag-3")]
    Three,
}

impl Flag {
    const ALL: [(Self, SchedulerFlags); 3] = [
        (Self::One, SchedulerFlags::FLAG_1),
        (Self::Two, SchedulerFlags::FLAG_2),
        (Self::Three, SchedulerFlags::FLAG_3),
    ];

    fn flags(self) -> SchedulerFlags {
        match self {
            Self::One => SchedulerFlags::FLAG_1,
            Self::Two => SchedulerFlags::FLAG_2,
            Self::Three => SchedulerFlags::FLAG_3,
        }
    }
}

/// A time, or a table with a netmask.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "a time such as \"6m\", or a table with timeout and netmask"
)]
enum PersistenceForm {
    Time(Span),
    Whole(WholePersistence),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WholePersistence {
    timeout: Span,
    netmask: Option<NetmaskForm>,
}

impl PersistenceForm {
    fn apply(self, service: &mut Service) -> Result<(), String> {
        let family = service.key.family();
        let (timeout, netmask) = match self {
            Self::Time(timeout) => (timeout, None),
            Self::Whole(whole) => (whole.timeout, whole.netmask),
        };
        let netmask = match netmask {
            None => Netmask::host(family),
            Some(NetmaskForm::Mask(mask)) => Netmask::V4(mask),
            Some(NetmaskForm::Length(bits)) => {
                let length = PrefixLength::new(bits);
                Netmask::V6(length.map_err(|error| error.to_string())?)
            }
        };
        if timeout.0.subsec_nanos() != 0 {
            return Err("persistence: use whole seconds".into());
        }
        let timeout = u32::try_from(timeout.0.as_secs()).unwrap_or(u32::MAX);
        let persistence = Persistence { timeout, netmask };
        service
            .set_persistence(persistence)
            .map_err(|error| error.to_string())
    }
}

impl<P> TryFrom<VirtualServerForm<P>> for VirtualServer<P> {
    type Error = String;

    fn try_from(form: VirtualServerForm<P>) -> Result<Self, String> {
        let scheduler = form.scheduler.map_or(Scheduler::WLC, |text| text.0);
        let mut service = Service::new(form.service.0, scheduler);
        for flag in form.scheduler_flags {
            service.scheduler_flags |= flag.flags();
        }
        service.one_packet = form.one_packet;
        service.persistence_engine = form.persistence_engine.map(|engine| engine.0);
        if let Some(persistence) = form.persistence {
            persistence.apply(&mut service)?;
        }
        let default = VirtualServer::<P>::new(service);
        let forwarding = form.forwarding.map(|forwarding| forwarding.0);
        let servers = form.servers.into_iter();
        let servers = servers.map(|server| server.with_default(forwarding));
        let sorry_server = form.sorry_server;
        let sorry_server = sorry_server.map(|sorry| sorry.with_default(forwarding));
        Ok(Self {
            service,
            servers: servers.collect::<Result<_, _>>()?,
            checks: form.checks,
            quorum: form.quorum,
            sorry_server: sorry_server.transpose()?,
            brake: form.brake,
            panic: form.panic,
            inhibit_on_failure: form.inhibit_on_failure,
            omega: form.omega,
            slow_start: form.slow_start.map(|time| time.0),
            drain: form.drain.map_or(default.drain, DrainForm::drain),
            drain_failed: form
                .drain_failed
                .map_or(default.drain_failed, DrainForm::drain),
            passive: form.passive,
        })
    }
}

impl<P> From<VirtualServer<P>> for VirtualServerForm<P> {
    fn from(server: VirtualServer<P>) -> Self {
        let service = server.service;
        let flags = Flag::ALL.into_iter();
        let flags = flags.filter(|(_, flags)| service.scheduler_flags.contains(*flags));
        let persistence = service.persistence().map(|persistence| {
            PersistenceForm::Whole(WholePersistence {
                timeout: Span(std::time::Duration::from_secs(persistence.timeout.into())),
                netmask: Some(persistence.netmask.into()),
            })
        });
        Self {
            service: ServiceText(service.key),
            scheduler: Some(SchedulerText(service.scheduler)),
            scheduler_flags: flags.map(|(flag, _)| flag).collect(),
            one_packet: service.one_packet,
            persistence,
            persistence_engine: service.persistence_engine.map(EngineText),
            forwarding: None,
            quorum: server.quorum,
            sorry_server: server.sorry_server.map(SorryServerForm::from),
            brake: server.brake,
            panic: server.panic,
            inhibit_on_failure: server.inhibit_on_failure,
            omega: server.omega,
            slow_start: server.slow_start.map(Span),
            drain: Some(server.drain.into()),
            drain_failed: Some(server.drain_failed.into()),
            passive: server.passive,
            checks: server.checks,
            servers: server
                .servers
                .into_iter()
                .map(RealServerForm::from)
                .collect(),
        }
    }
}
