//! The timers of a session that are running.
//!
//! The client's turns before login draw on one budget, however many there are and whatever bytes
//! arrive in them. What the proxy waits for has a deadline of its own, one at a time.

use core::time::Duration;

use crate::time::{Instant, Timer};

/// How long a login may take until the client hears the first sign of life.
const WORKING_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Clock {
    /// What is left of the client's time, when its turn began if it runs.
    budget: Duration,
    turn: Option<Instant>,
    /// What the proxy waits for.
    deadline: Option<(Instant, Timer)>,
    /// The next sign of life, and the time between two.
    working: Option<(Instant, Duration)>,
}

impl Clock {
    pub(super) const fn new(budget: Duration) -> Self {
        Self { budget, turn: None, deadline: None, working: None }
    }

    /// It is the client's turn.
    pub(super) const fn client_turn(&mut self, now: Instant) {
        if self.turn.is_none() {
            self.turn = Some(now);
        }
    }

    /// It is not the client's turn any more.
    pub(super) const fn proxy_turn(&mut self, now: Instant) {
        if let Some(begun) = self.turn.take() {
            self.budget = self.budget.saturating_sub(now.since(begun));
        }
    }

    /// Waits for something of the proxy's, for so long.
    pub(super) fn arm(&mut self, timer: Timer, now: Instant, span: Duration) {
        self.deadline = Some((now + span, timer));
    }

    /// It came, or is not awaited any more. Gives what was left of its time.
    pub(super) fn disarm(&mut self, now: Instant) -> Duration {
        self.deadline.take().map_or(Duration::ZERO, |(due, _)| due.since(now))
    }

    /// The client begins to wait for its login.
    pub(super) fn login_begins(&mut self, now: Instant, interval: Option<Duration>) {
        self.working = interval.map(|interval| (now + WORKING_AFTER, interval));
    }

    /// It has its answer, or it is its turn.
    pub(super) const fn login_ends(&mut self) {
        self.working = None;
    }

    /// A sign of life was given. One that was missed while the machine slept is not made up for.
    pub(super) fn worked(&mut self, now: Instant) {
        if let Some((due, interval)) = &mut self.working {
            *due = now + *interval;
        }
    }

    /// The timer that runs out first.
    pub(super) fn next(&self) -> Option<(Instant, Timer)> {
        let preauth = self.turn.map(|begun| (begun + self.budget, Timer::Preauth));
        let working = self.working.map(|(due, _)| (due, Timer::Working));
        [self.deadline, preauth, working].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_turns_draw_on_one_budget() {
        let mut clock = Clock::new(Duration::from_secs(30));
        clock.client_turn(Instant::from_millis(0));
        clock.proxy_turn(Instant::from_millis(10_000));
        assert_eq!(clock.next(), None);
        clock.client_turn(Instant::from_millis(50_000));
        clock.client_turn(Instant::from_millis(60_000));
        assert_eq!(clock.next(), Some((Instant::from_millis(70_000), Timer::Preauth)));
    }

    #[test]
    fn signs_of_life_begin_late_and_then_keep_their_interval() {
        let mut clock = Clock::new(Duration::from_secs(30));
        clock.login_begins(Instant::from_millis(1000), Some(Duration::from_secs(4)));
        assert_eq!(clock.next(), Some((Instant::from_millis(11_000), Timer::Working)));
        clock.worked(Instant::from_millis(11_000));
        assert_eq!(clock.next(), Some((Instant::from_millis(15_000), Timer::Working)));
        clock.worked(Instant::from_millis(3_600_000));
        assert_eq!(clock.next(), Some((Instant::from_millis(3_604_000), Timer::Working)));
        clock.login_ends();
        assert_eq!(clock.next(), None);
    }
}
