//! Statements of an instance that are checked one by one, in the order of the file.

use std::net::IpAddr;

use super::{Context, finish::Draft, host_objects};
use crate::keepalived_conf::{
    address::{no_such_interface, without_length},
    announcing::ExtraPeriod,
    complaint::{Complaint, Kind},
    host::LONGEST_NAME,
    link,
    tree::{Node, Value},
};

/// The values of statements that are checked one by one, as far as they were read.
#[derive(Default)]
pub(super) struct Statements {
    /// The interface.
    pub(super) interface: Option<String>,
    /// Whether the configured initial state is MASTER.
    pub(super) wants_master: Option<bool>,
    /// The name of the instance's own macvlan or ipvlan.
    pub(super) device: Option<String>,
    /// The version.
    pub(super) version: Option<i64>,
    /// The family of the first statement that determines one.
    pub(super) is_ipv6: Option<bool>,
}

impl Statements {
    /// Reads the statements of the instance `name`, which follows the `others`.
    pub(super) fn read(
        node: &Node,
        name: &str,
        context: &Context<'_>,
        others: &[Draft<'_>],
        complaints: &mut Vec<Complaint>,
    ) -> Self {
        let mut found = Self::default();
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let mut complain = |complaint: Complaint| {
                complaints.push(complaint.at(statement.place).object(name));
            };
            match statement.word {
                "interface" => {
                    found.interface = interface(text, found.interface, context, &mut complain);
                }
                "state" => found.read_state(text, &mut complain),
                "vrf" => found.check_vrf(text, context, &mut complain),
                "use_vmac" | "use_ipvlan" => {
                    found.read_device(statement, context, others, &mut complain);
                }
                "version" => found.read_version(statement.value, &mut complain),
                "native_ipv6" => found.read_native_ipv6(&mut complain),
                "mcast_dst_ip" => found.read_multicast(text, &mut complain),
                "mcast_src_ip" | "unicast_src_ip" => found.admit(without_length(text)),
                "unicast_peer" => {
                    let mut lines = statement.entries.iter();
                    found.admit(lines.find_map(|entry| without_length(entry.words.first()?)));
                }
                "virtual_ipaddress" => {
                    let mut lines = statement.entries.iter();
                    let first = lines.find_map(|entry| host_objects::address(entry, context));
                    found.admit(first.map(|first| first.address));
                }
                "garp_extra_if" | "vmac_garp_intvl" => {
                    let period = ExtraPeriod::of_instance(statement.word, &statement.words);
                    if let Some((kind, problem)) = period.problem {
                        complain(Complaint::new(kind, problem));
                    }
                }
                _ => {}
            }
        }
        found
    }

    fn read_state(&mut self, text: &str, complain: &mut dyn FnMut(Complaint)) {
        match text {
            "MASTER" => self.wants_master = Some(true),
            "BACKUP" => self.wants_master = Some(false),
            _ => {
                let mut complaint = Complaint::new(
                    Kind::UnknownValue,
                    format!("state: {text:?} is not MASTER or BACKUP; BACKUP is used"),
                )
                .token(text);
                if text.eq_ignore_ascii_case("MASTER") {
                    complaint = complaint.help("write MASTER in capital letters");
                }
                complain(complaint);
            }
        }
    }

    /// Reads the words of `use_vmac` and `use_ipvlan`.
    fn read_device(
        &mut self,
        statement: &Node,
        context: &Context<'_>,
        others: &[Draft<'_>],
        complain: &mut dyn FnMut(Complaint),
    ) {
        for word in &statement.words {
            if word.matches(':').count() >= 4 {
                check_hardware_address(word, complain);
                continue;
            }
            if !link::is_name(word, statement.word) {
                continue;
            }
            let mut owners = others.iter();
            let owner = owners.find(|it| it.device.as_deref() == Some(word));
            let kind = if statement.word == "use_vmac" {
                "macvlan"
            } else {
                "ipvlan"
            };
            let problem = if self.device.is_some() {
                Some("the interface has a name already".to_owned())
            } else if word.len() > LONGEST_NAME {
                Some(format!("{word:?} has more than {LONGEST_NAME} characters"))
            } else if let Some(owner) = owner {
                Some(format!("{word} is that of {}", owner.instance.name))
            } else if context.host.has_other(word, kind) {
                Some(format!("{word} exists, and is no {kind}"))
            } else {
                None
            };
            let Some(problem) = problem else {
                self.device = Some(word.clone());
                continue;
            };
            complain(
                Complaint::new(
                    Kind::NameTooLong,
                    format!("{problem}; this name is not used"),
                )
                .token(word),
            );
            break;
        }
    }

    /// Reads the version, which is not changed once it is known.
    fn read_version(&mut self, value: Value, complain: &mut dyn FnMut(Complaint)) {
        let Value::Number(version) = value else {
            return;
        };
        let of_family = (self.is_ipv6 == Some(true)).then_some(3);
        match self.version.or(of_family) {
            Some(known) if known != version => complain(
                Complaint::new(
                    Kind::VersionInvalid,
                    format!("version {version}: the instance has version {known} already"),
                )
                .token(version.to_string()),
            ),
            _ => self.version = Some(version),
        }
    }

    /// Reads `native_ipv6`, which makes an instance whose family is unknown one of IPv6.
    fn read_native_ipv6(&mut self, complain: &mut dyn FnMut(Complaint)) {
        if self.is_ipv6 == Some(false) {
            complain(Complaint::new(
                Kind::FamilyMismatch,
                "native_ipv6: an address above makes it an instance of IPv4",
            ));
            return;
        }
        self.is_ipv6 = Some(true);
        self.version = Some(3);
    }

    fn read_multicast(&mut self, text: &str, complain: &mut dyn FnMut(Complaint)) {
        let address = without_length(text);
        let problem = match address {
            None => Some((Kind::BadAddress, "is not an IP address")),
            Some(address) if self.is_ipv6.is_some_and(|it| it != address.is_ipv6()) => Some((
                Kind::FamilyMismatch,
                "is of another family than the instance",
            )),
            Some(address) if !address.is_multicast() => {
                Some((Kind::BadAddress, "is not a multicast address"))
            }
            Some(_) => None,
        };
        self.admit(address);
        if let Some((kind, problem)) = problem {
            complain(Complaint::new(
                kind,
                format!("mcast_dst_ip: {text:?} {problem}"),
            ));
        }
    }

    /// Takes the family of an address, if none is known.
    fn admit(&mut self, address: Option<IpAddr>) {
        self.is_ipv6 = self.is_ipv6.or(address.map(|it| it.is_ipv6()));
    }

    fn check_vrf(&self, text: &str, context: &Context<'_>, complain: &mut dyn FnMut(Complaint)) {
        if !context.host.interfaces.contains_key(text) || self.interface.is_some() {
            complain(Complaint::new(
                Kind::Other,
                "vrf goes with unicast and without an interface; it is ignored",
            ));
        }
    }
}

/// Reads the name of the interface. `None` if an instance cannot run on it. A name that is too long
/// leaves the one before.
fn interface(
    text: &str,
    before: Option<String>,
    context: &Context<'_>,
    complain: &mut dyn FnMut(Complaint),
) -> Option<String> {
    if text.len() > LONGEST_NAME {
        complain(
            Complaint::new(
                Kind::NameTooLong,
                format!(
                    "{text:?} has {} characters, the name of an interface has at most 15",
                    text.len()
                ),
            )
            .token(text),
        );
        return before;
    }
    match context.host.interfaces.get(text) {
        Some(found) if found.is_loopback => {
            complain(
                Complaint::new(
                    Kind::Other,
                    format!("{text} is a loopback interface, on which no advertisements travel"),
                )
                .token(text),
            );
            return None;
        }
        Some(_) => {}
        None if context.is_dynamic() => {}
        None => complain(no_such_interface(text)),
    }
    Some(text.to_owned())
}

fn check_hardware_address(word: &str, complain: &mut dyn FnMut(Complaint)) {
    let word = word.to_ascii_lowercase();
    if word.starts_with("00:00:5e:00:01") || word.starts_with("00:00:5e:00:02") {
        complain(
            Complaint::new(
                Kind::Other,
                format!(
                    "{word} is a virtual MAC of VRRP, which is not chosen by hand; it is ignored"
                ),
            )
            .token(word),
        );
    }
}

/// Reports statements that look as if they took a value.
pub(super) fn remarks(node: &Node, complaints: &mut Vec<Complaint>) {
    for statement in node
        .children_of("accept")
        .chain(node.children_of("nopreempt"))
    {
        if let Some("no" | "off" | "false") = statement.word_at(0) {
            let message = format!("{} takes no value: it is on", statement.word);
            let advice = Complaint::advice(message, "leave the line out");
            complaints.push(advice.at(statement.place));
        }
    }
}
