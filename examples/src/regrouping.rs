//! Routers on their way from one sync group to another.

use vrrp_fsm::{State, fleet::RouterId};
use vrrp_net::{Driver, Error};

/// The cause of the fault that holds a router.
const CAUSE: &str = "its sync group changes";

/// Routers that have left their sync groups and will join groups.
///
/// A router that its group held in Initialize would start as soon as it has left, and might be held
/// by the next group again. So it waits until the groups are complete.
#[derive(Debug, Default)]
pub struct Regrouping {
    held: Vec<RouterId>,
}

impl Regrouping {
    /// Takes routers out of their groups. They keep their states.
    ///
    /// # Errors
    ///
    /// [`Error::NoRouter`] and others; none for routers and groups of the driver.
    pub fn leave(&mut self, driver: &mut Driver, routers: &[RouterId]) -> Result<(), Error> {
        let groups: Vec<_> = routers
            .iter()
            .filter_map(|id| Some((*id, driver.group_with(*id)?)))
            .collect();
        // All are held first: one of them may be the reason why the others do not run.
        for (id, _) in &groups {
            let state = driver.get(*id).map(|it| it.state());
            if state == Some(State::Initialize) {
                driver.set_fault(*id, CAUSE)?;
                self.held.push(*id);
            }
        }
        for (id, group_id) in groups {
            if let Some(mut group) = driver.group(group_id).cloned() {
                group.members.retain(|member| *member != id);
                driver.reconfigure_group(group_id, group)?;
            }
        }
        Ok(())
    }

    /// Releases the routers that were held, once all have joined their groups.
    pub fn end(self, driver: &mut Driver) {
        for id in self.held {
            // A router that was removed in the meantime needs nothing.
            let _removed = driver.clear_fault(id, CAUSE);
        }
    }
}
