//! The parts of Services and EndpointSlices that matter to a proxy.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The kind of an [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A Service of the API group `v1`.
    Service,
    /// An EndpointSlice of the API group `discovery.k8s.io/v1`.
    EndpointSlice,
}

impl ObjectKind {
    fn of(kind: &str, api_version: &str) -> Option<Self> {
        match (kind, api_version) {
            ("Service", "v1") => Some(Self::Service),
            ("EndpointSlice", "discovery.k8s.io/v1") => Some(Self::EndpointSlice),
            _ => None,
        }
    }
}

/// The identity of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace; `default` where none is given.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        write!(f, "{kind:?} {namespace}/{name}")
    }
}

/// The reason why a value is not an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The value has no `kind`, or no name.
    #[error("{field}: missing; expected a Kubernetes object")]
    Missing {
        /// The path of the field.
        field: &'static str,
    },
    /// A field has another type or an unknown value.
    #[error("{object}: {error}")]
    Field {
        /// The object.
        object: ObjectKey,
        /// The field and its fault.
        error: String,
    },
}

/// A Service or an EndpointSlice.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub(super) key: ObjectKey,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Service(Box<Service>),
    EndpointSlice(EndpointSlice),
}

impl Object {
    /// Reads an object. `None` for a kind that a proxy does not need.
    ///
    /// # Errors
    ///
    /// An [`ObjectError`] that names the object and the field.
    pub fn from_value(value: Value) -> Result<Option<Self>, ObjectError> {
        let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").ok_or(ObjectError::Missing { field: "kind" })?;
        let Some(kind) = ObjectKind::of(kind, text("/apiVersion").unwrap_or("v1")) else {
            return Ok(None);
        };
        let name = text("/metadata/name").ok_or(ObjectError::Missing {
            field: "metadata.name",
        })?;
        let key = ObjectKey {
            kind,
            namespace: text("/metadata/namespace").unwrap_or("default").to_owned(),
            name: name.to_owned(),
        };
        let content = match kind {
            ObjectKind::Service => {
                serde_json::from_value(value).map(|service| Content::Service(Box::new(service)))
            }
            ObjectKind::EndpointSlice => serde_json::from_value(value).map(Content::EndpointSlice),
        };
        match content {
            Ok(content) => Ok(Some(Self { key, content })),
            Err(error) => Err(ObjectError::Field {
                object: key,
                error: error.to_string(),
            }),
        }
    }

    /// The identity.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The key of the Service that the object concerns: its own, or that of the slice. `None` for a
    /// slice of no Service, and for one that is left to another program.
    pub(super) fn service(&self) -> Option<ObjectKey> {
        match &self.content {
            Content::Service(_) => Some(self.key.clone()),
            Content::EndpointSlice(slice) if slice.metadata.is_foreign() => None,
            Content::EndpointSlice(slice) => Some(ObjectKey {
                kind: ObjectKind::Service,
                namespace: self.key.namespace.clone(),
                name: slice.metadata.service_name()?.to_owned(),
            }),
        }
    }
}

/// Reads `null` as the default, as the API server writes empty lists.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) spec: ServiceSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: ServiceStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(super) service_type: ServiceType,
    #[serde(default, rename = "clusterIP", deserialize_with = "or_default")]
    pub(super) cluster_ip: String,
    #[serde(default, rename = "clusterIPs", deserialize_with = "or_default")]
    pub(super) cluster_ips: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ip_families: Vec<IpFamily>,
    #[serde(default, rename = "externalIPs", deserialize_with = "or_default")]
    pub(super) external_ips: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<ServicePort>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) session_affinity: SessionAffinity,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) session_affinity_config: SessionAffinityConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) external_traffic_policy: TrafficPolicy,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) internal_traffic_policy: TrafficPolicy,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) load_balancer_source_ranges: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum IpFamily {
    IPv4,
    IPv6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum SessionAffinity {
    #[default]
    None,
    ClientIP,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct SessionAffinityConfig {
    #[serde(default, rename = "clientIP", deserialize_with = "or_default")]
    pub(super) client_ip: ClientIp,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientIp {
    #[serde(default)]
    pub(super) timeout_seconds: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum TransportProtocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
    #[serde(rename = "SCTP")]
    Sctp,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) protocol: TransportProtocol,
    pub(super) port: u16,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) node_port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) load_balancer: LoadBalancerStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct LoadBalancerStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ingress: Vec<Ingress>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ingress {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ip: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ip_mode: IngressMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum IngressMode {
    /// Traffic arrives with the address of the load balancer.
    #[default]
    #[serde(rename = "VIP")]
    Vip,
    /// The load balancer sends to node ports or pods, so the address never arrives here.
    Proxy,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    pub(super) metadata: Metadata,
    pub(super) address_type: AddressType,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ports: Vec<EndpointPort>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum AddressType {
    IPv4,
    IPv6,
    #[serde(rename = "FQDN")]
    Fqdn,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) addresses: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) conditions: Conditions,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) node_name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Conditions {
    /// Unknown counts as ready.
    pub(super) fn is_ready(self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// A terminating endpoint that still answers. An unknown `serving` counts as `ready` does.
    pub(super) fn is_serving_while_terminating(self) -> bool {
        let is_serving = self.serving.unwrap_or_else(|| self.is_ready());
        is_serving && self.terminating == Some(true)
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct EndpointPort {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) protocol: TransportProtocol,
    /// Without a port the slice stands for all ports, which IPVS cannot express.
    pub(super) port: Option<u16>,
}

/// The service of a slice is named by this label.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Services and slices with this label belong to another proxy.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// Slices of headless services have this label.
const HEADLESS: &str = "service.kubernetes.io/headless";

impl Metadata {
    /// Whether the object is left to another program.
    pub(super) fn is_foreign(&self) -> bool {
        self.labels.contains_key(PROXY_NAME) || self.labels.contains_key(HEADLESS)
    }

    pub(super) fn service_name(&self) -> Option<&str> {
        self.labels.get(SERVICE_NAME).map(String::as_str)
    }
}

impl ServiceSpec {
    /// The cluster addresses, without the placeholders `None` and, before one is assigned, the
    /// empty text.
    pub(super) fn cluster_addresses(&self) -> impl Iterator<Item = &str> {
        let single = std::slice::from_ref(&self.cluster_ip);
        let all = if self.cluster_ips.is_empty() {
            single
        } else {
            &self.cluster_ips
        };
        all.iter()
            .map(String::as_str)
            .filter(|address| !matches!(*address, "" | "None"))
    }

    /// Whether the service has addresses of its own to balance.
    pub(super) fn is_proxied(&self) -> bool {
        self.service_type != ServiceType::ExternalName && self.cluster_addresses().next().is_some()
    }
}

impl AddressType {
    /// Whether an address belongs to a slice of this type.
    pub(super) fn fits(self, address: IpAddr) -> bool {
        match self {
            Self::IPv4 => address.is_ipv4(),
            Self::IPv6 => address.is_ipv6(),
            Self::Fqdn => false,
        }
    }
}
