//! The endpoints that a traffic policy selects.

use std::{collections::BTreeMap, net::IpAddr};

use ipvs_netlink::{Destination, DestinationKey, ForwardingMethod};

use super::object::{Conditions, EndpointSlice, ServicePort, TrafficPolicy};

/// The usable endpoints of one port and one address family, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoints(BTreeMap<DestinationKey, Endpoint>);

/// The order is that of preference: an endpoint that moves between two slices is in both for a
/// while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    is_ready: bool,
    is_local: bool,
}

impl Endpoints {
    /// Selects the endpoints of a service port. A slice without a port number has none that IPVS
    /// can name.
    pub(super) fn new<'a>(
        slices: impl Iterator<Item = &'a EndpointSlice>,
        port: &ServicePort,
        is_ipv4: bool,
        node: &str,
    ) -> Self {
        let mut found = Self::default();
        for slice in slices {
            for number in numbers(slice, port) {
                for endpoint in &slice.endpoints {
                    // All addresses of an endpoint are equal; the first one is the one to use.
                    let address = endpoint
                        .addresses
                        .first()
                        .and_then(|text| text.parse().ok());
                    let Some(address) = address.filter(|it: &IpAddr| {
                        it.is_ipv4() == is_ipv4 && slice.address_type.fits(*it)
                    }) else {
                        continue;
                    };
                    let is_local = !node.is_empty() && endpoint.node_name == node;
                    found.add(address, number, endpoint.conditions, is_local);
                }
            }
        }
        found
    }

    /// The most endpoints that a service port can have, without a look at each.
    pub(super) fn at_most<'a>(
        slices: impl Iterator<Item = &'a EndpointSlice>,
        port: &ServicePort,
    ) -> usize {
        slices
            .map(|slice| {
                numbers(slice, port)
                    .count()
                    .saturating_mul(slice.endpoints.len())
            })
            .fold(0, usize::saturating_add)
    }

    fn add(&mut self, address: IpAddr, port: u16, conditions: Conditions, is_local: bool) {
        let is_ready = conditions.is_ready();
        if !is_ready && !conditions.is_serving_while_terminating() {
            return;
        }
        let endpoint = Endpoint { is_ready, is_local };
        let place = self.0.entry(DestinationKey { address, port });
        let place = place.or_insert(endpoint);
        *place = endpoint.max(*place);
    }

    /// Ready endpoints, or terminating ones that still serve if no endpoint is ready.
    fn preferred(&self, is_eligible: impl Fn(&Endpoint) -> bool) -> Vec<Destination> {
        for is_ready in [true, false] {
            let chosen = self
                .0
                .iter()
                .filter(|(_, endpoint)| endpoint.is_ready == is_ready && is_eligible(endpoint));
            let chosen: Vec<_> = chosen
                .map(|(key, _)| Destination::new(*key, ForwardingMethod::Masquerade))
                .collect();
            if !chosen.is_empty() {
                return chosen;
            }
        }
        Vec::new()
    }

    /// The destinations of the cluster's own traffic. The policy `Local` never leaves the node.
    pub(super) fn internal(&self, policy: TrafficPolicy) -> Vec<Destination> {
        match policy {
            TrafficPolicy::Cluster => self.preferred(|_| true),
            TrafficPolicy::Local => self.preferred(|endpoint| endpoint.is_local),
        }
    }

    /// The destinations of traffic from outside. With the policy `Local` and no endpoint here, pods
    /// of this node still reach the other endpoints, as with kube-proxy, if the Service's own
    /// traffic may: an external load balancer sends nothing to such a node.
    pub(super) fn external(
        &self,
        policy: TrafficPolicy,
        internal: TrafficPolicy,
    ) -> Vec<Destination> {
        let local = self.preferred(|endpoint| endpoint.is_local);
        match policy {
            TrafficPolicy::Local if !local.is_empty() || internal == TrafficPolicy::Local => local,
            TrafficPolicy::Local | TrafficPolicy::Cluster => self.preferred(|_| true),
        }
    }
}

/// The numbers of a service port in a slice.
fn numbers<'a>(
    slice: &'a EndpointSlice,
    port: &'a ServicePort,
) -> impl Iterator<Item = u16> + use<'a> {
    let ports = slice
        .ports
        .iter()
        .filter(|endpoint| endpoint.name == port.name && endpoint.protocol == port.protocol);
    ports.filter_map(|endpoint| endpoint.port)
}
