//! The sources of objects.

mod folder;
mod stream;

use tokio::sync::mpsc;
use vrrp_examples::kubernetes::Change;

pub(crate) use self::{folder::Folder, stream::follow};

/// A message of a source.
#[derive(Debug)]
pub(crate) enum Update {
    /// Objects have changed.
    Change(Change),
    /// All initial objects have been sent.
    Ready,
    /// A part of the source cannot be read, or with `None` can be read again.
    Fault {
        /// The file or the stream.
        part: String,
        /// The error.
        error: Option<String>,
    },
    /// The source has ended, for this reason.
    Ended(String),
}

/// Where updates go. A source waits while the program is busy.
pub(crate) type Updates = mpsc::Sender<Update>;

/// The program has ended, so nobody receives updates any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Sends an update from a thread of its own.
fn send(updates: &Updates, update: Update) -> Result<(), Closed> {
    updates.blocking_send(update).map_err(|_| Closed)
}
