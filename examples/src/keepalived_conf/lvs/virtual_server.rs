//! `virtual_server`.

use std::collections::BTreeMap;

use super::{
    Context, Granularity, Method, RealServer, Service, ServiceGroup, SorryServer, count,
    defaults::CheckDefaults, endpoint, finish, persistence::Persistence, scheduling::Scheduling,
    sorry_server,
};
use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    script::Script,
    source::Place,
    tree::{Node, Value},
};

/// `virtual_server`.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "as many as the language has flags"
)]
pub struct VirtualServer {
    /// Its service.
    pub service: Service,
    /// `TCP`, `UDP` or `SCTP`; none with a mark.
    pub protocol: Option<&'static str>,
    /// Whether it is of IPv6.
    pub is_ipv6: bool,
    /// The scheduler.
    pub scheduler: String,
    /// Its flags: `ops`, `hashed`, `sh-port` and so on.
    pub flags: Vec<&'static str>,
    /// How packets are forwarded.
    pub method: Method,
    /// Seconds of persistence.
    pub persistence_timeout: Option<u32>,
    /// The netmask or prefix length of persistence.
    pub persistence_granularity: Option<Granularity>,
    /// The persistence engine.
    pub persistence_engine: Option<String>,
    /// The weight of live servers that the quorum needs.
    pub quorum: u32,
    /// How far above and below the quorum its state changes.
    pub hysteresis: u32,
    /// Whether servers start down.
    pub is_alpha: bool,
    /// Whether servers are notified down at the end.
    pub is_omega: bool,
    /// `ha_suspend`.
    pub ha_suspend: bool,
    /// Whether a failed server gets the weight 0.
    pub inhibits_on_failure: bool,
    /// The server that is used while the quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// `quorum_up` and `quorum_down`.
    pub scripts: BTreeMap<&'static str, Script>,
    /// The host name of HTTP requests.
    pub virtualhost: Option<String>,
    /// Whether changes of the quorum are mailed.
    pub smtp_alert: bool,
    /// The defaults of its real servers and their checks.
    pub defaults: CheckDefaults,
    /// The real servers.
    pub real_servers: Vec<RealServer>,
}

/// The statements of a virtual server whose order counts, as far as they were read.
#[derive(Default)]
struct Statements {
    protocol: Option<&'static str>,
    scheduling: Scheduling,
    method: Option<Method>,
    sorry_server: sorry_server::Statements,
    persistence: Persistence,
    /// Whether it is of IPv6, once a statement has decided that.
    is_ipv6: Option<bool>,
    /// For each real server, the method that the virtual server has at its place, if it has one
    /// there.
    methods: Vec<Option<Method>>,
    /// Where its real servers of the other family are.
    misfits: Vec<Place>,
}

impl Statements {
    fn read(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        let at = |complaint: Complaint| complaint.at(statement.place).token(text);
        match statement.word {
            "protocol" => match protocol(text) {
                Some(protocol) => self.protocol = Some(protocol),
                None => complaints.push(at(Complaint::new(
                    Kind::UnknownValue,
                    format!("protocol: {text:?} is not TCP, UDP or SCTP"),
                ))),
            },
            "lb_algo" | "lvs_sched" => self.scheduling.read_scheduler(statement, complaints),
            "hashed" | "ops" | "flag-1" | "flag-2" | "flag-3" | "sh-port" | "sh-fallback"
            | "mh-port" | "mh-fallback" => self.scheduling.read_flag(statement, complaints),
            "lb_kind" | "lvs_method" => {
                let method = Method::read(statement, complaints);
                self.method = method.or(self.method.take());
            }
            "sorry_server" => {
                let method = self.method.as_ref();
                self.sorry_server
                    .read_endpoint(statement, method, complaints);
            }
            "sorry_server_lvs_method" => self.sorry_server.read_method(statement, complaints),
            "sorry_server_inhibit" => self.sorry_server.read_inhibit(statement, complaints),
            "persistence_timeout" => self.persistence.read_timeout(statement, complaints),
            "persistence_granularity" => {
                let family = &mut self.is_ipv6;
                self.persistence
                    .read_granularity(statement, family, complaints);
            }
            "ip_family" => complaints.extend(self.read_family(text).map(at)),
            "real_server" => {
                self.methods.push(self.method.clone());
                complaints.extend(self.compare_family(statement));
            }
            "quorum" if statement.value == Value::None => {
                complaints.push(at(Complaint::new(
                    Kind::QuorumAdjusted,
                    "quorum has to be at least 1; 1 is used",
                )));
            }
            _ => {}
        }
    }

    /// Reads `ip_family`.
    fn read_family(&mut self, text: &str) -> Option<Complaint> {
        let is_ipv6 = match text {
            "inet" => false,
            "inet6" => true,
            _ => {
                return Some(Complaint::new(
                    Kind::UnknownValue,
                    format!("ip_family: {text:?} is not inet or inet6"),
                ));
            }
        };
        let is_conflict = *self.is_ipv6.get_or_insert(is_ipv6) != is_ipv6;
        is_conflict.then(|| {
            Complaint::new(
                Kind::FamilyMismatch,
                format!("ip_family {text} is not the family that the virtual server already has"),
            )
        })
    }

    /// Marks a real server as a misfit if no packets of the virtual server can reach it. A tunnel
    /// can carry both families. The first real server decides the family of a virtual server that
    /// has none.
    fn compare_family(&mut self, real: &Node) -> Option<Complaint> {
        let (address, _) = endpoint::endpoint(&real.words)?;
        let is_ipv6 = *self.is_ipv6.get_or_insert(address.is_ipv6());
        let own = real.children_of("lvs_method").filter_map(Method::kind_of);
        let method = own.last().or(self.method.as_ref().map(|it| it.kind));
        if address.is_ipv6() == is_ipv6 || method == Some("TUN") {
            return None;
        }
        self.misfits.push(real.place);
        Some(
            Complaint::new(
                Kind::FamilyMismatch,
                format!("real server {address} is of another family than its virtual server; it is ignored"),
            )
            .at(real.end)
            .token(address.to_string()),
        )
    }
}

/// A protocol, in capital or in small letters.
fn protocol(text: &str) -> Option<&'static str> {
    match text {
        "TCP" | "tcp" => Some("TCP"),
        "UDP" | "udp" => Some("UDP"),
        "SCTP" | "sctp" => Some("SCTP"),
        _ => None,
    }
}

impl VirtualServer {
    /// Reads a virtual server. `None` if it is ignored.
    pub(super) fn read(
        node: &Node,
        context: &Context<'_>,
        groups: &[ServiceGroup],
        complaints: &mut Vec<Complaint>,
    ) -> Option<Self> {
        let service = Service::read(node)?;
        let mut found = Statements::default();
        if let Service::Address(address, _) = service {
            endpoint::advise(node, complaints);
            found.is_ipv6 = Some(address.is_ipv6());
        }
        for statement in &node.children {
            found.read(statement, complaints);
        }
        let given = finish::Given {
            scheduler: found.scheduling.scheduler.is_some(),
            method: found.method.is_some(),
        };
        let persistence = found.persistence.with_implied_timeout(node);
        let mut server = Self {
            service,
            protocol: found.protocol,
            is_ipv6: found.is_ipv6.unwrap_or(false),
            scheduler: found.scheduling.scheduler.unwrap_or_else(|| "wlc".into()),
            flags: found.scheduling.flags,
            method: found.method.unwrap_or_else(|| Method::new("NAT")),
            persistence_timeout: persistence.timeout,
            persistence_granularity: persistence.granularity,
            persistence_engine: node.text("persistence_engine").map(str::to_owned),
            quorum: count(node, "quorum").unwrap_or(1),
            hysteresis: count(node, "hysteresis").unwrap_or(0),
            is_alpha: node.has("alpha"),
            is_omega: node.has("omega"),
            ha_suspend: node.has("ha_suspend"),
            inhibits_on_failure: node.has("inhibit_on_failure"),
            sorry_server: None,
            scripts: context.commands(node, ["quorum_up", "quorum_down"], complaints),
            virtualhost: node.text("virtualhost").map(str::to_owned),
            smtp_alert: node.switch("smtp_alert").unwrap_or_else(|| {
                let switches = &context.global.switches;
                switches.get("smtp_alert_checker").copied().unwrap_or(false)
                    || switches.get("smtp_alert").copied().unwrap_or(false)
            }),
            defaults: CheckDefaults::OF_KEEPALIVED.with(node),
            real_servers: Vec::new(),
        };
        for (statement, method) in node.children_of("real_server").zip(found.methods) {
            let method = method.unwrap_or_else(|| server.method.clone());
            let real = RealServer::read(statement, method, &server, node, context, complaints);
            if !found.misfits.contains(&statement.place) {
                server.real_servers.extend(real);
            }
        }
        server.sorry_server = found.sorry_server.finish(&server, node, complaints);
        finish::finish(server, given, groups, complaints)
    }
}
