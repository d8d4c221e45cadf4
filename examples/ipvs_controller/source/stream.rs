//! A stream of JSON values, as `kubectl get --watch -o json` writes them.

use std::io::Read;

use vrrp_examples::kubernetes::{Change, WatchEvent, watch_events};

use super::{Closed, Update, Updates, send};

/// The name of the stream.
const NAME: &str = "standard input";

/// Sends the changes of a stream until it or the program ends.
pub(crate) fn follow(stream: impl Read, updates: &Updates) -> Result<(), Closed> {
    let mut shows_deletions = true;
    for events in watch_events(stream) {
        let events = match events {
            Ok(events) => events,
            Err(error) => {
                let fault = Update::Fault {
                    part: NAME.into(),
                    error: Some(error.to_string()),
                };
                send(updates, fault)?;
                continue;
            }
        };
        for event in events {
            let source = NAME.into();
            let change = match event {
                WatchEvent::Put { object, is_event } => {
                    if !is_event && shows_deletions {
                        shows_deletions = false;
                        let fault = Update::Fault {
                            part: NAME.into(),
                            error: Some(
                                "the stream does not show deletions; add --output-watch-events to kubectl"
                                    .into(),
                            ),
                        };
                        send(updates, fault)?;
                    }
                    Change::Put { source, object }
                }
                WatchEvent::Delete(object) => Change::Delete {
                    source,
                    object: object.key().clone(),
                },
            };
            send(updates, Update::Change(change))?;
        }
    }
    send(updates, Update::Ended(format!("{NAME}: the end")))
}
