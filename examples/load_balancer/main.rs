//! A load balancer out of the box: VRRP moves an address, IPVS spreads its connections over
//! servers, and checks decide which of them get any.
//!
//! It is a tutorial of the crates as well. `config` reads the file;
//! [`Routers`] runs the driver of vrrp-net inside tokio; [`Balancer`] joins pool, probes and the
//! kernel's table; this module joins these parts in one loop.

mod config;

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use ipvs_netlink::pool::{Explanation, PoolChange};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use vrrp_examples::{
    announce::Announcer,
    balancer::{Balancer, Notice, Options, SavedState},
    control::{self, Command, Control},
    demo,
    event_log::{self, Notify},
    status::History,
    toml_file::fingerprint,
    virtual_routers::{Routers, changes_state},
};

use crate::config::File;

/// Any error of the program, with a text for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Highly available load balancing with VRRP and IPVS.
///
/// SIGHUP, or a change of the file, reads the configuration again; a wrong one changes nothing.
/// SIGTERM and SIGINT end the program: each Active router resigns, and the kernel's table stays or
/// goes as `on_stop` says.
#[derive(Parser)]
#[allow(clippy::struct_excessive_bools, reason = "one for each option")]
struct Arguments {
    /// The configuration, in TOML.
    #[arg(required_unless_present = "demo")]
    file: Option<PathBuf>,
    /// Check the configuration, and do nothing else.
    #[arg(long)]
    check: bool,
    /// Make checks, print the changes of the table, and change nothing.
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Check each server, print why it would be used or not, and change nothing.
    #[arg(long, conflicts_with_all = ["check", "dry_run"])]
    explain: bool,
    /// Build two load balancers, three servers and clients in namespaces, kill some of them, and
    /// print which server answered when. It needs root and IPVS, and leaves nothing behind. Exit
    /// status: 1 if a connection broke that should not, or the demonstration could not run.
    #[arg(long, conflicts_with_all = ["file", "check", "dry_run", "explain"])]
    demo: bool,
    /// Draw the demonstration into this file.
    #[arg(long, value_name = "FILE", requires = "demo")]
    svg: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.file.clone() {
        Some(file) => serve(file, arguments),
        None => demo::run(arguments.svg.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: PathBuf, arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // As a task, since to wake the future of `block_on` takes a system call.
    runtime.block_on(runtime.spawn(start(file, arguments)))?
}

async fn start(path: PathBuf, arguments: Arguments) -> Result<(), Failure> {
    let file = read(&path)?;
    if let Some(command) = &arguments.command {
        let socket = file.control.ok_or("control: missing; name a UNIX socket")?;
        let answer = control::send(&socket, command).await?;
        writeln!(io::stdout(), "{answer}")?;
        return Ok(());
    }
    if arguments.check {
        return Ok(());
    }
    if arguments.explain {
        return explain(&file).await;
    }
    event_log::start()?;
    Program::start(path, file, arguments.dry_run)
        .await?
        .run()
        .await
}

fn read(path: &Path) -> Result<File, String> {
    File::read(path, io::stderr().is_terminal())
}

/// Checks each server, and prints why it would be used or not.
async fn explain(file: &File) -> Result<(), Failure> {
    let options = Options {
        dry_run: true,
        ..Options::default()
    };
    let mut balancer = Balancer::open(file.pool(), options).await?;
    let has_no_result = |it: Explanation| it.checks.iter().any(|check| check.last.is_none());
    while balancer.pool().explanations().any(has_no_result) {
        balancer.next().await;
    }
    for explanation in balancer.pool().explanations() {
        writeln!(io::stdout(), "{explanation}")?;
    }
    Ok(())
}

/// The program while it runs.
struct Program {
    path: PathBuf,
    file: File,
    balancer: Balancer,
    routers: Routers,
    announcer: Announcer,
    control: Control,
    history: History,
    notify: Notify,
    saved: SavedState,
    dry_run: bool,
    is_stopping: bool,
}

impl Program {
    async fn start(path: PathBuf, file: File, dry_run: bool) -> Result<Self, Failure> {
        let saved = match &file.state {
            Some(state) => SavedState::read(state)?,
            None => SavedState::default(),
        };
        let options = Options {
            interval: file.interval,
            dry_run,
            saved: saved.clone(),
            ..Options::default()
        };
        let balancer = Balancer::open(file.pool(), options).await?;
        let mut control = Control::new();
        let (routers, announce) = if dry_run {
            (Routers::start(&[])?, Vec::new())
        } else {
            if let Some(socket) = &file.control {
                let listening = control.listen_unix(socket).await;
                listening.map_err(|error| format!("{}: {error}", socket.display()))?;
            }
            if let Some(page) = file.page {
                let listening = control.listen_tcp(page).await;
                listening.map_err(|error| format!("page {page}: {error}"))?;
            }
            (Routers::start(&file.routers)?, file.announce.clone())
        };
        Ok(Self {
            path,
            notify: Notify::start(command_for(&file, dry_run))?,
            file,
            balancer,
            routers,
            announcer: Announcer::new(announce)?,
            control,
            history: History::new(),
            saved,
            dry_run,
            is_stopping: false,
        })
    }

    async fn run(mut self) -> Result<(), Failure> {
        let [mut terminate, mut interrupt, mut hangup] = signals()?;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut seen = fingerprint(&self.path);
        let mut last = seen;
        self.set_daemon();
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        loop {
            tokio::select! {
                notice = self.balancer.next() => {
                    let Some(notice) = notice else {
                        self.notify.finish().await;
                        return Ok(());
                    };
                    self.note(&notice)?;
                }
                notification = self.routers.next() => match notification? {
                    Some(notification) => self.note_router(&notification),
                    // All routers have resigned, so the table may go.
                    None => self.stop_balancer(),
                },
                request = self.control.next() => {
                    let routers = self.routers.lines();
                    let page = request.question.answer(&self.history, &mut self.balancer, routers);
                    request.answer(page);
                    self.save();
                }
                _ = hangup.recv() => self.reload(),
                _ = tick.tick() => {
                    // A quorum that is known from the start has no event.
                    self.follow_quorum()?;
                    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                    let now = fingerprint(&self.path);
                    // A file that is being written is read once it has stopped changing.
                    if now.is_some() && now != seen && now == last {
                        seen = now;
                        self.reload();
                    }
                    last = now;
                }
                _ = terminate.recv() => self.stop(),
                _ = interrupt.recv() => self.stop(),
            }
        }
    }

    /// Logs a notice, and acts on it.
    fn note(&mut self, notice: &Notice) -> Result<(), Failure> {
        self.history.note(notice, &self.balancer);
        event_log::notice(notice);
        match notice {
            Notice::Event(event) => {
                self.notify.push(event);
                if matches!(
                    event.change,
                    PoolChange::QuorumGained(_) | PoolChange::QuorumLost(_)
                ) {
                    self.follow_quorum()?;
                }
            }
            Notice::Compared(_) => self.save(),
            _ => {}
        }
        Ok(())
    }

    /// Brings routers and announced addresses in line with the quorum. At the end the routers
    /// resign, and no address is announced, whatever the quorum is.
    fn follow_quorum(&mut self) -> Result<(), Failure> {
        if !self.is_stopping {
            self.routers.report(self.balancer.pool().quorum_of_all())?;
        }
        for line in self.announcer.update(&self.balancer) {
            self.report_line(line);
        }
        Ok(())
    }

    fn note_router(&mut self, notification: &vrrp_net::Notification) {
        self.report_line(notification.to_string());
        // Routers that resign at the end need no sync daemon.
        if changes_state(notification) && !self.is_stopping {
            self.set_daemon();
        }
    }

    /// Logs a line, and shows it on the page.
    fn report_line(&mut self, line: String) {
        tracing::info!("{line}");
        self.history.event(line);
    }

    /// Runs the sync daemon for the state of the first router.
    fn set_daemon(&mut self) {
        if let Some(sync) = self.file.sync {
            self.balancer.set_daemons(vec![self.routers.daemon(sync)]);
        }
    }

    /// Reads the file again. A faulty file changes nothing.
    fn reload(&mut self) {
        if self.is_stopping {
            tracing::warn!(
                "{}: not read, because the program stops",
                self.path.display()
            );
            return;
        }
        let _ = NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]));
        match read(&self.path) {
            Ok(file) => {
                self.apply(file);
                self.report_line(format!("read {}", self.path.display()));
            }
            Err(mistakes) => tracing::error!("nothing changes: {mistakes}"),
        }
        self.set_daemon();
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    /// Applies a file without mistakes. What the system refuses then is logged, and does not keep
    /// the rest from being applied; the next reading tries it again.
    fn apply(&mut self, file: File) {
        let mut results = Vec::new();
        if !self.dry_run {
            results.push(self.routers.reconfigure(&file.routers));
            for line in self.announcer.reconfigure(file.announce.clone()) {
                self.report_line(line);
            }
        }
        let command = self.notify.set_command(command_for(&file, self.dry_run));
        results.push(command.map_err(|error| format!("notify: {error}").into()));
        let pool = self.balancer.reconfigure(file.pool());
        results.push(pool.map_err(Failure::from));
        self.balancer.set_interval(file.interval);
        if file.sync.is_none() && self.file.sync.is_some() {
            self.balancer.set_daemons(Vec::new());
        }
        if file.state != self.file.state {
            // A new state file has no state of this run yet.
            self.saved = SavedState::default();
        }
        self.file = file;
        for refusal in results.into_iter().filter_map(Result::err) {
            tracing::error!("not applied: {refusal}");
        }
    }

    /// Begins the end: first the routers resign.
    fn stop(&mut self) {
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        self.is_stopping = true;
        for line in self.announcer.withdraw() {
            self.report_line(line);
        }
        if !self.routers.stop() {
            self.stop_balancer();
        }
    }

    fn stop_balancer(&mut self) {
        // The routers have stopped, so none of them is polled any more.
        self.routers = Routers::none();
        if self.file.sync.is_some() {
            self.balancer.set_daemons(Vec::new());
        }
        self.balancer.stop(self.file.stop());
    }

    /// Saves the state for a later run, if it has changed.
    fn save(&mut self) {
        let Some(path) = self.file.state.as_ref().filter(|_| !self.dry_run) else {
            return;
        };
        let state = self.balancer.saved_state();
        if state == self.saved {
            return;
        }
        match state.write(path) {
            Ok(()) => self.saved = state,
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// The command for each event. A command may change anything, so a dry run has none.
fn command_for(file: &File, dry_run: bool) -> &[String] {
    if dry_run { &[] } else { &file.notify }
}

fn signals() -> io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ])
}
