//! The thread that runs the virtual servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ipvs_netlink::{ServiceKey, pool::VirtualServer};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vrrp_examples::{
    balancer::{Balancer, Notice, Options, Stop, TableNamespace},
    control::Control,
    keepalived::{
        balance::Balance,
        mail::Alert,
        server_event::{Names, ServerEvent},
    },
    memory,
    status::History,
};

use crate::{
    Error,
    fifo::Writer,
    handed_over::{HandedOver, process_of},
    ipvs_settings::Settings,
    log::Log,
    mail::Mailer,
    scripts::{self, HANDED_OVER, Runner},
};

/// The most scripts that may wait.
const WAITING: usize = 4096;

/// How long a successor waits for the port of the pages.
const PAGE_PATIENCE: Duration = Duration::from_secs(1);

/// The pause before another look at something that reports no event.
const PAUSE: Duration = Duration::from_millis(5);

/// How long all scripts together may run once the daemon ends.
const AT_THE_END: Duration = Duration::from_secs(20);

enum Instruction {
    Reconfigure(Box<Balance>),
    /// The addresses of this host.
    Present(BTreeSet<IpAddr>),
    /// Whether the instance of `lvs_sync_daemon` is Active.
    Active(bool),
    Stop(Ending),
    /// Leaves scripts after a hand-over the time that they have at any other end.
    Hurry,
    /// Sends the state to a successor, and ends.
    HandOver(UnixStream),
}

/// How the thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Services are removed, and settings of the kernel are restored.
    Remove,
    /// Services stay, and settings of the kernel are restored.
    KeepServices,
    /// Everything stays.
    LeaveAll,
}

/// The host as the thread finds it.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The addresses of this host, as far as `ha_suspend` needs them.
    pub(crate) present: BTreeSet<IpAddr>,
    /// Whether the instance of `lvs_sync_daemon` is Active.
    pub(crate) is_active: bool,
    /// Whether another daemon ran before this one and left everything in place.
    pub(crate) is_successor: bool,
    /// The connection with that daemon, which sends its virtual servers.
    pub(crate) predecessor: Option<UnixStream>,
    /// The network namespace of the table.
    pub(crate) namespace: TableNamespace,
}

/// The thread. Dropping this leaves the kernel's table as it is.
pub(crate) struct Balancing {
    orders: UnboundedSender<Instruction>,
    thread: Option<JoinHandle<()>>,
}

impl Balancing {
    /// Starts the thread, which adopts the kernel's table.
    pub(crate) fn start(
        balance: Balance,
        surroundings: Surroundings,
        fifos: Vec<Writer>,
        page: Option<SocketAddr>,
        mailer: Mailer,
        log: Log,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (orders, receiver) = unbounded_channel();
        let serve = move || {
            let runner = match scripts::start(WAITING, log.clone()) {
                Ok(runner) => runner,
                Err(error) => return log.warning(&format!("no thread for scripts: {error}")),
            };
            let run = Run {
                names: Names::default(),
                names_before: Names::default(),
                suspending: BTreeMap::new(),
                settings: Settings::new(surroundings.namespace.clone()),
                surroundings,
                fifos,
                page,
                mailer,
                runner,
                is_handed_over: false,
                is_new: false,
                log,
            };
            // As a task, since to wake the future of `block_on` takes a system call.
            let task = runtime.spawn(run.serve(balance, receiver));
            let _ = runtime.block_on(task);
        };
        let thread = thread::Builder::new().name("balance".into()).spawn(serve)?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Applies a new configuration.
    pub(crate) fn reconfigure(&self, balance: Balance) {
        self.send(Instruction::Reconfigure(Box::new(balance)));
    }

    /// Reports the addresses of this host.
    pub(crate) fn set_present(&self, present: BTreeSet<IpAddr>) {
        self.send(Instruction::Present(present));
    }

    /// Reports the state of the instance of `lvs_sync_daemon`.
    pub(crate) fn set_active(&self, is_active: bool) {
        self.send(Instruction::Active(is_active));
    }

    /// Ends the thread. Scripts of a daemon that was handed over may take long, until it must stop.
    pub(crate) fn end(mut self, ending: Ending, must_stop: &dyn Fn() -> bool) {
        self.send(Instruction::Stop(ending));
        let is_running = |thread: &JoinHandle<()>| !thread.is_finished();
        while ending == Ending::LeaveAll && self.thread.as_ref().is_some_and(is_running) {
            if must_stop() {
                self.send(Instruction::Hurry);
                break;
            }
            thread::sleep(PAUSE);
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }

    /// Sends the state to a successor. From then on the table is left as it is.
    pub(crate) fn hand_over(&self, successor: UnixStream) {
        self.send(Instruction::HandOver(successor));
    }

    fn send(&self, instruction: Instruction) {
        // It fails only if the thread has ended, which the thread has logged.
        let _ = self.orders.send(instruction);
    }
}

/// The state of the running thread.
struct Run {
    names: Names,
    /// The names of the previous configuration.
    names_before: Names,
    suspending: BTreeMap<ServiceKey, IpAddr>,
    settings: Settings,
    surroundings: Surroundings,
    fifos: Vec<Writer>,
    page: Option<SocketAddr>,
    mailer: Mailer,
    runner: Runner,
    is_handed_over: bool,
    /// Whether the table has not been compared with this configuration yet.
    is_new: bool,
    log: Log,
}

impl Run {
    async fn serve(mut self, balance: Balance, mut orders: UnboundedReceiver<Instruction>) {
        if let Err(error) = self.run(balance, &mut orders).await {
            self.log
                .warning(&format!("virtual servers do not run: {error}"));
        }
        self.runner.stop(if self.is_handed_over {
            HANDED_OVER
        } else {
            AT_THE_END
        });
        while !self.runner.is_finished() {
            if let Ok(Instruction::Hurry) = orders.try_recv() {
                self.runner.stop(AT_THE_END);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn run(
        &mut self,
        balance: Balance,
        orders: &mut UnboundedReceiver<Instruction>,
    ) -> Result<(), Error> {
        let inheritance = self.inherit();
        let mut balance = balance;
        if inheritance.is_none() {
            // Without virtual servers, no requests are sent to the kernel.
            while balance.is_empty() {
                match orders.recv().await {
                    Some(Instruction::Reconfigure(other)) => balance = *other,
                    Some(Instruction::Present(present)) => self.surroundings.present = present,
                    Some(Instruction::Active(is)) => self.surroundings.is_active = is,
                    Some(Instruction::Hurry) => {}
                    Some(Instruction::Stop(_) | Instruction::HandOver(_)) | None => return Ok(()),
                }
            }
        }
        balance = copy(balance);
        let config = std::mem::take(&mut balance.config);
        self.take_up(balance);
        if let Some(inheritance) = &inheritance {
            let before = inheritance.timeouts_before();
            self.settings.resume(before, inheritance.has_daemons);
        }
        self.settings.apply_timeouts(&self.log).await;
        if !self.surroundings.is_successor {
            let services = config.services.iter();
            let configured: Vec<ServiceKey> = services.map(VirtualServer::key).collect();
            self.settings.flush(&configured).await?;
        }
        let options = Options {
            predecessor: inheritance.map(|it| it.balancer),
            namespace: self.surroundings.namespace.clone(),
            ..Options::default()
        };
        let mut balancer = Balancer::open(config, options).await?;
        self.suspend(&mut balancer);
        self.set_daemons(&mut balancer);
        let mut control = self.listen().await;
        // Without an address for pages, nobody reads it.
        let mut history = self.page.map(|_| History::new());
        self.is_new = true;
        let mut ending = None;
        loop {
            tokio::select! {
                order = orders.recv(), if ending.is_none() => {
                    let stop = match order {
                        Some(Instruction::Stop(ending)) => ending,
                        Some(Instruction::HandOver(successor)) => {
                            ending = Some(Ending::LeaveAll);
                            self.is_handed_over = true;
                            self.hand_over(&mut balancer, &successor).await;
                            continue;
                        }
                        None => Ending::LeaveAll,
                        Some(order) => {
                            self.obey(order, &mut balancer).await;
                            continue;
                        }
                    };
                    ending = Some(stop);
                    if stop != Ending::LeaveAll && self.settings.has_daemons() {
                        balancer.set_daemons(Vec::new());
                    }
                    balancer.stop(match stop {
                        Ending::Remove => Stop::Remove,
                        Ending::KeepServices | Ending::LeaveAll => Stop::Leave,
                    });
                }
                request = control.next() => if let Some(history) = &history {
                    let page = request.question.answer(history, &mut balancer, Vec::new());
                    request.answer(page);
                },
                notice = balancer.next() => match notice {
                    Some(notice) => {
                        if let Some(history) = &mut history {
                            history.note(&notice, &balancer);
                        }
                        if self.is_new && matches!(notice, Notice::Compared(_)) {
                            self.is_new = false;
                            memory::return_unused();
                        }
                        self.report(notice);
                    }
                    None => break,
                },
            }
        }
        match ending {
            Some(Ending::Remove) => self.settings.end(true, &self.log).await,
            Some(Ending::KeepServices) => self.settings.end(false, &self.log).await,
            Some(Ending::LeaveAll) | None => {}
        }
        Ok(())
    }

    /// Receives the virtual servers of the previous daemon.
    fn inherit(&mut self) -> Option<HandedOver> {
        let predecessor = self.surroundings.predecessor.take()?;
        let received = HandedOver::receive(&predecessor).unwrap_or_else(|error| {
            self.log
                .warning(&format!("checks of the daemon before begin again: {error}"));
            None
        })?;
        if let Some(process) = process_of(&predecessor).filter(|_| received.is_busy) {
            self.runner.push(scripts::end_of(process));
        }
        Some(received)
    }

    /// Sends the virtual servers to the next daemon.
    async fn hand_over(&self, balancer: &mut Balancer, successor: &UnixStream) {
        let state = balancer.hand_over().await;
        let timeouts_before = self.settings.timeouts_before();
        let has_daemons = self.settings.has_daemons();
        let is_busy = !self.runner.is_idle();
        let state = HandedOver::new(state, timeouts_before, has_daemons, is_busy);
        if let Err(error) = state.send(successor) {
            self.log
                .warning(&format!("the checks were not handed over: {error}"));
        }
    }

    /// Applies a new configuration, except its pool.
    fn take_up(&mut self, balance: Balance) {
        self.names_before = std::mem::replace(&mut self.names, balance.names);
        self.suspending = balance.suspending;
        self.settings.replace(balance.kernel);
    }

    /// Opens the port for pages. The virtual servers run without it too.
    async fn listen(&self) -> Control {
        let mut control = Control::new();
        let Some(page) = self.page else {
            return control;
        };
        let end = Instant::now() + PAGE_PATIENCE;
        let result = loop {
            match control.listen_tcp(page).await {
                // The daemon before has it until it has ended.
                Err(error)
                    if error.kind() == ErrorKind::AddrInUse
                        && self.surroundings.is_successor
                        && Instant::now() < end =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                result => break result,
            }
        };
        if let Err(error) = result {
            self.log.warning(&format!("--page {page}: {error}"));
        }
        control
    }

    async fn obey(&mut self, order: Instruction, balancer: &mut Balancer) {
        match order {
            Instruction::Reconfigure(balance) => {
                let mut balance = copy(*balance);
                let config = std::mem::take(&mut balance.config);
                if let Err(error) = balancer.reconfigure(config) {
                    self.log.warning(&error.to_string());
                    return;
                }
                self.take_up(balance);
                self.is_new = true;
                self.settings.apply_timeouts(&self.log).await;
                self.suspend(balancer);
                self.set_daemons(balancer);
            }
            Instruction::Present(present) => {
                self.surroundings.present = present;
                self.suspend(balancer);
            }
            Instruction::Active(is_active) => {
                self.surroundings.is_active = is_active;
                self.set_daemons(balancer);
            }
            Instruction::Stop(_) | Instruction::Hurry | Instruction::HandOver(_) => {}
        }
    }

    /// Suspends the checks of services whose address is not on this host.
    fn suspend(&self, balancer: &mut Balancer) {
        let services: Vec<ServiceKey> = self.names.services.keys().copied().collect();
        for service in services {
            let address = self.suspending.get(&service);
            let is_away = address.is_some_and(|it| !self.surroundings.present.contains(it));
            // Each of these services is in the configuration, except one with a problem, which has
            // been reported.
            let _ = balancer.set_suspended(&service, is_away);
        }
    }

    fn set_daemons(&mut self, balancer: &mut Balancer) {
        if let Some(daemons) = self.settings.daemons(self.surroundings.is_active) {
            balancer.set_daemons(daemons);
        }
    }

    fn report(&mut self, notice: Notice) {
        match notice {
            Notice::Event(event) => {
                self.log.info(&event.to_string());
                let of_pool = event;
                let Some(event) = ServerEvent::of(&of_pool, &self.names, &self.names_before) else {
                    return;
                };
                if let Some(script) = event.script() {
                    self.runner.push(Arc::new(script.clone()));
                }
                for fifo in &mut self.fifos {
                    fifo.write(&event.fifo_line(), &self.log);
                }
                if let Some(alert) = Alert::of_server(&event, &of_pool) {
                    self.mailer.send(alert);
                }
            }
            Notice::Changed(step) => self.log.detail(&step.to_string()),
            Notice::Compared(_) => {}
            notice => self.log.warning(&notice.to_string()),
        }
    }
}

/// A copy in the memory of this thread.
///
/// The allocator gives each thread an area of its own. The original lies in that of the thread
/// which built it, and pieces of it that lived on here would keep the gaps between them.
fn copy(balance: Balance) -> Balance {
    let copy = balance.clone();
    drop(balance);
    copy
}
