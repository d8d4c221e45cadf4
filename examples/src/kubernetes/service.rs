//! The translation of one Service.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use ipvs_netlink::{
    Destination, Persistence, Protocol, Scheduler, SchedulerFlags, Service as Ipvs, ServiceKey,
    VirtualServer,
};

use super::{
    endpoints::Endpoints,
    object::{
        EndpointSlice, IngressMode, IpFamily, ObjectKey, Service, ServicePort, ServiceSpec,
        SessionAffinity, TransportProtocol,
    },
    problem::{MAX_DESTINATIONS, Problem},
    settings::{Node, Settings},
};

/// The timeout that kube-proxy and the API server use if a Service names none: three hours.
const AFFINITY_SECONDS: u32 = 10_800;

/// Returns the services of IPVS that a Service wants, and its problems.
pub(super) fn translate_service(
    key: &ObjectKey,
    service: &Service,
    slices: &[&EndpointSlice],
    node: &Node,
    settings: &Settings,
) -> (BTreeMap<ServiceKey, VirtualServer>, Vec<Problem>) {
    let mut work = Translation {
        object: key,
        node,
        settings,
        servers: BTreeMap::new(),
        problems: Vec::new(),
    };
    if !service.metadata.is_foreign() && service.spec.is_proxied() {
        work.translate(service, slices);
    }
    (work.servers, work.problems)
}

struct Translation<'a> {
    object: &'a ObjectKey,
    node: &'a Node,
    settings: &'a Settings,
    servers: BTreeMap<ServiceKey, VirtualServer>,
    problems: Vec<Problem>,
}

/// Where the traffic of an address comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Cluster,
    Outside,
}

impl Translation<'_> {
    fn translate(&mut self, service: &Service, slices: &[&EndpointSlice]) {
        let spec = &service.spec;
        let cluster: Vec<IpAddr> = self.parse(
            spec.cluster_addresses(),
            if spec.cluster_ips.is_empty() {
                "spec.clusterIP"
            } else {
                "spec.clusterIPs"
            },
        );
        let outside = self.outside(service);
        let persistence = self.affinity(spec);
        let node_addresses = self.node_port_addresses(spec, &cluster);
        let addresses = cluster.len().saturating_add(outside.len());
        let mut destinations = 0_usize;
        for port in &spec.ports {
            let of_node = if port.node_port == 0 {
                0
            } else {
                node_addresses.len()
            };
            let addresses = addresses.saturating_add(of_node).max(1);
            let endpoints = Endpoints::at_most(slices.iter().copied(), port).max(1);
            let with_port = destinations.saturating_add(addresses.saturating_mul(endpoints));
            if with_port > MAX_DESTINATIONS {
                self.problems.push(Problem::TooMany {
                    object: self.object.clone(),
                    port: port.port,
                    destinations: with_port,
                });
                continue;
            }
            destinations = with_port;
            let [v4, v6] = [true, false].map(|is_ipv4| {
                let slices = slices.iter().copied();
                Endpoints::new(slices, port, is_ipv4, &self.node.name)
            });
            let mut serve = |origin, address: &IpAddr, number| {
                let endpoints = if address.is_ipv4() { &v4 } else { &v6 };
                let internal = spec.internal_traffic_policy;
                let destinations = match origin {
                    Origin::Cluster => endpoints.internal(internal),
                    Origin::Outside => endpoints.external(spec.external_traffic_policy, internal),
                };
                let key = ServiceKey::new(protocol(port), *address, number);
                self.serve(key, persistence, destinations);
            };
            let inside = cluster.iter().map(|address| (Origin::Cluster, address));
            let outside = outside.iter().map(|address| (Origin::Outside, address));
            for (origin, address) in inside.chain(outside) {
                serve(origin, address, port.port);
            }
            if port.node_port != 0 {
                for address in &node_addresses {
                    serve(Origin::Outside, address, port.node_port);
                }
            }
        }
    }

    /// The addresses for clients outside the cluster.
    fn outside(&mut self, service: &Service) -> Vec<IpAddr> {
        let external = service.spec.external_ips.iter().map(String::as_str);
        let mut outside = self.parse(external, "spec.externalIPs");
        let ingress = service.status.load_balancer.ingress.iter();
        let arriving = ingress
            .filter(|ingress| ingress.ip_mode == IngressMode::Vip && !ingress.ip.is_empty())
            .map(|ingress| ingress.ip.as_str());
        let balancer = self.parse(arriving, "status.loadBalancer.ingress");
        if !balancer.is_empty() && !service.spec.load_balancer_source_ranges.is_empty() {
            let object = self.object.clone();
            self.problems.push(Problem::SourceRanges { object });
        } else {
            outside.extend(balancer);
        }
        let mut seen = BTreeSet::new();
        outside.retain(|address| seen.insert(*address));
        outside
    }

    fn parse<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t str>,
        field: &'static str,
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.problems.push(Problem::Address {
                    object: self.object.clone(),
                    field,
                    value: text.to_owned(),
                }),
            }
        }
        addresses
    }

    /// The timeout of session affinity in seconds.
    fn affinity(&mut self, spec: &ServiceSpec) -> Option<u32> {
        if spec.session_affinity == SessionAffinity::None {
            return None;
        }
        let configured = spec.session_affinity_config.client_ip.timeout_seconds;
        let seconds = configured.unwrap_or(AFFINITY_SECONDS);
        let max = Persistence::MAX_TIMEOUT;
        if seconds > max {
            self.problems.push(Problem::AffinityTimeout {
                object: self.object.clone(),
                seconds,
                max,
            });
        }
        Some(seconds.min(max))
    }

    /// The node's addresses for node ports, of the Service's families. IPVS does not balance the
    /// loopback addresses.
    fn node_port_addresses(&self, spec: &ServiceSpec, cluster: &[IpAddr]) -> Vec<IpAddr> {
        let has_family = |address: &IpAddr| {
            if spec.ip_families.is_empty() {
                cluster.iter().any(|it| it.is_ipv4() == address.is_ipv4())
            } else {
                let family = if address.is_ipv4() {
                    IpFamily::IPv4
                } else {
                    IpFamily::IPv6
                };
                spec.ip_families.contains(&family)
            }
        };
        let networks = &self.settings.node_port_addresses;
        let is_allowed = |address: &IpAddr| {
            networks.is_empty() || networks.iter().any(|network| network.contains(address))
        };
        let is_link_local = |address: &IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        let addresses = self.node.addresses.iter().copied();
        addresses
            .filter(|it| !it.is_loopback() && !is_link_local(it))
            .filter(|it| has_family(it) && is_allowed(it))
            .collect()
    }

    /// Adds a service. One Service may name an address twice, as external and as the load
    /// balancer's: the first counts.
    fn serve(&mut self, key: ServiceKey, persistence: Option<u32>, destinations: Vec<Destination>) {
        if let Entry::Vacant(place) = self.servers.entry(key) {
            place.insert(VirtualServer {
                service: self.settings.service(key, persistence),
                destinations,
            });
        }
    }
}

impl Settings {
    fn service(&self, key: ServiceKey, persistence: Option<u32>) -> Ipvs {
        let mut service = Ipvs::new(key, self.scheduler);
        if self.scheduler == Scheduler::MH {
            // The port counts too, or all connections of a client would go to one endpoint.
            service.scheduler_flags = SchedulerFlags::MH_PORT;
        }
        if let Some(timeout) = persistence {
            let persistence = Persistence::new(timeout, key.family());
            // The family is that of the key, and the timeout was limited.
            let _ = service.set_persistence(persistence);
        }
        service
    }
}

fn protocol(port: &ServicePort) -> Protocol {
    match port.protocol {
        TransportProtocol::Tcp => Protocol::Tcp,
        TransportProtocol::Udp => Protocol::Udp,
        TransportProtocol::Sctp => Protocol::Sctp,
    }
}
