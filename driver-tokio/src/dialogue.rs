//! A session before its hand-off, driven by the core's state machines.
//!
//! Not here: any protocol. This is the loop that `gatepost_core::contract` describes.
//! Invariants: hang up, write, then take the step. One step is outstanding, and a new one drops it.
//! Nothing is read from a side that does not read what is said to it.
//! Read next: `step.rs` (what a step begins), `relay.rs` (what follows a hand-off).

use std::future::{Future as _, poll_fn};
use std::mem::take;
use std::pin::pin;
use std::task::{Context, Poll};

use gatepost_core::line::OUTBOX_FULL;
use gatepost_core::{Close, Event, Inbox, Leg as Side, Outbox, Reason, Relay, Seed, Session, Step};
use tokio::io::ReadBuf;
use tokio::time::sleep_until;
use zeroize::Zeroize;

use crate::leg::{Came, Leg};
use crate::orders::never;
use crate::session::{Accepted, Record};
use crate::step::Pending;

/// Octets that are read at once.
const READ_OCTETS: usize = 4096;

/// The two streams of a session.
pub(crate) struct Legs {
    pub(crate) client: Option<Leg>,
    pub(crate) backend: Option<Leg>,
}

impl Legs {
    pub(crate) fn of(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Client => self.client.as_mut(),
            Side::Backend => self.backend.as_mut(),
        }
    }

    fn flushed(&self) -> bool {
        [&self.client, &self.backend].into_iter().flatten().all(Leg::is_flushed)
    }
}

/// How a dialogue ends.
pub(crate) enum Outcome {
    Closed(Legs, Close),
    Spliced(Begun),
}

/// A relay that begins.
pub(crate) struct Begun {
    pub(crate) relay: Relay,
    pub(crate) client: Leg,
    pub(crate) backend: Leg,
    /// Received and not eaten: each toward the other side.
    pub(crate) inbox: Inbox,
}

/// A session, what it has received, and what it waits for.
struct Dialogue {
    session: Session,
    inbox: Inbox,
    legs: Legs,
    pending: Pending,
    /// More can be eaten once everything is flushed.
    again: bool,
    draining: bool,
}

/// What comes next.
enum Next {
    Tell(Event),
    GraceOver,
}

pub(crate) async fn run(
    record: &mut Record,
    client: Leg,
    accepted: Accepted,
    seed: Seed,
) -> Outcome {
    let mut outbox = Outbox::default();
    let facts = &record.facts;
    let listener = facts.listener.clone();
    let session = Session::accept(listener, facts.peer, seed, record.now(), &mut outbox);
    let mut dialogue = Dialogue {
        session,
        inbox: Inbox::default(),
        legs: Legs { client: Some(client), backend: None },
        pending: Pending::at_first(accepted),
        again: false,
        draining: false,
    };
    loop {
        if let Some(step) = dialogue.carry_out(&mut outbox, record) {
            return dialogue.over(step, record);
        }
        match dialogue.next(record).await {
            Next::Tell(event) => {
                let Dialogue { session, inbox, .. } = &mut dialogue;
                session.handle(event, record.now(), inbox, &mut outbox);
            }
            Next::GraceOver => {
                return Outcome::Closed(dialogue.legs(), record.ended_by_operator(Reason::Drain));
            }
        }
    }
}

/// A step that ends a session.
enum Last {
    Splice(Relay),
    Close(Close),
}

impl Dialogue {
    /// Does what the session left in the outbox; its last step, if this is it.
    fn carry_out(&mut self, outbox: &mut Outbox, record: &mut Record) -> Option<Last> {
        for note in outbox.notes.drain(..) {
            record.note(note);
        }
        if take(&mut outbox.hang_up) {
            self.legs.backend = None;
            self.inbox.backend.clear();
            self.pending.hang_up();
            record.facts.backend = None;
            record.facts.backend_tls = None;
        }
        for (side, octets) in
            [(Side::Client, &mut outbox.client), (Side::Backend, &mut outbox.backend)]
        {
            if let Some(leg) = self.legs.of(side)
                && !octets.is_empty()
            {
                leg.queue(octets);
            }
            // What goes to a backend may be a password.
            octets.zeroize();
        }
        self.again = take(&mut outbox.again);
        let step = outbox.step.take();
        record.state = self.session.state();
        match step? {
            (_, Step::Splice(relay)) => Some(Last::Splice(relay)),
            (_, Step::Close(close)) => Some(Last::Close(close)),
            (ticket, step) => {
                self.pending.begin(ticket, step, &mut self.legs, &mut self.inbox, record);
                None
            }
        }
    }

    fn over(mut self, last: Last, record: &mut Record) -> Outcome {
        let mut legs = self.legs();
        match (last, legs.client.take(), legs.backend.take()) {
            (Last::Splice(relay), Some(client), Some(backend)) => {
                let inbox = take(&mut self.inbox);
                Outcome::Spliced(Begun { relay, client, backend, inbox })
            }
            (Last::Splice(_), client, backend) => {
                debug_assert!(false, "a hand-off has two sides");
                let close = record.ended_by_operator(Reason::Kicked);
                Outcome::Closed(Legs { client, backend }, close)
            }
            (Last::Close(close), client, backend) => {
                Outcome::Closed(Legs { client, backend }, close)
            }
        }
    }

    fn legs(&mut self) -> Legs {
        Legs { client: self.legs.client.take(), backend: self.legs.backend.take() }
    }

    /// Waits for the next fact. What is dropped while it waits has taken nothing.
    async fn next(&mut self, record: &mut Record) -> Next {
        let due = self.session.poll_timeout().map(|(due, _)| record.when(due));
        let mut timer = pin!(sleep_until(due.unwrap_or_else(never)));
        loop {
            let mut given = record.ears.prick_up();
            if record.ears.kicked() {
                return Next::Tell(Event::Kicked);
            }
            if record.ears.shut_down() && !self.draining {
                self.draining = true;
                return Next::Tell(Event::Drain);
            }
            let mut grace = pin!(sleep_until(record.ears.deadline().unwrap_or_else(never)));
            let mut ordered = pin!(given.changed());
            let fact = poll_fn(|context| {
                if timer.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Some(Next::Tell(Event::Timeout)));
                }
                if grace.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Some(Next::GraceOver));
                }
                if ordered.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                self.poll_fact(context, record).map(|event| Some(Next::Tell(event)))
            });
            if let Some(next) = fact.await {
                return next;
            }
        }
    }

    /// The next fact of streams and steps.
    fn poll_fact(&mut self, context: &mut Context<'_>, record: &mut Record) -> Poll<Event> {
        for side in [Side::Client, Side::Backend] {
            if let Some(leg) = self.legs.of(side)
                && let Poll::Ready(Err(fault)) = leg.poll_flush(context)
            {
                return Poll::Ready(Event::Lost(side, fault));
            }
        }
        if let Poll::Ready((ticket, answer)) = self.pending.poll(context, &mut self.legs, record) {
            return Poll::Ready(Event::Answer(ticket, answer));
        }
        if self.again {
            if !self.legs.flushed() {
                return Poll::Pending;
            }
            self.again = false;
            return Poll::Ready(Event::Bytes);
        }
        for side in [Side::Client, Side::Backend] {
            if let Poll::Ready(event) = self.poll_read(context, side) {
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }

    fn poll_read(&mut self, context: &mut Context<'_>, side: Side) -> Poll<Event> {
        let room = self.session.room(side).min(READ_OCTETS);
        let Some(leg) = self.legs.of(side) else { return Poll::Pending };
        if room == 0 || !leg.worth_reading() || leg.unsent_len() >= OUTBOX_FULL {
            return Poll::Pending;
        }
        let mut octets = [0; READ_OCTETS];
        let mut buffer = ReadBuf::new(&mut octets[..room]);
        let came = std::task::ready!(leg.poll_read(context, &mut buffer));
        let inbox = match side {
            Side::Client => &mut self.inbox.client,
            Side::Backend => &mut self.inbox.backend,
        };
        inbox.extend_from_slice(buffer.filled());
        buffer.filled_mut().zeroize();
        Poll::Ready(match came {
            Came::Octets => Event::Bytes,
            Came::Eof => Event::Eof(side),
            Came::Lost(fault) => Event::Lost(side, fault),
        })
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.inbox.client.zeroize();
        self.inbox.backend.zeroize();
    }
}
