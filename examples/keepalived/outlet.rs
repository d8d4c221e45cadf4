//! The destinations of reported changes: FIFOs and scripts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use vrrp_examples::{
    keepalived::{
        event::{Change, Event, Party},
        mail::{Alert, MailSettings},
        translate::Notify,
    },
    keepalived_conf::{configuration::Global, script::Script},
    notify::Notifier,
};

use crate::{
    fifo::{Fifo, Writer},
    log::Log,
    mail::Mailer,
    scripts::{self, HANDED_OVER, LIMITS, Runner},
};

/// The most scripts of one instance that may wait.
const WAITING: usize = 1024;

/// How long the scripts of an instance may run once the daemon ends.
const AT_THE_END: Duration = Duration::from_secs(5);

/// The time between two checks whether the scripts have ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Reports changes.
#[derive(Debug)]
pub(crate) struct Outlet {
    log: Log,
    fifos: Vec<Fifo>,
    /// The writers of the FIFOs for instances and groups.
    writers: Vec<Writer>,
    mailer: Mailer,
    /// The writers of the FIFOs for virtual servers, until a thread takes them.
    server_writers: Vec<Writer>,
    parties: BTreeMap<(bool, String), Hooks>,
    /// The process of the daemon before this one, and the instances and groups whose scripts it
    /// still runs.
    earlier: Option<(u32, BTreeSet<(bool, String)>)>,
}

/// What to do when an instance or sync group changes.
#[derive(Debug, Default)]
struct Hooks {
    notify: Notify,
    runner: Option<Runner>,
    /// The change that was mailed last.
    mailed: Option<Change>,
}

impl Outlet {
    /// Opens the outputs that `global_defs` names. FIFOs that a daemon before made and that are no
    /// longer named go.
    pub(crate) fn open(global: &Global, inherited: &[PathBuf], log: Log) -> Self {
        let mut outlet = Self {
            mailer: Mailer::new(log.clone()),
            log,
            fifos: Vec::new(),
            writers: Vec::new(),
            server_writers: Vec::new(),
            parties: BTreeMap::new(),
            earlier: None,
        };
        for (word, script, is_of_routers, is_of_servers) in [
            ("notify_fifo", "notify_fifo_script", true, true),
            ("vrrp_notify_fifo", "vrrp_notify_fifo_script", true, false),
            ("lvs_notify_fifo", "lvs_notify_fifo_script", false, true),
        ] {
            let Some(path) = global.text(word) else {
                continue;
            };
            let path = Path::new(path);
            let is_inherited = inherited.iter().any(|it| it == path);
            let owner = global.fifo_account(word);
            let opened = Fifo::open(path, owner, global.scripts.get(script), is_inherited);
            let added = opened.and_then(|fifo| {
                if is_of_routers {
                    outlet.writers.push(fifo.writer()?);
                }
                if is_of_servers {
                    outlet.server_writers.push(fifo.writer()?);
                }
                outlet.fifos.push(fifo);
                Ok(())
            });
            if let Err(error) = added {
                let path = path.display();
                outlet.log.warning(&format!("{word} {path}: {error}"));
            }
        }
        let named = outlet.own_fifos();
        for path in inherited.iter().filter(|it| !named.contains(it)) {
            // Another program may have put something else there.
            if fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_fifo()) {
                let _ = fs::remove_file(path);
            }
        }
        outlet.set_mail(global);
        outlet
    }

    /// The FIFOs that are removed at the end.
    pub(crate) fn own_fifos(&self) -> Vec<PathBuf> {
        self.fifos.iter().filter_map(Fifo::own_path).collect()
    }

    /// Names the process of the daemon before this one, and the instances and groups whose scripts
    /// it still runs. Their scripts here wait for its end.
    pub(crate) fn set_earlier(&mut self, process: u32, busy: BTreeSet<(bool, String)>) {
        self.earlier = Some((process, busy));
    }

    /// The instances and groups whose scripts have not ended.
    pub(crate) fn busy(&self) -> BTreeSet<(bool, String)> {
        let parties = self.parties.iter();
        let is_busy = |it: &Hooks| it.runner.as_ref().is_some_and(|it| !it.is_idle());
        parties
            .filter(|(_, hooks)| is_busy(hooks))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Sets the server and the recipients of mails.
    pub(crate) fn set_mail(&mut self, global: &Global) {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let mut notes = Vec::new();
        let settings = MailSettings::of(global, &host.to_string_lossy(), &mut notes);
        for note in notes {
            self.log.warning(&note);
        }
        self.mailer.set(settings);
    }

    /// Sends mails about changes of virtual servers.
    pub(crate) fn mailer(&self) -> Mailer {
        self.mailer.clone()
    }

    /// The writers of changes of virtual servers.
    pub(crate) fn take_server_writers(&mut self) -> Vec<Writer> {
        std::mem::take(&mut self.server_writers)
    }

    /// Sets what to do when an instance or a sync group changes. Running scripts continue.
    pub(crate) fn set(&mut self, party: Party, name: &str, notify: Notify) {
        let key = (party == Party::Group, name.to_owned());
        let hooks = self.parties.entry(key).or_default();
        hooks.notify = notify;
    }

    /// Whether changes of the priority are reported.
    pub(crate) fn reports_priorities(&self, party: Party, name: &str) -> bool {
        let hooks = self.parties.get(&(party == Party::Group, name.to_owned()));
        hooks.is_some_and(|hooks| hooks.notify.priorities)
    }

    /// Writes a change to the FIFOs.
    pub(crate) fn write_line(&mut self, event: &Event) {
        for writer in &mut self.writers {
            writer.write(&event.fifo_line(), &self.log);
        }
    }

    /// Reports a change everywhere.
    pub(crate) fn report(&mut self, event: &Event) {
        self.write_line(event);
        let key = (event.party == Party::Group, event.name.clone());
        let Some(hooks) = self.parties.get_mut(&key) else {
            return;
        };
        let earlier = self.earlier.as_ref();
        let after = earlier.filter(|(_, busy)| busy.contains(&key));
        let after = after.map(|(process, _)| *process);
        let own = event.change.command();
        let own = own.and_then(|name| hooks.notify.commands.get(name).cloned());
        if let Some(script) = own {
            hooks.run(&script, &[], after, &self.log);
        }
        if event.change.is_state()
            && let Some(script) = hooks.notify.commands.get("generic").cloned()
        {
            hooks.run(&script, &event.arguments(), after, &self.log);
        }
        hooks.mail(event, &self.mailer);
    }

    /// Waits for a bounded time until the running and queued scripts have ended. Where another
    /// daemon has taken over, which does not repeat them, they may take long, until this one must
    /// stop.
    pub(crate) fn close(mut self, is_handed_over: bool, must_stop: &dyn Fn() -> bool) {
        if is_handed_over {
            // The other daemon has readers of its own.
            self.close_fifos(is_handed_over);
        }
        let runners = || self.parties.values().filter_map(|it| it.runner.as_ref());
        let stop = |bound| {
            runners().for_each(|runner| runner.stop(bound));
            Instant::now() + bound + LIMITS.grace
        };
        let mut is_patient = is_handed_over;
        let mut end = stop(if is_patient { HANDED_OVER } else { AT_THE_END });
        while !runners().all(Notifier::is_finished) && Instant::now() < end {
            if is_patient && must_stop() {
                is_patient = false;
                end = stop(AT_THE_END);
            }
            std::thread::sleep(PAUSE);
        }
        self.mailer.close(AT_THE_END);
        self.close_fifos(is_handed_over);
    }

    fn close_fifos(&mut self, is_handed_over: bool) {
        for fifo in self.fifos.drain(..) {
            fifo.close(is_handed_over);
        }
    }
}

impl Hooks {
    /// Mails a change, unless the previous mail reported the same change.
    fn mail(&mut self, event: &Event, mailer: &Mailer) {
        let is_fault = matches!(event.change, Change::Fault | Change::Removed);
        let is_left_out = is_fault && mailer.is_without_faults();
        if !self.notify.mails || is_left_out || self.mailed == Some(event.change) {
            return;
        }
        if let Some(alert) = Alert::of_event(event) {
            self.mailed = Some(event.change);
            mailer.send(alert);
        }
    }

    /// Queues a script behind those of this instance that wait.
    fn run(&mut self, script: &Script, arguments: &[String], after: Option<u32>, log: &Log) {
        if self.runner.is_none() {
            match scripts::start(WAITING, log.clone()) {
                Ok(runner) => {
                    if let Some(process) = after {
                        runner.push(scripts::end_of(process));
                    }
                    self.runner = Some(runner);
                }
                Err(error) => log.warning(&format!("no thread for scripts: {error}")),
            }
        }
        if let Some(runner) = &self.runner {
            let mut script = script.clone();
            script.arguments.extend_from_slice(arguments);
            runner.push(Arc::new(script));
        }
    }
}

#[cfg(test)]
mod tests {
    use vrrp_examples::keepalived_conf::host::Account;
    use vrrp_proto::Priority;

    use super::*;

    #[test]
    fn rivals_and_priorities_reach_fifos_and_their_own_script_and_not_the_script_for_all_states() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let script = |name: &str| Script {
            arguments: ["/bin/sh", "-c", "echo \"$3\" >> \"$0\""]
                .map(str::to_owned)
                .into_iter()
                .chain([file(name).display().to_string()])
                .collect(),
            account: Account { uid: 0, gid: 0 },
        };
        let log = Log::open(false, None, None, false).unwrap();
        let fifo = file("fifo").display().to_string();
        let words = BTreeMap::from([("vrrp_notify_fifo", vec![fifo.clone()])]);
        let global = Global {
            words,
            ..Global::default()
        };
        let mut outlet = Outlet::open(&global, &[], log);
        let reader = fs::File::open(&fifo).unwrap();
        let commands = [("generic", "all"), ("master rx lower pri", "rival")];
        let notify = Notify {
            commands: commands.map(|(key, name)| (key, script(name))).into(),
            ..Notify::default()
        };
        outlet.set(Party::Instance, "V", notify);
        for change in [
            Change::Master,
            Change::MasterPriority,
            Change::RivalDetected,
            Change::BackupPriority,
            Change::Stop,
        ] {
            outlet.report(&Event::of_instance("V", change, Priority::new(100)));
        }
        outlet.close(false, &|| true);
        let lines: Vec<String> = std::io::BufRead::lines(std::io::BufReader::new(reader))
            .map(Result::unwrap)
            .collect();
        assert_eq!(lines.len(), 5, "{lines:?}");
        let text = |name| fs::read_to_string(file(name)).unwrap();
        assert_eq!(text("all"), "MASTER\nSTOP\n");
        assert_eq!(text("rival"), "\n");
    }
}
