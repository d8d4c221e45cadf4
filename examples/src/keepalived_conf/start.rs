//! The settings that a daemon obeys when it starts, and not at a reload.

use std::collections::BTreeMap;

use super::configuration::Configuration;

/// The keywords of `global_defs` among them.
const WORDS: [&str; 7] = [
    "lvs_notify_fifo",
    "lvs_notify_fifo_script",
    "notify_fifo",
    "notify_fifo_script",
    "umask",
    "vrrp_notify_fifo",
    "vrrp_notify_fifo_script",
];

/// The settings with which a daemon has started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartSettings(BTreeMap<&'static str, Vec<String>>);

impl StartSettings {
    /// The settings of a configuration.
    #[must_use]
    pub fn of(configuration: &Configuration) -> Self {
        let Configuration {
            global,
            net_namespace,
            net_namespace_ipvs,
            uses_pid_folder,
            ..
        } = configuration;
        let mut words = global.words.clone();
        words.retain(|word, _| WORDS.contains(word));
        for (word, name) in [
            ("net_namespace", net_namespace),
            ("net_namespace_ipvs", net_namespace_ipvs),
        ] {
            words.extend(name.iter().map(|name| (word, vec![name.clone()])));
        }
        if *uses_pid_folder {
            words.insert("use_pid_dir", Vec::new());
        }
        Self(words)
    }

    /// The keywords that are different in another configuration: given, left out, or with other
    /// words after them.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let mut words: Vec<_> = self.0.keys().chain(other.0.keys()).copied().collect();
        words.sort_unstable();
        words.dedup();
        words.retain(|word| self.0.get(word) != other.0.get(word));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::StartSettings;
    use crate::keepalived_conf::{host::Host, tests::read_on};

    fn settings(text: &str) -> StartSettings {
        StartSettings::of(&read_on(&Host::default(), text).configuration)
    }

    #[test]
    fn settings_that_were_given_changed_or_left_out_are_named_once() {
        let before = settings(
            "net_namespace_ipvs one
            global_defs {
                notify_fifo /run/one
                umask 022
                router_id before
            }",
        );
        let after = settings(
            "net_namespace_ipvs two
            use_pid_dir
            global_defs {
                notify_fifo /run/two
                lvs_notify_fifo /run/lvs
                router_id after
            }",
        );
        let words = [
            "lvs_notify_fifo",
            "net_namespace_ipvs",
            "notify_fifo",
            "umask",
            "use_pid_dir",
        ];
        assert_eq!(before.changed(&after), words);
        assert_eq!(after.changed(&before), words);
        assert_eq!(after.changed(&after), [""; 0]);
    }
}
