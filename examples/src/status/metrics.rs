//! Metrics in the format of OpenMetrics, which Prometheus reads.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Status;

/// A metric with fractions.
type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    service: String,
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouterLabels {
    interface: String,
    vrid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl Status {
    /// The metrics, as text.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut registry = Registry::with_prefix("balancer");
        self.register_servers(&mut registry);
        self.register_services(&mut registry);
        let active = Family::<RouterLabels, Gauge>::default();
        let priority = Family::<RouterLabels, Gauge>::default();
        for router in &self.routers {
            let labels = RouterLabels {
                interface: router.interface.clone(),
                vrid: router.vrid.to_string(),
            };
            active
                .get_or_create(&labels)
                .set((router.state == "Active").into());
            priority.get_or_create(&labels).set(router.priority.into());
        }
        registry.register("router_active", "Whether the router is Active", active);
        registry.register("router_priority", "Effective priority", priority);
        let probes = Family::<ResultLabels, Counter>::default();
        for (result, count) in [
            ("success", self.probes.successes),
            ("failure", self.probes.failures),
            ("local_failure", self.probes.local_failures),
        ] {
            probes.get_or_create(&ResultLabels { result }).inc_by(count);
        }
        registry.register("probes", "Probes by result", probes);
        let running = Gauge::<i64>::default();
        running.set(self.probes_running.into());
        registry.register("probes_running", "Probes under way", running);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn register_servers(&self, registry: &mut Registry) {
        let up = Family::<ServerLabels, Gauge>::default();
        let in_use = Family::<ServerLabels, Gauge>::default();
        let weight = Family::<ServerLabels, Gauge>::default();
        let connections = Family::<ServerLabels, Gauge>::default();
        let rate = Family::<ServerLabels, Number>::default();
        for service in &self.services {
            for server in &service.servers {
                let labels = ServerLabels {
                    service: service.service.clone(),
                    server: server.server.clone(),
                };
                up.get_or_create(&labels).set((!server.is_down()).into());
                in_use.get_or_create(&labels).set(server.in_use.into());
                weight
                    .get_or_create(&labels)
                    .set(server.weight.unwrap_or(0).into());
                connections
                    .get_or_create(&labels)
                    .set(server.connections.into());
                rate.get_or_create(&labels).set(server.rates.connections);
            }
        }
        registry.register("server_up", "Whether checks have not failed", up);
        registry.register("server_in_use", "Whether it gets new connections", in_use);
        registry.register("server_weight", "Weight in the table", weight);
        registry.register("server_connections", "Connections", connections);
        registry.register("server_connection_rate", "New connections a second", rate);
    }

    fn register_services(&self, registry: &mut Registry) {
        let quorum = Family::<ServiceLabels, Gauge>::default();
        let live = Family::<ServiceLabels, Number>::default();
        let sorry = Family::<ServiceLabels, Gauge>::default();
        for service in &self.services {
            let labels = ServiceLabels {
                service: service.service.clone(),
            };
            quorum
                .get_or_create(&labels)
                .set((service.quorum == "up").into());
            // Weights of less than 2^52 are exact.
            #[allow(clippy::cast_precision_loss)]
            live.get_or_create(&labels).set(service.live as f64);
            sorry.get_or_create(&labels).set(service.sorry.into());
        }
        registry.register("service_quorum", "Whether the quorum is there", quorum);
        registry.register("service_live", "Live capacity", live);
        registry.register("service_sorry", "Whether the sorry server is in use", sorry);
    }
}
