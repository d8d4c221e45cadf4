//! Parts of a wanted table that are not applied.

use crate::{Destination, DestinationKey, ServiceKey};

/// A part of the wanted table that is not applied. The kernel's object stays as it is, and all
/// other parts are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// A service is wanted twice, with different settings or destinations.
    #[error("service {0} is wanted twice with different settings: name it once")]
    ServiceTwice(ServiceKey),
    /// A destination is wanted twice, with different settings. Its whole service stays as it is.
    #[error(
        "destination {destination} of {service} is wanted twice with different settings: name it once"
    )]
    DestinationTwice {
        /// The service.
        service: ServiceKey,
        /// The destination.
        destination: DestinationKey,
    },
    /// A wanted service is outside the scope, so it may not be touched.
    #[error("service {0} is outside the scope: widen the scope or leave the service out")]
    OutsideScope(ServiceKey),
    /// A destination has a port of its own, but only masquerading can change the port. The kernel
    /// would accept and list the destination, and send packets to the port of the service.
    #[error(
        "destination {} of {service}: port {} cannot differ from the service's with {}: \
         use the same port, or masquerade",
        destination.key, destination.key.port, destination.forwarding
    )]
    Port {
        /// The service.
        service: ServiceKey,
        /// The destination.
        destination: Destination,
    },
}

impl Rejected {
    /// Returns the service that it concerns.
    #[must_use]
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::ServiceTwice(service)
            | Self::DestinationTwice { service, .. }
            | Self::OutsideScope(service)
            | Self::Port { service, .. } => *service,
        }
    }
}
