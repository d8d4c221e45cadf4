//! The settings of the operator, which survive a restart.

use std::time::Duration;

use ipvs_netlink::{
    DestinationKey, ServiceKey, Weight,
    pool::{Operator, Pool},
};
use serde::{Deserialize, Serialize};
use serde_with::{As, DisplayFromStr};

use crate::probe::Probe;

/// All that the operator has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct OperatorSettings(pub Vec<OperatorSetting>);

/// The settings of the operator for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct OperatorSetting {
    /// The service.
    #[serde(with = "As::<DisplayFromStr>")]
    pub service: ServiceKey,
    /// The server.
    #[serde(with = "As::<DisplayFromStr>")]
    pub server: DestinationKey,
    /// The state.
    pub state: Operator,
    /// The weight in place of the configured one.
    pub weight: Option<u32>,
}

impl OperatorSettings {
    /// The settings of the operator in a pool.
    #[must_use]
    pub fn of(pool: &Pool<Probe>) -> Self {
        let settings = pool.explanations().map(|server| OperatorSetting {
            service: server.service,
            server: server.server,
            state: server.operator,
            weight: server.operator_weight.map(Weight::get),
        });
        let is_set = |it: &OperatorSetting| it.state != Operator::Ready || it.weight.is_some();
        Self(settings.filter(is_set).collect())
    }

    /// Applies them to a pool. Servers that the pool does not have are left out.
    pub(super) fn apply(&self, now: Duration, pool: &mut Pool<Probe>) {
        for setting in &self.0 {
            let OperatorSetting {
                service,
                server,
                state,
                weight,
            } = setting;
            let weight = weight.and_then(|weight| Weight::new(weight).ok());
            let _ = pool.set_operator(now, service, server, *state);
            let _ = pool.set_weight(now, service, server, weight);
        }
    }
}
