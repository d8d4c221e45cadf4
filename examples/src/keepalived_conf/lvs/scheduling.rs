//! The scheduler and its flags.

use crate::keepalived_conf::{
    complaint::{Complaint, Kind},
    tree::Node,
};

const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos",
];

/// The scheduler of a virtual server, with its flags.
#[derive(Default)]
pub(super) struct Scheduling {
    pub(super) scheduler: Option<String>,
    pub(super) flags: Vec<&'static str>,
}

impl Scheduling {
    /// Reads `lb_algo`.
    pub(super) fn read_scheduler(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        if SCHEDULERS.contains(&text) {
            self.scheduler = Some(text.to_owned());
        } else {
            complaints.push(
                Complaint::new(
                    Kind::UnknownValue,
                    format!(
                        "{}: {text:?} is not a scheduler; wlc is used",
                        statement.word
                    ),
                )
                .help(format!("write one of {}", SCHEDULERS.join(", ")))
                .at(statement.place)
                .token(text),
            );
        }
    }

    /// Reads a flag. Those of source and Maglev hashing count behind the name of either scheduler
    /// only.
    pub(super) fn read_flag(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        let needs_hashing = matches!(
            statement.word,
            "hashed" | "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback"
        );
        let scheduler = self.scheduler.as_deref();
        let is_hashing = matches!(scheduler, Some("sh" | "mh"));
        if is_hashing || !needs_hashing {
            // A flag of the other hashing scheduler is accepted without effect.
            let is_effective = match statement.word.split_once('-') {
                Some((owner @ ("sh" | "mh"), _)) => scheduler == Some(owner),
                _ => true,
            };
            self.flags
                .extend(is_effective.then_some(match statement.word {
                    "sh-fallback" | "mh-fallback" => "flag-1",
                    "sh-port" | "mh-port" => "flag-2",
                    word => word,
                }));
        } else {
            complaints.push(
                Complaint::new(
                    Kind::Other,
                    format!(
                        "{} goes with the schedulers sh and mh, named before it; it is ignored",
                        statement.word
                    ),
                )
                .at(statement.place)
                .token(text),
            );
        }
    }
}
