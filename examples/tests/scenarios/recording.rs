//! A recording of the lab, for results that the lab's own comparison leaves out.

use std::{fs, path::Path};

use libtest_mimic::Trial;
use serde_json::{Value, json};

/// Outcomes of requests that failed.
const FAILED: [&str; 5] = ["refused", "timeout", "reset", "unreachable", "empty"];

/// The time in which a server answers a request of the client, at most. The client sends one at a
/// time.
const UNDER_WAY: f64 = 0.1;

/// A recording.
pub(crate) struct Recording(Value);

impl Recording {
    pub(crate) fn read(path: &Path) -> Self {
        Self(serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
    }

    fn events(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.0["events"].as_array().unwrap().iter()
    }

    /// The table of the first director at a time: one line for each service and each server.
    pub(crate) fn table(&self, at: f64) -> Vec<String> {
        let mut lines = Vec::new();
        let is_table = |event: &&Value| {
            event["kind"] == "table" && event["where"] == "dir" && time(event) <= at
        };
        let Some(table) = self.events().rev().find(is_table) else {
            return lines;
        };
        for (service, content) in table["table"].as_object().unwrap() {
            let scheduler = content["scheduler"].as_str().unwrap();
            lines.push(format!("{service} {scheduler}"));
            for (server, content) in content["servers"].as_object().unwrap() {
                lines.push(format!("{service} {server} weight {}", content["weight"]));
            }
        }
        lines.sort();
        lines
    }

    /// The time of the first change of the table.
    pub(crate) fn first_change(&self) -> Option<f64> {
        let mut changes = self.events().filter(|event| event["kind"] == "ipvs");
        changes.find(|event| time(event) > 0.0).map(time)
    }

    /// The number of requests that failed and began in a span, without those that were under way
    /// when a destination was removed.
    pub(crate) fn failures(&self, from: f64, to: f64) -> usize {
        let removals = self.events().filter(|it| it["command"] == "DEL_DEST");
        let removals: Vec<f64> = removals.map(time).collect();
        let answers = self.0["answers"].as_array().unwrap().iter();
        let is_failure = |answer: &&Value| {
            let at = answer[0].as_f64().unwrap();
            // IPVS drops the further packets of such a connection, whatever removes a destination.
            let is_cut_off = answer[2] == "timeout"
                && removals.iter().any(|it| (at..at + UNDER_WAY).contains(it));
            let has_failed = FAILED.iter().any(|outcome| answer[2] == *outcome);
            at >= from && at < to && has_failed && !is_cut_off
        };
        answers.filter(is_failure).count()
    }
}

/// The tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::test(
        "recording::a_request_under_way_at_a_removal_is_no_failure",
        || {
            let recording = Recording(json!({
                "events": [{ "kind": "ipvs", "command": "DEL_DEST", "t": 32.04 }],
                "answers": [
                    [31.9, 1.0, "timeout"],
                    [32.0, 0.01, "refused"],
                    [32.02, 1.0, "timeout"],
                    [32.05, 1.0, "timeout"],
                    [32.06, 0.01, "rs1"],
                ],
            }));
            assert_eq!(recording.failures(31.0, 33.0), 3);
            Ok(())
        },
    )]
}

fn time(event: &Value) -> f64 {
    event["t"].as_f64().unwrap()
}
