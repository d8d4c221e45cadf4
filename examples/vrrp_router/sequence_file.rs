//! A file with the sequence numbers of authentication, for a restart after the end of all
//! processes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use vrrp_examples::{
    whole_file::{Durability, Readers, replace},
    worker::{Stop, Worker},
};
use vrrp_fsm::State;
use vrrp_net::{Driver, DriverHandle, RouterConfig, RouterId, RouterView, Sequences};

use crate::{Error, failed_to, log::Log};

/// The time between two checks of the numbers.
const PERIOD: Duration = Duration::from_secs(1);

/// The numbers of one virtual router.
#[derive(Serialize, Deserialize)]
struct Entry {
    interface: String,
    family: String,
    vrid: u8,
    sequences: Sequences,
}

impl Entry {
    fn is_of(&self, config: &RouterConfig) -> bool {
        let family = config.fsm.family.to_string();
        (&self.interface, &self.family, self.vrid)
            == (&config.interface, &family, config.fsm.vrid.get())
    }
}

/// The file, and its contents at the start of the program.
pub(crate) struct SequenceFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl SequenceFile {
    /// Reads the file. A file that does not exist counts as empty.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let option = |problem: &dyn std::fmt::Display| {
            format!("--sequence-file {}: {problem}", path.display())
        };
        let entries = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(option(&error).into()),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|problem| {
                option(&format!(
                    "{problem}; without the file the program starts, and replays of packets from \
                     before are possible"
                ))
            })?,
        };
        Ok(Self { path, entries })
    }

    /// Continues the numbers of a virtual router that was added.
    pub(crate) fn restore(&self, driver: &mut Driver, id: RouterId) -> Result<(), Error> {
        let Some(router) = driver.get(id) else {
            return Ok(());
        };
        let config = router.config();
        let known = self.entries.iter().find(|it| it.is_of(&config));
        if let Some(entry) = known {
            driver.continue_sequences(id, &entry.sequences)?;
        }
        Ok(())
    }

    /// Writes the numbers whenever they have changed, once a second at most. A first write that
    /// fails is an error; later ones are logged.
    pub(crate) fn follow(&self, driver: &Driver, log: Log) -> Result<Worker, Error> {
        let path = self.path.clone();
        let mut last = self.save(driver)?;
        let handle = driver.handle();
        let work = move |stop: Stop| {
            let mut is_failing = false;
            while stop.sleep(PERIOD) {
                // A driver that has ended has written its last numbers.
                let Some(next) = read(&handle) else { return };
                if next == last && !is_failing {
                    continue;
                }
                match write(&path, &next) {
                    Ok(()) => {
                        last = next;
                        is_failing = false;
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut is_failing, true) {
                            let path = path.display().to_string();
                            let reason = error.to_string();
                            let detail = json!({"path": path, "reason": reason});
                            log.write(None, "sequence-file-failed", detail);
                        }
                    }
                }
            }
        };
        Ok(Worker::start("sequence-file", work)
            .map_err(failed_to("start the thread that writes --sequence-file"))?)
    }

    /// Writes the last numbers of a driver that has shut down. After a hand-over the successor
    /// writes the file instead.
    pub(crate) fn finish(&self, driver: &Driver) -> Result<(), Error> {
        let has_shut_down = |router: RouterView<'_>| router.state() == State::Initialize;
        if driver.routers().all(has_shut_down) {
            self.save(driver)?;
        }
        Ok(())
    }

    fn save(&self, driver: &Driver) -> Result<Vec<u8>, Error> {
        let text = text(driver)?;
        let what = format!("write --sequence-file {}", self.path.display());
        write(&self.path, &text).map_err(failed_to(&what))?;
        Ok(text)
    }
}

/// The numbers of a running driver.
fn read(driver: &DriverHandle) -> Option<Vec<u8>> {
    driver.call(|driver| text(driver).ok()).ok().flatten()
}

fn text(driver: &Driver) -> Result<Vec<u8>, Error> {
    let mut entries = Vec::new();
    for router in driver.routers() {
        let fsm = router.machine().config();
        entries.push(Entry {
            interface: router.interface_name().into(),
            family: fsm.family.to_string(),
            vrid: fsm.vrid.get(),
            sequences: driver.sequences(router.id())?,
        });
    }
    Ok(serde_json::to_vec(&entries)?)
}

/// Replaces the file. A crash of the host leaves the old contents or the new ones.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    replace(path, text, Readers::Owner, Durability::Host)
}
