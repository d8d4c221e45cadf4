//! Scripts: commands with their users.

#[cfg(test)]
mod tests;

use std::{cell::Cell, path::Path};

use super::{
    complaint::{Complaint, Kind, Weight},
    host::{Account, Host},
    source::Place,
    tree::Node,
    word,
};

/// A command that the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The user and the group that run it.
    pub account: Account,
}

/// Whether a script can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usability {
    /// It can.
    Usable,
    /// `-t` does not mention it, and the daemon drops it at the start.
    DroppedAtStart,
    /// Its program does not exist.
    Missing,
    /// Script security forbids it, or it is a folder.
    Insecure,
    /// It is not looked up: a redirection such as `</dev/tcp/192.0.2.1/80`.
    NotLookedUp,
}

impl Usability {
    /// Whether the daemon wants to run it, so that script security matters.
    pub(super) const fn counts(self) -> bool {
        matches!(self, Self::Usable | Self::DroppedAtStart | Self::Insecure)
    }

    /// Whether it stays in the configuration.
    pub(super) const fn is_kept(self) -> bool {
        matches!(self, Self::Usable | Self::NotLookedUp)
    }
}

/// The lack of a user for scripts that name none. It is reported once, for the first such script.
#[derive(Debug, Default)]
pub(super) struct DefaultUser {
    is_reported: Cell<bool>,
    first: Cell<Option<Place>>,
}

impl DefaultUser {
    /// Records that the lack has its complaint.
    pub(super) fn set_reported(&self) {
        self.is_reported.set(true);
    }

    /// Records a script that lacks a user.
    fn note(&self, place: Place) {
        let first = self.first.get().map_or(place, |first| first.min(place));
        self.first.set(Some(first));
    }

    /// Reports the first of the scripts that were recorded.
    pub(super) fn report(&self, complaints: &mut Vec<Complaint>) {
        let Some(place) = self.first.take() else {
            return;
        };
        if !self.is_reported.replace(true) {
            complaints.push(
                Complaint::new(
                    Kind::NoScriptUser,
                    "there is no user keepalived_script, which runs the scripts that name no user; they are not used",
                )
                .at(place)
                .help("name a user with script_user in global_defs"),
            );
        }
    }
}

/// The settings of `global_defs` on which scripts depend.
#[derive(Clone, Debug)]
pub(super) struct Policy<'a> {
    pub(super) host: &'a Host,
    /// The account for scripts that name none; `None` when that user does not exist.
    pub(super) account: Option<Account>,
    pub(super) default_user: &'a DefaultUser,
    /// `enable_script_security`.
    pub(super) is_secure: bool,
}

impl Policy<'_> {
    /// Reports scripts that are used although security is off.
    pub(super) fn report_use(&self, complaints: &mut Vec<Complaint>) {
        if self.is_secure {
            return;
        }
        complaints.push(
            Complaint::new(
                Kind::ScriptSecurity,
                "scripts run although enable_script_security is not set",
            )
            .weight(Weight::Security)
            .help("add enable_script_security and script_user to global_defs"),
        );
    }

    /// Reads a notify command: `"COMMAND ARGUMENTS" [USER [GROUP]]`. `None` where it is unusable.
    pub(super) fn notify(
        &self,
        node: &Node,
        complain: &mut dyn FnMut(Complaint),
    ) -> Option<Script> {
        let arguments = arguments(node, complain)?;
        let account = match node.word_at(1) {
            Some(user) => {
                let account = Host::account(user, node.word_at(2));
                if account.is_none() {
                    complain(
                        Complaint::new(
                            Kind::ScriptUserUnknown,
                            format!("there is no user {user:?}; the script is not used"),
                        )
                        .at(node.place)
                        .token(user)
                        .help("quote a command that has arguments: \"/bin/echo a b\""),
                    );
                }
                account?
            }
            None => self.default_account(node.place)?,
        };
        Some(Script { arguments, account })
    }

    /// The account of a script that names none. Where there is no such account, notes its place.
    pub(super) fn default_account(&self, place: Place) -> Option<Account> {
        if self.account.is_none() {
            self.default_user.note(place);
        }
        self.account
    }

    /// Replaces the program by its real path. Returns whether the script can be run.
    pub(super) fn look_up(&self, script: &mut Script) -> Usability {
        let Some(program) = script.arguments.first_mut() else {
            return Usability::Missing;
        };
        if program.starts_with('<') {
            return Usability::NotLookedUp;
        }
        let Some(path) = self.host.program(program) else {
            return Usability::Missing;
        };
        let path = path.as_path();
        *program = path.display().to_string();
        let is_protected = self.is_secure && has_rights_of_root(script.account, path);
        if path.is_dir() || (is_protected && is_open_to_others(path)) {
            return Usability::Insecure;
        }
        if !is_executable(path) {
            return Usability::DroppedAtStart;
        }
        Usability::Usable
    }

    /// Looks up a script, and warns of one that the daemon drops. keepalived drops it silently.
    pub(super) fn look_up_or_warn(
        &self,
        script: &mut Script,
        (object, keyword): (Option<&str>, &str),
        complaints: &mut Vec<Complaint>,
    ) -> Usability {
        let usability = self.look_up(script);
        let (problem, help) = match usability {
            Usability::Usable | Usability::NotLookedUp => return usability,
            Usability::Missing => ("cannot be found", None),
            Usability::DroppedAtStart => ("is not executable", None),
            Usability::Insecure => (
                "can be changed by other users, or is a folder",
                Some("let only root change it and the folders on its path"),
            ),
        };
        let program = script.arguments.first().map_or("", String::as_str);
        let message = format!("{keyword} is not used: its program {program} {problem}");
        complaints.push(Complaint {
            object: object.map(str::to_owned),
            help: help.map(str::to_owned),
            ..Complaint::new(Kind::ScriptDisabled, message).weight(Weight::Advice)
        });
        usability
    }
}

/// Words that only a shell understands.
const SHELL: [&str; 9] = ["||", "&&", "|", ";", "&", "<", ">", ">>", "2>&1"];

/// The arguments of a command.
pub(super) fn arguments(node: &Node, complain: &mut dyn FnMut(Complaint)) -> Option<Vec<String>> {
    let command = node.word_at(0)?;
    if matches!(node.word, "script" | "misc_path") && node.words.len() > 1 {
        complain(
            Complaint::new(
                Kind::Other,
                format!("{} takes one word: what follows is ignored", node.word),
            )
            .at(node.place)
            .weight(Weight::Advice)
            .help("quote a command that has arguments: \"/bin/echo a b\""),
        );
    }
    match word::split_command(command) {
        Ok(arguments) if arguments.is_empty() => None,
        Ok(arguments) => {
            let of_shell = |word: &&String| SHELL.contains(&word.as_str());
            if let Some(word) = arguments.iter().find(of_shell) {
                complain(
                    Complaint::new(
                        Kind::Other,
                        format!("no shell is started: {word:?} is an argument like any other"),
                    )
                    .at(node.place)
                    .token(word)
                    .weight(Weight::Advice)
                    .help("put the command into a script, or write /bin/sh -c '...'"),
                );
            }
            Some(arguments)
        }
        Err(word::UnmatchedQuote) => {
            complain(
                Complaint::new(
                    Kind::UnmatchedQuote,
                    "a quote of the command is not closed; the script is not used",
                )
                .at(node.place),
            );
            None
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Whether a program has rights of root: by its account, or by a bit of its file.
fn has_rights_of_root(account: Account, path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    account.uid == 0
        || account.gid == 0
        || std::fs::metadata(path).is_ok_and(|it| {
            let mode = it.permissions().mode();
            (mode & 0o4000 != 0 && it.uid() == 0) || (mode & 0o2000 != 0 && it.gid() == 0)
        })
}

/// Whether a user other than root can change the file or a folder on its path.
fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    path.ancestors().any(|part| {
        std::fs::metadata(part).is_ok_and(|it| {
            let mode = it.permissions().mode();
            let is_sticky = it.is_dir() && mode & 0o1000 != 0;
            let by_group = mode & 0o020 != 0 && it.gid() != 0;
            let by_others = mode & 0o002 != 0;
            it.uid() != 0 || by_group || (by_others && !is_sticky)
        })
    })
}
