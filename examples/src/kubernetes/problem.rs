//! The parts of the objects that are not served.

use std::fmt;

use ipvs_netlink::ServiceKey;

use super::object::ObjectKey;

/// The most destinations of one Service: its addresses times endpoints, of all ports. A small
/// object could otherwise ask for more than the memory of a node. Kubernetes itself promises at
/// most 1,000 endpoints of a Service.
pub const MAX_DESTINATIONS: usize = 1_000_000;

/// A part of an object that is not served, as one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// A text is not an address.
    Address {
        /// The object.
        object: ObjectKey,
        /// The field, such as `spec.externalIPs`.
        field: &'static str,
        /// The text.
        value: String,
    },
    /// Two Services want the same address, protocol and port. The first in the order of names gets
    /// it.
    Taken {
        /// The Service that is not served there.
        object: ObjectKey,
        /// The service of IPVS.
        key: ServiceKey,
        /// The Service that is served there.
        by: ObjectKey,
    },
    /// A load balancer's address has source ranges. IPVS cannot enforce them, so the address is not
    /// served.
    SourceRanges {
        /// The Service.
        object: ObjectKey,
    },
    /// The timeout of session affinity is longer than the kernel holds.
    AffinityTimeout {
        /// The Service.
        object: ObjectKey,
        /// The timeout in seconds.
        seconds: u32,
        /// The longest timeout in seconds, which is used.
        max: u32,
    },
    /// With a port, a Service would have more destinations than [`MAX_DESTINATIONS`]. The port is
    /// not served.
    TooMany {
        /// The Service.
        object: ObjectKey,
        /// The port.
        port: u16,
        /// The destinations that the Service would have.
        destinations: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                object,
                field,
                value,
            } => write!(f, "{object}: {field}: {value:?} is not an IP address"),
            Self::Taken { object, key, by } => {
                write!(f, "{object}: {key} is not served: {by} has it")
            }
            Self::SourceRanges { object } => write!(
                f,
                "{object}: the load balancer's address is not served: IPVS cannot enforce \
                 spec.loadBalancerSourceRanges; remove the ranges, or enforce them in a firewall and use \
                 spec.externalIPs"
            ),
            Self::AffinityTimeout {
                object,
                seconds,
                max,
            } => write!(
                f,
                "{object}: spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is more than \
                 {max}, which is used"
            ),
            Self::TooMany {
                object,
                port,
                destinations,
            } => write!(
                f,
                "{object}: port {port} is not served: with it the Service would have {destinations} \
                 destinations, each address of each port counted with each endpoint, and the limit is \
                 {MAX_DESTINATIONS}; use more Services"
            ),
        }
    }
}
