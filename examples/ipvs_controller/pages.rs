//! Metrics, health and status of the program.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::{Duration, Instant, SystemTime},
};

use hyper::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use serde::Serialize;
use vrrp_examples::{
    kubernetes::ObjectKind,
    pages::{JSON, OPEN_METRICS, Page},
};

use crate::{
    controller::{Controller, Outcome, SyncError},
    schedule::Extent,
};

/// How many of its periods a synchronization may be late before the program counts as unhealthy, as
/// with kube-proxy.
const LATE_PERIODS: u32 = 2;

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
enum ExtentLabel {
    Full,
    Changes,
    Drains,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
enum ResultLabel {
    Success,
    Failure,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SyncLabels {
    extent: ExtentLabel,
    result: ResultLabel,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ExtentLabels {
    extent: ExtentLabel,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Debug)]
struct Metrics {
    registry: Registry,
    synchronizations: Family<SyncLabels, Counter>,
    durations: Family<ExtentLabels, Histogram>,
    changes: Counter,
    refused: Counter,
    last_success: Gauge<f64, AtomicU64>,
    objects: Family<KindLabels, Gauge>,
    sizes: Family<KindLabels, Gauge>,
    faults: Gauge<i64, AtomicI64>,
}

impl Metrics {
    fn new() -> Self {
        let mut new = Self {
            registry: Registry::with_prefix("ipvs_controller"),
            synchronizations: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            changes: Counter::default(),
            refused: Counter::default(),
            last_success: Gauge::default(),
            objects: Family::default(),
            sizes: Family::default(),
            faults: Gauge::default(),
        };
        let registry = &mut new.registry;
        registry.register(
            "synchronizations",
            "Synchronizations with the kernel",
            new.synchronizations.clone(),
        );
        registry.register_with_unit(
            "synchronization_duration",
            "Time of a synchronization",
            Unit::Seconds,
            new.durations.clone(),
        );
        registry.register(
            "changes",
            "Changes of the kernel's table",
            new.changes.clone(),
        );
        registry.register(
            "refused_changes",
            "Changes that the kernel refused",
            new.refused.clone(),
        );
        registry.register_with_unit(
            "last_success_timestamp",
            "Time of the last successful synchronization since the epoch",
            Unit::Seconds,
            new.last_success.clone(),
        );
        registry.register("objects", "Known objects by kind", new.objects.clone());
        registry.register(
            "table",
            "Size of the wanted state by kind",
            new.sizes.clone(),
        );
        registry.register(
            "source_faults",
            "Parts of the source that cannot be read",
            new.faults.clone(),
        );
        new
    }
}

/// The status as JSON.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    node: String,
    is_ready: bool,
    last_success: Option<String>,
    last_error: Option<String>,
    refused: Vec<String>,
    services: usize,
    destinations: usize,
    addresses: usize,
    draining: Vec<String>,
    problems: Vec<String>,
    faults: Vec<String>,
}

#[derive(Debug)]
struct State {
    status: Status,
    /// The version of the problems in the status.
    problems: u64,
    /// The error of each part of the source that has one. The status has their lines when it is
    /// asked for.
    faults: BTreeMap<String, String>,
    /// Whether full synchronizations succeed, and with them the program is healthy.
    health: Health,
}

/// The time since the last success that counts.
#[derive(Debug)]
struct Health {
    /// The last success, or the start.
    alive: Instant,
    updated: SystemTime,
    /// Whether the last full synchronization failed.
    is_full_failed: bool,
}

impl Health {
    fn new() -> Self {
        Self {
            alive: Instant::now(),
            updated: SystemTime::now(),
            is_full_failed: false,
        }
    }

    /// Counts a synchronization. After a failure of a full one, only a full one shows that all is
    /// as wanted.
    fn synchronized(&mut self, extent: Extent, is_success: bool) {
        if extent == Extent::Full {
            self.is_full_failed = !is_success;
        }
        if is_success && !self.is_full_failed {
            self.alive = Instant::now();
            self.updated = SystemTime::now();
        }
    }

    fn is_late(&self, period: Duration) -> bool {
        self.alive.elapsed() > period * LATE_PERIODS
    }
}

/// What the pages show. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    metrics: Arc<Metrics>,
    state: Arc<Mutex<State>>,
    period: Duration,
}

impl Pages {
    pub(crate) fn new(node: &str, period: Duration) -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            state: Arc::new(Mutex::new(State {
                status: Status {
                    node: node.to_owned(),
                    ..Status::default()
                },
                problems: 0,
                faults: BTreeMap::new(),
                health: Health::new(),
            })),
            period,
        }
    }

    fn edit(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Shows that a part of the source has a fault, or with `None` that it has none any more.
    pub(crate) fn fault(&self, part: String, error: Option<String>) {
        self.edit(|state| {
            match error {
                Some(error) => drop(state.faults.insert(part, error)),
                None => drop(state.faults.remove(&part)),
            }
            let number = i64::try_from(state.faults.len()).unwrap_or(i64::MAX);
            self.metrics.faults.set(number);
        });
    }

    /// Shows the result of a synchronization.
    pub(crate) fn synchronized(
        &self,
        controller: &Controller,
        extent: Extent,
        time: Duration,
        result: &Result<Outcome, SyncError>,
    ) {
        let metrics = &self.metrics;
        let label = match extent {
            Extent::Full => ExtentLabel::Full,
            Extent::Changes => ExtentLabel::Changes,
            Extent::Drains => ExtentLabel::Drains,
        };
        let is_success = result.as_ref().is_ok_and(Outcome::is_success);
        let labels = SyncLabels {
            extent: label,
            result: if is_success {
                ResultLabel::Success
            } else {
                ResultLabel::Failure
            },
        };
        metrics.synchronizations.get_or_create(&labels).inc();
        let labels = ExtentLabels { extent: label };
        let histogram = metrics.durations.get_or_create(&labels);
        histogram.observe(time.as_secs_f64());
        drop(histogram);
        if let Ok(outcome) = result {
            metrics.changes.inc_by(outcome.report.applied.len() as u64);
            let addresses = outcome.addresses.refused.as_ref().map_or(0, |it| it.count);
            let refused = outcome.report.failed.len() + addresses;
            metrics.refused.inc_by(refused as u64);
        }
        for kind in [ObjectKind::Service, ObjectKind::EndpointSlice] {
            let number = controller.objects.count(kind);
            set(&metrics.objects, &format!("{kind:?}"), number);
        }
        let size = controller.size();
        for (kind, number) in &size {
            set(&metrics.sizes, kind, *number);
        }
        let now = SystemTime::now();
        if is_success {
            let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH);
            metrics
                .last_success
                .set(since_epoch.unwrap_or_default().as_secs_f64());
        }
        self.edit(|state| {
            let status = &mut state.status;
            status.is_ready = status.is_ready || is_success;
            status.last_error = result.as_ref().err().map(ToString::to_string);
            if let Ok(outcome) = result {
                let failed = outcome.report.failed.iter();
                let rejected = outcome.report.rejected.iter();
                let addresses = outcome.addresses.refused.iter();
                status.refused = failed
                    .map(|failure| failure.error.to_string())
                    .chain(rejected.map(ToString::to_string))
                    .chain(addresses.map(ToString::to_string))
                    .collect();
            }
            [status.services, status.destinations, status.addresses] =
                ["services", "destinations", "addresses"].map(|kind| size[kind]);
            status.draining = controller.draining().collect();
            if state.problems != controller.problems_version() {
                state.problems = controller.problems_version();
                let problems = controller.wanted().problems().iter();
                status.problems = problems.map(ToString::to_string).collect();
            }
            if is_success {
                status.last_success = Some(time_text(now));
            }
            state.health.synchronized(extent, is_success);
        });
    }

    /// Makes the page of a path, if the address of the request serves it.
    pub(crate) fn page(&self, path: &str, served: &[&str]) -> Page {
        match path {
            _ if !served.contains(&path) => {
                let text = format!("use {}", served.join(" or "));
                Page::error(StatusCode::NOT_FOUND, text)
            }
            "/healthz" => self.health(),
            "/metrics" => self.metrics(),
            "/status" => self.status(),
            _ => Page::error(StatusCode::NOT_FOUND, "no such page"),
        }
    }

    /// Healthy while synchronizations succeed, and ready after the first one.
    fn health(&self) -> Page {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_healthy = state.status.is_ready && !state.health.is_late(self.period);
        let body = serde_json::json!({
            "lastUpdated": time_text(state.health.updated),
            "currentTime": time_text(SystemTime::now()),
            "nodeEligible": is_healthy,
        });
        Page {
            status: if is_healthy {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            content_type: JSON,
            body: body.to_string() + "\n",
        }
    }

    fn metrics(&self) -> Page {
        let mut body = String::new();
        match encode(&mut body, &self.metrics.registry) {
            Ok(()) => Page::ok(OPEN_METRICS, body),
            Err(error) => failure(&error),
        }
    }

    fn status(&self) -> Page {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = state.faults.iter();
        let faults = faults.map(|(part, error)| format!("{part}: {error}"));
        state.status.faults = faults.collect();
        match serde_json::to_string_pretty(&state.status) {
            Ok(body) => Page::ok(JSON, body + "\n"),
            Err(error) => failure(&error),
        }
    }
}

fn failure(error: &dyn std::error::Error) -> Page {
    Page::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn set(family: &Family<KindLabels, Gauge>, kind: &str, number: usize) {
    let labels = KindLabels {
        kind: kind.to_owned(),
    };
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    family.get_or_create(&labels).set(number);
}

fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_alone_do_not_keep_the_program_healthy_after_a_full_failure() {
        let mut health = Health::new();
        let alive = |health: &mut Health, extent, is_success| {
            let before = health.alive;
            while Instant::now() <= before {}
            health.synchronized(extent, is_success);
            health.alive > before
        };
        assert!(alive(&mut health, Extent::Full, true));
        assert!(alive(&mut health, Extent::Changes, true));
        assert!(!alive(&mut health, Extent::Changes, false));
        assert!(!alive(&mut health, Extent::Full, false));
        assert!(!alive(&mut health, Extent::Changes, true));
        assert!(!alive(&mut health, Extent::Drains, true));
        assert!(alive(&mut health, Extent::Full, true));
        assert!(alive(&mut health, Extent::Drains, true));
    }
}
