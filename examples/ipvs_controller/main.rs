//! The IPVS services of a Kubernetes node: Services and EndpointSlices in, IPVS out.
//!
//! Three parts: a source ([`source`]) reads objects from a folder or a stream; the library's
//! `kubernetes` module translates them into the wanted table; the controller ([`controller`])
//! reconciles it with the kernel, when the schedule ([`schedule`]) says so.

mod controller;
mod host;
mod initial_list;
mod interface;
mod options;
mod ownership;
mod pages;
mod schedule;
mod source;

use std::{
    collections::BTreeMap,
    future::ready,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    thread,
    time::Instant,
};

use clap::Parser;
use ipvs_netlink::{
    AsyncClient,
    rules::{self, Form},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::sleep_until,
};
use vrrp_examples::{
    kubernetes::{Node, Objects, translate},
    pages::{Listener, Query, serve},
};

use crate::{
    controller::{Controller, Outcome, SyncError, settings},
    initial_list::InitialList,
    interface::{Interface, InterfaceError},
    options::{Configuration, Mode, Options, OptionsError, Source},
    ownership::Ownership,
    pages::Pages,
    schedule::{Extent, Schedule},
    source::{Folder, Update, follow},
};

/// Updates that wait while the program is busy.
const WAITING: usize = 1024;

/// Changes of the kernel's table up to this number are printed one by one.
const FEW: usize = 20;

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error("{0}")]
    Source(String),
    #[error("no IPVS: {0}")]
    Kernel(#[from] ipvs_netlink::Error),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error("state file: {0}")]
    State(io::Error),
    #[error("listen on {address}: {error}")]
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("the table is not fully as wanted; see the errors above")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn main() -> ExitCode {
    let run = || -> Result<(), Failure> {
        let configuration = Options::parse().join()?;
        for field in &configuration.ignored {
            complain(format_args!("{field}: not used by this program"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let result = runtime.block_on(run(&configuration));
        // A source may wait for input that never comes.
        runtime.shutdown_background();
        result
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(format_args!("{failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error. Without a reader the line is lost, and nothing else happens.
fn complain(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "ipvs_controller: {line}");
}

/// Writes a line to standard output, likewise.
fn report(line: std::fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn run(configuration: &Configuration) -> Result<(), Failure> {
    if configuration.mode == Mode::Cleanup {
        return clean_up(configuration).await;
    }
    let mut source = start_source(&configuration.source)?;
    if configuration.mode == Mode::Print {
        return print(configuration, &mut source).await;
    }
    let mut program = Program::new(configuration, source).await?;
    program.follow(configuration.mode == Mode::Once).await
}

/// Starts a thread that reads the source.
fn start_source(source: &Source) -> Result<mpsc::Receiver<Update>, Failure> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let thread = thread::Builder::new().name("source".into());
    // The thread ends with the program: a program that has ended takes no more updates.
    match source {
        Source::Stream => drop(thread.spawn(move || follow(io::stdin(), &sender))?),
        Source::Folder(path) => {
            let folder = Folder::open(path)
                .map_err(|error| Failure::Source(format!("{}: {error}", path.display())))?;
            drop(thread.spawn(move || folder.follow(&sender))?);
        }
    }
    Ok(receiver)
}

async fn open(configuration: &Configuration) -> Result<Controller, Failure> {
    let client = AsyncClient::open().await?;
    let interface = Interface::new(&configuration.interface)?;
    let ownership = Ownership::open(configuration.state.as_deref()).map_err(Failure::State)?;
    Ok(Controller::new(configuration, client, interface, ownership))
}

async fn clean_up(configuration: &Configuration) -> Result<(), Failure> {
    let mut controller = open(configuration).await?;
    let outcome = controller.clean_up().await?;
    show(&outcome);
    if !outcome.is_success() {
        return Err(Failure::Incomplete);
    }
    match configuration.state.as_deref().map(std::fs::remove_file) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(Failure::State(error)),
        _ => Ok(()),
    }
}

/// Prints the wanted table. The kernel is asked only for the node's addresses.
async fn print(
    configuration: &Configuration,
    source: &mut mpsc::Receiver<Update>,
) -> Result<(), Failure> {
    let mut objects = Objects::default();
    let mut is_faulty = false;
    loop {
        // A stream has all its objects when it ends.
        match source.recv().await {
            Some(Update::Change(change)) => drop(objects.apply(change)),
            Some(Update::Fault { part, error }) => {
                if let Some(error) = error {
                    complain(format_args!("{part}: {error}"));
                    is_faulty = true;
                }
            }
            Some(Update::Ready | Update::Ended(_)) | None => break,
        }
    }
    let addresses = Interface::new(&configuration.interface)?
        .addresses()
        .await?;
    let node = Node {
        name: configuration.node.clone(),
        addresses: addresses.node,
    };
    let wanted = translate(&objects, &node, &settings(configuration));
    for problem in wanted.problems() {
        complain(format_args!("{problem}"));
    }
    let servers: Vec<_> = wanted.servers().cloned().collect();
    let text = rules::print(&servers, Form::Ipvsadm);
    io::stdout().write_all(text.as_bytes())?;
    if is_faulty {
        return Err(Failure::Incomplete);
    }
    Ok(())
}

/// The running program.
struct Program {
    controller: Controller,
    source: mpsc::Receiver<Update>,
    schedule: Schedule,
    pages: Pages,
    signals: Signals,
    /// The list at the beginning of a stream, until it is complete. A folder reports its end by
    /// itself.
    initial: Option<InitialList>,
    start: Instant,
}

impl Program {
    async fn new(
        configuration: &Configuration,
        source: mpsc::Receiver<Update>,
    ) -> Result<Self, Failure> {
        let signals = Signals::new()?;
        let mut controller = open(configuration).await?;
        for problem in host::prepare(configuration.strict_arp) {
            complain(format_args!("{problem}"));
        }
        controller.set_timeouts(configuration.timeouts).await?;
        let pages = Pages::new(&configuration.node, configuration.sync_period);
        if configuration.mode == Mode::Run {
            // One address may serve both.
            let mut served: BTreeMap<SocketAddr, Vec<&'static str>> = BTreeMap::new();
            for (address, paths) in [
                (configuration.healthz, &["/healthz"][..]),
                (configuration.metrics, &["/metrics", "/status"]),
            ] {
                if let Some(address) = address {
                    served.entry(address).or_default().extend(paths);
                }
            }
            for (address, paths) in served {
                listen(address, paths, pages.clone()).await?;
            }
        }
        Ok(Self {
            controller,
            source,
            schedule: Schedule::new(configuration.min_sync_period, configuration.sync_period),
            pages,
            signals,
            initial: match configuration.source {
                Source::Stream => Some(InitialList::new(
                    configuration.initial_quiet,
                    configuration.initial_limit,
                )),
                Source::Folder(_) => None,
            },
            start: Instant::now(),
        })
    }

    /// Synchronizes until a signal or the end of the source, or once.
    async fn follow(&mut self, is_once: bool) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            let initial_end = self.initial.as_ref().and_then(InitialList::end);
            if initial_end.is_some_and(|end| end <= now) {
                self.initial = None;
                self.schedule.ready();
                continue;
            }
            let next = self.schedule.next();
            let next = next.map(|(at, extent)| (self.start + at, extent));
            if let Some((at, extent)) = next
                && at <= now
            {
                let is_success = self.synchronize(extent).await;
                if is_once {
                    return if is_success {
                        Ok(())
                    } else {
                        Err(Failure::Incomplete)
                    };
                }
                continue;
            }
            let wake = next.map(|(at, _)| at).or(initial_end);
            tokio::select! {
                update = self.source.recv() => self.handle(update)?,
                () = wait_until(wake) => {}
                // The services stay: traffic continues without this program.
                _ = self.signals.terminate.recv() => return Ok(()),
                _ = self.signals.interrupt.recv() => return Ok(()),
                // Repairs the whole table now.
                _ = self.signals.hang_up.recv() => {
                    if self.schedule.is_ready() {
                        self.synchronize(Extent::Full).await;
                    }
                }
            }
        }
    }

    fn handle(&mut self, update: Option<Update>) -> Result<(), Failure> {
        match update {
            Some(Update::Change(change)) => {
                if let (Some(initial), Some(kind)) = (&mut self.initial, change.kind()) {
                    initial.note(Instant::now(), kind);
                }
                if self.controller.objects.apply(change) {
                    self.schedule.changed();
                }
            }
            Some(Update::Ready) => self.schedule.ready(),
            Some(Update::Fault { part, error }) => {
                if let Some(error) = &error {
                    complain(format_args!("{part}: {error}"));
                }
                self.pages.fault(part, error);
            }
            Some(Update::Ended(reason)) => return Err(Failure::Source(reason)),
            None => return Err(Failure::Source("the source ended".into())),
        }
        Ok(())
    }

    /// Synchronizes, and shows the result. Returns whether all is as wanted.
    async fn synchronize(&mut self, extent: Extent) -> bool {
        self.schedule.begin();
        let begin = Instant::now();
        let result = self.controller.synchronize(extent).await;
        let time = begin.elapsed();
        self.pages
            .synchronized(&self.controller, extent, time, &result);
        let is_success = match &result {
            Ok(outcome) => {
                show(outcome);
                outcome.is_success()
            }
            Err(error) => {
                complain(format_args!("{error}"));
                false
            }
        };
        for problem in self.controller.take_new_problems() {
            complain(format_args!("{problem}"));
        }
        let drain = result.as_ref().ok().and_then(|outcome| outcome.report.wait);
        self.schedule
            .done(self.start.elapsed(), extent, is_success, drain);
        is_success
    }
}

/// The signals that the program serves, from their creation on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Serves these paths at an address. The address of the health is open to the network, and the
/// other pages name the services of the cluster.
async fn listen(
    address: SocketAddr,
    paths: Vec<&'static str>,
    pages: Pages,
) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Listen { address, error })?;
    let answer = move |query| {
        let (Query::Get(path) | Query::Post(path, _)) = query;
        ready(pages.page(&path, &paths))
    };
    tokio::spawn(serve(Listener::Tcp(listener), answer));
    Ok(())
}

/// Prints what a synchronization changed.
fn show(outcome: &Outcome) {
    let applied = &outcome.report.applied;
    if applied.len() <= FEW {
        for step in applied {
            report(format_args!("{step}"));
        }
    } else {
        report(format_args!("{} changes of the table", applied.len()));
    }
    let addresses = &outcome.addresses;
    for (number, verb) in [(addresses.added, "added"), (addresses.removed, "removed")] {
        if number > 0 {
            report(format_args!("{number} addresses {verb}"));
        }
    }
    for failure in &outcome.report.failed {
        complain(format_args!("{}", failure.error));
    }
    for step in &outcome.report.held_back {
        complain(format_args!(
            "skipped, no replacement could be added: {step}"
        ));
    }
    if let Some(refused) = &addresses.refused {
        complain(format_args!("{refused}"));
    }
    if outcome.report.contended {
        complain(format_args!(
            "another program keeps changing the table; trying again"
        ));
    }
}
