//! Intentional differences from keepalived.

use crate::Program;

/// A step that ends with another table, or a scenario with other calls of notify scripts.
pub(crate) struct Difference {
    pub(crate) programs: &'static [Program],
    pub(crate) scenario: &'static str,
    /// A part of the step.
    pub(crate) step: &'static str,
    /// The recording that differs; empty for both.
    pub(crate) version: &'static str,
    /// The table at the end of the step.
    pub(crate) table: &'static str,
    /// Calls of notify scripts beyond those of keepalived.
    pub(crate) notes: &'static [&'static str],
}

const BOTH: &[Program] = &Program::ALL;
const LOAD_BALANCER: &[Program] = &[Program::LoadBalancer];

/// All differences.
pub(crate) const DIFFERENCES: &[Difference] = &[
    // The table is right from the start, whatever it contained before. Foreign services stay.
    Difference {
        programs: BOTH,
        scenario: "existing",
        step: "start",
        version: "",
        table: THREE_AND_FOREIGN,
        notes: &[],
    },
    // The load balancer never flushes: foreign services stay.
    Difference {
        programs: LOAD_BALANCER,
        scenario: "existing_flush",
        step: "start",
        version: "",
        table: THREE_AND_FOREIGN,
        notes: &[],
    },
    Difference {
        programs: LOAD_BALANCER,
        scenario: "existing_flush",
        step: "stop",
        version: "",
        table: FOREIGN,
        notes: &[],
    },
    Difference {
        programs: LOAD_BALANCER,
        scenario: "existing_flush",
        step: "sh ipvsadm -Ln",
        version: "",
        table: FOREIGN,
        notes: &[],
    },
    // A change by another program is undone within a second.
    Difference {
        programs: BOTH,
        scenario: "tampered",
        step: "sh ipvsadm -d",
        version: "",
        table: THREE,
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "tampered",
        step: "sh ipvsadm -C",
        version: "",
        table: THREE,
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "tampered",
        step: "server rs2 http {'state': 'refuse'}",
        version: "",
        table: "
            tcp 10.0.0.100 80 10.1.0.11 80 weight 1
            tcp 10.0.0.100 80 10.1.0.13 80 weight 1
            tcp 10.0.0.100 80 rr
        ",
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "tampered",
        step: "server rs2 http {'state': 'up'}",
        version: "",
        table: THREE,
        // keepalived calls it once it has added the server, which is never possible.
        notes: &["rs2 up"],
    },
    Difference {
        programs: BOTH,
        scenario: "tampered",
        step: "sh ipvsadm -Ln",
        version: "",
        table: THREE,
        notes: &[],
    },
    // One time limit covers the whole attempt, so a server that trickles is down.
    Difference {
        programs: LOAD_BALANCER,
        scenario: "slow",
        step: "trickle",
        version: "",
        table: "
            tcp 10.0.0.100 80 10.1.0.12 80 weight 1
            tcp 10.0.0.100 80 10.1.0.13 80 weight 1
            tcp 10.0.0.100 80 rr
        ",
        notes: &["rs1 down"],
    },
    // keepalived 2.2.7 forgets services of a group that changed; its later versions do not.
    Difference {
        programs: BOTH,
        scenario: "group",
        step: "conf; signal HUP",
        version: "2.2.7",
        table: "
            tcp 10.0.0.100 80 10.1.0.12 80 weight 1
            tcp 10.0.0.100 80 rr
            tcp 10.0.0.101 80 10.1.0.12 80 weight 1
            tcp 10.0.0.101 80 rr
            tcp 10.0.0.102 80 10.1.0.12 80 weight 1
            tcp 10.0.0.102 80 rr
            tcp 10.0.0.104 80 10.1.0.12 80 weight 1
            tcp 10.0.0.104 80 rr
        ",
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "group",
        step: "server rs1 http {'state': 'up'}",
        version: "2.2.7",
        table: "
            tcp 10.0.0.100 80 10.1.0.11 80 weight 1
            tcp 10.0.0.100 80 10.1.0.12 80 weight 1
            tcp 10.0.0.100 80 rr
            tcp 10.0.0.101 80 10.1.0.11 80 weight 1
            tcp 10.0.0.101 80 10.1.0.12 80 weight 1
            tcp 10.0.0.101 80 rr
            tcp 10.0.0.102 80 10.1.0.11 80 weight 1
            tcp 10.0.0.102 80 10.1.0.12 80 weight 1
            tcp 10.0.0.102 80 rr
            tcp 10.0.0.104 80 10.1.0.11 80 weight 1
            tcp 10.0.0.104 80 10.1.0.12 80 weight 1
            tcp 10.0.0.104 80 rr
        ",
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "group",
        step: "stop",
        version: "2.2.7",
        table: "",
        notes: &[],
    },
    Difference {
        programs: BOTH,
        scenario: "group",
        step: "end",
        version: "2.2.7",
        table: "",
        notes: &[],
    },
];

/// The table in most scenarios.
const THREE: &str = "
    tcp 10.0.0.100 80 10.1.0.11 80 weight 1
    tcp 10.0.0.100 80 10.1.0.12 80 weight 1
    tcp 10.0.0.100 80 10.1.0.13 80 weight 1
    tcp 10.0.0.100 80 rr
";

/// That table together with a service that the configuration does not have.
const THREE_AND_FOREIGN: &str = "
    tcp 10.0.0.100 80 10.1.0.11 80 weight 1
    tcp 10.0.0.100 80 10.1.0.12 80 weight 1
    tcp 10.0.0.100 80 10.1.0.13 80 weight 1
    tcp 10.0.0.100 80 rr
    tcp 10.0.0.100 8080 10.1.0.13 80 weight 1
    tcp 10.0.0.100 8080 rr
";

/// A service that the configuration does not have.
const FOREIGN: &str = "
    tcp 10.0.0.100 8080 10.1.0.13 80 weight 1
    tcp 10.0.0.100 8080 rr
";

/// A step in which fewer requests fail than with keepalived.
pub(crate) struct Fewer {
    pub(crate) programs: &'static [Program],
    pub(crate) scenario: &'static str,
    /// A part of the step.
    pub(crate) step: &'static str,
    pub(crate) at_most: usize,
    pub(crate) reason: &'static str,
}

/// All such steps.
pub(crate) const FEWER: &[Fewer] = &[
    Fewer {
        programs: BOTH,
        scenario: "sorry",
        step: "server rs2 http {'state': 'up'}",
        // A request that is under way is lost with the sorry server, as with keepalived.
        at_most: 1,
        reason: "the server is in before the sorry server is out",
    },
    Fewer {
        programs: BOTH,
        scenario: "quorum_sorry",
        step: "server rs1 http {'state': 'up'}",
        at_most: 1,
        reason: "the servers are in before the sorry server is out",
    },
    Fewer {
        programs: BOTH,
        scenario: "tampered",
        step: "sh ipvsadm -C",
        at_most: 25,
        reason: "the table is right again within a second",
    },
    Fewer {
        programs: LOAD_BALANCER,
        scenario: "vrrp",
        step: "stop",
        at_most: 3,
        reason: "a standby checks too, so it knows the dead server when it takes over",
    },
    Fewer {
        programs: LOAD_BALANCER,
        scenario: "vrrp",
        step: "start dir",
        at_most: 3,
        reason: "a host that comes back checks before it takes over",
    },
];
