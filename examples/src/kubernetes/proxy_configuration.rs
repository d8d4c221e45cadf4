//! The options of kube-proxy, from a file of kind `KubeProxyConfiguration`.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, de};
use serde_json::Value;

/// The reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The text is not YAML, or a field has another type.
    #[error("{0}")]
    Yaml(#[from] Box<serde_saphyr::Error>),
    /// A field has a value that cannot be used.
    #[error("{0}")]
    Field(#[from] serde_json::Error),
    /// The kind is not `KubeProxyConfiguration`.
    #[error("kind: {0:?}; expected KubeProxyConfiguration")]
    Kind(String),
    /// The API version is not the expected one.
    #[error("apiVersion: {0:?}; expected kubeproxy.config.k8s.io/v1alpha1")]
    ApiVersion(String),
    /// The mode is not the expected one.
    #[error("mode: {0:?}; this program has only the mode ipvs")]
    Mode(String),
}

/// A time as Go writes it: `1h30m`, `100ms`, `0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0" {
            return Ok(Self::default());
        }
        let wrong = || {
            format!(
                "{text:?} is not a time; expected numbers with the units ns, us, ms, s, m or h, such as 1m30s"
            )
        };
        let mut rest = text;
        let mut seconds = 0.0;
        while !rest.is_empty() {
            let digits = rest
                .find(|character: char| !character.is_ascii_digit() && character != '.')
                .ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let unit_end = after
                .find(|character: char| character.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let number: f64 = number.parse().map_err(|_| wrong())?;
            seconds += number
                * match unit {
                    "h" => 3600.0,
                    "m" => 60.0,
                    "s" => 1.0,
                    "ms" => 1e-3,
                    "us" | "µs" | "μs" => 1e-6,
                    "ns" => 1e-9,
                    _ => return Err(wrong()),
                };
            rest = after;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// The fields of a `KubeProxyConfiguration` that this proxy uses. `None` and empty stand for the
/// default, as in kube-proxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProxyConfiguration {
    /// `ipvs`.
    pub ipvs: IpvsConfiguration,
    /// `healthzBindAddress`.
    pub healthz_bind_address: Option<String>,
    /// `metricsBindAddress`.
    pub metrics_bind_address: Option<String>,
    /// `hostnameOverride`: the name of the node.
    pub hostname_override: Option<String>,
    /// `nodePortAddresses`.
    pub node_port_addresses: Vec<String>,
    /// The paths of the fields that are set and not used, in order.
    pub ignored: Vec<String>,
}

/// The section `ipvs`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpvsConfiguration {
    /// `scheduler`.
    pub scheduler: Option<String>,
    /// `minSyncPeriod`.
    pub min_sync_period: Option<GoDuration>,
    /// `syncPeriod`.
    pub sync_period: Option<GoDuration>,
    /// `tcpTimeout`.
    pub tcp_timeout: Option<GoDuration>,
    /// `tcpFinTimeout`.
    pub tcp_fin_timeout: Option<GoDuration>,
    /// `udpTimeout`.
    pub udp_timeout: Option<GoDuration>,
    /// `strictARP`.
    #[serde(rename = "strictARP")]
    pub strict_arp: Option<bool>,
    /// `excludeCIDRs`.
    #[serde(rename = "excludeCIDRs")]
    pub exclude_cidrs: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Raw {
    kind: Option<String>,
    api_version: Option<String>,
    mode: Option<String>,
    ipvs: Option<BTreeMap<String, Value>>,
    healthz_bind_address: Option<String>,
    metrics_bind_address: Option<String>,
    hostname_override: Option<String>,
    node_port_addresses: Option<Vec<String>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// The fields of the section `ipvs`, as [`IpvsConfiguration`] reads them.
const IPVS_FIELDS: [&str; 8] = [
    "scheduler",
    "minSyncPeriod",
    "syncPeriod",
    "tcpTimeout",
    "tcpFinTimeout",
    "udpTimeout",
    "strictARP",
    "excludeCIDRs",
];

/// Reads a `KubeProxyConfiguration`. Fields that are not used are named in
/// [`ignored`](ProxyConfiguration::ignored), unless they are empty.
///
/// # Errors
///
/// A [`ConfigurationError`] that names the field.
pub fn parse_configuration(text: &str) -> Result<ProxyConfiguration, ConfigurationError> {
    let raw: Raw = serde_saphyr::from_str(text).map_err(Box::new)?;
    match raw.kind.as_deref() {
        Some("KubeProxyConfiguration") => {}
        other => return Err(ConfigurationError::Kind(other.unwrap_or_default().into())),
    }
    match raw.api_version.as_deref() {
        Some("kubeproxy.config.k8s.io/v1alpha1") => {}
        other => {
            let version = other.unwrap_or_default().into();
            return Err(ConfigurationError::ApiVersion(version));
        }
    }
    match raw.mode.as_deref() {
        None | Some("" | "ipvs") => {}
        Some(other) => return Err(ConfigurationError::Mode(other.into())),
    }
    let section = raw.ipvs.unwrap_or_default();
    let mut ignored = Vec::new();
    for (name, value) in &raw.others {
        name_set_fields(name, value, &mut ignored);
    }
    for (name, value) in &section {
        if !IPVS_FIELDS.contains(&name.as_str()) {
            name_set_fields(&format!("ipvs.{name}"), value, &mut ignored);
        }
    }
    ignored.sort();
    let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(ProxyConfiguration {
        ipvs: serde_json::from_value(Value::Object(section.into_iter().collect()))?,
        healthz_bind_address: not_empty(raw.healthz_bind_address),
        metrics_bind_address: not_empty(raw.metrics_bind_address),
        hostname_override: not_empty(raw.hostname_override),
        node_port_addresses: raw.node_port_addresses.unwrap_or_default(),
        ignored,
    })
}

/// Adds the paths of all fields of a value that are set.
fn name_set_fields(path: &str, value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                name_set_fields(&format!("{path}.{name}"), value, names);
            }
        }
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::Array(items) if items.is_empty() => {}
        _ => names.push(path.to_owned()),
    }
}
