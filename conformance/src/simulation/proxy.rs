//! The driver of a simulated session: the loop at the head of `core/src/contract.rs`, with queues
//! for the kernel's part and a reference pump for the relay.
//!
//! What it wants done leaves it as [`Effect`]s, in order. It judges the session's side of the
//! contract itself; what travels is judged by those who hear it.

use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{Destination, Host, Listener, Protocol};
use gatepost_core::fleet::Fleet;
use gatepost_core::health::Rules;
use gatepost_core::line::{BACKEND_LINE_MAX, PREAUTH_MAX};
use gatepost_core::{
    Answer, Close, Event, Inbox, Instant, Leg, LegFault, Note, Outbox, Peer, Seed, Session, Step,
    Ticket, TlsFault,
};

use super::Payload;
use crate::script::{Deed, Emission, Pump, index};

/// What the proxy wants done.
pub(super) enum Effect {
    Send(Leg, Payload),
    /// To be answered with that ticket.
    Asked(Ticket, Asked),
    /// A handshake can only end like this.
    TlsFailed(Ticket, TlsFault),
    /// Both sides have begun a handshake.
    Shaken(Ticket),
    /// Call again once what was sent is flushed.
    Again,
    Dropped,
    Spliced,
    Closed(Close),
}

/// What is asked of the world.
pub(super) enum Asked {
    Admit,
    Lookup(Option<Vec<u8>>),
    Connect(Arc<Destination>),
    /// To connect, and no host may serve.
    Nowhere,
}

/// What is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tls(Leg),
    Other,
}

enum Stage {
    Session(Box<Session>),
    Relay(Pump),
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Eof {
    No,
    Waiting,
    Told,
}

/// Few failures are enough to have no host left.
const RULES: Rules = Rules { threshold: 3, min_clients: 1, cooldown: Duration::from_secs(20) };

/// The driver.
pub(super) struct Proxy {
    stage: Stage,
    inbox: Inbox,
    kernel: [Vec<u8>; 2],
    hello: [bool; 2],
    eof: [Eof; 2],
    tls: [bool; 2],
    outstanding: Option<(Ticket, Kind)>,
    fleet: Fleet,
    /// To be told next.
    heading: Option<(Ticket, Arc<Host>)>,
    backend: bool,
    pub(super) effects: Vec<Effect>,
}

impl Proxy {
    pub(super) fn accept(listener: &Arc<Listener>, peer: Peer, seed: u64, now: Instant) -> Self {
        let mut out = Outbox::default();
        let session = Session::accept(Arc::clone(listener), peer, Seed(seed), now, &mut out);
        let mut proxy = Self {
            stage: Stage::Session(Box::new(session)),
            inbox: Inbox::default(),
            kernel: [Vec::new(), Vec::new()],
            hello: [false; 2],
            eof: [Eof::No; 2],
            tls: [false; 2],
            outstanding: None,
            fleet: Fleet::new(RULES),
            heading: None,
            backend: false,
            effects: Vec::new(),
        };
        proxy.obey(out, now);
        proxy
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether that is the ticket that is waited for.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        self.outstanding.is_some_and(|(outstanding, _)| outstanding == ticket)
    }

    /// When it wants to be woken.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Session(session) => session.poll_timeout().map(|(due, _)| due),
            Stage::Relay(pump) => Some(pump.deadline()),
            Stage::Over => None,
        }
    }

    pub(super) fn wake(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Session(_) => self.facts(Event::Timeout, now),
            Stage::Relay(pump) => {
                if let Some(close) = pump.expired(now) {
                    self.finish(close);
                }
            }
            Stage::Over => {}
        }
    }

    /// An operator's word.
    pub(super) fn order(&mut self, kicked: bool, now: Instant) {
        match &self.stage {
            Stage::Session(_) => self.facts(if kicked { Event::Kicked } else { Event::Drain }, now),
            Stage::Relay(pump) => {
                let close = if kicked { pump.kicked(now) } else { pump.drained(now) };
                self.finish(close);
            }
            Stage::Over => {}
        }
    }

    pub(super) fn flushed(&mut self, now: Instant) {
        self.facts(Event::Bytes, now);
    }

    /// An answer, due or not: the session tells them apart.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer, now: Instant) {
        if self.awaits(ticket) {
            let (_, kind) = self.outstanding.take().unwrap_or((ticket, Kind::Other));
            match (&answer, kind) {
                (Answer::TlsUp(_), Kind::Tls(leg)) => {
                    self.tls[index(leg)] = true;
                    if leg == Leg::Client {
                        self.effects.push(Effect::Send(leg, Payload::Hello));
                    }
                }
                (Answer::Connected(_), _) => self.backend = true,
                _ => {}
            }
        }
        self.facts(Event::Answer(ticket, answer), now);
    }

    /// Something arrived.
    pub(super) fn arrive(&mut self, leg: Leg, payload: Payload, now: Instant) {
        if self.is_over() || self.eof[index(leg)] != Eof::No {
            return;
        }
        let handshake = self.outstanding.filter(|(_, kind)| *kind == Kind::Tls(leg));
        match (payload, handshake) {
            (Payload::Hello, Some((ticket, _))) => self.effects.push(Effect::Shaken(ticket)),
            (Payload::Hello, None) => self.hello[index(leg)] = true,
            (Payload::Octets { tls: false, .. }, Some((ticket, _))) => {
                self.effects.push(Effect::TlsFailed(ticket, TlsFault::Protocol));
            }
            (Payload::Eof | Payload::Reset, Some((ticket, _))) => {
                self.eof[index(leg)] = Eof::Told;
                self.effects.push(Effect::TlsFailed(ticket, TlsFault::Closed));
            }
            (Payload::Octets { octets, .. }, _) => {
                if let Stage::Relay(pump) = &mut self.stage {
                    let mut emissions = Vec::new();
                    pump.carry(leg, octets, now, &mut emissions);
                    self.emit(emissions);
                } else {
                    self.kernel[index(leg)].extend_from_slice(&octets);
                    self.settle(now);
                }
            }
            (Payload::Eof, None) => self.end_of_stream(leg, now),
            (Payload::Reset, None) => {
                self.eof[index(leg)] = Eof::Told;
                self.kernel[index(leg)].clear();
                if let Stage::Relay(pump) = &self.stage {
                    let close = pump.lost(leg, LegFault::Reset, now);
                    self.finish(close);
                } else {
                    self.facts(Event::Lost(leg, LegFault::Reset), now);
                }
            }
        }
    }

    fn end_of_stream(&mut self, leg: Leg, now: Instant) {
        self.eof[index(leg)] = Eof::Waiting;
        if let Stage::Relay(pump) = &mut self.stage {
            self.eof[index(leg)] = Eof::Told;
            let mut emissions = Vec::new();
            let close = pump.ended(leg, now, &mut emissions);
            self.emit(emissions);
            close.into_iter().for_each(|close| self.finish(close));
        } else {
            self.settle(now);
        }
    }

    fn settle(&mut self, now: Instant) {
        if let Some(event) = self.readable() {
            self.facts(event, now);
        }
    }

    fn facts(&mut self, first: Event, now: Instant) {
        let mut next = Some(first);
        while let Some(event) = next.take() {
            if self.fact(event, now) {
                // Nobody reads on before what was sent is flushed.
                self.effects.push(Effect::Again);
                return;
            }
            next = self.readable();
        }
    }

    fn readable(&mut self) -> Option<Event> {
        let Stage::Session(session) = &self.stage else { return None };
        if let Some((ticket, host)) = self.heading.take() {
            return Some(Event::Answer(ticket, Answer::Heading(host)));
        }
        for leg in [Leg::Client, Leg::Backend] {
            if self.outstanding.is_some_and(|(_, kind)| kind == Kind::Tls(leg)) {
                continue;
            }
            let kernel = &mut self.kernel[index(leg)];
            let count = kernel.len().min(session.room(leg));
            if count > 0 {
                inbox_of(&mut self.inbox, leg).extend(kernel.drain(..count));
                return Some(Event::Bytes);
            }
            if kernel.is_empty() && self.eof[index(leg)] == Eof::Waiting {
                self.eof[index(leg)] = Eof::Told;
                return Some(Event::Eof(leg));
            }
        }
        None
    }

    fn fact(&mut self, event: Event, now: Instant) -> bool {
        let Stage::Session(session) = &mut self.stage else { return false };
        let mut out = Outbox::default();
        session.handle(event, now, &mut self.inbox, &mut out);
        assert!(self.inbox.client.len() <= PREAUTH_MAX, "the client's inbox grows");
        assert!(self.inbox.backend.len() <= BACKEND_LINE_MAX, "the backend's inbox grows");
        let again = out.again;
        self.obey(out, now);
        again && !self.is_over()
    }

    fn obey(&mut self, out: Outbox, now: Instant) {
        for note in out.notes {
            if let Note::HostJudged { destination, host, client, outcome } = note {
                self.fleet.judge((&destination, &host, Protocol::Imap), outcome, client, now);
            }
        }
        if out.hang_up {
            self.hang_up();
        }
        for (leg, octets) in [(Leg::Client, out.client), (Leg::Backend, out.backend)] {
            assert!(octets.is_empty() || leg == Leg::Client || self.backend, "said to nobody");
            self.emit(vec![Emission::Sent(leg, octets)]);
        }
        let Some((ticket, step)) = out.step else { return };
        self.outstanding = Some((ticket, Kind::Other));
        match step {
            Step::Admit(_) => self.effects.push(Effect::Asked(ticket, Asked::Admit)),
            Step::Lookup(query) => {
                self.effects.push(Effect::Asked(ticket, Asked::Lookup(query.identifier)));
            }
            Step::Connect(target) => {
                assert!(!self.backend, "a second backend");
                let chosen = self.fleet.choose(&target, now);
                self.heading = chosen.as_ref().ok().map(|host| (ticket, Arc::clone(host)));
                let asked = match chosen {
                    Ok(_) => Asked::Connect(target.destination),
                    Err(_) => Asked::Nowhere,
                };
                self.effects.push(Effect::Asked(ticket, asked));
            }
            Step::StartTls(leg, _) => self.begin_tls(ticket, leg),
            Step::Splice(relay) => {
                assert!(self.backend, "bytes would pass to nobody");
                let told = self.eof[index(Leg::Client)] == Eof::Told;
                assert_eq!(relay.client_eof(), told, "an end of stream is forgotten");
                self.effects.push(Effect::Spliced);
                self.splice(Pump::new(relay), now);
            }
            Step::Close(close) => self.finish(close),
        }
    }

    fn begin_tls(&mut self, ticket: Ticket, leg: Leg) {
        self.outstanding = Some((ticket, Kind::Tls(leg)));
        let inbox = inbox_of(&mut self.inbox, leg);
        let kernel = &mut self.kernel[index(leg)];
        let slipped_in = !inbox.is_empty() || !kernel.is_empty();
        inbox.clear();
        kernel.clear();
        if slipped_in {
            self.effects.push(Effect::TlsFailed(ticket, TlsFault::Protocol));
        } else if self.eof[index(leg)] == Eof::Waiting {
            self.effects.push(Effect::TlsFailed(ticket, TlsFault::Closed));
        } else if leg == Leg::Backend {
            self.effects.push(Effect::Send(leg, Payload::Hello));
        } else if self.hello[index(leg)] {
            self.effects.push(Effect::Shaken(ticket));
        }
    }

    fn hang_up(&mut self) {
        self.heading = None;
        self.backend = false;
        self.inbox.backend.clear();
        let leg = index(Leg::Backend);
        self.kernel[leg].clear();
        (self.eof[leg], self.hello[leg], self.tls[leg]) = (Eof::No, false, false);
        self.outstanding = None;
        self.effects.push(Effect::Dropped);
    }

    /// The inboxes are the relay's first data; an end of stream already seen travels along.
    fn splice(&mut self, mut pump: Pump, now: Instant) {
        let mut emissions = Vec::new();
        let mut close = None;
        // The backend's first: none of it answers what the client sends from here on.
        for leg in [Leg::Backend, Leg::Client] {
            let mut octets = std::mem::take(inbox_of(&mut self.inbox, leg));
            octets.append(&mut self.kernel[index(leg)]);
            pump.carry(leg, octets, now, &mut emissions);
        }
        for leg in [Leg::Client, Leg::Backend] {
            if self.eof[index(leg)] != Eof::No {
                self.eof[index(leg)] = Eof::Told;
                close = pump.ended(leg, now, &mut emissions);
            }
        }
        self.stage = Stage::Relay(pump);
        self.outstanding = None;
        self.emit(emissions);
        close.into_iter().for_each(|close| self.finish(close));
    }

    fn emit(&mut self, emissions: Vec<Emission>) {
        for emission in emissions {
            match emission {
                Emission::Sent(leg, octets) if !octets.is_empty() => {
                    let tls = self.tls[index(leg)];
                    self.effects.push(Effect::Send(leg, Payload::Octets { tls, octets }));
                }
                Emission::Did(Deed::Eof(leg)) => {
                    self.effects.push(Effect::Send(leg, Payload::Eof));
                }
                Emission::Sent(..) | Emission::Did(_) => {}
            }
        }
    }

    fn finish(&mut self, close: Close) {
        self.stage = Stage::Over;
        self.effects.push(Effect::Send(Leg::Client, Payload::Eof));
        if self.backend {
            self.effects.push(Effect::Send(Leg::Backend, Payload::Eof));
        }
        self.effects.push(Effect::Closed(close));
    }
}

const fn inbox_of(inbox: &mut Inbox, leg: Leg) -> &mut Vec<u8> {
    match leg {
        Leg::Client => &mut inbox.client,
        Leg::Backend => &mut inbox.backend,
    }
}
