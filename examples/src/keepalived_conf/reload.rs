//! The settings of `global_defs` about reloads.

use std::path::PathBuf;

use super::configuration::Configuration;

/// The name of the file of `reload_file` without a parameter.
const DEFAULT_FILE: &str = "keepalived.reload";

/// The settings about reloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadSettings {
    /// `reload_file`: the file that exists while a reload reads the configuration.
    pub file: Option<PathBuf>,
    /// `config_save_dir`: the folder in which files and state are saved around each reload.
    pub save_folder: Option<PathBuf>,
    /// `reload_time_file` with `reload_repeat`.
    pub time_file: Option<TimeFile>,
}

/// The file that schedules a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFile {
    /// The file whose first line is the time of the reload.
    pub path: PathBuf,
    /// `reload_repeat`: whether the file stays after the reload.
    pub is_kept: bool,
}

impl ReloadSettings {
    /// The settings of a configuration.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let global = &configuration.global;
        let file = global.words.get("reload_file").map(|words| {
            let default = || configuration.pid_folder().join(DEFAULT_FILE);
            words.first().map_or_else(default, PathBuf::from)
        });
        Self {
            file,
            save_folder: global.text("config_save_dir").map(PathBuf::from),
            time_file: global.text("reload_time_file").map(|path| TimeFile {
                path: path.into(),
                is_kept: global.has("reload_repeat"),
            }),
        }
    }
}
