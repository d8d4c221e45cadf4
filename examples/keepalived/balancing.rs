//! The thread that runs the virtual servers.

use std::{
    process::Command,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use ipvs_netlink::pool::{Cause, Change, Event};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vrrp_examples::{
    balancer::{Balancer, Notice, Options, Stop},
    command::Limits,
    keepalived::balance::{Balance, Scripts},
    keepalived_conf::script::Script,
    notify::{Notifier, Order, Report},
};

use crate::{Error, log::Log, watch::command_of};

/// The time limit of a notify script, and the time from SIGTERM to SIGKILL.
const LIMITS: Limits = Limits {
    run: Duration::from_secs(300),
    grace: Duration::from_secs(2),
};

/// Scripts that wait, at most.
const WAITING: usize = 4096;

/// How long scripts may run once the daemon ends.
const AT_THE_END: Duration = Duration::from_secs(5);

enum Instruction {
    Reconfigure(Box<Balance>),
    Stop(Stop),
}

/// The thread. Dropping this leaves the kernel's table as it is.
pub(crate) struct Balancing {
    orders: UnboundedSender<Instruction>,
    thread: Option<JoinHandle<()>>,
}

impl Balancing {
    /// Starts the thread, which adopts the kernel's table.
    pub(crate) fn start(balance: Balance, log: Log) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (orders, receiver) = unbounded_channel();
        let serve = move || runtime.block_on(run(balance, receiver, &log));
        let thread = thread::Builder::new().name("balance".into()).spawn(serve)?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Takes up another configuration.
    pub(crate) fn reconfigure(&self, balance: Balance) {
        // It fails where the thread has ended, which it has logged.
        let _ = self
            .orders
            .send(Instruction::Reconfigure(Box::new(balance)));
    }

    /// Ends the thread; the services go, unless they are to stay.
    pub(crate) fn end(mut self, keeps_services: bool) {
        let stop = if keeps_services {
            Stop::Leave
        } else {
            Stop::Remove
        };
        let _ = self.orders.send(Instruction::Stop(stop));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn run(balance: Balance, mut orders: UnboundedReceiver<Instruction>, log: &Log) {
    let mut hooks = Hooks::of(&balance);
    let Some(runner) = runner(log) else { return };
    let mut balancer = match Balancer::open(balance.config, Options::default()).await {
        Ok(balancer) => balancer,
        Err(error) => {
            log.warning(&format!("virtual servers do not run: {error}"));
            return;
        }
    };
    let mut is_open = true;
    loop {
        tokio::select! {
            order = orders.recv(), if is_open => match order {
                Some(Instruction::Reconfigure(balance)) => {
                    hooks = hooks.followed_by(Hooks::of(&balance));
                    if let Err(error) = balancer.reconfigure(balance.config) {
                        log.warning(&error.to_string());
                    }
                }
                Some(Instruction::Stop(stop)) => balancer.stop(stop),
                None => {
                    is_open = false;
                    balancer.stop(Stop::Leave);
                }
            },
            notice = balancer.next() => match notice {
                Some(Notice::Event(event)) => {
                    log.info(&event.to_string());
                    if let Some(script) = hooks.script(&event) {
                        runner.push(script.clone());
                    }
                }
                Some(Notice::Changed(step)) => log.detail(&step.to_string()),
                Some(Notice::Compared) => {}
                Some(notice) => log.warning(&notice.to_string()),
                None => break,
            },
        }
    }
    runner.stop(AT_THE_END);
    while !runner.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The thread that runs scripts, one after the other.
fn runner(log: &Log) -> Option<Notifier<Arc<Script>>> {
    let command =
        |script: &Arc<Script>| command_of(script).unwrap_or_else(|| Command::new("/nonexistent"));
    let log_of_runner = log.clone();
    let report = move |report: Report<'_, Arc<Script>>| match report {
        Report::Failed(script, failure, output) => {
            let text = format!("{}: {failure} {output}", script.arguments.join(" "));
            log_of_runner.warning(text.trim_end());
        }
        Report::Overtaken(script) | Report::LeftOut(script) => {
            log_of_runner.warning(&format!("{}: not run", script.arguments.join(" ")));
        }
        Report::Finished => {}
    };
    match Notifier::start(Order::Each(WAITING), LIMITS, command, report) {
        Ok(runner) => Some(runner),
        Err(error) => {
            log.warning(&format!("no thread for scripts: {error}"));
            None
        }
    }
}

/// The scripts of servers and services.
struct Hooks {
    servers: Vec<(
        (ipvs_netlink::ServiceKey, ipvs_netlink::DestinationKey),
        Scripts,
    )>,
    services: Vec<(ipvs_netlink::ServiceKey, Scripts)>,
}

impl Hooks {
    fn of(balance: &Balance) -> Self {
        Self {
            servers: balance.servers.clone().into_iter().collect(),
            services: balance.services.clone().into_iter().collect(),
        }
    }

    /// The next scripts, with those of servers that leave: the reload reports them as down.
    fn followed_by(self, mut next: Self) -> Self {
        for (key, scripts) in self.servers {
            if !next.servers.iter().any(|(its, _)| *its == key) {
                next.servers.push((key, scripts));
            }
        }
        next
    }

    /// The script for an event, if there is one.
    fn script(&self, event: &Event) -> Option<Arc<Script>> {
        let server = |key| {
            let found = self
                .servers
                .iter()
                .find(|(its, _)| *its == (event.service, key));
            found.map(|(_, scripts)| scripts)
        };
        let service = || {
            let found = self.services.iter().find(|(its, _)| *its == event.service);
            found.map(|(_, scripts)| scripts)
        };
        let script = match event.change {
            // A server that is up from the start or from a reload on has no event in keepalived.
            Change::ServerUp(_) if event.cause == Cause::Configuration => None,
            Change::ServerUp(key) => server(key)?.up.clone(),
            Change::ServerDown(key)
            | Change::ServerRemoved {
                server: key,
                was_up: true,
            } => server(key)?.down.clone(),
            Change::QuorumGained(_) => service()?.up.clone(),
            Change::QuorumLost(_) => service()?.down.clone(),
            _ => None,
        };
        script.map(Arc::new)
    }
}
