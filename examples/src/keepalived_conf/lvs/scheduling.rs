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

    /// Reads a flag. Those of a scheduler count behind its name only.
    pub(super) fn read_flag(&mut self, statement: &Node, complaints: &mut Vec<Complaint>) {
        let text = statement.word_at(0).unwrap_or_default();
        let needs = match statement.word.get(..2) {
            Some("sh") => Some("sh"),
            Some("mh") => Some("mh"),
            _ => None,
        };
        let fits = needs.is_none_or(|it| self.scheduler.as_deref() == Some(it));
        if fits {
            self.flags.push(statement.word);
        } else {
            complaints.push(
                Complaint::new(
                    Kind::Other,
                    format!(
                        "{} goes with the scheduler {}, named before it",
                        statement.word,
                        needs.unwrap_or_default()
                    ),
                )
                .at(statement.place)
                .token(text),
            );
        }
    }
}
