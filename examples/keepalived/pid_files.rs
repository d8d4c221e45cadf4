//! The files with the process id.

use std::{fs, io::Write as _, path::PathBuf};

use vrrp_examples::keepalived_conf::Reading;

use crate::{Error, options::Options};

/// The files. They go when this is dropped.
pub(crate) struct PidFiles(Vec<(PathBuf, fs::File)>);

impl PidFiles {
    /// Opens them, without a change of their content.
    pub(crate) fn open(options: &Options, reading: &Reading) -> Result<Self, Error> {
        let folder = reading.configuration.pid_folder();
        fs::create_dir_all(folder)?;
        let default = |name: &str| folder.join(name);
        let mut paths = vec![
            options
                .pid_file
                .clone()
                .unwrap_or_else(|| default("keepalived.pid")),
        ];
        if !options.checks_only {
            let vrrp = options.vrrp_pid_file.clone();
            paths.push(vrrp.unwrap_or_else(|| default("keepalived_vrrp.pid")));
        }
        if !options.vrrp_only {
            paths.extend(options.checkers_pid_file.clone());
        }
        let mut files = Vec::new();
        for path in paths {
            let mut writable = fs::File::options();
            let opened = writable
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path);
            let file = opened.map_err(|error| format!("{}: {error}", path.display()))?;
            files.push((path, file));
        }
        Ok(Self(files))
    }

    /// Fails if the daemon of the first file runs.
    pub(crate) fn refuse_second(&self) -> Result<(), Error> {
        if let Some((first, _)) = self.0.first()
            && let Ok(text) = fs::read_to_string(first)
            && is_running(text.trim())
        {
            return Err(format!("{}: a daemon runs already: {text}", first.display()).into());
        }
        Ok(())
    }

    /// Writes this process into all of them.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        let process = format!("{}\n", std::process::id());
        for (path, file) in &mut self.0 {
            let written = file
                .set_len(0)
                .and_then(|()| file.write_all(process.as_bytes()));
            written.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// Whether a process with this id is a daemon of this name.
fn is_running(process: &str) -> bool {
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|its| its == own)
}

impl Drop for PidFiles {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        for (path, _) in &self.0 {
            // Another daemon may have written its own.
            let is_own = |text: &str| text.is_empty() || text == own;
            if fs::read_to_string(path).is_ok_and(|text| is_own(text.trim())) {
                let _ = fs::remove_file(path);
            }
        }
    }
}
