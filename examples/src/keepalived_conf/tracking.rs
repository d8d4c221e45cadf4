//! The objects that instances and groups track: the lists, and the definitions that they name.

use std::collections::BTreeMap;

use super::{
    address::no_such_interface,
    complaint::{Complaint, Kind},
    configuration::{CheckScript, CommandMatch, TrackFile, TrackProcess, Tracked, Tracking},
    host::{Account, Host},
    script::{self, Policy, Script},
    tree::Node,
    value::{self, Range},
};

/// The most octets in the name of a process (`TASK_COMM_LEN` without the final 0).
const LONGEST_PROCESS_NAME: usize = 15;

/// The trackable objects defined so far. A definition after its use does not count.
#[derive(Default)]
pub(super) struct Defined {
    pub(super) scripts: Named<CheckScript>,
    pub(super) files: Named<TrackFile>,
    pub(super) processes: Named<TrackProcess>,
    /// `bfd_instance` with its weight.
    pub(super) bfd: Named<i32>,
}

/// Objects in the order of their definition, found by name. Of several with one name, the first
/// counts.
pub(super) struct Named<T> {
    items: Vec<T>,
    places: BTreeMap<String, usize>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            places: BTreeMap::new(),
        }
    }
}

impl<T> Named<T> {
    pub(super) fn add(&mut self, name: &str, item: T) {
        if !self.places.contains_key(name) {
            self.places.insert(name.to_owned(), self.items.len());
            self.items.push(item);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.items.get(*self.places.get(name)?)
    }

    pub(super) fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    pub(super) fn into_items(self) -> Vec<T> {
        self.items
    }
}

/// The options after the name of a tracked object.
#[derive(Clone, Copy, Default)]
struct Options {
    weight: Option<i32>,
    is_reverse: Option<bool>,
}

/// Reads `[weight N [reverse|noreverse]]`. `None` if the entry is not used.
fn options(words: &[String], kind: &str, complain: &mut dyn FnMut(Complaint)) -> Option<Options> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (weight, rest) = match words[..] {
        [] => return Some(Options::default()),
        ["weight", weight, ref rest @ ..] => (weight, rest),
        ["weight"] => {
            complain(Complaint::new(
                Kind::MissingParameter,
                "weight needs a number; the entry is not used",
            ));
            return None;
        }
        [word, ..] => {
            complain(
                Complaint::new(
                    Kind::UnknownValue,
                    format!("{word:?} is not weight; the entry is not used"),
                )
                .token(word)
                .help("each tracked object stands on a line of its own"),
            );
            return None;
        }
    };
    let number = value::number(weight, Range::whole(-254, 254).lenient());
    if number.problem.is_some() {
        complain(
            Complaint::new(
                Kind::ValueInvalid,
                format!("weight {weight:?} is not a number in -253 to 253; it is ignored"),
            )
            .token(weight),
        );
    }
    let mut result = Options {
        weight: number.value.and_then(|it| i32::try_from(it).ok()),
        is_reverse: None,
    };
    let allows_254 = matches!(kind, "track_file" | "track_process");
    if let Some(weight) = &mut result.weight
        && !allows_254
        && weight.abs() == 254
    {
        complain(
            Complaint::new(Kind::ValueInvalid, "weight 254 is too much; 253 is used")
                .token(weight.to_string()),
        );
        *weight = weight.signum() * 253;
    }
    match rest.first() {
        None => {}
        Some(&"reverse") => result.is_reverse = Some(true),
        Some(&"noreverse") if kind != "track_interface" => result.is_reverse = Some(false),
        Some(word) => complain(
            Complaint::new(
                Kind::UnknownValue,
                format!("{word:?} is not reverse or noreverse; it is ignored"),
            )
            .token(*word),
        ),
    }
    Some(result)
}

/// Reads the tracking blocks of an instance or a group.
pub(super) fn read(
    node: &Node,
    name: &str,
    defined: &Defined,
    host: &Host,
    is_dynamic: bool,
    complaints: &mut Vec<Complaint>,
) -> Tracking {
    let mut tracking = Tracking::default();
    for list in &node.children {
        let (target, kind): (&mut Vec<Tracked>, &str) = match list.word {
            "track_interface" => (&mut tracking.interfaces, "interface"),
            "track_script" => (&mut tracking.scripts, "script"),
            "track_file" => (&mut tracking.files, "file"),
            "track_process" => (&mut tracking.processes, "process"),
            "track_bfd" => (&mut tracking.bfd, "BFD instance"),
            _ => continue,
        };
        for entry in &list.entries {
            let mut complain =
                |complaint: Complaint| complaints.push(complaint.at(entry.place).object(name));
            let Some((first, rest)) = entry.words.split_first() else {
                continue;
            };
            let default = match list.word {
                "track_interface" => {
                    if !host.interfaces.contains_key(first) && !is_dynamic {
                        complain(no_such_interface(first));
                        continue;
                    }
                    Some((0, false))
                }
                "track_script" => defined
                    .scripts
                    .get(first)
                    .map(|it| (it.weight, it.is_reverse)),
                "track_file" => defined
                    .files
                    .get(first)
                    .map(|it| (it.weight, it.is_reverse)),
                "track_process" => defined
                    .processes
                    .get(first)
                    .map(|it| (it.weight, it.is_reverse)),
                _ => defined.bfd.get(first).map(|weight| (*weight, false)),
            };
            let Some((default_weight, default_reverse)) = default else {
                complain(
                    Complaint::new(
                        Kind::NotDefined,
                        format!("there is no {kind} {first:?} to track before this line; the entry is ignored"),
                    )
                    .token(first)
                    .help("define it, above the instance that tracks it"),
                );
                continue;
            };
            if target.iter().any(|it| it.name == *first) {
                complain(
                    Complaint::new(
                        Kind::Duplicate,
                        format!("{first:?} is tracked already; the first entry counts"),
                    )
                    .token(first),
                );
                continue;
            }
            let Some(options) = options(rest, list.word, &mut complain) else {
                continue;
            };
            target.push(Tracked {
                name: first.clone(),
                weight: options.weight.unwrap_or(default_weight),
                is_reverse: options.is_reverse.unwrap_or(default_reverse),
            });
        }
    }
    tracking
}

/// A second, in microseconds.
const SECOND: u64 = 1_000_000;

/// Reads a `vrrp_script` block. `None` if it has no usable command.
pub(super) fn script(
    node: &Node,
    policy: &Policy<'_>,
    complaints: &mut Vec<Complaint>,
) -> Option<CheckScript> {
    let name = node.word_at(0)?.to_owned();
    let mut arguments = None;
    let mut account: Option<Option<Account>> = None;
    let mut result = CheckScript {
        name: name.clone(),
        script: Script {
            arguments: Vec::new(),
            account: Account { uid: 0, gid: 0 },
        },
        interval: SECOND,
        timeout: 0,
        weight: 0,
        is_reverse: false,
        rise: 1,
        fall: 1,
        init_fail: node.has("init_fail"),
    };
    for statement in &node.children {
        let mut complain = |complaint: Complaint| {
            complaints.push(complaint.at(statement.place).object(&name));
        };
        let value = node_number(statement);
        match statement.word {
            "script" => {
                arguments = script::arguments(statement, &mut complain);
            }
            "interval" | "timeout" => {
                // An invalid number leaves the setting as it was.
                let Some(time) = value.and_then(|it| u64::try_from(it).ok()) else {
                    continue;
                };
                if time == 0 {
                    complain(Complaint::new(
                        Kind::ValueInvalid,
                        format!("{}: 0 is too short; 1 second is used", statement.word),
                    ));
                }
                let time = if time == 0 { SECOND } else { time };
                if statement.word == "interval" {
                    result.interval = time;
                } else {
                    result.timeout = time;
                }
            }
            "weight" => script_weight(statement, &mut result, &mut complain),
            "rise" | "fall" => {
                let count = value
                    .and_then(|value| u32::try_from(value).ok())
                    .unwrap_or(1);
                if statement.word == "rise" {
                    result.rise = count;
                } else {
                    result.fall = count;
                }
            }
            "user" => {
                let user = statement.word_at(0).unwrap_or_default();
                let found = Host::account(user, statement.word_at(1));
                if found.is_none() {
                    complain(
                        Complaint::new(
                            Kind::ScriptUserUnknown,
                            format!("there is no user {user:?}; the script is not used"),
                        )
                        .token(user),
                    );
                }
                account = Some(found);
            }
            _ => {}
        }
    }
    let end = |complaint: Complaint| complaint.at(node.end).object(&name);
    let Some(arguments) = arguments else {
        complaints.push(end(Complaint::new(
            Kind::ScriptMissingBody,
            format!("vrrp_script {name} has no usable script; it is ignored"),
        )));
        return None;
    };
    let account = match account {
        Some(account) => account?,
        None if policy.default_account(node.end).is_none() => {
            complaints.push(end(Complaint::new(
                Kind::NoScriptUser,
                format!("there is nobody to run vrrp_script {name}; it is ignored"),
            )));
            return None;
        }
        None => policy.account?,
    };
    result.script = Script { arguments, account };
    Some(result)
}

/// Reads the weight of a script. A weight out of range gives a complaint, and is used.
fn script_weight(statement: &Node, result: &mut CheckScript, complain: &mut dyn FnMut(Complaint)) {
    let text = statement.word_at(0).unwrap_or_default();
    let allowed = Range::whole(-253, 253);
    let number = value::number(text, allowed);
    if number.problem.is_some() {
        complain(
            Complaint::new(
                Kind::NumberOutOfRange,
                format!("weight {text:?} is not in {}", allowed.describe()),
            )
            .token(text)
            .help("the highest priority is 254, so larger weights have no further effect"),
        );
    }
    let any = Range::whole(i64::from(i32::MIN), i64::from(i32::MAX)).lenient();
    let used = value::number(text, any).value.unwrap_or(0);
    result.weight = i32::try_from(used).unwrap_or(0);
    match statement.word_at(1) {
        None | Some("noreverse") => {}
        Some("reverse") => result.is_reverse = true,
        Some(word) => complain(
            Complaint::new(
                Kind::UnknownValue,
                format!("{word:?} is not reverse or noreverse"),
            )
            .token(word)
            .help("each keyword stands on a line of its own"),
        ),
    }
}

fn node_number(node: &Node) -> Option<i64> {
    match node.value {
        super::tree::Value::Number(number) => Some(number),
        _ => None,
    }
}

/// Reads a `track_file` block.
pub(super) fn file(node: &Node, complaints: &mut Vec<Complaint>) -> Option<TrackFile> {
    let name = node.word_at(0)?.to_owned();
    let Some(path) = node.text("file") else {
        complaints.push(
            Complaint::new(
                Kind::NotDefined,
                format!("track_file {name} names no file; it is ignored"),
            )
            .at(node.end)
            .object(&name),
        );
        return None;
    };
    let weight = node.last("weight");
    let initial = node.last("init_file");
    let initial = initial.map(|statement| initial_value(statement, complaints));
    Some(TrackFile {
        name,
        path: path.to_owned(),
        weight: weight
            .and_then(node_number)
            .and_then(|it| i32::try_from(it).ok())
            .unwrap_or(1),
        is_reverse: weight.is_some_and(|it| it.word_at(1) == Some("reverse")),
        initial,
    })
}

/// Reads `init_file [NUMBER] [overwrite]` in any order: the number that the file gets, and whether
/// it replaces the one that is there. An unusable word is ignored.
fn initial_value(statement: &Node, complaints: &mut Vec<Complaint>) -> (i64, bool) {
    let mut value = 0;
    let mut overwrites = false;
    for word in &statement.words {
        if word == "overwrite" {
            overwrites = true;
            continue;
        }
        let any = Range::whole(i64::from(i32::MIN), i64::from(i32::MAX));
        let number = value::number(word, any);
        match number.value {
            Some(given) if number.problem.is_none() => value = given,
            _ => complaints.push(
                Complaint::new(
                    Kind::ValueInvalid,
                    format!("init_file: {word:?} is neither a number nor overwrite; it is ignored"),
                )
                .at(statement.place)
                .token(word),
            ),
        }
    }
    (value, overwrites)
}

/// Reads the least and the greatest number of processes. Each value that contradicts the one before
/// it is ignored, except that no process may run where the least number is 1.
fn quorum(node: &Node, complaints: &mut Vec<Complaint>) -> (u32, Option<u32>) {
    let mut quorum = 1;
    let mut quorum_max = None;
    for statement in &node.children {
        let Some(number) = node_number(statement).and_then(|it| u32::try_from(it).ok()) else {
            continue;
        };
        let problem = match statement.word {
            "quorum" => match quorum_max.filter(|most| number > *most) {
                None => {
                    quorum = number;
                    continue;
                }
                Some(most) => format!("quorum {number} is more than quorum_max {most}"),
            },
            "quorum_max" if number >= quorum || (number, quorum) == (0, 1) => {
                quorum_max = Some(number);
                continue;
            }
            "quorum_max" => format!("quorum_max {number} is less than quorum {quorum}"),
            _ => continue,
        };
        complaints.push(
            Complaint::new(Kind::ValueInvalid, format!("{problem}; it is ignored"))
                .at(statement.place)
                .token(number.to_string()),
        );
    }
    (quorum, quorum_max)
}

/// Reads a `vrrp_track_process` block.
pub(super) fn process(node: &Node, complaints: &mut Vec<Complaint>) -> Option<TrackProcess> {
    let name = node.word_at(0)?.to_owned();
    let statement = node.last("process");
    let process = statement.map(|it| it.words.clone()).unwrap_or_default();
    if process.is_empty() {
        complaints.push(
            Complaint::new(
                Kind::NotDefined,
                format!("vrrp_track_process {name} names no process; it is ignored"),
            )
            .at(node.end)
            .object(&name),
        );
        return None;
    }
    for again in node.children_of("process").skip(1) {
        complaints.push(
            Complaint::new(Kind::Duplicate, "the process is named already")
                .at(again.place)
                .object(&name),
        );
    }
    let command_match = command_match(node, process.len() > 1, complaints);
    if command_match == CommandMatch::Name
        && let (Some(statement), Some(program)) = (statement, process.first())
        && (program.starts_with('/') || program.len() > LONGEST_PROCESS_NAME)
    {
        let advice = Complaint::advice(
            format!(
                "no process is named {program:?}: a name has no folder and at most {LONGEST_PROCESS_NAME} octets"
            ),
            "add full_command, which compares the first argument of the command line",
        );
        complaints.push(advice.at(statement.place).object(&name));
    }
    let weight = node.last("weight");
    let (quorum, quorum_max) = quorum(node, complaints);
    let (terminate_delay, fork_delay) = delays(node);
    Some(TrackProcess {
        name,
        process,
        command_match,
        weight: weight
            .and_then(node_number)
            .and_then(|it| i32::try_from(it).ok())
            .unwrap_or(0),
        is_reverse: weight.is_some_and(|it| it.word_at(1) == Some("reverse")),
        quorum,
        quorum_max,
        terminate_delay,
        fork_delay,
    })
}

/// Reads how processes are compared. Parameters and `param_match` imply `full_command`.
fn command_match(
    node: &Node,
    has_parameters: bool,
    complaints: &mut Vec<Complaint>,
) -> CommandMatch {
    let statement = node.last("param_match");
    match statement.map(|it| (it, it.word_at(0))) {
        Some((_, None)) => return CommandMatch::Exact,
        Some((_, Some("partial"))) => return CommandMatch::Partial,
        Some((_, Some("initial"))) => return CommandMatch::Initial,
        Some((statement, Some(word))) => complaints.push(
            Complaint::new(
                Kind::UnknownValue,
                format!("param_match {word:?} is neither initial nor partial; it is ignored"),
            )
            .at(statement.place)
            .token(word),
        ),
        None => {}
    }
    if has_parameters {
        CommandMatch::Exact
    } else if node.has("full_command") {
        CommandMatch::Program
    } else {
        CommandMatch::Name
    }
}

/// Reads the delays after the end and after the start of a process, in microseconds. `delay` sets
/// both, and the last statement of each counts.
fn delays(node: &Node) -> (i64, i64) {
    let (mut terminate, mut fork) = (0, 0);
    for statement in &node.children {
        let Some(time) = node_number(statement) else {
            continue;
        };
        match statement.word {
            "delay" => (terminate, fork) = (time, time),
            "terminate_delay" => terminate = time,
            "fork_delay" => fork = time,
            _ => {}
        }
    }
    (terminate, fork)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keepalived_conf::{
        complaint::Weight,
        tests::{read_on, with_eth0},
    };

    #[test]
    fn the_greatest_number_of_processes_is_not_below_the_least() {
        for (statements, lines, expected) in [
            ("quorum 5\nquorum_max 3", vec![4], (5, None)),
            ("quorum_max 3\nquorum 5", vec![4], (1, Some(3))),
            ("quorum_max 3\nquorum 5\nquorum 2", vec![4], (2, Some(3))),
            ("quorum 5\nquorum_max 5", vec![], (5, Some(5))),
            ("quorum_max 0", vec![], (1, Some(0))),
            ("quorum_max 0\nquorum 1", vec![4], (1, Some(0))),
        ] {
            let text = format!(
                "vrrp_track_process p {{\nprocess x\n{statements}\n}}\n\
                 vrrp_instance I {{\ninterface eth0\nvirtual_router_id 51\n\
                 virtual_ipaddress {{\n10.0.0.100/24\n}}\ntrack_process {{\np\n}}\n}}\n"
            );
            let reading = read_on(&with_eth0(), &text);
            let places = reading.complaints.iter().filter_map(|it| it.place);
            let found: Vec<usize> = places.map(|it| it.line).collect();
            assert_eq!(found, lines, "{statements}: {:?}", reading.complaints);
            let process = &reading.configuration.track_processes[0];
            assert_eq!(
                (process.quorum, process.quorum_max),
                expected,
                "{statements}"
            );
        }
    }

    /// The block `p` with these statements, and the lines and weights of all complaints.
    fn read_process(statements: &str) -> (TrackProcess, Vec<(usize, Weight)>) {
        let text = format!(
            "vrrp_track_process p {{\n{statements}\n}}\n\
             vrrp_instance I {{\ninterface eth0\nvirtual_router_id 51\n\
             virtual_ipaddress {{\n10.0.0.100/24\n}}\n}}\n"
        );
        let reading = read_on(&with_eth0(), &text);
        let complaints = reading.complaints.iter();
        let found = complaints.filter_map(|it| Some((it.place?.line, it.weight)));
        let found = found.collect();
        (reading.configuration.track_processes[0].clone(), found)
    }

    #[test]
    fn parameters_and_param_match_compare_the_command_line_in_place_of_the_name() {
        for (statements, expected) in [
            ("process x", CommandMatch::Name),
            ("process x\nfull_command", CommandMatch::Program),
            ("process x a", CommandMatch::Exact),
            ("process x a\nfull_command", CommandMatch::Exact),
            ("process x\nparam_match", CommandMatch::Exact),
            ("process x a\nparam_match partial", CommandMatch::Partial),
            ("process x\nparam_match initial", CommandMatch::Initial),
        ] {
            let (process, complaints) = read_process(statements);
            assert_eq!(process.command_match, expected, "{statements}");
            assert_eq!(complaints, [], "{statements}");
        }
    }

    #[test]
    fn an_unknown_param_match_is_ignored() {
        for (statements, expected) in [
            ("process x\nparam_match exact", CommandMatch::Name),
            ("process x a\nparam_match bogus", CommandMatch::Exact),
        ] {
            let (process, complaints) = read_process(statements);
            assert_eq!(process.command_match, expected, "{statements}");
            assert_eq!(complaints, [(3, Weight::Error)], "{statements}");
        }
    }

    #[test]
    fn a_name_that_no_process_can_have_is_advised_against() {
        for (statements, has_advice) in [
            ("process /usr/sbin/nginx", true),
            ("process a-very-long-program", true),
            ("process a-very-long-pro", false),
            ("process /usr/sbin/nginx\nfull_command", false),
            ("process /usr/sbin/nginx -g x", false),
        ] {
            let (_, complaints) = read_process(statements);
            let expected: &[_] = if has_advice {
                &[(2, Weight::Advice)]
            } else {
                &[]
            };
            assert_eq!(complaints, expected, "{statements}");
        }
    }

    #[test]
    fn of_the_delays_of_a_process_the_last_statement_counts() {
        for (statements, expected) in [
            ("", (0, 0)),
            ("delay 1.5", (1_500_000, 1_500_000)),
            ("delay 1.5\nfork_delay 0.25", (1_500_000, 250_000)),
            ("fork_delay 0.25\ndelay 1.5", (1_500_000, 1_500_000)),
            ("terminate_delay 2", (2_000_000, 0)),
        ] {
            let (process, _) = read_process(&format!("process x\n{statements}"));
            let delays = (process.terminate_delay, process.fork_delay);
            assert_eq!(delays, expected, "{statements}");
        }
    }
}
