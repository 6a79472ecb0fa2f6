//! The data plane: bytes pass both ways, and the core's relay says what an end means.
//!
//! Not here: anything of a protocol; the session is gone.
//! Invariants: a direction reads only once everything it brought before is written, so nothing
//! piles up beyond one read. A pipe is held only while octets stand in it, and a session with
//! nothing in flight holds no buffer. One read, one write, so that bulk data fills TLS records and
//! a small request leaves at once; but bulk between two plaintext legs is spliced. That a side
//! takes nothing any more ends what goes there, not what it sent before: that still reaches the
//! other. A session with a guard goes other ways where the guard wants to look: `guarded`.
//!
//! Splicing spares the copies of bulk and costs a small request more than they do: two calls that
//! set up a pipe's pages in place of a read and a write of some octets, and a third that only hears
//! that nothing more is there, since a short splice proves nothing. So a direction splices once a
//! read has filled its room, and copies again once a splice brought little.
//! Read next: `leg/mod.rs`.

mod guarded;

use gatepost_core::relay::Verdict;
use gatepost_core::{Close, Inbox, Instant, Leg as Side, LegFault, Relay};

use crate::leg::{Follows, RECORD_PLAIN_MAX, Read, Splice};
use crate::pipe::Pipe;
use crate::worker::connection::{Body, Progress, Record, Stage, Wire, Wires};
use crate::worker::{Resources, TURN_OCTETS, close};

/// Octets that a direction splices at once, and so at most what stands in its pipe.
const SPLICE_OCTETS: usize = 64 * 1024;
/// Octets that a direction copies at once between a leg with TLS and another: what the other side
/// does not take waits in memory, sealed perhaps, and is to stay below 64 KiB.
const COPY_OCTETS: usize = 3 * RECORD_PLAIN_MAX;
/// Octets that a direction copies at once between plaintext legs. One that brings as much is bulk.
const SMALL_OCTETS: usize = 16 * 1024;

/// A session after its hand-off.
pub(crate) struct Pump {
    relay: Relay,
    from_client: Direction,
    from_backend: Direction,
    broken: Option<Broken>,
    /// Of a guarded session: what came from the client and waits for the backend.
    waiting: Vec<u8>,
}

/// A side that takes nothing any more, and the end that the session comes to when all it sent has
/// been carried.
#[derive(Clone, Copy)]
struct Broken {
    side: Side,
    end: Close,
}

/// One of the two ways.
#[derive(Default)]
struct Direction {
    /// Holds octets that the other side has not taken.
    pipe: Option<Pipe>,
    /// Its last transfer was as much as one may be, and it can be spliced.
    bulk: bool,
    /// The kernel may keep the end of what was spliced, as more was expected.
    held_back: bool,
    /// The core knows of its end.
    ended: bool,
}

/// What came of one look at a direction.
enum Carried {
    Some,
    Nothing,
    End(Close),
}

impl Pump {
    /// When the relay has been idle for too long; it moves with every octet.
    pub(crate) fn deadline(&self) -> Instant {
        self.relay.deadline()
    }

    /// The end, if it has been idle for too long.
    pub(crate) fn expired(&self, now: Instant) -> Option<Close> {
        self.relay.expired(now)
    }

    /// The end by an operator.
    pub(crate) fn kicked(&self, now: Instant) -> Close {
        self.relay.kicked(now)
    }

    /// The end of a drain's grace.
    pub(crate) fn drained(&self, now: Instant) -> Close {
        self.relay.drained(now)
    }

    /// Pipes it holds.
    pub(crate) fn pipes(&self) -> usize {
        usize::from(self.from_client.pipe.is_some()) + usize::from(self.from_backend.pipe.is_some())
    }

    /// Writes the octets that passed into the record.
    pub(crate) fn count(&self, record: &mut Record) {
        record.octets = [self.relay.octets(Side::Client), self.relay.octets(Side::Backend)];
    }

    /// Leaves nothing behind but the record: what stands in a pipe is lost with the session.
    pub(crate) fn settle(&mut self, body: &mut Body, resources: &mut Resources) {
        self.count(&mut body.record);
        for direction in [&mut self.from_client, &mut self.from_backend] {
            if let Some(pipe) = direction.pipe.take() {
                resources.pipes.give_back(pipe);
            }
        }
    }

    fn direction(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Client => &mut self.from_client,
            Side::Backend => &mut self.from_backend,
        }
    }

    fn is_broken(&self, side: Side) -> bool {
        self.broken.is_some_and(|broken| broken.side == side)
    }

    /// A side takes nothing any more. A reset destroys nothing that was received before it
    /// (RFC 9293 §3.10.7 has the user told, and what is queued for reading stays), so there is an
    /// end at once only where nothing more can be carried.
    fn refused(&mut self, side: Side, fault: LegFault, now: Instant) -> Carried {
        let end = self.relay.lost(side, fault, now);
        match self.broken {
            Some(broken) => Carried::End(broken.end),
            None if fault == LegFault::Tls => Carried::End(end),
            None => {
                self.broken = Some(Broken { side, end });
                Carried::Some
            }
        }
    }
}

/// Begins with what was received and not eaten, each toward the other side. `lost`: the last words
/// of the dialogue broke that wire.
pub(crate) fn begin(
    relay: Relay,
    inbox: Inbox,
    lost: Option<(Side, LegFault)>,
    body: &mut Body,
    resources: &mut Resources,
) -> Stage {
    let broken = lost.map(|(side, fault)| {
        let end = relay.lost(side, fault, resources.now);
        Broken { side, end }
    });
    let mut pump = Box::new(Pump {
        relay,
        from_client: Direction::default(),
        from_backend: Direction::default(),
        broken,
        waiting: Vec::new(),
    });
    // The backend's first: none of it answers what the client sends from here on.
    for (from, bytes) in [(Side::Backend, inbox.backend), (Side::Client, inbox.client)] {
        let to = from.other();
        let Some(wire) = body.wires.of(to) else { continue };
        if pump.relay.is_guarded() {
            if let Err(fault) = guarded::first(&mut pump, from, &bytes, wire, resources) {
                let end = pump.relay.lost(to, fault, resources.now);
                pump.broken.get_or_insert(Broken { side: to, end });
            }
            continue;
        }
        match wire.write(&bytes, &mut resources.scratch) {
            Ok(()) if bytes.is_empty() => {}
            Ok(()) => pump.relay.carried(from, bytes.len(), resources.now),
            Err(fault) => {
                let end = pump.relay.lost(to, fault, resources.now);
                pump.broken.get_or_insert(Broken { side: to, end });
            }
        }
    }
    Stage::Relay(pump)
}

/// Moves what can be moved, both ways, within a turn's budget.
pub(crate) fn turn(pump: &mut Pump, body: &mut Body, resources: &mut Resources) -> Progress {
    let mut budget = TURN_OCTETS;
    loop {
        let mut moved = false;
        for from in [Side::Client, Side::Backend] {
            match carry(pump, from, &mut body.wires, resources, &mut budget) {
                Carried::Some => moved = true,
                Carried::Nothing => {}
                Carried::End(end) => return finish(pump, &end, body, resources),
            }
        }
        // The budget first: one direction may have used it up for octets that the other side does
        // not take yet, and the other direction was not looked at.
        if budget == 0 {
            return Progress::Again;
        }
        if !moved {
            return Progress::Idle;
        }
    }
}

fn finish(pump: &mut Pump, end: &Close, body: &mut Body, resources: &mut Resources) -> Progress {
    pump.settle(body, resources);
    Progress::Became(close::begin(end, body, resources))
}

/// One look at a direction: what waits goes first, then an end, then one read.
fn carry(
    pump: &mut Pump,
    from: Side,
    wires: &mut Wires,
    resources: &mut Resources,
    budget: &mut usize,
) -> Carried {
    let Some((source, sink)) = wires.pair(from) else {
        let fault = LegFault::Io;
        return Carried::End(pump.relay.lost(from, fault, resources.now));
    };
    if pump.is_broken(from.other()) {
        if let Some(pipe) = pump.direction(from).pipe.take() {
            resources.pipes.give_back(pipe);
        }
        return Carried::Nothing;
    }
    if let Err(fault) = sink.flush() {
        return pump.refused(from.other(), fault, resources.now);
    }
    if sink.leg.unsent_len() > 0 {
        return Carried::Nothing;
    }
    if let Some(pipe) = pump.direction(from).pipe.take() {
        return empty(pump, from, pipe, sink, resources);
    }
    if from == Side::Client && !pump.waiting.is_empty() {
        return guarded::again(pump, from, sink, resources);
    }
    if source.eof {
        return end(pump, from, sink, resources);
    }
    let readable =
        if pump.is_broken(from) { source.leg.readable() } else { source.worth_reading() };
    if !readable || *budget == 0 {
        return Carried::Nothing;
    }
    if pump.relay.is_guarded() {
        return guarded::read(pump, from, (source, sink), resources, budget);
    }
    unguarded(pump, from, (source, sink), resources, budget)
}

/// One read of octets that nobody looks at.
fn unguarded(
    pump: &mut Pump,
    from: Side,
    (source, sink): (&mut Wire, &mut Wire),
    resources: &mut Resources,
    budget: &mut usize,
) -> Carried {
    if pump.direction(from).bulk
        && let Ok(pipe) = resources.pipes.take()
    {
        let limit = SPLICE_OCTETS.min(*budget);
        return splice(pump, from, pipe, (source, sink), resources, (limit, budget));
    }
    copy(pump, from, (source, sink), resources, budget)
}

fn splice(
    pump: &mut Pump,
    from: Side,
    mut pipe: Pipe,
    (source, sink): (&mut Wire, &mut Wire),
    resources: &mut Resources,
    (limit, budget): (usize, &mut usize),
) -> Carried {
    match source.leg.splice_in(&mut pipe, limit) {
        Splice::Moved(octets) => {
            *budget = budget.saturating_sub(octets);
            let direction = pump.direction(from);
            direction.bulk = octets >= SMALL_OCTETS;
            // A full splice is no multiple of a segment: left to itself each would end with a tiny
            // one, which costs as much as a full one.
            direction.held_back = octets == limit;
            empty(pump, from, pipe, sink, resources)
        }
        Splice::WouldBlock => {
            resources.pipes.give_back(pipe);
            nothing_more(pump, from, sink)
        }
        Splice::Eof => {
            resources.pipes.give_back(pipe);
            source.eof = true;
            Carried::Some
        }
        Splice::Lost(kind) => {
            let fault = source.broke(kind);
            lost(pump, from, fault, resources)
        }
    }
}

/// Moves a pipe's octets to the side they are for; the pipe stays with its direction if that does
/// not take them all.
fn empty(
    pump: &mut Pump,
    from: Side,
    mut pipe: Pipe,
    sink: &mut Wire,
    resources: &mut Resources,
) -> Carried {
    let mut carried = Carried::Nothing;
    let follows = if pump.direction(from).held_back { Follows::More } else { Follows::Nothing };
    while !pipe.is_empty() {
        match sink.leg.splice_out(&mut pipe, follows) {
            Splice::Moved(octets) => {
                pump.relay.carried(from, octets, resources.now);
                carried = Carried::Some;
            }
            Splice::WouldBlock => {
                pump.direction(from).pipe = Some(pipe);
                return carried;
            }
            Splice::Eof => return pump.refused(from.other(), LegFault::Io, resources.now),
            Splice::Lost(kind) => {
                let fault = sink.broke(kind);
                return pump.refused(from.other(), fault, resources.now);
            }
        }
    }
    resources.pipes.give_back(pipe);
    carried
}

/// Nothing is there to be read; what was kept for its sake leaves.
fn nothing_more(pump: &mut Pump, from: Side, sink: &Wire) -> Carried {
    if std::mem::take(&mut pump.direction(from).held_back) {
        sink.leg.push();
    }
    Carried::Nothing
}

fn copy(
    pump: &mut Pump,
    from: Side,
    (source, sink): (&mut Wire, &mut Wire),
    resources: &mut Resources,
    budget: &mut usize,
) -> Carried {
    let both_plain = source.leg.is_plain() && sink.leg.is_plain();
    let limit = if both_plain { SMALL_OCTETS } else { COPY_OCTETS }.min(*budget);
    match source.leg.read(&mut resources.scratch, limit) {
        Read::Some { plain, wire } => {
            *budget = budget.saturating_sub(plain.max(wire));
            let direction = pump.direction(from);
            direction.bulk = both_plain && plain >= SMALL_OCTETS;
            direction.held_back = false;
            if source.leg.at_end() {
                sink.leg.ends_soon();
            }
            if let Err(fault) = sink.write_received(&mut resources.scratch) {
                return pump.refused(from.other(), fault, resources.now);
            }
            if plain > 0 {
                pump.relay.carried(from, plain, resources.now);
            }
            Carried::Some
        }
        Read::WouldBlock => nothing_more(pump, from, sink),
        Read::Eof { clean } => {
            source.ended(clean);
            Carried::Some
        }
        Read::Lost(fault) => {
            let fault = source.judge::<()>(Err(fault)).err().unwrap_or(LegFault::Io);
            lost(pump, from, fault, resources)
        }
    }
}

/// Tells the core once that everything of a side is written and nothing more comes.
fn end(pump: &mut Pump, from: Side, sink: &mut Wire, resources: &mut Resources) -> Carried {
    if let Some(broken) = pump.broken {
        return Carried::End(broken.end);
    }
    let direction = pump.direction(from);
    if direction.ended {
        return Carried::Nothing;
    }
    direction.ended = true;
    if let Err(fault) = sink.write(pump.relay.last_words(from), &mut resources.scratch) {
        return pump.refused(from.other(), fault, resources.now);
    }
    match pump.relay.ended(from, resources.now) {
        Verdict::Close(end) => Carried::End(end),
        Verdict::HalfClose(_) => match sink.end(&mut resources.scratch) {
            Ok(()) => Carried::Some,
            Err(fault) => pump.refused(from.other(), fault, resources.now),
        },
    }
}

/// Nothing more can be read from a side. All that it sent before is on its way.
fn lost(pump: &Pump, side: Side, fault: LegFault, resources: &Resources) -> Carried {
    let first = pump.broken.map(|broken| broken.end);
    Carried::End(first.unwrap_or_else(|| pump.relay.lost(side, fault, resources.now)))
}
