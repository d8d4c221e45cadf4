//! Delays before a change of a link takes effect.

use std::time::Duration;

use vrrp_fsm::track::Debounce;

use super::translate::micros;
use crate::keepalived_conf::configuration::{Configuration, Instance};

/// The delays of an interface. The delay for down is limited, so that it ends before other routers
/// take over from an instance on the interface; `notes` gets a sentence if the limit applies.
pub(super) fn debounce(
    configuration: &Configuration,
    interface: &str,
    notes: &mut Vec<String>,
) -> Debounce {
    let Some(delay) = configuration.link_delays.get(interface) else {
        return Debounce::NONE;
    };
    let instances = configuration.instances.iter();
    let longest = instances
        .filter(|it| uses(it, interface))
        .map(longest)
        .min();
    let down = micros(delay.down);
    let limit = longest.unwrap_or(Duration::MAX);
    if down > limit {
        notes.push(format!(
            "interface_up_down_delays: {interface} counts as down after {limit:?} and not after {down:?}, because other \
             routers take over then"
        ));
    }
    Debounce {
        down: down.min(limit),
        up: micros(delay.up),
    }
}

/// Whether the interface has delays.
pub(super) fn has_delay(configuration: &Configuration, interface: &str) -> bool {
    configuration.link_delays.contains_key(interface)
}

fn uses(instance: &Instance, interface: &str) -> bool {
    let mut tracked = instance.tracking.interfaces.iter();
    instance.interface == interface || tracked.any(|it| it.name == interface)
}

/// Less than the time until a Backup takes over: the lost advertisements less one, in intervals,
/// less a part of an interval.
fn longest(instance: &Instance) -> Duration {
    let intervals = instance.election.down_timer_adverts - 1;
    let interval = instance.interval;
    micros(intervals * interval - interval / 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_shorter_than_the_takeover_of_another_router() {
        let delay = |adverts: i64, seconds: &str| {
            let text = format!(
                "interface_up_down_delays {{\n e {seconds}\n}}\nglobal_defs {{\n dynamic_interfaces\n}}\n\
                 vrrp_instance V {{\n interface e\n virtual_router_id 1\n down_timer_adverts {adverts}\n \
                 virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n"
            );
            let host = crate::keepalived_conf::host::Host::default();
            let reading = crate::keepalived_conf::tests::read_on(&host, &text);
            let mut notes = Vec::new();
            let debounce = debounce(&reading.configuration, "e", &mut notes);
            (debounce, notes.len())
        };
        let millis = Duration::from_millis;
        let half = Debounce {
            down: millis(500),
            up: millis(500),
        };
        assert_eq!(delay(3, "0.5"), (half, 0));
        let (long, notes) = delay(3, "5 7");
        assert_eq!((long.up, notes), (millis(7000), 1));
        assert_eq!(long.down, Duration::from_micros(2_000_000 - 3906));
        assert_eq!(delay(1, "5").0.down, Duration::ZERO);
    }
}
