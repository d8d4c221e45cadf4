//! The translation.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    net::IpAddr,
};

use ipnet::IpNet;
use ipvs_netlink::{
    Destination, Persistence, Protocol, Scheduler, SchedulerFlags, Service as Ipvs, ServiceKey,
    VirtualServer,
};

use super::{
    Objects, Problem,
    endpoints::Endpoints,
    object::{
        Content, EndpointSlice, IngressMode, IpFamily, ObjectKey, Service, ServicePort,
        ServiceSpec, SessionAffinity, TransportProtocol,
    },
};

/// The most destinations of one Service: its addresses times endpoints, of all ports. A small
/// object could otherwise ask for more than the memory of a node. Kubernetes itself promises at
/// most 1,000 endpoints of a Service.
pub const MAX_DESTINATIONS: usize = 1_000_000;

/// The node that the table is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name that endpoints have in `nodeName`.
    pub name: String,
    /// The addresses of the node, on all interfaces except the one that has the services'
    /// addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The settings of the translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The scheduler of all services.
    pub scheduler: Scheduler,
    /// The networks whose node addresses serve node ports; all if empty.
    pub node_port_addresses: Vec<IpNet>,
}

impl Default for Settings {
    /// Round robin, and node ports on all addresses of the node.
    fn default() -> Self {
        Self {
            scheduler: Scheduler::RR,
            node_port_addresses: Vec::new(),
        }
    }
}

/// The wanted state of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedTable {
    /// The services, in the order of their keys.
    pub servers: Vec<VirtualServer>,
    /// The addresses that the node needs to receive the traffic of the services. Addresses that it
    /// has on another interface are not among them.
    pub addresses: BTreeSet<IpAddr>,
    /// The parts that are not served.
    pub problems: Vec<Problem>,
}

impl WantedTable {
    /// The services that differ from those of an earlier table: new, changed or gone.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<ServiceKey> {
        let (mut old, mut new) = (
            before.servers.iter().peekable(),
            self.servers.iter().peekable(),
        );
        let mut changed = Vec::new();
        // Both are in the order of their keys.
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return changed,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.service.key.cmp(&new.service.key),
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { new.next() } else { None };
            if was != is {
                changed.extend(is.or(was).map(|server| server.service.key));
            }
        }
    }
}

/// The timeout that kube-proxy and the API server use if a Service names none: three hours.
const AFFINITY_SECONDS: u32 = 10_800;

/// Translates objects into the wanted state of a node.
#[must_use]
pub fn translate(objects: &Objects, node: &Node, settings: &Settings) -> WantedTable {
    let objects = objects.all();
    let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
    for (key, object) in &objects {
        if let Content::EndpointSlice(slice) = &object.content
            && !slice.metadata.is_foreign()
            && let Some(service) = slice.metadata.service_name()
        {
            let of_service = slices.entry((&key.namespace, service));
            of_service.or_default().push(slice);
        }
    }
    let mut work = Translation {
        node,
        settings,
        servers: BTreeMap::new(),
        table: WantedTable::default(),
    };
    for (key, object) in &objects {
        if let Content::Service(service) = &object.content
            && !service.metadata.is_foreign()
            && service.spec.is_proxied()
        {
            let own = slices.get(&(&*key.namespace, &*key.name));
            work.service(key, service, own.map_or(&[], Vec::as_slice));
        }
    }
    work.finish()
}

struct Translation<'a> {
    node: &'a Node,
    settings: &'a Settings,
    servers: BTreeMap<ServiceKey, (VirtualServer, &'a ObjectKey)>,
    table: WantedTable,
}

/// Where the traffic of an address comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Cluster,
    Outside,
}

impl<'a> Translation<'a> {
    fn service(&mut self, object: &'a ObjectKey, service: &Service, slices: &[&EndpointSlice]) {
        let spec = &service.spec;
        let cluster: Vec<IpAddr> = self.parse(
            object,
            spec.cluster_addresses(),
            if spec.cluster_ips.is_empty() {
                "spec.clusterIP"
            } else {
                "spec.clusterIPs"
            },
        );
        let outside = self.outside(object, service);
        let persistence = self.affinity(object, spec);
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
                self.table.problems.push(Problem::TooMany {
                    object: object.clone(),
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
                self.serve(object, key, persistence, destinations)
            };
            let mut served: Vec<IpAddr> = Vec::new();
            let inside = cluster.iter().map(|address| (Origin::Cluster, address));
            let outside = outside.iter().map(|address| (Origin::Outside, address));
            for (origin, address) in inside.chain(outside) {
                if serve(origin, address, port.port) {
                    served.push(*address);
                }
            }
            if port.node_port != 0 {
                for address in &node_addresses {
                    serve(Origin::Outside, address, port.node_port);
                }
            }
            // Addresses of the node itself arrive without another interface.
            let foreign = served
                .into_iter()
                .filter(|address| !self.node.addresses.contains(address));
            self.table.addresses.extend(foreign);
        }
    }

    /// The addresses for clients outside the cluster.
    fn outside(&mut self, object: &'a ObjectKey, service: &Service) -> Vec<IpAddr> {
        let external = service.spec.external_ips.iter().map(String::as_str);
        let mut outside = self.parse(object, external, "spec.externalIPs");
        let ingress = service.status.load_balancer.ingress.iter();
        let arriving = ingress
            .filter(|ingress| ingress.ip_mode == IngressMode::Vip && !ingress.ip.is_empty())
            .map(|ingress| ingress.ip.as_str());
        let balancer = self.parse(object, arriving, "status.loadBalancer.ingress");
        if !balancer.is_empty() && !service.spec.load_balancer_source_ranges.is_empty() {
            let object = object.clone();
            self.table.problems.push(Problem::SourceRanges { object });
        } else {
            outside.extend(balancer);
        }
        let mut seen = BTreeSet::new();
        outside.retain(|address| seen.insert(*address));
        outside
    }

    fn parse<'t>(
        &mut self,
        object: &ObjectKey,
        texts: impl Iterator<Item = &'t str>,
        field: &'static str,
    ) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.table.problems.push(Problem::Address {
                    object: object.clone(),
                    field,
                    value: text.to_owned(),
                }),
            }
        }
        addresses
    }

    /// The timeout of session affinity in seconds.
    fn affinity(&mut self, object: &ObjectKey, spec: &ServiceSpec) -> Option<u32> {
        if spec.session_affinity == SessionAffinity::None {
            return None;
        }
        let configured = spec.session_affinity_config.client_ip.timeout_seconds;
        let seconds = configured.unwrap_or(AFFINITY_SECONDS);
        let max = Persistence::MAX_TIMEOUT;
        if seconds > max {
            self.table.problems.push(Problem::AffinityTimeout {
                object: object.clone(),
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

    /// Adds a service, and returns whether the object has its key.
    fn serve(
        &mut self,
        object: &'a ObjectKey,
        key: ServiceKey,
        persistence: Option<u32>,
        destinations: Vec<Destination>,
    ) -> bool {
        match self.servers.entry(key) {
            Entry::Vacant(place) => {
                let service = self.settings.service(key, persistence);
                let server = VirtualServer {
                    service,
                    destinations,
                };
                place.insert((server, object));
                true
            }
            Entry::Occupied(place) => {
                let by = place.get().1;
                // One Service may name an address twice, as external and as the load balancer's.
                if by != object {
                    self.table.problems.push(Problem::Taken {
                        object: object.clone(),
                        key,
                        by: by.clone(),
                    });
                }
                by == object
            }
        }
    }

    fn finish(mut self) -> WantedTable {
        self.table.servers = self
            .servers
            .into_values()
            .map(|(server, _)| server)
            .collect();
        self.table.problems.sort();
        self.table.problems.dedup();
        self.table
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
