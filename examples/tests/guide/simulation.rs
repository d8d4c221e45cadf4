use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use vrrp_fsm::{
    Action, Instant, State,
    fleet::{RouterId, VrrpRouter},
    sim::{Chance, Host, Occurrence, Packet, Rate, Scenario, Simulation},
};
use vrrp_proto::{Discard, Protection};

/// The host under test, which carries out the actions of its virtual routers.
struct Gateway {
    fleet: VrrpRouter,
    /// The routers whose addresses are on the interface.
    installed: BTreeSet<RouterId>,
}

impl Host for Gateway {
    fn boot(fleet: VrrpRouter) -> Self {
        let installed = BTreeSet::new();
        Self { fleet, installed }
    }

    fn fleet(&self) -> &VrrpRouter {
        &self.fleet
    }

    fn fleet_mut(&mut self) -> &mut VrrpRouter {
        &mut self.fleet
    }

    fn poll_action(&mut self) -> Option<(RouterId, Action)> {
        let (router, action) = self.fleet.poll_action()?;
        match action {
            Action::InstallAddresses => drop(self.installed.insert(router)),
            Action::RemoveAddresses => drop(self.installed.remove(&router)),
            _ => {}
        }
        Some((router, action))
    }
}

/// Three hosts with four virtual routers, and faults for some minutes.
fn scenario(minutes: u64, loss: u32, crashes: bool) -> Scenario {
    let mut scenario = Scenario::uniform(3, 4).unwrap();
    scenario.faults.until = Instant::ZERO + Duration::from_secs(60 * minutes);
    scenario.faults.loss = Chance::per_million(loss).unwrap();
    scenario.faults.crash = crashes.then_some(Rate {
        every: Duration::from_secs(10),
        longest: Duration::from_secs(5),
    });
    scenario
}

/// Runs until half a minute after the last fault; returns the violated properties.
fn run<H: Host>(simulation: &mut Simulation<H>, scenario: &Scenario) -> Vec<String> {
    let mut violations = Vec::new();
    let end = scenario.faults.until + Duration::from_secs(30);
    simulation.run_until(end, &mut |at, occurrence| {
        if let Occurrence::Violated(violation) = occurrence {
            violations.push(format!("{at}: {violation}"));
        }
    });
    violations
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn addresses_are_installed_exactly_while_active(
        seed: u64,
        loss in 0..50_000_u32,
        crashes: bool,
    ) {
        let scenario = scenario(1, loss, crashes);
        let mut simulation = Simulation::<Gateway>::new(&scenario, seed).unwrap();
        prop_assert_eq!(run(&mut simulation, &scenario), [""; 0]);
        for number in 0..3 {
            let gateway = simulation.host(number).unwrap();
            let routers = gateway.fleet.iter();
            let active = routers.filter(|(_, router)| router.state() == State::Active);
            let active: BTreeSet<_> = active.map(|(id, _)| id).collect();
            prop_assert_eq!(&gateway.installed, &active);
        }
    }
}

/// A host with a mistake: it ignores resignations.
struct Deaf(VrrpRouter);

impl Host for Deaf {
    fn boot(fleet: VrrpRouter) -> Self {
        Self(fleet)
    }

    fn fleet(&self) -> &VrrpRouter {
        &self.0
    }

    fn fleet_mut(&mut self) -> &mut VrrpRouter {
        &mut self.0
    }

    fn receive(
        &mut self,
        now: Instant,
        packet: &Packet,
        protection: Protection,
    ) -> Result<(), Discard> {
        // The third octet of an advertisement is its priority.
        if packet.octets.get(2) == Some(&0) {
            return Ok(());
        }
        self.0.receive(now, packet, protection)
    }
}

#[test]
fn the_simulator_finds_a_host_that_ignores_resignations() {
    let mut scenario = scenario(10, 0, false);
    scenario.faults.stop = Some(Rate {
        every: Duration::from_secs(10),
        longest: Duration::from_secs(5),
    });
    let mut simulation = Simulation::<Deaf>::new(&scenario, 1).unwrap();
    let violations = run(&mut simulation, &scenario);
    assert!(
        violations
            .iter()
            .any(|text| text.contains("hand-over in Skew_Time")),
        "{violations:#?}"
    );
}
