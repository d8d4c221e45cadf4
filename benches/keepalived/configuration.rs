//! The configuration: as many virtual servers as there are instances.

use std::{fmt::Write as _, net::Ipv4Addr};

use ipvs_netlink::ServiceKey;
use vrrp_benches::is_quick;

/// The port of services and servers.
pub(crate) const PORT: u16 = 80;

/// The number of virtual servers, and of real servers of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) services: u16,
    pub(crate) servers: u8,
    /// Seconds from one check to the next.
    pub(crate) interval: u8,
}

impl Size {
    /// 1,000 virtual servers of 10; with `--quick` 20 of 3.
    pub(crate) fn for_host() -> Self {
        if is_quick() {
            Self {
                services: 20,
                servers: 3,
                interval: 2,
            }
        } else {
            Self {
                services: 1000,
                servers: 10,
                // 500 checks a second: an emulated kernel has time for them.
                interval: 20,
            }
        }
    }

    /// All destinations.
    pub(crate) fn destinations(self) -> usize {
        usize::from(self.services) * usize::from(self.servers)
    }
}

/// The key of a virtual server.
pub(crate) fn service(number: u16) -> ServiceKey {
    let [high, low] = number.to_be_bytes();
    ServiceKey::tcp((Ipv4Addr::new(172, 16, high, low), PORT))
}

/// The address of a real server.
pub(crate) const fn server(service: u16, number: u8) -> Ipv4Addr {
    let [high, low] = service.to_be_bytes();
    Ipv4Addr::new(10, number, high, low)
}

/// Adds the virtual servers to a configuration.
pub(crate) fn with_servers(text: &str, size: Size) -> String {
    let mut text = text.to_owned();
    for number in 0..size.services {
        let [high, low] = number.to_be_bytes();
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "virtual_server 172.16.{high}.{low} {PORT} {{
    delay_loop {}
    lb_algo rr
    lb_kind NAT
    protocol TCP
",
            size.interval
        );
        for place in 1..=size.servers {
            let address = server(number, place);
            let _ = write!(
                text,
                "    real_server {address} {PORT} {{
        weight 1
        TCP_CHECK {{
            connect_timeout 5
        }}
    }}
"
            );
        }
        text.push_str("}\n");
    }
    text
}
