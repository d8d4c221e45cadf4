//! `real_server`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Check, Context, Method, Service, TrackedFile, VirtualServer, count, defaults::CheckDefaults,
    endpoint,
};
use crate::keepalived_conf::{
    complaint::Complaint,
    script::Script,
    tree::{Node, Value},
};

/// `real_server`.
#[derive(Clone, Debug)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its weight, with the values that its files add to it at the start.
    pub weight: u32,
    /// Its weight without the values of its files.
    pub configured_weight: u32,
    /// How packets reach it.
    pub method: Method,
    /// Whether it starts down.
    pub is_alpha: bool,
    /// Whether a failure sets its weight to 0.
    pub inhibits_on_failure: bool,
    /// The number of connections above which it gets no new ones.
    pub upper_threshold: u32,
    /// The number of connections below which it gets new ones again.
    pub lower_threshold: u32,
    /// `notify_up` and `notify_down`.
    pub scripts: BTreeMap<&'static str, Script>,
    /// The host name of HTTP requests.
    pub virtualhost: Option<String>,
    /// Whether changes are mailed.
    pub smtp_alert: bool,
    /// The defaults of its checks.
    pub defaults: CheckDefaults,
    /// Its checks.
    pub checks: Vec<Check>,
    /// `FILE_CHECK`: track files, each with its weight for this server.
    pub tracked_files: Vec<TrackedFile>,
    /// `BFD_CHECK`: names of BFD instances.
    pub tracked_bfd: Vec<String>,
}

impl RealServer {
    /// Reads a real server of `server`, whose block is `parent`. It has `method` unless it names
    /// its own. `None` if it is ignored.
    pub(super) fn read(
        node: &Node,
        mut method: Method,
        server: &VirtualServer,
        parent: &Node,
        context: &Context<'_>,
        complaints: &mut Vec<Complaint>,
    ) -> Option<Self> {
        let (address, port) = endpoint::endpoint(&node.words)?;
        endpoint::advise(node, complaints);
        for statement in node.children_of("lvs_method") {
            method = Method::read(statement, complaints).unwrap_or(method);
        }
        let weight = weight(node, parent);
        let check_port = match server.service {
            Service::Address(_, own) if port == 0 && method.kind != "NAT" => own,
            _ => port,
        };
        let mut real = Self {
            address,
            port,
            weight,
            configured_weight: weight,
            method,
            is_alpha: node.switch("alpha").unwrap_or(server.is_alpha),
            inhibits_on_failure: node
                .switch("inhibit_on_failure")
                .unwrap_or(server.inhibits_on_failure),
            upper_threshold: count(node, "uthreshold").unwrap_or(0),
            lower_threshold: count(node, "lthreshold").unwrap_or(0),
            scripts: context.commands(node, ["notify_up", "notify_down"], complaints),
            virtualhost: node.text("virtualhost").map(str::to_owned),
            smtp_alert: node.switch("smtp_alert").unwrap_or_else(|| {
                let switches = &context.global.switches;
                let own = switches.get("smtp_alert_checker");
                own.or(switches.get("smtp_alert")).copied().unwrap_or(true)
            }),
            defaults: server.defaults.with(node),
            // Most servers have one.
            checks: Vec::with_capacity(1),
            tracked_files: Vec::new(),
            tracked_bfd: Vec::new(),
        };
        for check in &node.children {
            if check.word.ends_with("_CHECK") || check.word.ends_with("_GET") {
                real.read_check(check, check_port, context, complaints);
            }
        }
        Some(real)
    }
}

/// The weight of a real server, by default that of the virtual server.
fn weight(node: &Node, parent: &Node) -> u32 {
    let default = parent.number("weight").unwrap_or(1);
    let weight = match node.last("weight") {
        // A weight that is too large for the range is still used.
        Some(statement) => match statement.value {
            Value::Number(number) => number,
            _ => default,
        },
        None => default,
    };
    u32::try_from(weight).unwrap_or(1)
}
