//! Real servers, the sorry server, and how servers leave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    span::Span,
    words::{Forwarding, Server},
};
use crate::{
    Destination, ForwardingMethod, Thresholds, Weight,
    plan::Drain,
    pool::{Check, RealServer, SorryServer},
};

/// The forwarding method of a server if neither it nor its service names one.
const FORWARDING: ForwardingMethod = ForwardingMethod::Masquerade;

/// A real server as a file has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, bound(serialize = "P: Clone + Serialize"))]
pub(crate) struct RealServerForm<P> {
    address: Server,
    forwarding: Option<Forwarding>,
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    upper_threshold: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    lower_threshold: u32,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check<P>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inhibit_on_failure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<DrainForm>,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn weight(weight: Option<u32>) -> Result<Weight, &'static str> {
    let number = weight.unwrap_or(Weight::default().get());
    if number > Weight::MAX.get() {
        return Err("weight: too great; use 0 to 2147483647");
    }
    Ok(Weight::new(number).unwrap_or(Weight::MAX))
}

impl<P> RealServerForm<P> {
    /// The server, with omitted fields taken from the service.
    pub(crate) fn with_default(
        self,
        forwarding: Option<ForwardingMethod>,
    ) -> Result<RealServer<P>, &'static str> {
        let thresholds = Thresholds::new(self.upper_threshold, self.lower_threshold);
        let Ok(thresholds) = thresholds else {
            return Err(
                "thresholds: use at most 2147483647, and lower_threshold <= upper_threshold",
            );
        };
        let own = self.forwarding.map(|forwarding| forwarding.0);
        let forwarding = own.or(forwarding).unwrap_or(FORWARDING);
        Ok(RealServer {
            destination: Destination {
                weight: weight(self.weight)?,
                thresholds,
                ..Destination::new(self.address.0, forwarding)
            },
            checks: self.checks,
            inhibit_on_failure: self.inhibit_on_failure,
            drain: match self.drain.map(DrainForm::drain) {
                None => None,
                Some(Some(drain)) => Some(drain),
                // The same as a drain that is over at once.
                Some(None) => Some(Drain {
                    at_most: Duration::ZERO,
                    at_most_udp: Duration::ZERO,
                    ..Drain::default()
                }),
            },
        })
    }
}

impl<P> TryFrom<RealServerForm<P>> for RealServer<P> {
    type Error = &'static str;

    fn try_from(form: RealServerForm<P>) -> Result<Self, Self::Error> {
        form.with_default(None)
    }
}

impl<P> From<RealServer<P>> for RealServerForm<P> {
    fn from(server: RealServer<P>) -> Self {
        let destination = server.destination;
        Self {
            address: Server(destination.key),
            forwarding: Some(Forwarding(destination.forwarding)),
            weight: Some(destination.weight.get()),
            upper_threshold: destination.thresholds.upper(),
            lower_threshold: destination.thresholds.lower(),
            checks: server.checks,
            inhibit_on_failure: server.inhibit_on_failure,
            drain: server.drain.map(|drain| DrainForm::from(Some(drain))),
        }
    }
}

/// A sorry server as a file has it: its address, or a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "ADDRESS:PORT, or a table with address, forwarding, weight, inhibit"
)]
pub(crate) enum SorryServerForm {
    Address(Server),
    Whole(WholeSorryServer),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WholeSorryServer {
    address: Server,
    forwarding: Option<Forwarding>,
    weight: Option<u32>,
    #[serde(default)]
    inhibit: bool,
}

impl SorryServerForm {
    pub(crate) fn with_default(
        self,
        forwarding: Option<ForwardingMethod>,
    ) -> Result<SorryServer, &'static str> {
        let default = forwarding.unwrap_or(FORWARDING);
        let whole = match self {
            Self::Address(address) => return Ok(SorryServer::new(address.0, default)),
            Self::Whole(whole) => whole,
        };
        let forwarding = whole.forwarding.map_or(default, |forwarding| forwarding.0);
        let mut sorry = SorryServer::new(whole.address.0, forwarding);
        sorry.destination.weight = weight(whole.weight)?;
        sorry.inhibit = whole.inhibit;
        Ok(sorry)
    }
}

impl From<SorryServer> for SorryServerForm {
    fn from(sorry: SorryServer) -> Self {
        Self::Whole(WholeSorryServer {
            address: Server(sorry.destination.key),
            forwarding: Some(Forwarding(sorry.destination.forwarding)),
            weight: Some(sorry.destination.weight.get()),
            inhibit: sorry.inhibit,
        })
    }
}

/// How servers leave: `false` for at once, `true` for the default, a time, or a table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "true, false, a time such as \"15m\", or a table with at_most"
)]
pub(crate) enum DrainForm {
    Switch(bool),
    Time(Span),
    Whole(WholeDrain),
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WholeDrain {
    at_most: Option<Span>,
    at_most_udp: Option<Span>,
    connections: Option<u32>,
    count_persistent: Option<bool>,
}

impl DrainForm {
    pub(crate) fn drain(self) -> Option<Drain> {
        let default = Drain::default();
        match self {
            Self::Switch(false) => None,
            Self::Switch(true) => Some(default),
            Self::Time(time) => Some(Drain {
                at_most: time.0,
                at_most_udp: default.at_most_udp.min(time.0),
                ..default
            }),
            Self::Whole(whole) => Some(Drain {
                at_most: whole.at_most.map_or(default.at_most, |time| time.0),
                at_most_udp: whole.at_most_udp.map_or(default.at_most_udp, |time| time.0),
                connections: whole.connections.unwrap_or(default.connections),
                count_persistent: whole.count_persistent.unwrap_or(default.count_persistent),
            }),
        }
    }
}

impl From<Option<Drain>> for DrainForm {
    fn from(drain: Option<Drain>) -> Self {
        match drain {
            None => Self::Switch(false),
            Some(drain) => Self::Whole(WholeDrain {
                at_most: Some(Span(drain.at_most)),
                at_most_udp: Some(Span(drain.at_most_udp)),
                connections: Some(drain.connections),
                count_persistent: Some(drain.count_persistent),
            }),
        }
    }
}
