//! A worker: one thread that serves the connections it accepted, from accept to end.
//!
//! Not here: what a connection does in its turn; this file only hands out turns.
//! Invariants: every wire is registered once, edge-triggered, and only proof that a socket has come
//! to its limit spends an edge (see `../leg/wire.rs`): a connection that stops for any other reason
//! is queued, or is woken by the event that removes the reason. Each turn has a budget of octets. A
//! panic while one connection has its turn ends that connection and no other; what the turn shared
//! with others is made anew.
//! Read next: `dialogue` (before the hand-off), `../relay.rs` (after it), `close`.

pub(crate) mod accept;
pub(crate) mod close;
pub(crate) mod connection;
pub(crate) mod dial;
pub(crate) mod dialogue;
pub(crate) mod drain;
pub(crate) mod mailbox;
pub(crate) mod step;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::{Event as Fact, Instant, Outbox};
use mio::{Events, Poll, Token};
use slab::Slab;

use crate::leg::Scratch;
use crate::pipe::PipePool;
use crate::relay;
use crate::server::Shared;
use crate::timer::TimerWheel;
use crate::worker::accept::Acceptor;
use crate::worker::connection::{Alarm, Body, Connection, ConnectionId, Progress, Stage, untoken};
use crate::worker::drain::Drain;
use crate::worker::mailbox::{Mailbox, Order};

/// Octets that a connection may move until others have their turn.
pub(crate) const TURN_OCTETS: usize = 256 * 1024;
/// The token of the mailbox's waker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// Connections accepted until those that are established have their turn.
const ACCEPTS_MAX: usize = 64;
/// Readiness events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Unused pipes that a worker keeps.
const PIPES_KEPT: usize = 64;

/// One worker.
pub(crate) struct Worker {
    connections: Slab<Connection>,
    acceptor: Acceptor,
    queue: VecDeque<usize>,
    drain: Option<Drain>,
    resources: Resources,
}

/// What a turn may use beside the connection it is for.
pub(crate) struct Resources {
    pub(crate) poll: Poll,
    pub(crate) now: Instant,
    pub(crate) scratch: Scratch,
    pub(crate) outbox: Outbox,
    pub(crate) pipes: PipePool,
    pub(crate) timers: TimerWheel<TimerKey>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    serial: u64,
}

/// Whom a timer wakes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimerKey {
    Connection(ConnectionId),
    Accept,
    Drain,
}

impl Resources {
    /// A number that this worker has not used before.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Forgets what a turn that was cut short may have left half done.
    fn renew(&mut self) {
        self.scratch = Scratch::new();
        self.outbox = Outbox::default();
    }
}

impl Worker {
    /// A worker for a poll whose waker is the mailbox's.
    pub(crate) fn new(
        poll: Poll,
        mailbox: Arc<Mailbox>,
        shared: Arc<Shared>,
        acceptor: Acceptor,
    ) -> Self {
        let now = shared.now();
        let resources = Resources {
            poll,
            now,
            scratch: Scratch::new(),
            outbox: Outbox::default(),
            pipes: PipePool::new(PIPES_KEPT),
            timers: TimerWheel::new(now.as_millis()),
            mailbox,
            shared,
            serial: 0,
        };
        Self { connections: Slab::new(), acceptor, queue: VecDeque::new(), drain: None, resources }
    }

    /// Serves until a drain has come to its end, or until it is stopped.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let wait = self.longest_wait();
            if let Err(error) = self.resources.poll.poll(&mut events, wait)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                log::error!("waiting for events: {error}");
                return;
            }
            self.resources.now = self.resources.shared.now();
            for event in &events {
                self.take_event(event);
            }
            for order in self.resources.mailbox.take() {
                if self.obey(order).is_break() {
                    return;
                }
            }
            self.expire();
            self.accept();
            self.run_queue();
            if self.drain.is_some() && self.connections.is_empty() {
                return;
            }
        }
    }

    fn longest_wait(&self) -> Option<Duration> {
        if !self.queue.is_empty() || self.acceptor.has_more() {
            return Some(Duration::ZERO);
        }
        let wake = self.resources.timers.next_wake_ms()?;
        // The clock of the last turn may be behind by now; poll rounds up to whole milliseconds.
        let now = self.resources.shared.now().as_millis();
        Some(Duration::from_millis(wake.saturating_sub(now)))
    }

    fn take_event(&mut self, event: &mio::event::Event) {
        if event.token() == WAKE {
            return;
        }
        if self.acceptor.take_event(event.token()) {
            return;
        }
        let (side, slot, serial) = untoken(event.token());
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(wire) = connection.body.wires.registered(side, serial) {
            wire.leg.on_event(event);
            self.enqueue(slot);
        }
    }

    fn enqueue(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !connection.queued
        {
            connection.queued = true;
            self.queue.push_back(slot);
        }
    }

    /// Gives everybody who waits now one turn; who wants another waits behind the next events.
    fn run_queue(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(slot) = self.queue.pop_front() else { return };
            if let Some(connection) = self.connections.get_mut(slot)
                && connection.queued
            {
                connection.queued = false;
                self.turn(slot, None);
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some(accepted) = self.acceptor.next(&mut self.resources) else { return };
            if self.connections.len() >= connection::SLOTS_MAX {
                continue;
            }
            let slot = self.connections.vacant_key();
            if let Some(connection) = accepted.into_connection(slot, &mut self.resources) {
                self.connections.insert(connection);
                self.turn(slot, None);
            }
        }
    }

    fn expire(&mut self) {
        let now = self.resources.now.as_millis();
        while let Some(key) = self.resources.timers.expire(now) {
            match key {
                TimerKey::Accept => self.acceptor.resume(),
                TimerKey::Drain => self.advance_drain(),
                TimerKey::Connection(id) => {
                    if let Some(connection) = self.find(id) {
                        connection.alarm = None;
                        self.time(id.slot);
                    }
                }
            }
        }
    }

    /// Tells a connection that its alarm rang, if its deadline is really due.
    fn time(&mut self, slot: usize) {
        let now = self.resources.now;
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.deadline().is_none_or(|deadline| deadline > now) {
            return self.set_alarm(slot);
        }
        match &mut connection.stage {
            Stage::Dialogue(_) => self.turn(slot, Some(Fact::Timeout)),
            Stage::Relay(pump) => {
                if let Some(close) = pump.expired(now) {
                    self.finish(slot, &close);
                }
            }
            Stage::Closing(_) => self.remove(slot),
        }
    }

    fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot).filter(|connection| connection.body.id == id)
    }

    /// Ends a relay, now and for this reason.
    fn finish(&mut self, slot: usize, close: &gatepost_core::Close) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Stage::Relay(pump) = &mut connection.stage {
            pump.settle(&mut connection.body, &mut self.resources);
            connection.stage = close::begin(close, &mut connection.body, &mut self.resources);
            self.turn(slot, None);
        }
    }

    /// A connection's turn; a fact goes to its session first.
    fn turn(&mut self, slot: usize, fact: Option<Fact>) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let resources = &mut self.resources;
        let guarded = AssertUnwindSafe(|| connection.turn(fact, resources));
        match catch_unwind(guarded) {
            Ok(Progress::Idle | Progress::Became(_)) => self.set_alarm(slot),
            Ok(Progress::Again) => {
                self.set_alarm(slot);
                self.enqueue(slot);
            }
            Ok(Progress::Gone) => self.remove(slot),
            Err(_) => {
                let session = connection.body.record.session();
                log::error!("session={session} ended by a fault in this program");
                self.resources.renew();
                self.remove(slot);
            }
        }
    }

    fn set_alarm(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(deadline) = connection.deadline() else { return };
        match &connection.alarm {
            Some(alarm) if alarm.at <= deadline => return,
            Some(alarm) => {
                self.resources.timers.cancel(alarm.timer);
            }
            None => {}
        }
        let key = TimerKey::Connection(connection.body.id);
        let timer = self.resources.timers.arm(deadline.as_millis(), key);
        connection.alarm = Some(Alarm { timer, at: deadline });
    }

    fn remove(&mut self, slot: usize) {
        if let Some(connection) = self.connections.try_remove(slot)
            && let Some(alarm) = connection.alarm
        {
            self.resources.timers.cancel(alarm.timer);
        }
    }

    fn obey(&mut self, order: Order) -> std::ops::ControlFlow<()> {
        match order {
            Order::Resolved { id, answer } => {
                let found = self.find(id).is_some_and(|connection| match &mut connection.stage {
                    Stage::Dialogue(dialogue) => dialogue.resolved(answer),
                    Stage::Relay(_) | Stage::Closing(_) => false,
                });
                if found {
                    self.enqueue(id.slot);
                }
            }
            Order::Routed { id, answer } => {
                let found = self.find(id).is_some_and(|connection| match &mut connection.stage {
                    Stage::Dialogue(dialogue) => dialogue.routed(answer),
                    Stage::Relay(_) | Stage::Closing(_) => false,
                });
                if found {
                    self.enqueue(id.slot);
                }
            }
            Order::Drain => self.begin_drain(),
            Order::Kick(seed) => self.kick(seed),
            Order::Report(reply) => {
                // Nobody may be left to read it.
                let _ = reply.send(self.held());
            }
            Order::Stop => {
                self.abandon();
                return std::ops::ControlFlow::Break(());
            }
        }
        std::ops::ControlFlow::Continue(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.resources.mailbox.close();
    }
}

impl Connection {
    fn turn(&mut self, fact: Option<Fact>, resources: &mut Resources) -> Progress {
        let mut fact = fact;
        loop {
            let body: &mut Body = &mut self.body;
            let progress = match &mut self.stage {
                Stage::Dialogue(it) => dialogue::turn(it, body, resources, fact.take()),
                Stage::Relay(pump) => relay::turn(pump, body, resources),
                Stage::Closing(closing) => close::turn(closing, body, resources),
            };
            match progress {
                Progress::Became(stage) => {
                    self.stage = stage;
                    // The alarm of the old stage would ring in vain, once in each idle session.
                    if let Some(alarm) = self.alarm.take() {
                        resources.timers.cancel(alarm.timer);
                    }
                }
                Progress::Idle | Progress::Again | Progress::Gone => return progress,
            }
        }
    }
}

impl Connection {
    fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Dialogue(dialogue) => dialogue.deadline(&self.body),
            Stage::Relay(pump) => Some(pump.deadline()),
            Stage::Closing(closing) => Some(closing.deadline),
        }
    }
}
