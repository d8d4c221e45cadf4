//! The take-over from an earlier program, and the hand-over to a later one.

use std::{collections::BTreeSet, io, mem::discriminant, path::Path};

use serde_json::{Value, json};
use vrrp_examples::succession::{self, Succession, TakeOverError};
use vrrp_fsm::track::Object;
use vrrp_net::{
    Driver, DriverHandle, GroupId, ObjectId, RouterConfig, RouterId, RouterView, Watch,
};

use crate::{Error, log::Log};

/// The driver of the program that listens at a socket, with all its routers. A new one if there is
/// no such program.
pub(crate) fn take_over(socket: Option<&Path>) -> Result<Driver, Error> {
    let Some(socket) = socket else {
        return Ok(Driver::new()?);
    };
    match succession::take_over(socket) {
        Ok(Some(inheritance)) => Ok(inheritance.driver),
        Ok(None) => Ok(Driver::new()?),
        Err(TakeOverError::Connect(error)) => {
            Err(format!("--take-over {}: {error}", socket.display()).into())
        }
        Err(TakeOverError::Driver(error)) => Err(error.into()),
    }
}

/// Listens for a successor, and logs each attempt.
pub(crate) fn listen(socket: &Path, driver: DriverHandle, log: Log) -> io::Result<Succession> {
    // It has just tried to take over from whatever listened there.
    Succession::listen_after_predecessor(socket, driver, move |result| match result {
        Ok(()) => log.write(None, "handed-over", json!({})),
        Err(error) => {
            let detail = json!({"reason": error.to_string()});
            log.write(None, "hand-over-failed", detail);
        }
    })
}

/// Brings an inherited router in line with the command line, without an election. Returns `None`
/// for a router that does not exist, or that differs in more than its election and its tracked
/// objects; such a router is removed. `added` are the routers before it on the command line.
pub(crate) fn adopt(
    driver: &mut Driver,
    wanted: &RouterConfig,
    added: &BTreeSet<RouterId>,
) -> Result<Option<RouterId>, Error> {
    let is_same = |router: &RouterView<'_>| {
        let fsm = router.machine().config();
        (router.interface_name(), fsm.vrid, fsm.family)
            == (&*wanted.interface, wanted.fsm.vrid, wanted.fsm.family)
    };
    let is_meant = |id| !added.contains(&id);
    let found = driver
        .routers()
        .find(|router| is_meant(router.id()) && is_same(router));
    let Some(router) = found else {
        return Ok(None);
    };
    let (id, has) = (router.id(), rest(&router.config())?);
    if has != rest(wanted)? {
        driver.remove(id)?;
        return Ok(None);
    }
    driver.reconfigure(id, wanted.fsm)?;
    driver.set_tracking(id, wanted.tracking.clone())?;
    Ok(Some(id))
}

/// Brings a tracked object that was taken over in line with the command line. Returns `None` where
/// there is no such object. An object of another kind gets another name, and is removed with the
/// [others](remove_others) once no router uses it.
pub(crate) fn adopt_object(
    driver: &mut Driver,
    wanted: &Object,
    watch: &Watch,
) -> Result<Option<ObjectId>, vrrp_net::Error> {
    let Some(id) = driver.objects().find(&wanted.name) else {
        return Ok(None);
    };
    let Some(former) = driver.objects().get(id).cloned() else {
        return Ok(None);
    };
    if discriminant(&former.kind) == discriminant(&wanted.kind) {
        driver.reconfigure_object(id, wanted.clone())?;
        driver.set_watch(id, watch.clone())?;
        return Ok(Some(id));
    }
    let mut name = former.name.clone();
    while driver.objects().find(&name).is_some() {
        name += " (former)";
    }
    driver.reconfigure_object(id, Object { name, ..former })?;
    Ok(None)
}

/// The settings that cannot be changed without another election.
fn rest(config: &RouterConfig) -> Result<Value, Error> {
    let mut config = serde_json::to_value(config)?;
    config["fsm"] = Value::Null;
    config["tracking"] = Value::Null;
    Ok(config)
}

/// Removes inherited routers, groups and objects that are not on the command line any more.
pub(crate) fn remove_others(
    driver: &mut Driver,
    routers: &BTreeSet<RouterId>,
    groups: &BTreeSet<GroupId>,
    objects: &BTreeSet<ObjectId>,
) -> Result<(), Error> {
    let others = driver.groups().map(|(id, _)| id);
    for id in others.filter(|id| !groups.contains(id)).collect::<Vec<_>>() {
        driver.remove_group(id)?;
    }
    let others = driver.routers().map(|it| it.id());
    for id in others
        .filter(|id| !routers.contains(id))
        .collect::<Vec<_>>()
    {
        driver.remove(id)?;
    }
    let others = driver.objects().iter().map(|(id, _)| id);
    for id in others
        .filter(|id| !objects.contains(id))
        .collect::<Vec<_>>()
    {
        driver.remove_object(id)?;
    }
    Ok(())
}
