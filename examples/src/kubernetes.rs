//! Kubernetes Services and EndpointSlices as a wanted IPVS table, without I/O.
//!
//! [`Objects`] holds the objects by source. A [`WantedTable`] has the services of IPVS that they
//! want, the addresses that the host needs to receive their traffic, and a [`Problem`] for each
//! part that cannot be served. The same objects give the same table, in the same order. An update
//! costs time in proportion to the Services that have changed, not to the table.
//!
//! The rules are those of kube-proxy in IPVS mode, except where a rule's documentation says
//! otherwise. Topology hints are not used.

mod endpoints;
mod object;
mod objects;
mod problem;
mod proxy_configuration;
mod read;
mod service;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    object::{Object, ObjectError, ObjectKey, ObjectKind},
    objects::{Change, Objects},
    problem::{MAX_DESTINATIONS, Problem},
    proxy_configuration::{
        ConfigurationError, GoDuration, IpvsConfiguration, ProxyConfiguration, parse_configuration,
    },
    read::{MAX_TEXT, ReadError, WatchEvent, read_json, read_text, read_yaml, watch_events},
    settings::{Node, Settings},
    table::{Differences, WantedTable, keys_at, translate},
};
