//! The network namespace of the kernel's table.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

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

    /// The device and the inode of the namespace.
    ///
    /// # Errors
    ///
    /// Those of stat(2).
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = match &self.0 {
            None => fs::metadata("/proc/thread-self/ns/net")?,
            Some(namespace) => namespace.metadata()?,
        };
        Ok((metadata.dev(), metadata.ino()))
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
