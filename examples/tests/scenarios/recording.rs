//! A recording of the lab, for results that the lab's own comparison leaves out.

use std::{fs, path::Path};

use serde_json::Value;

/// Outcomes of requests that failed.
const FAILED: [&str; 5] = ["refused", "timeout", "reset", "unreachable", "empty"];

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

    /// The number of requests that failed and began in a span.
    pub(crate) fn failures(&self, from: f64, to: f64) -> usize {
        let answers = self.0["answers"].as_array().unwrap().iter();
        let is_failure = |answer: &&Value| {
            let at = answer[0].as_f64().unwrap();
            at >= from && at < to && FAILED.iter().any(|outcome| answer[2] == *outcome)
        };
        answers.filter(is_failure).count()
    }
}

fn time(event: &Value) -> f64 {
    event["t"].as_f64().unwrap()
}
