//! What happens in the driver, as JSON.

use serde_json::{Value, json};
use vrrp_fsm::track::Level;
use vrrp_net::DriverEvent;
use vrrp_proto::Counter;

/// The name of an event, and what else there is to tell of it.
pub(crate) fn describe(event: &DriverEvent) -> (&'static str, Value) {
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
        DriverEvent::ChangesOvertaken { changes } => {
            ("changes-overtaken", json!({"changes": changes}))
        }
        DriverEvent::PriorityChanged { from, to } => (
            "priority-changed",
            json!({"from": from.get(), "to": to.get()}),
        ),
        DriverEvent::ObjectChanged { level, .. } => ("object-changed", describe_level(*level)),
        DriverEvent::WantsActive { .. } => ("wants-active", json!({})),
        DriverEvent::GroupChanged { state, .. } => {
            ("sync-group-changed", json!({"to": state.to_string()}))
        }
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
        DriverEvent::RouteLost(route) => ("route-lost", json!({"route": route.to_string()})),
        DriverEvent::RouteRestored(route) => {
            ("route-restored", json!({"route": route.to_string()}))
        }
        DriverEvent::RouteFailed { route, error } => (
            "route-failed",
            json!({"route": route.to_string(), "reason": error.to_string()}),
        ),
        DriverEvent::VirtualMacFailed(error) => {
            ("virtual-mac-failed", json!({"reason": error.to_string()}))
        }
        DriverEvent::Overrun => ("overrun", json!({})),
        other => describe_packets(other),
    }
}

/// The same for what could come with every packet, and is told with the number of those that were not told.
fn describe_packets(event: &DriverEvent) -> (&'static str, Value) {
    match event {
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
        DriverEvent::RivalHeard {
            source,
            priority,
            suppressed,
        } => (
            "rival-heard",
            json!({"source": source, "priority": priority.get(), "suppressed": suppressed}),
        ),
        DriverEvent::Unheard { source, suppressed } => (
            "unheard",
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
        DriverEvent::SystemCallFailed { error, suppressed } => (
            "system-call-failed",
            json!({"reason": error.to_string(), "suppressed": suppressed}),
        ),
        DriverEvent::AnnounceFailed { error, suppressed } => (
            "announce-failed",
            json!({"reason": error.to_string(), "suppressed": suppressed}),
        ),
        other => ("other", json!({"detail": format!("{other:?}")})),
    }
}

fn describe_level(level: Option<Level>) -> Value {
    match level {
        Some(Level::Number(number)) => json!({"up": number == 0, "number": number}),
        _ => json!({"up": level.map(Level::is_up)}),
    }
}
