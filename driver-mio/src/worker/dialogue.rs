//! The control plane: a connection before its hand-off, driven by the core's session.
//!
//! Not here: any protocol. This is the loop that `gatepost_core::contract` describes.
//! Invariants: hang up, write, then take the step. One step is outstanding; what answers another
//! is dropped. A wire's loss and its end are told once. Nothing is read from a client that does
//! not read our answers.
//! Read next: `step` (what a step begins), `../relay.rs` (what follows a hand-off).

use std::mem::take;
use std::net::IpAddr;

use gatepost_core::line::OUTBOX_FULL;
use gatepost_core::{
    Answer, ConnectFault, Event, Inbox, Instant, Leg as Side, LegFault, Session, State, Step,
    Ticket, TlsRole,
};
use zeroize::Zeroize;

use crate::leg::{Handshake, Read};
use crate::relay;
use crate::worker::connection::{Body, Progress, Stage};
use crate::worker::dial::{Dial, Dialled};
use crate::worker::mailbox::{Resolved, Routed};
use crate::worker::step::{self, Lookup};
use crate::worker::{Resources, TURN_OCTETS, close};

/// A session and what it waits for.
pub(crate) struct Dialogue {
    session: Session,
    inbox: Inbox,
    pending: Pending,
    /// More can be eaten once everything is flushed.
    again: bool,
    /// A write broke this wire, and the session does not know yet.
    lost: Option<(Side, LegFault)>,
}

/// The outstanding step.
#[derive(Default)]
pub(crate) enum Pending {
    #[default]
    Nothing,
    /// Answered already.
    Ready(Ticket, Answer),
    /// A store is asked.
    Routing(Ticket),
    /// A host is chosen, and the session to be told.
    Chosen(Ticket, Lookup),
    /// A host's addresses are asked for.
    Resolving(Ticket, Lookup),
    /// They are known.
    Resolved(Ticket, Lookup, Vec<IpAddr>),
    Dialling(Ticket, Dial),
    /// `begun`: input that came before the handshake may be all it waits for.
    Handshaking {
        ticket: Ticket,
        side: Side,
        role: TlsRole,
        begun: bool,
    },
}

/// What to do next in a turn.
enum Next {
    Tell(Event),
    Look,
    Wait,
    Rest,
}

impl Dialogue {
    /// When the session wants to be told of the time, or the next address is to be tried.
    pub(crate) fn deadline(&self, body: &Body) -> Option<Instant> {
        let session = self.session.poll_timeout().map(|(at, _)| at);
        let dial = match &self.pending {
            Pending::Dialling(_, dial) => dial.due(body),
            Pending::Nothing
            | Pending::Ready(..)
            | Pending::Routing(..)
            | Pending::Chosen(..)
            | Pending::Resolving(..)
            | Pending::Resolved(..)
            | Pending::Handshaking { .. } => None,
        };
        [session, dial].into_iter().flatten().min()
    }

    pub(crate) fn state(&self) -> State {
        self.session.state()
    }

    /// Octets of buffers it holds.
    pub(crate) fn held(&self) -> usize {
        self.inbox.client.capacity() + self.inbox.backend.capacity()
    }

    /// Takes a name server's answer; false if nobody waits for it any more.
    pub(crate) fn resolved(&mut self, answer: Resolved) -> bool {
        let awaited =
            matches!(&self.pending, Pending::Resolving(ticket, _) if *ticket == answer.ticket);
        if awaited && let Pending::Resolving(ticket, lookup) = take(&mut self.pending) {
            self.pending = Pending::Resolved(ticket, lookup, answer.addresses);
        }
        awaited
    }

    /// Takes a store's answer; false if nobody waits for it any more.
    pub(crate) fn routed(&mut self, answer: Routed) -> bool {
        let Routed { ticket, routing } = answer;
        let awaited = matches!(self.pending, Pending::Routing(asked) if asked == ticket);
        if awaited {
            self.pending = Pending::Ready(ticket, Answer::Routed(routing));
        }
        awaited
    }

    fn received(&mut self, side: Side) -> &mut Vec<u8> {
        match side {
            Side::Client => &mut self.inbox.client,
            Side::Backend => &mut self.inbox.backend,
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.inbox.client.zeroize();
        self.inbox.backend.zeroize();
    }
}

/// Begins the session of a connection that was just accepted.
pub(crate) fn open(body: &mut Body, resources: &mut Resources) -> Stage {
    let record = &body.record;
    let listener = record.listener.clone();
    let outbox = &mut resources.outbox;
    let session = Session::accept(listener, record.peer, record.seed, resources.now, outbox);
    let mut dialogue = Box::new(Dialogue {
        session,
        inbox: Inbox::default(),
        pending: Pending::Nothing,
        again: false,
        lost: None,
    });
    carry_out(&mut dialogue, body, resources).unwrap_or(Stage::Dialogue(dialogue))
}

/// Tells the session everything that can be told now.
pub(crate) fn turn(
    dialogue: &mut Dialogue,
    body: &mut Body,
    resources: &mut Resources,
    fact: Option<Event>,
) -> Progress {
    let mut budget = TURN_OCTETS;
    let mut next = fact.map_or(Next::Look, Next::Tell);
    loop {
        match next {
            Next::Tell(event) => {
                let now = resources.now;
                let outbox = &mut resources.outbox;
                dialogue.session.handle(event, now, &mut dialogue.inbox, outbox);
                if let Some(stage) = carry_out(dialogue, body, resources) {
                    return Progress::Became(stage);
                }
            }
            Next::Look => {}
            Next::Wait => return Progress::Idle,
            Next::Rest => return Progress::Again,
        }
        next = look(dialogue, body, resources, &mut budget);
    }
}

/// Does what the session left in the outbox.
fn carry_out(dialogue: &mut Dialogue, body: &mut Body, resources: &mut Resources) -> Option<Stage> {
    step::take_notes(body, resources);
    if take(&mut resources.outbox.hang_up) {
        hang_up(dialogue, body);
    }
    write(dialogue, body, resources, Side::Client);
    if let Some((_, Step::StartTls(Side::Backend, _))) = resources.outbox.step {
        hold(body, resources);
    }
    write(dialogue, body, resources, Side::Backend);
    dialogue.again = take(&mut resources.outbox.again);
    match resources.outbox.step.take()? {
        (_, Step::Splice(relay)) => {
            let (inbox, lost) = (take(&mut dialogue.inbox), dialogue.lost.take());
            Some(relay::begin(relay, inbox, lost, body, resources))
        }
        (_, Step::Close(close)) => Some(close::begin(&close, body, resources)),
        (ticket, step) => {
            let inbox = &mut dialogue.inbox;
            dialogue.pending = step::begin(ticket, step, inbox, body, resources);
            None
        }
    }
}

fn hang_up(dialogue: &mut Dialogue, body: &mut Body) {
    body.wires.backend = None;
    body.wires.racing = Vec::new();
    body.record.backend_tls = None;
    body.record.address = None;
    dialogue.inbox.backend.clear();
    if dialogue.lost.is_some_and(|(side, _)| side == Side::Backend) {
        dialogue.lost = None;
    }
    match &dialogue.pending {
        Pending::Chosen(..)
        | Pending::Resolving(..)
        | Pending::Resolved(..)
        | Pending::Dialling(..)
        | Pending::Handshaking { side: Side::Backend, .. } => dialogue.pending = Pending::Nothing,
        Pending::Nothing
        | Pending::Ready(..)
        | Pending::Routing(_)
        | Pending::Handshaking { side: Side::Client, .. } => {}
    }
}

/// What stands before TLS with a backend, a PROXY header, goes out with its first record.
fn hold(body: &mut Body, resources: &mut Resources) {
    if let Some(wire) = &mut body.wires.backend {
        wire.leg.hold(&resources.outbox.backend);
        resources.outbox.backend.clear();
    }
}

fn write(dialogue: &mut Dialogue, body: &mut Body, resources: &mut Resources, side: Side) {
    let bytes = match side {
        Side::Client => &mut resources.outbox.client,
        Side::Backend => &mut resources.outbox.backend,
    };
    if bytes.is_empty() {
        return;
    }
    if let Some(wire) = body.wires.of(side)
        && let Err(fault) = wire.write(bytes, &mut resources.scratch)
    {
        dialogue.lost.get_or_insert((side, fault));
    }
    match side {
        Side::Client => bytes.clear(),
        // What goes there may be a password.
        Side::Backend => bytes.zeroize(),
    }
}

/// Finds the next fact for the session.
fn look(
    dialogue: &mut Dialogue,
    body: &mut Body,
    resources: &mut Resources,
    budget: &mut usize,
) -> Next {
    if let Some((side, fault)) = dialogue.lost.take() {
        return Next::Tell(Event::Lost(side, fault));
    }
    for side in [Side::Client, Side::Backend] {
        if let Some(wire) = body.wires.of(side)
            && !begins_tls(&dialogue.pending, side)
            && let Err(fault) = wire.flush()
        {
            return Next::Tell(Event::Lost(side, fault));
        }
    }
    if let Some(event) = answer(dialogue, body, resources) {
        return Next::Tell(event);
    }
    if dialogue.again {
        if !flushed(body) {
            return Next::Wait;
        }
        dialogue.again = false;
        return Next::Tell(Event::Bytes);
    }
    for side in [Side::Client, Side::Backend] {
        let next = read(dialogue, body, resources, side, budget);
        if !matches!(next, Next::Wait) {
            return next;
        }
    }
    Next::Wait
}

/// Whether the first record of a handshake is about to be written, with what was held back for it.
const fn begins_tls(pending: &Pending, side: Side) -> bool {
    matches!(
        (pending, side),
        (Pending::Handshaking { side: Side::Backend, begun: false, .. }, Side::Backend)
    )
}

/// The answer to the outstanding step, if there is one by now.
fn answer(dialogue: &mut Dialogue, body: &mut Body, resources: &mut Resources) -> Option<Event> {
    loop {
        match take(&mut dialogue.pending) {
            Pending::Ready(ticket, answer) => return Some(Event::Answer(ticket, answer)),
            Pending::Chosen(ticket, lookup) => {
                let heading = Answer::Heading(lookup.host());
                dialogue.pending = step::reach(ticket, lookup, body, resources);
                return Some(Event::Answer(ticket, heading));
            }
            Pending::Resolved(ticket, lookup, addresses) => {
                dialogue.pending = Pending::Dialling(ticket, lookup.dial(&addresses));
            }
            Pending::Dialling(ticket, mut dial) => match dial.look(body, resources) {
                Dialled::Pending => {
                    dialogue.pending = Pending::Dialling(ticket, dial);
                    return None;
                }
                Dialled::Connected(facts) => {
                    body.record.address = Some(facts.address);
                    return Some(Event::Answer(ticket, Answer::Connected(facts)));
                }
                Dialled::Failed(fault) => return Some(connect_failed(ticket, fault)),
            },
            Pending::Handshaking { ticket, side, role, begun } => {
                let answer = handshake(body, resources, side, &role, begun);
                if let Some(answer) = answer {
                    return Some(Event::Answer(ticket, answer));
                }
                dialogue.pending = Pending::Handshaking { ticket, side, role, begun: true };
                return None;
            }
            other @ (Pending::Nothing | Pending::Routing(_) | Pending::Resolving(..)) => {
                dialogue.pending = other;
                return None;
            }
        }
    }
}

fn connect_failed(ticket: Ticket, fault: ConnectFault) -> Event {
    Event::Answer(ticket, Answer::ConnectFailed(fault))
}

fn handshake(
    body: &mut Body,
    resources: &mut Resources,
    side: Side,
    role: &TlsRole,
    begun: bool,
) -> Option<Answer> {
    let mut begun = begun;
    let wire = body.wires.of(side)?;
    while !begun || wire.leg.readable() {
        begun = true;
        match wire.leg.handshake(&mut resources.scratch) {
            Handshake::InProgress => {}
            Handshake::Up(up) => return Some(step::tls_up(&up, role, body)),
            Handshake::Failed(fault) => return Some(step::tls_failed(&fault, side, body)),
        }
    }
    None
}

fn read(
    dialogue: &mut Dialogue,
    body: &mut Body,
    resources: &mut Resources,
    side: Side,
    budget: &mut usize,
) -> Next {
    if matches!(dialogue.pending, Pending::Handshaking { side: busy, .. } if busy == side) {
        return Next::Wait;
    }
    let room = dialogue.session.room(side);
    let Some(wire) = body.wires.of(side) else { return Next::Wait };
    if room == 0 || !wire.worth_reading() || wire.leg.unsent_len() >= OUTBOX_FULL {
        return Next::Wait;
    }
    if *budget == 0 {
        return Next::Rest;
    }
    let limit = room.min(*budget);
    match wire.leg.read(&mut resources.scratch, limit) {
        Read::Some { plain, wire } => {
            dialogue.received(side).extend_from_slice(resources.scratch.received());
            resources.scratch.wipe_received();
            *budget = budget.saturating_sub(plain.max(wire));
            if plain == 0 { Next::Look } else { Next::Tell(Event::Bytes) }
        }
        Read::WouldBlock => Next::Wait,
        Read::Eof { clean } => {
            wire.ended(clean);
            Next::Tell(Event::Eof(side))
        }
        Read::Lost(lost) => {
            let fault = wire.judge::<()>(Err(lost)).err().unwrap_or(LegFault::Io);
            Next::Tell(Event::Lost(side, fault))
        }
    }
}

fn flushed(body: &mut Body) -> bool {
    [Side::Client, Side::Backend]
        .into_iter()
        .all(|side| body.wires.of(side).is_none_or(|wire| wire.leg.unsent_len() == 0))
}
