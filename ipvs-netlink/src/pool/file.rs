//! The configuration as a file has it: serde for the structs, behind the feature `serde`.
//!
//! Times are text with their unit, such as `"500ms"` or `"1m 30s"`, or a number of seconds. Shares
//! are text such as `"50%"`. Services, servers and forwarding methods are the text that they print.

mod amount;
mod check;
mod server;
mod service;
mod span;
mod whole;
mod words;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Check, Config, RealServer, SorryServer, VirtualServer};
use check::CheckForm;
use server::{RealServerForm, SorryServerForm};
use service::VirtualServerForm;
use whole::ConfigForm;
pub(super) use words::as_text;

/// Reads and writes a struct in the form that a file has.
macro_rules! through {
    ($type:ident, $form:ident) => {
        impl<P: Clone + Serialize> Serialize for $type<P> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::from(self.clone()).serialize(serializer)
            }
        }

        impl<'de, P: Deserialize<'de>> Deserialize<'de> for $type<P> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form = $form::deserialize(deserializer)?;
                form.try_into().map_err(de::Error::custom)
            }
        }
    };
}

through!(Config, ConfigForm);
through!(VirtualServer, VirtualServerForm);
through!(RealServer, RealServerForm);
through!(Check, CheckForm);

impl Serialize for SorryServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SorryServerForm::from(*self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SorryServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = SorryServerForm::deserialize(deserializer)?;
        form.with_default(None).map_err(de::Error::custom)
    }
}
