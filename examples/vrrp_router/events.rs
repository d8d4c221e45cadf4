//! What is told, as one JSON object a line.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};
use vrrp_fsm::{
    Counters, Transition,
    track::{Level, ObjectId},
};
use vrrp_net::{Driver, DriverEvent, Notification, RouterId, RouterView};
use vrrp_proto::{ChecksumForm, Counter};

/// How long the end waits for somebody to read what was told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes to standard output on a thread of its own, so that the router never waits for whoever reads.
#[derive(Clone)]
pub(crate) struct Log {
    router: Arc<Identity>,
    lines: Sender<String>,
}

/// Tells when all that was told is written.
pub(crate) struct Written(Receiver<()>);

/// Which virtual router it is, in every line.
#[derive(Serialize)]
struct Identity {
    interface: String,
    family: String,
    vrid: u8,
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    #[serde(flatten)]
    router: &'a Identity,
    #[serde(flatten)]
    detail: Value,
}

impl Log {
    pub(crate) fn start(router: RouterView<'_>) -> io::Result<(Self, Written)> {
        let config = router.config();
        let identity = Identity {
            interface: config.interface.clone(),
            family: config.fsm.family.to_string(),
            vrid: config.fsm.vrid.get(),
        };
        let (lines, queue) = mpsc::channel::<String>();
        let (done, written) = mpsc::channel();
        thread::Builder::new().name("log".into()).spawn(move || {
            let mut stdout = io::stdout();
            for line in queue {
                // Where nobody reads any more, the router goes on all the same.
                let _ = writeln!(stdout, "{line}");
            }
            let _ = done.send(());
        })?;
        let log = Self {
            router: Arc::new(identity),
            lines,
        };
        Ok((log, Written(written)))
    }

    pub(crate) fn started(&self, router: RouterView<'_>) {
        let config = &router.config().fsm;
        let addresses: Vec<String> = router.addresses().map(|(own, _)| own.to_string()).collect();
        let detail = json!({
            "version": config.interval.version().number(),
            "priority": config.priority.get(),
            "interval_cs": config.interval.as_centis(),
            "addresses": addresses,
        });
        self.write(SystemTime::now(), "started", detail);
    }

    /// `names` are those of the tracked objects.
    pub(crate) fn event(&self, notification: &Notification, names: &BTreeMap<ObjectId, String>) {
        let (event, mut detail) = describe(&notification.event, names);
        detail["sequence"] = notification.sequence.into();
        self.write(notification.time, event, detail);
    }

    pub(crate) fn notify_failed(&self, transition: Transition, failure: &str) {
        let detail = json!({"to": transition.to.to_string(), "reason": failure});
        self.write(SystemTime::now(), "notify-failed", detail);
    }

    /// All that is known of the router.
    pub(crate) fn state(&self, driver: &Driver, id: RouterId) {
        if let Some(router) = driver.get(id) {
            self.write(SystemTime::now(), "state", full_state(driver, router));
        }
    }

    /// The last line. Returns when all are written, or nobody reads them for a while.
    pub(crate) fn stopped(self, written: &Written) {
        self.write(SystemTime::now(), "stopped", json!({}));
        drop(self);
        let _ = written.0.recv_timeout(PATIENCE);
    }

    fn write(&self, time: SystemTime, event: &str, detail: Value) {
        let line = Line {
            time: humantime::format_rfc3339_micros(time).to_string(),
            event,
            router: &self.router,
            detail,
        };
        // Neither fails: the names are strings, and the thread lives as long as this.
        if let Ok(line) = serde_json::to_string(&line) {
            let _ = self.lines.send(line);
        }
    }
}

fn describe(event: &DriverEvent, names: &BTreeMap<ObjectId, String>) -> (&'static str, Value) {
    match event {
        DriverEvent::StateChanged(change) => (
            "state-changed",
            json!({
                "from": change.from.to_string(),
                "to": change.to.to_string(),
                "reason": change.reason.to_string(),
                "last_event": change.reason.last_event(),
            }),
        ),
        DriverEvent::PriorityChanged { from, to } => (
            "priority-changed",
            json!({"from": from.get(), "to": to.get()}),
        ),
        DriverEvent::ObjectChanged { object, level } => (
            "object-changed",
            json!({"object": names.get(object), "up": level.map(Level::is_up)}),
        ),
        DriverEvent::Fault(fault) => ("fault", json!({"reason": fault.to_string()})),
        DriverEvent::Recovered(fault) => ("recovered", json!({"reason": fault.to_string()})),
        DriverEvent::PrimaryAddress(address) => ("primary-address", json!({"address": address})),
        DriverEvent::LeftOverRemoved(address) => {
            ("left-over-removed", json!({"address": address.to_string()}))
        }
        DriverEvent::AddressLost(address) => {
            ("address-lost", json!({"address": address.to_string()}))
        }
        DriverEvent::AddressRestored(address) => {
            ("address-restored", json!({"address": address.to_string()}))
        }
        DriverEvent::AddressFailed { address, error } => (
            "address-failed",
            json!({"address": address.to_string(), "reason": error.to_string()}),
        ),
        DriverEvent::Discarded {
            discard,
            source,
            suppressed,
        } => (
            "discarded",
            json!({
                "reason": discard.to_string(),
                "counter": discard.counter().map(Counter::name),
                "source": source,
                "suppressed": suppressed,
            }),
        ),
        DriverEvent::IntervalDiffers {
            source,
            interval,
            suppressed,
        } => (
            "interval-differs",
            json!({"source": source, "interval_cs": interval.as_centis(), "suppressed": suppressed}),
        ),
        DriverEvent::AddressListDiffers { source, suppressed } => (
            "address-list-differs",
            json!({"source": source, "suppressed": suppressed}),
        ),
        DriverEvent::OwnerConflict { source, suppressed } => (
            "owner-conflict",
            json!({"source": source, "suppressed": suppressed}),
        ),
        DriverEvent::SendFailed {
            destination,
            error,
            suppressed,
        } => (
            "send-failed",
            json!({"destination": destination, "reason": error.to_string(), "suppressed": suppressed}),
        ),
        DriverEvent::AnnounceFailed { error, suppressed } => (
            "announce-failed",
            json!({"reason": error.to_string(), "suppressed": suppressed}),
        ),
        DriverEvent::Overrun => ("overrun", json!({})),
        other => ("other", json!({"detail": format!("{other:?}")})),
    }
}

fn full_state(driver: &Driver, router: RouterView<'_>) -> Value {
    let machine = router.machine();
    let config = machine.config();
    let faults: Vec<String> = router.faults().map(ToString::to_string).collect();
    let addresses: Vec<Value> = router
        .addresses()
        .map(|(own, installed)| json!({"address": own.to_string(), "installed": installed}))
        .collect();
    let active = machine.active().map(|active| {
        json!({
            "address": active.address,
            "priority": active.priority.get(),
            "version": active.version.number(),
        })
    });
    let tracked = driver.explain(router.id());
    let totals = driver.counters();
    json!({
        "state": router.state().to_string(),
        "last_reason": machine.last_reason().map(|reason| reason.to_string()),
        "new_active_reason": machine.new_active_reason().name(),
        "version": config.interval.version().number(),
        "priority": config.priority.get(),
        "effective_priority": machine.effective_priority().get(),
        "explanation": tracked.map(|tracked| tracked.to_string()),
        "primary_address": machine.primary_address(),
        "active": active,
        "faults": faults,
        "addresses": addresses,
        "interval_cs": config.interval.as_centis(),
        "active_interval_cs": machine.active_interval().as_centis(),
        "skew_time_ms": millis(machine.skew_time()),
        "active_down_interval_ms": millis(machine.active_down_interval()),
        "checksum": match machine.checksum_form() {
            ChecksumForm::MessageOnly => "message-only",
            ChecksumForm::PseudoHeader => "pseudo-header",
        },
        "accept_mode": config.accept_mode,
        "accepts_traffic": machine.accepts_traffic(),
        "counters": counters(machine.counters()),
        "all_routers": {
            "checksum_errors": totals.checksum_errors,
            "version_errors": totals.version_errors,
            "vrid_errors": totals.vrid_errors,
            "ip_ttl_errors": totals.ip_ttl_errors,
        },
    })
}

fn counters(counters: &Counters) -> Value {
    json!({
        "active_transitions": counters.active_transitions,
        "advertisements_received": counters.advertisements_received,
        "advertisements_sent": counters.advertisements_sent,
        "priority_zero_received": counters.priority_zero_received,
        "priority_zero_sent": counters.priority_zero_sent,
        "interval_errors": counters.interval_errors,
        "ip_ttl_errors": counters.ip_ttl_errors,
        "invalid_type_received": counters.invalid_type_received,
        "address_list_errors": counters.address_list_errors,
        "packet_length_errors": counters.packet_length_errors,
        "authentication_errors": counters.authentication_errors,
        "own_packets": counters.own_packets,
        "owner_conflicts": counters.owner_conflicts,
        "other_discards": counters.other_discards,
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
