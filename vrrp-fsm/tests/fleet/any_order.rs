//! All operations on a fleet, in any order, and the properties that hold after each step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use vrrp_fsm::{
    Action, Instant, Preempt, StallPolicy, State, VirtualRouter,
    fleet::{FleetChange, FleetError, GroupId, Member, Reader, RouterId, SyncGroup, VrrpRouter},
    track::{Check, Debounce, Kind, Object, ObjectId, Quorum, Report, Require, TrackRef, Weight},
};
use vrrp_proto::Protection;

use crate::lan::{member, message, ms, multicast};

/// A number stands for an existing object: number 7 is the seventh router, modulo their count. A
/// mask stands for several.
#[derive(Clone, Debug)]
enum Step {
    Add(Wanted),
    Reconfigure(usize, Wanted),
    Remove(usize),
    Start(usize),
    Stop(usize),
    StopAll,
    LoseAddress(usize),
    AddObject(u8, u8),
    ReconfigureObject(usize, u8),
    RemoveObject(usize),
    Report(usize, u8),
    AddGroup(u8, u8),
    ReconfigureGroup(usize, u8, u8),
    RemoveGroup(usize),
    Receive(usize, u8),
    TimeOut,
    Stall,
    HandOver,
}

/// A router on one of four interfaces.
#[derive(Clone, Debug)]
struct Wanted {
    interface: u32,
    priority: u8,
    policy: u8,
    tracks: u8,
}

fn steps() -> impl Strategy<Value = Step> {
    let wanted = (
        1_u32..5,
        prop::sample::select(vec![1, 100, 100, 120, 200, 254, 255]),
        any::<u8>(),
        any::<u8>(),
    );
    let wanted = wanted.prop_map(|(interface, priority, policy, tracks)| Wanted {
        interface,
        priority,
        policy,
        tracks,
    });
    let one = 0_usize..8;
    let mask = any::<u8>();
    let priority = prop::sample::select(vec![0, 50, 100, 150, 250, 255]);
    prop_oneof![
        2 => wanted.clone().prop_map(Step::Add),
        2 => (one.clone(), wanted).prop_map(|(one, wanted)| Step::Reconfigure(one, wanted)),
        1 => one.clone().prop_map(Step::Remove),
        4 => one.clone().prop_map(Step::Start),
        1 => one.clone().prop_map(Step::Stop),
        1 => Just(Step::StopAll),
        1 => one.clone().prop_map(Step::LoseAddress),
        2 => (mask, mask).prop_map(|(kind, weight)| Step::AddObject(kind, weight)),
        1 => (one.clone(), mask).prop_map(|(one, weight)| Step::ReconfigureObject(one, weight)),
        1 => one.clone().prop_map(Step::RemoveObject),
        5 => (one.clone(), mask).prop_map(|(one, value)| Step::Report(one, value)),
        2 => (mask, mask).prop_map(|(members, tracks)| Step::AddGroup(members, tracks)),
        2 => (one.clone(), mask, mask).prop_map(|(one, members, tracks)| Step::ReconfigureGroup(one, members, tracks)),
        1 => one.clone().prop_map(Step::RemoveGroup),
        3 => (one.clone(), priority).prop_map(|(one, priority)| Step::Receive(one, priority)),
        5 => Just(Step::TimeOut),
        1 => Just(Step::Stall),
        1 => Just(Step::HandOver),
    ]
}

/// The knowledge of a host that follows the records and performs the actions.
#[derive(Clone, Default)]
struct Known {
    state: Option<State>,
    priority: u8,
    is_installed: bool,
    is_started: bool,
    has_address: bool,
}

struct World {
    now: Instant,
    fleet: VrrpRouter,
    reader: Reader,
    routers: Vec<RouterId>,
    groups: Vec<GroupId>,
    objects: Vec<ObjectId>,
    known: BTreeMap<RouterId, Known>,
    /// The counted members of each group, if all were in one state.
    together: BTreeMap<GroupId, BTreeSet<RouterId>>,
    names: u32,
}

fn nth<T: Copy>(list: &[T], number: usize) -> Option<T> {
    list.get(number % list.len().max(1)).copied()
}

fn masked<T: Copy>(list: &[T], mask: u8) -> impl Iterator<Item = T> {
    let bits = list.iter().enumerate();
    bits.filter(move |(bit, _)| mask >> (bit % 8) & 1 == 1)
        .map(|(_, one)| *one)
}

fn weight(number: u8) -> Weight {
    match number % 4 {
        0 => Weight::points(-30).unwrap(),
        1 => Weight::points(253).unwrap(),
        _ => Weight::FAULT,
    }
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::ZERO,
            fleet: VrrpRouter::new(),
            reader: Reader::default(),
            routers: Vec::new(),
            groups: Vec::new(),
            objects: Vec::new(),
            known: BTreeMap::new(),
            together: BTreeMap::new(),
            names: 0,
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        self.names.to_string()
    }

    fn uses(&self, mask: u8) -> Vec<TrackRef> {
        masked(&self.objects, mask).map(TrackRef::of).collect()
    }

    fn member(&self, wanted: &Wanted) -> Member {
        let mut member = member(wanted.interface, wanted.priority);
        match wanted.policy % 8 {
            0 => member.config.stall = StallPolicy::Yield,
            1 => member.config.startup_hold = ms(3_000),
            2 => member.config.preempt = Preempt::Never,
            3 => member.config.preempt = Preempt::AfterDelay(ms(2_000)),
            _ => {}
        }
        if wanted.policy & 8 == 0 {
            member.tracking = self.uses(wanted.tracks);
        }
        member
    }

    fn object(&mut self, kind: Kind, weighed: u8) -> Object {
        Object {
            weight: weight(weighed),
            reverse: weighed & 16 != 0,
            debounce: match weighed & 32 {
                0 => Debounce::NONE,
                _ => Debounce {
                    down: ms(300),
                    up: ms(400),
                },
            },
            ..Object::new(self.name(), kind)
        }
    }

    fn kind(&self, number: u8) -> Kind {
        let stale_after = (number & 8 == 0).then_some(ms(700));
        let is_set = |id: &ObjectId| {
            let object = self.fleet.tracker().get(*id).unwrap();
            matches!(object.kind, Kind::Set { .. })
        };
        let single = masked(&self.objects, number).filter(|id| !is_set(id));
        match number % 6 {
            0 => Kind::Interface,
            1 => Kind::Number,
            2 => Kind::Check(Check {
                stale_after,
                ..Check::EACH
            }),
            3 => Kind::Processes(Quorum {
                at_least: 2,
                at_most: Some(3),
            }),
            4 => Kind::Set {
                require: Require::Any,
                members: single.collect(),
            },
            _ => Kind::Set {
                require: Require::AtLeast(2),
                members: single.collect(),
            },
        }
    }

    fn report(&self, object: ObjectId, value: u8) -> Report {
        match self.fleet.tracker().get(object).unwrap().kind {
            Kind::Number => Report::Number([0, 0, 1, -3, i32::MIN][usize::from(value % 5)]),
            Kind::Processes(_) => Report::Count((value % 5).into()),
            _ if value.is_multiple_of(3) => Report::Down,
            _ => Report::Up,
        }
    }

    fn group(&mut self, members: impl IntoIterator<Item = RouterId>, tracks: u8) -> SyncGroup {
        SyncGroup {
            tracking: self.uses(tracks),
            member_weights: tracks & 1 == 0,
            ..SyncGroup::new(self.name(), members.into_iter().collect())
        }
    }

    /// A router with all members of its sync group.
    fn with_company(&self, id: RouterId) -> BTreeSet<RouterId> {
        let group = self.fleet.group_with(id);
        let group = group.and_then(|group| self.fleet.group(group));
        let company = group.into_iter().flat_map(|group| &group.members);
        company.copied().chain([id]).collect()
    }

    fn knows(&mut self, id: RouterId) -> &mut Known {
        self.known.get_mut(&id).unwrap()
    }

    /// Does a step, if its object exists. Returns the result and the routers that it may concern;
    /// `None` for all.
    fn take(&mut self, step: &Step) -> (Result<(), FleetError>, Option<BTreeSet<RouterId>>) {
        let now = self.now;
        match *step {
            Step::Add(_)
            | Step::Reconfigure(..)
            | Step::Remove(_)
            | Step::Start(_)
            | Step::Stop(_)
            | Step::LoseAddress(_)
            | Step::Receive(..) => return self.do_to_router(step),
            Step::AddGroup(..) | Step::ReconfigureGroup(..) | Step::RemoveGroup(_) => {
                return self.do_to_group(step);
            }
            Step::StopAll => {
                self.fleet.shutdown_all(now);
                for known in self.known.values_mut() {
                    known.is_started = false;
                }
            }
            Step::AddObject(kind, weighed) => {
                let object = self.object(self.kind(kind), weighed);
                let added = self.fleet.add_object(now, object);
                self.objects.extend(added.as_ref().ok());
                return (added.map(drop), Some(BTreeSet::new()));
            }
            Step::ReconfigureObject(number, weighed) => {
                if let Some(id) = nth(&self.objects, number) {
                    let kind = self.fleet.tracker().get(id).unwrap().kind.clone();
                    let object = self.object(kind, weighed);
                    return (self.fleet.reconfigure_object(now, id, object), None);
                }
            }
            Step::RemoveObject(number) => {
                if let Some(id) = nth(&self.objects, number) {
                    let removed = self.fleet.remove_object(id);
                    self.objects.retain(|it| *it != id || removed.is_err());
                    return (removed.map(drop), Some(BTreeSet::new()));
                }
            }
            Step::Report(number, value) => {
                if let Some(id) = nth(&self.objects, number) {
                    let report = self.report(id, value);
                    return (self.fleet.report(now, id, report), None);
                }
            }
            Step::TimeOut | Step::Stall => {
                if let Some(at) = self.fleet.poll_timeout() {
                    let late = matches!(step, Step::Stall);
                    let now = at.max(now) + ms(if late { 60_000 } else { 0 });
                    self.now = now;
                    assert!(self.fleet.is_due(now));
                    self.fleet.handle_timeout(now);
                    assert!(self.fleet.poll_timeout().is_none_or(|at| at > now));
                }
            }
            Step::HandOver => self.hand_over(),
        }
        (Ok(()), None)
    }

    fn do_to_router(
        &mut self,
        step: &Step,
    ) -> (Result<(), FleetError>, Option<BTreeSet<RouterId>>) {
        let now = self.now;
        let (Step::Reconfigure(number, _)
        | Step::Remove(number)
        | Step::Start(number)
        | Step::Stop(number)
        | Step::LoseAddress(number)
        | Step::Receive(number, _)) = *step
        else {
            let Step::Add(wanted) = step else {
                unreachable!("{step:?}")
            };
            let added = self.fleet.add(now, self.member(wanted));
            if let Ok(id) = added {
                self.routers.push(id);
                self.known.insert(id, Known::default());
            }
            return (added.map(drop), Some(BTreeSet::new()));
        };
        let Some(id) = nth(&self.routers, number) else {
            return (Ok(()), None);
        };
        let concerned = Some(self.with_company(id));
        let result = match step {
            Step::Reconfigure(_, wanted) => {
                let mut member = self.member(wanted);
                member.interface = self.fleet.key(id).unwrap().interface;
                self.fleet.reconfigure(now, id, member)
            }
            Step::Remove(_) => {
                self.routers.retain(|it| *it != id);
                self.fleet.remove(now, id)
            }
            Step::Start(_) => {
                let known = self.knows(id);
                (known.is_started, known.has_address) = (true, true);
                self.fleet.startup(now, id, [192, 0, 2, 11].into())
            }
            Step::Stop(_) => {
                self.knows(id).is_started = false;
                self.fleet.shutdown(now, id)
            }
            Step::LoseAddress(_) => {
                self.knows(id).has_address = false;
                self.fleet.set_primary_address(now, id, None)
            }
            Step::Receive(_, priority) => {
                let (ip, interface) = (multicast(), self.fleet.key(id).unwrap().interface);
                let octets = message(51, *priority, &ip.endpoints);
                let _received =
                    self.fleet
                        .handle_packet(now, interface, &ip, &octets, Protection::None);
                Ok(())
            }
            _ => Ok(()),
        };
        (result, concerned)
    }

    fn do_to_group(&mut self, step: &Step) -> (Result<(), FleetError>, Option<BTreeSet<RouterId>>) {
        let now = self.now;
        let (Step::AddGroup(members, tracks) | Step::ReconfigureGroup(_, members, tracks)) = *step
        else {
            if let Step::RemoveGroup(number) = *step
                && let Some(id) = nth(&self.groups, number)
            {
                self.groups.retain(|it| *it != id);
                let members = self.fleet.remove_group(now, id).unwrap().members;
                return (Ok(()), Some(members.into_iter().collect()));
            }
            return (Ok(()), None);
        };
        let group = match *step {
            Step::ReconfigureGroup(number, ..) => nth(&self.groups, number),
            _ => None,
        };
        // Mostly routers that may be members, so the step is not always rejected.
        let may = |id: &RouterId| {
            members & 1 == 0
                || self
                    .fleet
                    .group_with(*id)
                    .is_none_or(|it| Some(it) == group)
        };
        let wanted: Vec<_> = masked(&self.routers, members).filter(may).collect();
        let old = group.and_then(|id| self.fleet.group(id));
        let old = old.map(|old| old.members.clone()).unwrap_or_default();
        let concerned = old.iter().chain(&wanted).copied().collect();
        let config = self.group(wanted, tracks);
        let result = match group {
            Some(id) => self.fleet.reconfigure_group(now, id, config),
            None => self
                .fleet
                .add_group(now, config)
                .map(|id| self.groups.push(id)),
        };
        (result, Some(concerned))
    }

    /// Hands over to an heir, in which every id is the number of its place.
    fn hand_over(&mut self) {
        let snapshot = self.fleet.snapshot(self.now);
        let heir = VrrpRouter::restore(&snapshot, self.now).unwrap();
        assert_eq!(heir.snapshot(self.now), snapshot);
        let old = core::mem::replace(&mut self.fleet, heir);
        let place = |place| u32::try_from(place).unwrap();
        let router = |id| RouterId::nth(place(old.iter().position(|(it, _)| it == id).unwrap()));
        let object = |id| {
            let mut objects = old.tracker().iter();
            ObjectId::nth(place(objects.position(|(it, _)| it == id).unwrap()))
        };
        for id in &mut self.objects {
            *id = object(*id);
        }
        for id in &mut self.routers {
            let heirs = router(*id);
            let said = |fleet: &VrrpRouter, id| fleet.explain(id).unwrap().to_string();
            assert_eq!(said(&self.fleet, heirs), said(&old, *id));
            *id = heirs;
        }
        let known = core::mem::take(&mut self.known);
        self.known = known
            .into_iter()
            .map(|(id, known)| (router(id), known))
            .collect();
        self.groups = self.fleet.groups().map(|(id, _)| id).collect();
        self.together.clear();
    }

    fn step(&mut self, step: &Step) {
        let before = self.fleet.snapshot(self.now);
        let machines: Vec<(RouterId, VirtualRouter)> =
            self.fleet.iter().map(|(id, it)| (id, *it)).collect();
        let (result, concerned) = self.take(step);
        if result.is_err() {
            assert_eq!(
                self.fleet.snapshot(self.now),
                before,
                "{result:?} changed something"
            );
        }
        for (id, machine) in machines {
            if concerned.as_ref().is_some_and(|them| !them.contains(&id)) {
                assert_eq!(self.fleet.get(id), Some(&machine), "{id} is not concerned");
            }
        }
        let restarts = matches!(step, Step::TimeOut | Step::Stall);
        self.follow_records(restarts);
        self.carry_out();
        self.check_idle();
        for id in &self.routers {
            self.check_router(*id);
        }
        let deadlines = self.fleet.iter().filter_map(|(_, it)| it.poll_timeout());
        let deadline = deadlines.chain(self.fleet.tracker().poll_timeout()).min();
        assert_eq!(self.fleet.poll_timeout(), deadline);
        let regrouped = matches!(step, Step::AddGroup(..) | Step::ReconfigureGroup(..));
        for id in self.groups.clone() {
            self.check_group(id, regrouped);
        }
    }

    /// Checks that the records lead to the current state, and that no router stops only to start
    /// again.
    fn follow_records(&mut self, restarts: bool) {
        let mut went_down = BTreeSet::new();
        while self.fleet.has_unread(self.reader) {
            let record = self.fleet.read(&mut self.reader).unwrap();
            match record.unwrap().change {
                FleetChange::Added(id) => {
                    let priority = self.fleet.get(id).unwrap().config().priority.get();
                    let known = self.knows(id);
                    (known.state, known.priority) = (Some(State::Initialize), priority);
                }
                FleetChange::Removed(id) => {
                    self.known.remove(&id);
                }
                FleetChange::State(id, transition) => {
                    let known = self.knows(id);
                    assert_eq!(known.state.replace(transition.to), Some(transition.from));
                    let started = transition.from == State::Initialize;
                    assert!(restarts || !started || !went_down.contains(&id), "{id}");
                    if transition.to == State::Initialize {
                        went_down.insert(id);
                    }
                }
                FleetChange::EffectivePriority { router, from, to } => {
                    let known = self.knows(router);
                    assert_eq!(
                        core::mem::replace(&mut known.priority, to.get()),
                        from.get()
                    );
                }
                _ => {}
            }
        }
        assert!(self.fleet.read(&mut self.reader).is_none());
    }

    /// Performs the actions. Advertisements must come first, one of each router.
    fn carry_out(&mut self) {
        let (mut advertised, mut others) = (BTreeSet::new(), false);
        while self.fleet.has_actions() {
            let Some((id, action)) = self.fleet.poll_action() else {
                break;
            };
            let known = self.known.get_mut(&id);
            match action {
                Action::SendAdvertisement(_) => {
                    assert!(!others && advertised.insert(id), "{id}");
                    continue;
                }
                Action::InstallAddresses => known.unwrap().is_installed = true,
                Action::RemoveAddresses => {
                    if let Some(known) = known {
                        known.is_installed = false;
                    }
                }
                _ => {}
            }
            others = true;
        }
        assert!(!self.fleet.has_actions());
        assert_eq!(self.fleet.poll_action(), None);
    }

    /// Checks that a timeout before it is due has no effect, with patience and without.
    fn check_idle(&self) {
        let is_due = self.fleet.poll_timeout().is_some_and(|at| at <= self.now);
        assert_eq!(self.fleet.is_due(self.now), is_due);
        for patience in [ms(0), ms(10)] {
            let mut fleet = self.fleet.clone();
            fleet.set_patience(patience);
            let before = fleet.snapshot(self.now);
            if !fleet.is_due(self.now) {
                fleet.handle_timeout(self.now);
                assert_eq!(fleet.snapshot(self.now), before);
                assert!(!fleet.has_actions() && !fleet.has_unread(self.reader));
            }
        }
    }

    /// Whether a router can keep running, and whether it can start, regardless of its group.
    fn can(&self, id: RouterId) -> (bool, bool) {
        let known = &self.known[&id];
        let tracking = self.fleet.member(id).unwrap().tracking;
        let standing = self.fleet.tracker().track_state(&tracking);
        let can_stay = known.is_started && known.has_address && standing.faults == 0;
        (can_stay, can_stay && standing.is_ready())
    }

    fn check_router(&self, id: RouterId) {
        let router = self.fleet.get(id).unwrap();
        let known = &self.known[&id];
        assert_eq!(known.state, Some(router.state()));
        assert_eq!(known.priority, router.effective_priority().get());
        assert_eq!(known.is_installed, router.state() == State::Active);
        let explained = self.fleet.explain(id).unwrap();
        assert_eq!(explained.effective, router.effective_priority());
        let key = self.fleet.key(id).unwrap();
        assert_eq!(self.fleet.find(&key), Some(id));
        if self.fleet.group_with(id).is_none() {
            let runs = router.state() != State::Initialize;
            let (can_stay, can_start) = self.can(id);
            assert!(if runs { can_stay } else { !can_start }, "{id}");
        }
    }

    fn check_group(&mut self, id: GroupId, regrouped: bool) {
        let group = self.fleet.group(id).unwrap();
        let counted: BTreeSet<_> = self.fleet.counted_members(id).collect();
        let state = |id: &RouterId| self.fleet.get(*id).unwrap().state();
        for member in &group.members {
            assert_eq!(self.fleet.group_with(*member), Some(id));
            if !counted.contains(member) {
                assert_eq!(state(member), State::Initialize);
                assert!(!self.can(*member).1, "one that can run counts");
            }
        }
        let states: BTreeSet<_> = counted.iter().map(state).collect();
        let standing = self.fleet.tracker().track_state(&group.tracking);
        let can_stay = standing.faults == 0 && counted.iter().all(|id| self.can(*id).0);
        let can_start = standing.is_ready() && counted.iter().all(|id| self.can(*id).1);
        if states.contains(&State::Initialize) {
            assert!(states.len() == 1 && !can_start, "{states:?}");
        } else {
            assert!(can_stay || states.is_empty(), "{states:?}");
        }
        // A member that joins may be behind the others for a while.
        let before = self.together.remove(&id);
        if states.len() < 2 {
            self.together.insert(id, counted);
        } else if !regrouped {
            let joined = before.is_none_or(|before| !counted.is_subset(&before));
            assert!(joined, "{counted:?} were together: {states:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_fleet_equals_its_parts_after_any_sequence_of_calls(steps in vec(steps(), 0..50)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
    }
}
