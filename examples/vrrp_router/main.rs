//! Virtual routers on real interfaces, for manual use and for tests.

mod authentication;
mod listener;
mod log;
mod notify;
mod options;
mod seconds;
mod sequence_file;
mod signals;
mod state;
mod succession;
mod sync_group;
mod tracking;
mod virtual_router;
mod watch;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::mpsc::{self, Receiver, Sender},
};

use vrrp_examples::{succession::Succession, worker::Worker};
use vrrp_fsm::{
    fleet::SyncGroup,
    track::{Object, ObjectId, TrackRef},
};
use vrrp_net::{Driver, ForeignPackets, RouterId, Subject, Watch};

use crate::{
    listener::Listener,
    log::{Log, router_subject},
    notify::{Commands, Hook},
    options::Options,
    sequence_file::SequenceFile,
    signals::{Signals, Wake},
    sync_group::SyncGroupOptions,
    tracking::{Reporter, Tracked},
    virtual_router::RouterOptions,
};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "vrrp_router: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Error> {
    // Signals are caught before the first address is installed, so no signal can end the program
    // and leave an address behind.
    let signals = Signals::new().map_err(failed_to("prepare for signals"))?;
    let (log, written) = Log::start().map_err(failed_to("start the thread that writes"))?;
    let take_over = options.take_over.clone();
    let mut program = Program::new(take_over.as_deref(), log.clone())?;
    let (driver, wake) = (program.driver.handle(), program.wake.clone());
    let serving = signals.serve(driver, wake, log.clone());
    let serving = serving.map_err(failed_to("start the thread that serves signals"))?;
    let result = program
        .add(options)
        .and_then(|()| program.listen(take_over.as_deref()))
        .and_then(|()| program.run());
    // This also runs after an error, even an error of the last router: as far as possible, all
    // routers resign, and their addresses, routes and interfaces are removed.
    let stopped = program.end();
    drop(serving);

    log.stopped(&written);
    result.and(stopped)
}

/// For `map_err`: adds the failed action, which the system's error does not name.
fn failed_to(what: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The driver, and everything that sends it requests or receives its notifications.
struct Program {
    driver: Driver,
    log: Log,
    watchers: Vec<Worker>,
    listener: Listener,
    /// Wakes the program up while it ends.
    wake: Sender<Wake>,
    wakes: Receiver<Wake>,
    /// The members of each sync group.
    members: BTreeMap<String, Vec<RouterId>>,
    /// The tracked objects by their names.
    added: BTreeMap<String, ObjectId>,
    succession: Option<Succession>,
    sequence_file: Option<SequenceFile>,
}

impl Program {
    fn new(take_over: Option<&Path>, log: Log) -> Result<Self, Error> {
        let mut driver = succession::take_over(take_over)?;
        // The state output shows all counters.
        driver.set_foreign_packets(ForeignPackets::Counted)?;
        let (wake, wakes) = mpsc::channel();
        Ok(Self {
            driver,
            watchers: Vec::new(),
            listener: Listener::new(log.clone()),
            log,
            wake,
            wakes,
            members: BTreeMap::new(),
            added: BTreeMap::new(),
            succession: None,
            sequence_file: None,
        })
    }

    fn add(&mut self, options: Options) -> Result<(), Error> {
        let file = options.sequence_file.map(SequenceFile::open);
        self.sequence_file = file.transpose()?;
        for router in options.routers {
            self.add_router(router)?;
        }
        for group in options.sync_groups {
            self.add_sync_group(group)?;
        }
        let (routers, groups) = (self.listener.routers(), self.listener.sync_groups());
        let objects = self.added.values().copied().collect();
        succession::remove_others(&mut self.driver, &routers, &groups, &objects)?;
        if let Some(file) = &self.sequence_file {
            let writer = file.follow(&self.driver, self.log.clone())?;
            self.watchers.push(writer);
        }
        Ok(())
    }

    /// Listens for a successor from now on.
    fn listen(&mut self, socket: Option<&Path>) -> Result<(), Error> {
        if let Some(socket) = socket {
            let (driver, log) = (self.driver.handle(), self.log.clone());
            let what = format!("listen at {}", socket.display());
            let listening = succession::listen(socket, driver, log);
            self.succession = Some(listening.map_err(failed_to(&what))?);
        }
        Ok(())
    }

    fn add_router(&mut self, router: RouterOptions) -> Result<(), Error> {
        let mut config = router.config;
        config.tracking = self.add_objects(router.tracked)?;
        let subject = router_subject(&config);
        let adopted = succession::adopt(&mut self.driver, &config, &self.listener.routers())?;
        let id = if let Some(id) = adopted {
            id
        } else {
            let id = self.driver.add(config)?;
            if let Some(file) = &self.sequence_file {
                file.restore(&mut self.driver, id)?;
            }
            id
        };
        if let Some(view) = self.driver.get(id) {
            let configured = state::configured(view);
            self.log.write(Some(&subject), "started", configured);
        }
        let commands = self.start_commands(router.notify, &subject)?;
        self.listener.add_router(id, commands);
        if let Some(name) = router.sync_group {
            self.members.entry(name).or_default().push(id);
        }
        Ok(())
    }

    fn add_sync_group(&mut self, options: SyncGroupOptions) -> Result<(), Error> {
        let members = self.members.remove(&options.name).unwrap_or_default();
        let subject = Subject::SyncGroup {
            sync_group: options.name.clone(),
        };
        let mut group = SyncGroup::new(options.name, members);
        group.tracking = self.add_objects(options.tracked)?;
        group.member_weights = options.member_weights;
        let known = self.driver.groups().find(|(_, it)| it.name == group.name);
        let id = match known.map(|(id, _)| id) {
            Some(id) => {
                self.driver.reconfigure_group(id, group)?;
                id
            }
            None => self.driver.add_group(group)?,
        };
        let commands = self.start_commands(options.notify, &subject)?;
        self.listener.add_sync_group(id, commands);
        Ok(())
    }

    /// Adds the objects that are not there yet. Each use has its own weight.
    fn add_objects(&mut self, all: Vec<Tracked>) -> Result<Vec<TrackRef>, Error> {
        let mut uses = Vec::new();
        for tracked in all {
            let known = self.added.get(&tracked.name).copied();
            let id = known.map_or_else(|| self.add_object(&tracked), Ok)?;
            uses.push(tracked.used_as(id));
        }
        Ok(uses)
    }

    fn add_object(&mut self, tracked: &Tracked) -> Result<ObjectId, Error> {
        let subject = Subject::Object {
            object: tracked.name.clone(),
        };
        let mut object = Object::new(&*tracked.name, tracked.kind.clone());
        object.debounce = tracked.debounce;
        let driver = &mut self.driver;
        let add = |watch: Watch| match succession::adopt_object(driver, &object, &watch)? {
            Some(id) => Ok(id),
            None => driver.add_object(object, watch),
        };
        let id = match &tracked.reporter {
            Reporter::Driver(watch) => add(watch.clone())?,
            Reporter::Thread(probe) => {
                let id = add(Watch::Host)?;
                let what = format!("watch {}", tracked.name);
                let driver = self.driver.handle();
                let (probe, subject, log) = (probe.clone(), subject.clone(), self.log.clone());
                let watcher =
                    watch::start(probe, id, subject, driver, log).map_err(failed_to(&what))?;
                self.watchers.push(watcher);
                id
            }
        };
        self.added.insert(tracked.name.clone(), id);
        Ok(id)
    }

    fn start_commands(
        &self,
        hook: Option<Hook>,
        subject: &Subject,
    ) -> Result<Option<Commands>, Error> {
        let start = |hook| {
            let wake = self.wake.clone();
            Commands::start(hook, subject.clone(), self.log.clone(), wake)
        };
        Ok(hook
            .map(start)
            .transpose()
            .map_err(failed_to("start the thread that runs --notify"))?)
    }

    /// Runs until a signal stops the driver.
    fn run(&mut self) -> Result<(), Error> {
        let listener = &mut self.listener;
        Ok(self
            .driver
            .run(|notification| listener.handle(&notification))?)
    }

    /// Stops the driver, unless it has already stopped, and then ends all commands: checks at once,
    /// commands of --notify within their time limit or at a second signal.
    fn end(mut self) -> Result<(), Error> {
        self.succession = None;
        let stopped = if self.driver.is_stopped() {
            Ok(())
        } else {
            self.driver.shutdown()
        };
        while let Some(notification) = self.driver.next_notification() {
            self.listener.handle(&notification);
        }
        for watcher in &mut self.watchers {
            watcher.stop();
        }
        self.listener.commands().for_each(Commands::stop);
        // Waits for the end of the threads, one of which writes the file of sequence numbers.
        self.watchers.clear();
        let saved = self.sequence_file.map(|file| file.finish(&self.driver));
        while !self.listener.commands().all(Commands::is_finished) {
            // There is always a sender: the program's own.
            if let Ok(Wake::Signal) = self.wakes.recv() {
                self.listener.commands().for_each(Commands::stop_at_once);
            }
        }
        stopped?;
        saved.unwrap_or(Ok(()))
    }
}
