//! Statements of an instance that are checked one by one, in the order of the file.

use std::net::IpAddr;

use super::{Context, finish::advice};
use crate::keepalived_conf::{
    address::no_such_interface,
    announcing::ExtraPeriod,
    complaint::{Complaint, Kind},
    link,
    tree::Node,
};

/// The most characters in the name of an interface.
const LONGEST_NAME: usize = 15;

/// The values of statements that are checked one by one, as far as they were read.
#[derive(Default)]
pub(super) struct Statements {
    /// The interface.
    pub(super) interface: Option<String>,
    /// Whether the configured initial state is MASTER.
    pub(super) wants_master: Option<bool>,
}

impl Statements {
    /// Reads the statements of the instance `name`.
    pub(super) fn read(
        node: &Node,
        name: &str,
        context: &Context<'_>,
        complaints: &mut Vec<Complaint>,
    ) -> Self {
        let mut found = Self::default();
        for statement in &node.children {
            let text = statement.word_at(0).unwrap_or_default();
            let mut complain = |complaint: Complaint| {
                complaints.push(complaint.at(statement.place).object(name));
            };
            match statement.word {
                "interface" => found.interface = interface(text, context, &mut complain),
                "state" => found.read_state(text, &mut complain),
                "vrf" => found.check_vrf(text, context, &mut complain),
                "use_vmac" | "use_ipvlan" => check_device(statement, &mut complain),
                "mcast_dst_ip" => check_multicast(text, &mut complain),
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

    fn check_vrf(&self, text: &str, context: &Context<'_>, complain: &mut dyn FnMut(Complaint)) {
        if !context.host.interfaces.contains_key(text) || self.interface.is_some() {
            complain(Complaint::new(
                Kind::Other,
                "vrf goes with unicast and without an interface; it is ignored",
            ));
        }
    }
}

/// Reads the name of the interface. `None` if an instance cannot run on it.
fn interface(
    text: &str,
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
        return None;
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

/// Checks the words of `use_vmac` and `use_ipvlan`.
fn check_device(statement: &Node, complain: &mut dyn FnMut(Complaint)) {
    let mut has_name = false;
    for word in &statement.words {
        if word.matches(':').count() >= 4 {
            check_hardware_address(word, complain);
            continue;
        }
        if word == "netlink_notify_msg"
            || word == "group"
            || (statement.word == "use_ipvlan" && link::is_of_ipvlan(word))
        {
            continue;
        }
        let problem = if has_name {
            Some("the interface has a name already".to_owned())
        } else if word.len() > LONGEST_NAME {
            Some(format!(
                "{word:?} has more than 15 characters; a name is made up"
            ))
        } else {
            None
        };
        has_name = true;
        if let Some(problem) = problem {
            complain(Complaint::new(Kind::NameTooLong, problem).token(word));
            break;
        }
    }
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

fn check_multicast(text: &str, complain: &mut dyn FnMut(Complaint)) {
    let is_multicast = text.parse().is_ok_and(|it: IpAddr| it.is_multicast());
    if !is_multicast {
        complain(Complaint::new(
            Kind::BadAddress,
            format!("mcast_dst_ip: {text:?} is not a multicast address"),
        ));
    }
}

/// Reports statements that are deprecated, or that look as if they took a value.
pub(super) fn remarks(node: &Node, name: &str, is_ipv6: bool, complaints: &mut Vec<Complaint>) {
    if let Some(statement) = node.last("native_ipv6") {
        complaints.push(
            Complaint::new(
                if is_ipv6 {
                    Kind::Deprecated
                } else {
                    Kind::FamilyMismatch
                },
                "native_ipv6 is deprecated: the addresses decide on the family",
            )
            .at(statement.place)
            .object(name),
        );
    }
    for statement in node
        .children_of("accept")
        .chain(node.children_of("nopreempt"))
    {
        if let Some("no" | "off" | "false") = statement.word_at(0) {
            complaints.push(advice(
                statement,
                format!("{} takes no value: it is on", statement.word),
                "leave the line out",
            ));
        }
    }
}
