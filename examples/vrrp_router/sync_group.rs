//! The options of a sync group.

use clap::{Parser, builder::NonEmptyStringValueParser};

use crate::{
    notify::{Hook, NotifyArguments},
    tracking::{Tracked, TrackingArguments},
};

/// A sync group: the virtual routers with this --sync-group are Active, Backup or in Initialize
/// together.
#[derive(Parser)]
#[command(name = "sync-group", bin_name = "vrrp_router ... --next sync-group")]
pub(crate) struct SyncGroupArguments {
    /// The name of the group, as in --sync-group.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,

    /// Apply the weights of objects that single members track. Members with different priorities
    /// may then find different Actives.
    #[arg(long)]
    member_weights: bool,

    #[command(flatten)]
    tracking: TrackingArguments,

    #[command(flatten)]
    notify: NotifyArguments,
}

pub(crate) struct SyncGroupOptions {
    pub(crate) name: String,
    /// The objects that count for all members.
    pub(crate) tracked: Vec<Tracked>,
    pub(crate) member_weights: bool,
    pub(crate) notify: Option<Hook>,
}

impl SyncGroupOptions {
    /// A group without any option except its name.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tracked: Vec::new(),
            member_weights: false,
            notify: None,
        }
    }
}

impl SyncGroupArguments {
    pub(crate) fn into_options(self) -> SyncGroupOptions {
        SyncGroupOptions {
            tracked: self.tracking.into_list(),
            member_weights: self.member_weights,
            notify: self.notify.of_sync_group(&self.name),
            name: self.name,
        }
    }
}
