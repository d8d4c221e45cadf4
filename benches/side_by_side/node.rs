//! The routers of one side, in one process.

use std::{env, fs};

use vrrp_benches::{
    Error, Subprocess,
    process::{self, Memory},
    ready,
    side_by_side::case::{Case, Side},
};
use vrrp_lab::{Keepalived, Namespace};
use vrrp_net::Driver;

use crate::bare;

/// The arguments with which the program calls itself.
const DRIVER: &str = "--driver";
const BARE: &str = "--bare";
const BARE_FRAMES: &str = "--bare-frames";

/// The program that runs the routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Driver,
    /// The installed one.
    Keepalived,
    /// The one that `RECENT_KEEPALIVED` names.
    RecentKeepalived,
    /// No routers, but a loop that sends the packets of the Active's routers.
    Bare,
    /// The same by a packet socket.
    BareFrames,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Keepalived => "keepalived",
            Self::RecentKeepalived => "recent keepalived",
            Self::Bare => "bare loop, raw socket",
            Self::BareFrames => "bare loop, packet socket",
        }
    }
}

/// A running program.
pub(crate) enum Node {
    Subprocess(Subprocess),
    Keepalived {
        program: Keepalived,
        /// The process with the routers, then the one that it was forked from.
        ids: [u32; 2],
    },
}

impl Node {
    /// Returns once it has read its configuration and receives packets.
    pub(crate) fn start(
        program: Program,
        namespace: &Namespace,
        case: Case,
        side: Side,
    ) -> Result<Self, Error> {
        let role = match program {
            Program::Driver => DRIVER,
            Program::Bare => BARE,
            Program::BareFrames => BARE_FRAMES,
            Program::Keepalived | Program::RecentKeepalived => {
                let conf = case.keepalived_conf(side.priority());
                let program = if program == Program::Keepalived {
                    Keepalived::start(namespace, &conf)?
                } else {
                    Keepalived::start_recent(namespace, &conf)?
                };
                let id = |file: &str| -> Result<u32, Error> {
                    let id = fs::read_to_string(program.folder().join(file))?;
                    Ok(id.trim().parse()?)
                };
                let ids = [id("vrrp.pid")?, id("pid")?];
                return Ok(Self::Keepalived { program, ids });
            }
        };
        let mut command = namespace.command(env::current_exe()?);
        command.arg(role).args(
            [side.priority().into(), case.routers, case.interval].map(|number| number.to_string()),
        );
        Subprocess::start(command).map(Self::Subprocess)
    }

    /// The process with the routers.
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Subprocess(subprocess) => subprocess.id(),
            Self::Keepalived { ids: [id, _], .. } => *id,
        }
    }

    /// The memory of all its processes.
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        match self {
            Self::Subprocess(subprocess) => process::memory(&[subprocess.id()]),
            Self::Keepalived { ids, .. } => process::memory(ids),
        }
    }

    /// By SIGKILL.
    pub(crate) fn kill(self) -> Result<(), Error> {
        match self {
            Self::Subprocess(subprocess) => subprocess.kill(),
            Self::Keepalived { program, .. } => {
                program.kill();
                Ok(())
            }
        }
    }

    /// In order: it resigns. keepalived is killed where that takes it more than 10 s.
    pub(crate) fn stop(self) -> Result<(), Error> {
        match self {
            Self::Subprocess(subprocess) => subprocess.stop(),
            Self::Keepalived { program, .. } => match program.stop() {
                Ok(()) | Err(vrrp_lab::Error::Timeout { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }
}

/// Runs as a node if the arguments ask for that, and returns whether they did.
pub(crate) fn run(arguments: &[String]) -> Result<bool, Error> {
    let [_, role, priority, routers, interval] = arguments else {
        return Ok(false);
    };
    let case = Case {
        routers: routers.parse()?,
        interval: interval.parse()?,
        flaps: false,
    };
    match role.as_str() {
        DRIVER => run_driver(case, priority.parse()?)?,
        BARE => bare::run(case, priority.parse()?)?,
        BARE_FRAMES => bare::run_with_frames(case, priority.parse()?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn run_driver(case: Case, priority: u8) -> Result<(), Error> {
    let mut driver = Driver::new()?;
    for config in case.configs(priority)? {
        driver.add(config)?;
    }
    let stop = driver.handle();
    ready(move || stop.stop())?;
    driver.run(|_| {})?;
    Ok(())
}
