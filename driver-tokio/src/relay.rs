//! The data plane: bytes pass both ways, and the core's relay says what an end means.
//!
//! Not here: anything of a protocol; the session is gone.
//! Invariants: a direction reads only once everything it brought before is with the other side, so
//! that at most one read waits; reading goes through the stack, so that a session in which nothing
//! passes holds no buffer.
//! A session with a guard has each octet screened that the guard wants to see: `guarded`.
//! Read next: `farewell.rs`, which follows.

mod guarded;

use std::future::{Future as _, poll_fn};
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::{Context, Poll};

use gatepost_core::guard::Passage;
use gatepost_core::relay::Verdict;
use gatepost_core::{Close, Instant, Leg as Side, LegFault, Relay};
use tokio::io::ReadBuf;
use tokio::time::{Instant as TokioInstant, sleep_until};

use crate::dialogue::{Begun, Legs};
use crate::leg::{Came, Leg};
use crate::session::Record;

/// Octets that a direction reads at once.
const SLICE_OCTETS: usize = 32 * 1024;
/// Octets after which other tasks have their turn.
const TURN_OCTETS: usize = 512 * 1024;

/// A session after its hand-off.
struct Pump {
    relay: Relay,
    client: Leg,
    backend: Leg,
    /// The core knows of that side's end.
    told: [bool; 2],
    /// Of a guarded session: what came from the client and waits for the backend.
    waiting: Vec<u8>,
}

/// What came of one look at a direction.
enum Carried {
    Some(usize),
    Nothing,
    End(Close),
}

/// What woke a relay that waits.
enum Woken {
    End(Close),
    Time,
    Order,
}

/// Carries bytes until one of the verdicts is the end.
pub(crate) async fn run(record: &mut Record, begun: Begun) -> (Legs, Close) {
    let mut pump = Pump::begin(begun, record.now());
    record.state = gatepost_core::State::Relay;
    let close = pump.run(record).await;
    record.facts.from_client = pump.relay.octets(Side::Client);
    record.facts.from_backend = pump.relay.octets(Side::Backend);
    (Legs { client: Some(pump.client), backend: Some(pump.backend) }, close)
}

impl Pump {
    fn begin(begun: Begun, now: Instant) -> Self {
        let Begun { mut relay, mut client, mut backend, inbox } = begun;
        client.unguard();
        backend.unguard();
        let mut waiting = Vec::new();
        // The backend's first: none of it answers what the client sends from here on.
        for (from, to, octets) in [
            (Side::Backend, &mut client, inbox.backend),
            (Side::Client, &mut backend, inbox.client),
        ] {
            if relay.is_guarded() {
                guarded::first(&mut relay, from, octets, to, &mut waiting, now);
            } else if !octets.is_empty() {
                to.queue(&octets);
                relay.carried(from, octets.len(), now);
            }
        }
        Self { relay, client, backend, told: [false; 2], waiting }
    }

    async fn run(&mut self, record: &mut Record) -> Close {
        let mut timer = pin!(sleep_until(self.due(record)));
        loop {
            let mut given = record.ears.prick_up();
            if record.ears.kicked() {
                return self.relay.kicked(record.now());
            }
            timer.as_mut().reset(self.due(record));
            let mut ordered = pin!(given.changed());
            let woken = poll_fn(|context| {
                if let Poll::Ready(close) = self.poll(context, record) {
                    return Poll::Ready(Woken::End(close));
                }
                if ordered.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Woken::Order);
                }
                timer.as_mut().poll(context).map(|()| Woken::Time)
            });
            match woken.await {
                Woken::End(close) => return close,
                Woken::Order => {}
                Woken::Time => {
                    if let Some(close) = self.expired(record) {
                        return close;
                    }
                }
            }
        }
    }

    /// When there may be an end without anything happening.
    fn due(&self, record: &Record) -> TokioInstant {
        let idle = record.when(self.relay.deadline());
        record.ears.deadline().map_or(idle, |grace| idle.min(grace))
    }

    fn expired(&self, record: &Record) -> Option<Close> {
        let now = record.now();
        let grace = record.ears.deadline().filter(|due| TokioInstant::now() >= *due);
        grace.map(|_| self.relay.drained(now)).or_else(|| self.relay.expired(now))
    }

    /// Moves what can be moved, both ways.
    fn poll(&mut self, context: &mut Context<'_>, record: &Record) -> Poll<Close> {
        let mut carried = 0;
        loop {
            let mut moved = false;
            for from in [Side::Client, Side::Backend] {
                match self.carry(context, from, record) {
                    Carried::Some(octets) => {
                        carried += octets;
                        moved = true;
                    }
                    Carried::Nothing => {}
                    Carried::End(close) => return Poll::Ready(close),
                }
            }
            if !moved {
                return Poll::Pending;
            }
            if carried >= TURN_OCTETS {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// One look at a direction: what waits goes first, then an end, then one read.
    fn carry(&mut self, context: &mut Context<'_>, from: Side, record: &Record) -> Carried {
        let (source, sink) = match from {
            Side::Client => (&mut self.client, &mut self.backend),
            Side::Backend => (&mut self.backend, &mut self.client),
        };
        match sink.poll_flush(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(fault)) => return self.lost(from.other(), fault, record),
            Poll::Pending => return Carried::Nothing,
        }
        if from == Side::Client && !self.waiting.is_empty() {
            return self.carry_waiting(context, record);
        }
        if source.eof() {
            return self.end(context, from, record);
        }
        if self.relay.passage(from) == Passage::Shut {
            return Carried::Nothing;
        }
        let mut octets = [const { MaybeUninit::uninit() }; SLICE_OCTETS];
        let mut buffer = ReadBuf::uninit(&mut octets);
        match source.poll_read(context, &mut buffer) {
            Poll::Pending => Carried::Nothing,
            Poll::Ready(Came::Eof) => Carried::Some(0),
            Poll::Ready(Came::Lost(fault)) => self.lost(from, fault, record),
            Poll::Ready(Came::Octets) => {
                let octets = buffer.filled();
                if self.relay.is_guarded() {
                    return self.carry_screened(context, from, octets, record);
                }
                self.relay.carried(from, octets.len(), record.now());
                match sink.write(context, octets) {
                    Ok(()) => Carried::Some(octets.len()),
                    Err(fault) => self.lost(from.other(), fault, record),
                }
            }
        }
    }

    /// Everything of a side is with the other, and nothing more comes.
    fn end(&mut self, context: &mut Context<'_>, from: Side, record: &Record) -> Carried {
        let (told, sink) = match from {
            Side::Client => (&mut self.told[0], &mut self.backend),
            Side::Backend => (&mut self.told[1], &mut self.client),
        };
        if !*told {
            *told = true;
            if let Err(fault) = sink.write(context, self.relay.last_words(from)) {
                return self.lost(from.other(), fault, record);
            }
            match self.relay.ended(from, record.now()) {
                Verdict::Close(close) => return Carried::End(close),
                Verdict::HalfClose(_) => {
                    let _ = sink.poll_end(context);
                    // What waited for this side to answer waits no longer.
                    return Carried::Some(0);
                }
            }
        }
        // Asked again until it is done; the other direction goes on meanwhile.
        let _ = sink.poll_end(context);
        Carried::Nothing
    }

    fn lost(&self, side: Side, fault: LegFault, record: &Record) -> Carried {
        Carried::End(self.relay.lost(side, fault, record.now()))
    }
}
