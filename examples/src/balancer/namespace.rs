//! The network namespace of the kernel's table.

use std::{fs::File, io, path::Path, sync::Arc};

use ipvs_netlink::{AsyncClient, Error};

/// The network namespace of the kernel's table. Default: that of the calling thread.
///
/// Probes do not depend on it: they run in the namespace of the calling thread.
#[derive(Clone, Debug, Default)]
pub struct TableNamespace(Option<Arc<File>>);

impl TableNamespace {
    /// The namespace of a file, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    ///
    /// The errors of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Some(Arc::new(File::open(path)?))))
    }

    /// Opens a client for the table.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncClient::open_in`].
    pub async fn client(&self) -> Result<AsyncClient, Error> {
        match &self.0 {
            None => AsyncClient::open().await,
            Some(namespace) => AsyncClient::open_in(namespace).await,
        }
    }
}
