//! Kubernetes Services and EndpointSlices as a wanted IPVS table, without I/O.
//!
//! [`Objects`] holds the objects by source. [`translate`] turns them into the services of IPVS, the
//! addresses that the host needs to receive their traffic, and a [`Problem`] for each part that
//! cannot be served. The same objects give the same table, in the same order.
//!
//! The rules are those of kube-proxy in IPVS mode, except where a rule's documentation says
//! otherwise. Topology hints are not used.

mod endpoints;
mod object;
mod objects;
mod problem;
mod proxy_configuration;
mod read;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    object::{Object, ObjectError, ObjectKey, ObjectKind},
    objects::{Change, Objects},
    problem::Problem,
    proxy_configuration::{
        ConfigurationError, GoDuration, IpvsConfiguration, ProxyConfiguration, parse_configuration,
    },
    read::{MAX_TEXT, ReadError, WatchEvent, read_json, read_text, read_yaml, watch_events},
    table::{MAX_DESTINATIONS, Node, Settings, WantedTable, translate},
};
