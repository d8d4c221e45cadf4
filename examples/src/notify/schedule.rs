//! The schedule: which command runs when.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use crate::command::{Escalation, Limits, Step};

/// What to do with items that wait while a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Only the newest item is of interest: it overtakes those that wait.
    Latest,
    /// Each item is of interest, until this many wait; then a newer item overtakes the oldest.
    Each(usize),
}

/// An action for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Start the command for this item. [`Schedule::ended`] follows, even if it cannot be started.
    Start(T),
    /// The command that runs for this item has not ended in time.
    Step(T, Step),
    /// A newer item has overtaken this one, whose command is not run.
    Overtaken(T),
    /// At the end there is no time left for this item, whose command is not run.
    LeftOut(T),
    /// Everything is done, and nothing follows.
    Finished,
}

/// Decides which command runs when: one at a time, each with a time limit, and all within a bound
/// once the program ends.
#[derive(Debug)]
pub struct Schedule<T> {
    order: Order,
    limits: Limits,
    waiting: VecDeque<T>,
    running: Option<(T, Escalation)>,
    /// The time by which everything has to be over.
    end: Option<Instant>,
    is_finished: bool,
    actions: VecDeque<Action<T>>,
}

impl<T: Clone> Schedule<T> {
    /// Creates a schedule in which nothing waits.
    #[must_use]
    pub const fn new(order: Order, limits: Limits) -> Self {
        Self {
            order,
            limits,
            waiting: VecDeque::new(),
            running: None,
            end: None,
            is_finished: false,
            actions: VecDeque::new(),
        }
    }

    /// Adds an item, for which a command should run.
    pub fn push(&mut self, now: Instant, item: T) {
        if self.is_finished {
            self.actions.push_back(Action::LeftOut(item));
            return;
        }
        let room = match self.order {
            Order::Latest => 1,
            Order::Each(room) => room.max(1),
        };
        let surplus = (self.waiting.len() + 1).saturating_sub(room);
        let overtaken = self.waiting.drain(..surplus).map(Action::Overtaken);
        self.actions.extend(overtaken);
        self.waiting.push_back(item);
        self.go_on(now);
    }

    /// Notes that the running command has ended, or could not be started. Returns its item, and
    /// whether the command had already been asked to end.
    pub fn ended(&mut self, now: Instant) -> Option<(T, bool)> {
        let (item, escalation) = self.running.take()?;
        self.go_on(now);
        Some((item, escalation.has_begun()))
    }

    /// Ends everything within `bound`: the running command and the waiting items share the time.
    /// Another call can only shorten it; with a bound of 0, the running command is killed and the
    /// waiting items are left out.
    pub fn stop(&mut self, now: Instant, bound: Duration) {
        let end = now + bound;
        self.end = Some(self.end.map_or(end, |before| before.min(end)));
        if bound.is_zero() {
            self.leave_out_waiting();
            if let Some((item, _)) = self.running.take() {
                self.actions.push_back(Action::Step(item, Step::Kill));
            }
        }
        if let (Some(share), Some((_, escalation))) = (self.share(now, 1), &mut self.running) {
            escalation.hurry(now, share);
        }
        self.give_up_if_stuck();
        self.go_on(now);
    }

    /// Takes the steps that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((item, escalation)) = &mut self.running
            && let Some(step) = escalation.handle_timeout(now)
        {
            let item = item.clone();
            self.actions.push_back(Action::Step(item, step));
        }
        self.give_up_if_stuck();
        self.go_on(now);
    }

    /// Returns when [`Schedule::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, escalation) = self.running.as_ref()?;
        escalation.poll_timeout()
    }

    /// Returns the next action, in order.
    pub fn poll_action(&mut self) -> Option<Action<T>> {
        self.actions.pop_front()
    }

    /// Returns for how long the current command has been running.
    #[must_use]
    pub fn elapsed(&self, now: Instant) -> Option<Duration> {
        let (_, escalation) = self.running.as_ref()?;
        Some(escalation.elapsed(now))
    }

    /// Whether no command runs and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Whether the running command has been asked to end.
    #[must_use]
    pub fn is_ending_one(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|(_, escalation)| escalation.has_begun())
    }

    /// Starts the next command if none is running, or finishes.
    fn go_on(&mut self, now: Instant) {
        if self.running.is_some() || self.is_finished {
            return;
        }
        if self.end.is_some_and(|end| end <= now) {
            self.leave_out_waiting();
        }
        let Some(item) = self.waiting.pop_front() else {
            if self.end.is_some() {
                self.is_finished = true;
                self.actions.push_back(Action::Finished);
            }
            return;
        };
        let mut escalation = Escalation::new(now, self.limits);
        if let Some(share) = self.share(now, 1) {
            escalation.hurry(now, share);
        }
        self.actions.push_back(Action::Start(item.clone()));
        self.running = Some((item, escalation));
    }

    /// The time that is left at the end for each waiting item and each of `others`.
    fn share(&self, now: Instant, others: u32) -> Option<Duration> {
        let left = self.end?.saturating_duration_since(now);
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        Some(left / waiting.saturating_add(others))
    }

    /// At the end, a command that cannot be ended is not waited for. No other command may run
    /// beside it, so nothing else is started.
    fn give_up_if_stuck(&mut self) {
        let is_stuck = |(_, escalation): &(T, Escalation)| escalation.is_over();
        if self.end.is_some() && self.running.as_ref().is_some_and(is_stuck) {
            self.leave_out_waiting();
            self.running = None;
        }
    }

    fn leave_out_waiting(&mut self) {
        let waiting = mem::take(&mut self.waiting);
        self.actions
            .extend(waiting.into_iter().map(Action::LeftOut));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        run: Duration::from_secs(10),
        grace: Duration::from_secs(1),
    };

    fn actions(schedule: &mut Schedule<char>) -> Vec<Action<char>> {
        std::iter::from_fn(|| schedule.poll_action()).collect()
    }

    /// Takes the next step, and returns its time with all actions.
    fn step(schedule: &mut Schedule<char>) -> (Instant, Vec<Action<char>>) {
        let at = schedule.poll_timeout().unwrap();
        schedule.handle_timeout(at);
        (at, actions(schedule))
    }

    #[test]
    fn commands_run_in_order_and_one_at_a_time() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Each(10), LIMITS);
        for item in ['a', 'b', 'c'] {
            schedule.push(now, item);
        }
        for item in ['a', 'b', 'c'] {
            assert_eq!(actions(&mut schedule), [Action::Start(item)]);
            assert_eq!(schedule.ended(now), Some((item, false)));
        }
        assert_eq!(actions(&mut schedule), []);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn the_newest_overtakes_those_that_wait_and_not_the_one_that_runs() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Latest, LIMITS);
        for item in ['a', 'b', 'c', 'd'] {
            schedule.push(now, item);
        }
        assert_eq!(
            actions(&mut schedule),
            [
                Action::Start('a'),
                Action::Overtaken('b'),
                Action::Overtaken('c')
            ]
        );
        schedule.ended(now);
        assert_eq!(actions(&mut schedule), [Action::Start('d')]);
    }

    #[test]
    fn where_each_counts_the_oldest_are_overtaken_once_the_room_is_full() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Each(2), LIMITS);
        for item in ['a', 'b', 'c', 'd'] {
            schedule.push(now, item);
        }
        assert_eq!(
            actions(&mut schedule),
            [Action::Start('a'), Action::Overtaken('b')]
        );
    }

    #[test]
    fn a_command_that_cannot_be_ended_keeps_others_from_running() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Latest, LIMITS);
        schedule.push(now, 'a');
        schedule.push(now, 'b');
        actions(&mut schedule);
        for (after, expected) in [(10, Step::Terminate), (11, Step::Kill), (12, Step::GiveUp)] {
            assert_eq!(
                step(&mut schedule),
                (now + after * SECOND, vec![Action::Step('a', expected)])
            );
        }
        assert_eq!(schedule.poll_timeout(), None);
        assert_eq!(schedule.ended(now + 60 * SECOND), Some(('a', true)));
        assert_eq!(actions(&mut schedule), [Action::Start('b')]);
    }

    #[test]
    fn the_end_leaves_the_command_that_waits_its_share_of_the_time() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Latest, LIMITS);
        schedule.push(now, 'a');
        schedule.push(now, 'b');
        actions(&mut schedule);
        schedule.stop(now, 4 * SECOND);
        assert!(step(&mut schedule).0 < now + 2 * SECOND);
        let (killed, _) = step(&mut schedule);
        assert!(killed < now + 2 * SECOND);
        schedule.ended(killed);
        assert_eq!(actions(&mut schedule), [Action::Start('b')]);
        let (at, _) = step(&mut schedule);
        assert!(at > now + 3 * SECOND && at < now + 4 * SECOND);
        schedule.ended(at);
        assert_eq!(actions(&mut schedule), [Action::Finished]);
    }

    #[test]
    fn an_end_without_time_kills_running_commands_and_drops_waiting_ones() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Latest, LIMITS);
        schedule.push(now, 'a');
        schedule.push(now, 'b');
        schedule.stop(now, 5 * SECOND);
        actions(&mut schedule);
        schedule.stop(now, Duration::ZERO);
        assert_eq!(
            actions(&mut schedule),
            [
                Action::LeftOut('b'),
                Action::Step('a', Step::Kill),
                Action::Finished
            ]
        );
        schedule.push(now, 'c');
        assert_eq!(actions(&mut schedule), [Action::LeftOut('c')]);
    }

    #[test]
    fn the_end_does_not_wait_for_a_command_that_cannot_be_ended() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Order::Latest, LIMITS);
        schedule.push(now, 'a');
        schedule.push(now, 'b');
        actions(&mut schedule);
        while schedule.poll_timeout().is_some() {
            step(&mut schedule);
        }
        schedule.stop(now, 5 * SECOND);
        assert_eq!(
            actions(&mut schedule),
            [Action::LeftOut('b'), Action::Finished]
        );
    }

    /// An input of a schedule, each some milliseconds after the one before.
    #[derive(Clone, Copy, Debug)]
    enum Happening {
        Push,
        Ended,
        Stop(u64),
    }

    proptest! {
        #[test]
        fn no_two_run_at_once_nothing_is_lost_and_the_end_is_in_time(
            order in prop_oneof![Just(Order::Latest), (1_usize..5).prop_map(Order::Each)],
            happenings in proptest::collection::vec(
                (
                    0_u64..8000,
                    prop_oneof![
                        4 => Just(Happening::Push),
                        3 => Just(Happening::Ended),
                        1 => (0_u64..6000).prop_map(Happening::Stop),
                    ],
                ),
                0..40,
            ),
        ) {
            let mut schedule = Schedule::new(order, LIMITS);
            let mut now = Instant::now();
            let (mut running, mut end) = (None, None);
            let (mut pushed, mut seen) = (0_u32, Vec::new());
            let mut is_finished = false;
            // A last stop always happens, and then only time passes.
            let last = [(0, Some(Happening::Stop(5000))), (6000, None)];
            let happenings = happenings.into_iter().map(|(after, it)| (after, Some(it)));
            for (after, happening) in happenings.chain(last) {
                let until = now + Duration::from_millis(after);
                let mut steps = Vec::new();
                while let Some(at) = schedule.poll_timeout().filter(|at| *at <= until) {
                    now = at.max(now);
                    schedule.handle_timeout(now);
                    steps.extend(std::iter::from_fn(|| schedule.poll_action()));
                }
                now = until;
                for action in &steps {
                    if let Action::Step(item, _) = action {
                        prop_assert_eq!(running, Some(*item));
                    }
                }
                match happening {
                    Some(Happening::Push) => {
                        schedule.push(now, pushed);
                        pushed += 1;
                    }
                    Some(Happening::Ended) if running.is_some() => {
                        // A command that was given up at the end is no longer known.
                        let ended = schedule.ended(now).map(|(item, _)| item);
                        prop_assert!(ended == running || end.is_some());
                        running = None;
                    }
                    Some(Happening::Stop(bound)) => {
                        let bound = Duration::from_millis(bound);
                        schedule.stop(now, bound);
                        end = Some(end.map_or(now + bound, |end: Instant| end.min(now + bound)));
                    }
                    Some(Happening::Ended) | None => {}
                }
                steps.extend(std::iter::from_fn(|| schedule.poll_action()));
                for action in steps {
                    match action {
                        Action::Start(item) => {
                            prop_assert!(!is_finished && running.is_none());
                            running = Some(item);
                            seen.push(item);
                        }
                        Action::Overtaken(item) | Action::LeftOut(item) => seen.push(item),
                        Action::Step(..) => {}
                        Action::Finished => is_finished = true,
                    }
                }
                // SIGTERM and SIGKILL get 200 ms each even if there is less time.
                let slack = Duration::from_millis(400);
                prop_assert!(is_finished || end.is_none_or(|end| now < end + slack));
            }
            prop_assert!(is_finished);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..pushed).collect::<Vec<_>>());
        }
    }
}
