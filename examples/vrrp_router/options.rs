//! The command line: one part for each virtual router, and one for each sync group that has options
//! of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    fmt::Display,
    path::PathBuf,
};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{
    sync_group::{SyncGroupArguments, SyncGroupOptions},
    tracking::Tracked,
    virtual_router::{RouterArguments, RouterOptions},
};

/// The word that ends one part and begins the next.
const NEXT: &str = "--next";

/// The first word of a part about a sync group.
const SYNC_GROUP: &str = "sync-group";

/// The parsed command line.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) routers: Vec<RouterOptions>,
    /// The socket of the program to take over from.
    pub(crate) take_over: Option<PathBuf>,
    /// The file of sequence numbers.
    pub(crate) sequence_file: Option<PathBuf>,
    /// All sync groups that routers are members of.
    pub(crate) sync_groups: Vec<SyncGroupOptions>,
}

impl Options {
    /// Ends the program with a message where the command line is invalid.
    pub(crate) fn from_command_line() -> Self {
        let words: Vec<OsString> = env::args_os().skip(1).collect();
        Self::read(&words).unwrap_or_else(|error| error.exit())
    }

    fn read(words: &[OsString]) -> Result<Self, clap::Error> {
        let refuse =
            |problem| RouterArguments::command().error(ErrorKind::ValueValidation, problem);
        let mut options = Self::default();
        for part in words.split(|word| word == NEXT) {
            if part.first().is_some_and(|word| word == SYNC_GROUP) {
                let arguments = SyncGroupArguments::try_parse_from(part)?;
                options.sync_groups.push(arguments.into_options());
            } else {
                let program = OsString::from("vrrp_router");
                let arguments =
                    RouterArguments::try_parse_from([&program].into_iter().chain(part))?;
                let mut router = arguments.into_options().map_err(refuse)?;
                if let Some(socket) = router.take_over.take()
                    && let Some(first) = options.take_over.replace(socket)
                {
                    let problem = "given more than once";
                    let first = first.display();
                    return Err(refuse(invalid("--take-over <SOCKET>", first, problem)));
                }
                if let Some(file) = router.sequence_file.take()
                    && let Some(first) = options.sequence_file.replace(file)
                {
                    let problem = "given more than once";
                    let first = first.display();
                    return Err(refuse(invalid("--sequence-file <FILE>", first, problem)));
                }
                options.routers.push(router);
            }
        }
        options.check_sync_groups().map_err(refuse)?;
        options.check_tracked().map_err(refuse)?;
        options.add_plain_sync_groups();
        Ok(options)
    }

    fn check_sync_groups(&self) -> Result<(), String> {
        for (place, group) in self.sync_groups.iter().enumerate() {
            let is_named = |other: &SyncGroupOptions| other.name == group.name;
            if self.sync_groups.iter().take(place).any(is_named) {
                return Err(invalid(SYNC_GROUP, &group.name, "given more than once"));
            }
            if self.members(&group.name).next().is_none() {
                return Err(invalid(
                    SYNC_GROUP,
                    &group.name,
                    "no router has this --sync-group",
                ));
            }
        }
        for router in &self.routers {
            if let Some(name) = &router.sync_group {
                self.check_member(router, name)
                    .map_err(|problem| invalid("--sync-group <NAME>", name, problem))?;
            }
        }
        Ok(())
    }

    fn check_member(&self, router: &RouterOptions, name: &str) -> Result<(), String> {
        let is_owner = |router: &RouterOptions| router.config.fsm.priority.is_owner();
        if self
            .members(name)
            .any(|other| is_owner(other) != is_owner(router))
        {
            return Err("all or none of its routers have priority 255".into());
        }
        let group = self.sync_groups.iter().find(|group| group.name == name);
        let weighs = group.is_some_and(|group| group.member_weights);
        match router.tracked.iter().find(|it| it.weight.get().is_some()) {
            Some(tracked) if !weighs => Err(format!(
                "{} has a weight, which counts in a sync group only when the group tracks it, or with its --member-weights",
                tracked.name
            )),
            _ => Ok(()),
        }
    }

    /// Checks the tracked objects, which are identified by their names. Several routers and groups
    /// can use one object, each of them once.
    fn check_tracked(&self) -> Result<(), String> {
        const OPTION: &str = "--track-...";
        let of_routers = self.routers.iter().map(|router| &router.tracked);
        let of_groups = self.sync_groups.iter().map(|group| &group.tracked);
        let mut known: BTreeMap<&str, &Tracked> = BTreeMap::new();
        for list in of_routers.chain(of_groups) {
            let mut used = BTreeSet::new();
            for tracked in list {
                let first = known.entry(&tracked.name).or_insert(tracked);
                if !first.is_same(tracked) {
                    let problem = "already used by another tracked object";
                    return Err(invalid(OPTION, &tracked.name, problem));
                }
                if !used.insert(&tracked.name) {
                    return Err(invalid(OPTION, &tracked.name, "given more than once"));
                }
            }
        }
        Ok(())
    }

    /// Adds the sync groups without options of their own.
    fn add_plain_sync_groups(&mut self) {
        for name in self
            .routers
            .iter()
            .filter_map(|router| router.sync_group.as_ref())
        {
            if !self.sync_groups.iter().any(|group| group.name == *name) {
                self.sync_groups.push(SyncGroupOptions::new(name));
            }
        }
    }

    fn members(&self, name: &str) -> impl Iterator<Item = &RouterOptions> {
        let routers = self.routers.iter();
        routers.filter(move |router| router.sync_group.as_deref() == Some(name))
    }
}

/// An error message in the form of clap's.
pub(crate) fn invalid(option: &str, value: impl Display, problem: impl Display) -> String {
    format!("invalid value '{value}' for '{option}': {problem}")
}
