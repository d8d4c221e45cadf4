//! The state that one run of a program leaves for the next.

use std::{fs, io, path::Path};

use ipvs_netlink::ServiceKey;
use serde::{Deserialize, Serialize};
use serde_with::{As, DisplayFromStr};

use super::{OperatorSettings, SavedDrains};
use crate::whole_file::{Durability, Readers, replace};

/// The state with which a later run continues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct SavedState {
    /// The settings of the operator.
    pub operator: OperatorSettings,
    /// The services that this program has made.
    #[serde(with = "As::<Vec<DisplayFromStr>>")]
    pub services: Vec<ServiceKey>,
    /// The destinations that are being drained.
    pub drains: SavedDrains,
}

impl SavedState {
    /// Reads a file. A missing file is an empty state.
    ///
    /// # Errors
    ///
    /// The system's, and [`io::ErrorKind::InvalidData`] for a file that holds no state; each names
    /// the file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let state = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        };
        state.map_err(|error| with_name(path, &error))
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// The system's, with the name of the file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        let written = replace(path, &bytes, Readers::AllInUmask, Durability::Program);
        written.map_err(|error| with_name(path, &error))
    }
}

fn with_name(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipvs_netlink::{
        DestinationKey, Weight,
        plan::{Drain, Draining, DrainingDestination},
        pool::Operator,
    };

    use super::{super::OperatorSetting, *};

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(SavedState::read(&path).unwrap(), SavedState::default());
        let service = ServiceKey::tcp(([192, 0, 2, 1], 80));
        let server = DestinationKey::new(([10, 0, 0, 1], 80));
        let since = Duration::from_millis(12_345);
        let mut draining = Draining::default();
        for (place, rule) in [
            ((service, server), None),
            (("mark 5".parse().unwrap(), server), Some(Drain::default())),
        ] {
            let destination = DrainingDestination {
                since,
                until: since * 2,
                weight: Weight::new(7).unwrap(),
                rule,
            };
            draining.destinations.insert(place, destination);
        }
        let state = SavedState {
            operator: OperatorSettings(vec![OperatorSetting {
                service,
                server,
                state: Operator::Drain,
                weight: Some(5),
            }]),
            services: vec![service, "mark 5".parse().unwrap()],
            drains: SavedDrains::of(&draining),
        };
        state.write(&path).unwrap();
        let read = SavedState::read(&path).unwrap();
        assert_eq!(read, state);
        assert_eq!(read.drains.draining(), draining);
        fs::write(&path, "{ \"services\": [\"x\"] }").unwrap();
        let error = SavedState::read(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        for error in [
            error,
            SavedState::read(folder.path()).unwrap_err(),
            state.write(&path.join("x")).unwrap_err(),
        ] {
            let name = folder.path().display().to_string();
            assert!(error.to_string().starts_with(&name), "{error}");
        }
    }
}
