//! Ending many sessions: drain, kick, stop; and what all of them hold.
//!
//! Not here: what a session says to its client then; the core knows.
//! Invariants: a drain accepts nobody new and ends. Relays have two thirds of the grace to
//! themselves; the last third ends them one after the other, so that their clients do not all come
//! back in the same instant. A login in flight may finish until the grace is over.
//! Read next: `mod.rs`.

use std::time::Duration;

use gatepost_core::{By, Close, Event as Fact, Instant, Reason};

use crate::log_line;
use crate::server::Held;
use crate::worker::connection::{Connection, Stage};
use crate::worker::{TimerKey, Worker};

/// Milliseconds between two looks at a drain in its last third.
const STEP_MILLIS: u64 = 100;
/// Rounds of accepting before the listening sockets are closed.
const LAST_ACCEPTS: usize = 16;

/// A drain that runs.
pub(crate) struct Drain {
    /// When the last third begins.
    spread_from: Instant,
    over: Instant,
}

impl Drain {
    fn new(now: Instant, grace: Duration) -> Self {
        Self { spread_from: now + grace * 2 / 3, over: now + grace }
    }

    /// How many of so many relays to end now, so that they are spread over what is left.
    fn due(&self, now: Instant, relays: usize) -> usize {
        if now < self.spread_from {
            return 0;
        }
        let steps = self.over.since(now).as_millis() / u128::from(STEP_MILLIS);
        relays.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1))
    }

    fn next_look(&self, now: Instant) -> Instant {
        self.spread_from.max(now + Duration::from_millis(STEP_MILLIS))
    }
}

impl Worker {
    pub(super) fn begin_drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        let now = self.resources.now;
        // Whoever was accepted by the kernel already hears a goodbye, not a reset.
        self.acceptor.rouse();
        for _ in 0..LAST_ACCEPTS {
            self.accept();
        }
        self.acceptor.close();
        self.drain = Some(Drain::new(now, self.resources.shared.grace()));
        for slot in self.slots(|stage| matches!(stage, Stage::Dialogue(_))) {
            self.turn(slot, Some(Fact::Drain));
        }
        self.advance_drain();
    }

    pub(super) fn advance_drain(&mut self) {
        let now = self.resources.now;
        let Some(drain) = &self.drain else { return };
        let (over, look) = (now >= drain.over, drain.next_look(now));
        let relays = self.slots(|stage| matches!(stage, Stage::Relay(_)));
        let due = drain.due(now, relays.len());
        for slot in relays.into_iter().take(due) {
            self.end_relay(slot, |pump, now| pump.drained(now));
        }
        if over {
            for slot in self.slots(|stage| matches!(stage, Stage::Dialogue(_))) {
                self.turn(slot, Some(Fact::Drain));
            }
        }
        self.resources.timers.arm(look.as_millis(), TimerKey::Drain);
    }

    /// Ends the session of this seed, or every session.
    pub(super) fn kick(&mut self, seed: Option<u64>) {
        let meant =
            |connection: &Connection| seed.is_none_or(|seed| connection.body.record.seed.0 == seed);
        let slots: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| meant(connection))
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            match self.connections.get(slot).map(|connection| &connection.stage) {
                Some(Stage::Dialogue(_)) => self.turn(slot, Some(Fact::Kicked)),
                Some(Stage::Relay(_)) => self.end_relay(slot, |pump, now| pump.kicked(now)),
                Some(Stage::Closing(_)) | None => {}
            }
        }
    }

    /// Writes the ends of all sessions to the log; their sockets go with the worker.
    pub(super) fn abandon(&mut self) {
        let (now, shared) = (self.resources.now, self.resources.shared.clone());
        for (_, connection) in &mut self.connections {
            let body = &mut connection.body;
            let close = match &mut connection.stage {
                Stage::Relay(pump) => {
                    pump.count(&mut body.record);
                    pump.drained(now)
                }
                Stage::Dialogue(dialogue) => Close {
                    by: By::Operator,
                    reason: Reason::Drain,
                    state: dialogue.state(),
                    after: now.since(body.record.accepted),
                },
                Stage::Closing(_) => continue,
            };
            log_line::ended(&close, &body.record, shared.format());
        }
    }

    /// What the sessions of this worker hold beside themselves.
    pub(super) fn held(&self) -> Held {
        let mut held = Held::default();
        for (_, connection) in &self.connections {
            held.connections += 1;
            held.buffer_octets += connection.body.wires.held();
            match &connection.stage {
                Stage::Dialogue(dialogue) => held.buffer_octets += dialogue.held(),
                Stage::Relay(pump) => {
                    held.relays += 1;
                    held.pipes += pump.pipes();
                }
                Stage::Closing(_) => {}
            }
        }
        held
    }

    fn slots(&self, wanted: impl Fn(&Stage) -> bool) -> Vec<usize> {
        let connections = self.connections.iter();
        connections.filter(|(_, it)| wanted(&it.stage)).map(|(slot, _)| slot).collect()
    }

    fn end_relay(&mut self, slot: usize, verdict: impl Fn(&crate::relay::Pump, Instant) -> Close) {
        let now = self.resources.now;
        if let Some(Connection { stage: Stage::Relay(pump), .. }) = self.connections.get(slot) {
            let close = verdict(pump, now);
            self.finish(slot, &close);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn the_last_third_ends_relays_evenly_and_all_of_them() {
        let drain = Drain::new(at(0), Duration::from_secs(30));
        assert_eq!(drain.due(at(19_999), 1000), 0);
        let (mut left, mut now, mut most) = (1000, at(20_000), 0);
        while now < at(30_000) {
            let due = drain.due(now, left);
            most = most.max(due);
            left -= due;
            now = drain.next_look(now);
        }
        assert!(most <= 11, "{most} at once");
        left -= drain.due(at(30_000), left);
        assert_eq!(left, 0);
    }

    #[test]
    fn without_grace_all_end_at_once() {
        assert_eq!(Drain::new(at(5), Duration::ZERO).due(at(5), 7), 7);
    }
}
