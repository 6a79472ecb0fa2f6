//! A driver that keeps the contract and believes nothing.
//!
//! It delivers operations as the loop at the head of `core/src/contract.rs` would: no more octets
//! than `room`, an end of stream behind them, nothing of a leg that was hung up; octets of a leg
//! that shakes hands let its handshake fail. Only answers may be late, repeated or of another kind
//! than their step. After every operation the session must have nothing left to do.
//!
//! Read next: `answers`, for how steps are answered; `obey`, for what the session wants done.

mod answers;
mod obey;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::Host;
use gatepost_core::fleet::Fleet;
use gatepost_core::health::Rules;
use gatepost_core::line::{BACKEND_LINE_MAX, EARLY_MAX, OUTBOX_FULL, PREAUTH_MAX};
use gatepost_core::proxy_protocol::HEADER_MAX;
use gatepost_core::{
    Answer, Event, Inbox, Instant, Leg, LegFault, Outbox, Peer, Seed, Session, State, Ticket,
    TlsFault,
};

use self::answers::{Kind, answer_to, stale_answer};
use super::judge::is_gossip;
use super::ops::{Cut, Op};
use super::settings::Settings;
use super::told::Told;

/// Few failures are enough to have no host left.
const RULES: Rules = Rules { threshold: 3, min_clients: 1, cooldown: Duration::from_secs(5) };
/// Timers that may be due at one moment, one after the other.
const TIMEOUTS_MAX: u32 = 8;
/// Octets at the front of an inbox that are watched.
const FRONT_OCTETS: usize = 64;

/// A session and the world around it.
pub(crate) struct Rig<'a> {
    settings: &'a Settings,
    ops: &'a [Op],
    cut: Cut,
    session: Session,
    now: Instant,
    inbox: Inbox,
    legs: [Wire; 2],
    outstanding: Option<(Ticket, Kind)>,
    tickets: Vec<Ticket>,
    fleet: Fleet,
    /// To be told next.
    heading: Option<(Ticket, Arc<Host>)>,
    /// Where attempts went whose hosts are not judged.
    unjudged: Vec<Arc<Host>>,
    backend: Backend,
    /// The backend says somebody's password by itself.
    gossip: bool,
    ending: Option<Ending>,
    told: Told,
}

/// The kernel's part of a leg.
#[derive(Default)]
struct Wire {
    /// Octets that there was no room for.
    kernel: Vec<u8>,
    eof: Eof,
    /// Why the handshake that is under way can only fail.
    spoiled: Option<TlsFault>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Eof {
    #[default]
    No,
    Waiting,
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    None,
    Connecting,
    Up { encrypted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Closed,
    Spliced,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(settings: &'a Settings, ops: &'a [Op], cut: Cut) -> Self {
        let peer = Peer {
            client: SocketAddr::from(([192, 0, 2, 7], 50123)),
            local: SocketAddr::from(([198, 51, 100, 1], 143)),
        };
        let now = Instant::from_millis(1_000_000);
        let mut out = Outbox::default();
        let listener = Arc::clone(&settings.listener);
        let session = Session::accept(listener, peer, Seed(0xa1), now, &mut out);
        let mut rig = Self {
            settings,
            ops,
            cut,
            session,
            now,
            inbox: Inbox::default(),
            legs: Default::default(),
            outstanding: None,
            tickets: Vec::new(),
            fleet: Fleet::new(RULES),
            heading: None,
            unjudged: Vec::new(),
            backend: Backend::None,
            gossip: is_gossip(ops),
            ending: None,
            told: Told::default(),
        };
        rig.obey(out);
        rig
    }

    /// Plays all operations; an operator ends what has not ended.
    pub(crate) fn play(mut self) -> Told {
        for op in self.ops {
            self.op(op);
            self.rest();
        }
        if self.ending.is_none() {
            self.facts(Event::Kicked);
        }
        assert!(self.ending.is_some(), "a session that is kicked goes on");
        assert!(self.unjudged.is_empty(), "an end without a word of the host");
        self.rest();
        self.told
    }

    fn op(&mut self, op: &Op) {
        if self.ending == Some(Ending::Closed) {
            return;
        }
        match op {
            Op::Bytes(leg, octets) => self.bytes(*leg, octets),
            _ if self.ending.is_some() => {}
            Op::Good(particulars) => self.answer(particulars, None),
            Op::Bad(way) => self.answer(&[], Some(*way)),
            Op::Stale(which, what) => self.stale(*which, *what),
            Op::Eof(leg) => self.end_of_stream(*leg),
            Op::Lost(leg, way) if self.is_there(*leg) => {
                const FAULTS: [LegFault; 4] =
                    [LegFault::Reset, LegFault::TimedOut, LegFault::Tls, LegFault::Io];
                self.legs[index(*leg)].kernel.clear();
                self.facts(Event::Lost(*leg, FAULTS[usize::from(*way) % 4]));
            }
            Op::Lost(..) => {}
            Op::Pass(millis) => self.pass(*millis),
            Op::EarlyTimeout => {
                if self.session.poll_timeout().is_none_or(|(due, _)| due > self.now) {
                    self.says_nothing(Event::Timeout);
                }
            }
            Op::Drain => self.facts(Event::Drain),
            Op::Kick => self.facts(Event::Kicked),
        }
    }

    /// Nothing is left to do that no event would bring up again, and nothing comes after the end.
    fn rest(&mut self) {
        self.says_nothing(Event::Bytes);
        if self.ending.is_some() {
            assert_eq!(self.session.poll_timeout(), None, "a timer after the end");
            self.says_nothing(Event::Timeout);
            self.says_nothing(Event::Kicked);
            return;
        }
        if self.session.state() == State::Preauth {
            // Or it would wait for ever for octets that nobody may read.
            assert!(self.session.room(Leg::Client) > 0, "no room in the client's turn");
        }
    }

    fn is_there(&self, leg: Leg) -> bool {
        leg == Leg::Client || matches!(self.backend, Backend::Up { .. })
    }

    fn shakes_hands(&self, leg: Leg) -> bool {
        self.outstanding.is_some_and(|(_, kind)| kind == Kind::Tls(leg))
    }

    fn bytes(&mut self, leg: Leg, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            let wire = &mut self.legs[index(leg)];
            let is_deaf = self.ending == Some(Ending::Closed) || wire.eof != Eof::No;
            if is_deaf || !self.is_there(leg) {
                return;
            }
            let (piece, later) = rest.split_at(self.cut.next(rest.len()));
            rest = later;
            if self.ending.is_some() {
                self.told.handed(index(leg), piece);
            } else if self.shakes_hands(leg) {
                self.legs[index(leg)].spoiled = Some(TlsFault::Protocol);
            } else {
                self.legs[index(leg)].kernel.extend_from_slice(piece);
                self.settle();
            }
        }
    }

    fn end_of_stream(&mut self, leg: Leg) {
        let shakes_hands = self.shakes_hands(leg);
        let is_there = self.is_there(leg);
        let wire = &mut self.legs[index(leg)];
        if !is_there || wire.eof != Eof::No {
            return;
        }
        if shakes_hands {
            wire.eof = Eof::Told;
            wire.spoiled.get_or_insert(TlsFault::Closed);
        } else {
            wire.eof = Eof::Waiting;
            self.settle();
        }
    }

    fn answer(&mut self, particulars: &[u8], way: Option<u8>) {
        let Some((ticket, kind)) = self.outstanding.take() else { return };
        let spoiled = match kind {
            Kind::Tls(leg) => self.legs[index(leg)].spoiled.take(),
            Kind::Admit | Kind::Lookup | Kind::Connect => None,
        };
        let answer = match spoiled {
            Some(fault) => Answer::TlsFailed(fault),
            None => answer_to(kind, &self.settings.destination, particulars, way),
        };
        self.backend = match (&answer, kind) {
            (Answer::Connected(_), _) => Backend::Up { encrypted: false },
            (Answer::ConnectFailed(_), _) => Backend::None,
            (Answer::TlsUp(_), Kind::Tls(Leg::Backend)) => Backend::Up { encrypted: true },
            _ => self.backend,
        };
        self.facts(Event::Answer(ticket, answer));
    }

    /// An answer that nobody waits for.
    fn stale(&mut self, which: u8, what: u8) {
        let Some(at) = usize::from(which).checked_rem(self.tickets.len()) else { return };
        let ticket = self.tickets[at];
        if self.outstanding.is_none_or(|(outstanding, _)| outstanding != ticket) {
            let answer = stale_answer(&self.settings.destination, what);
            self.says_nothing(Event::Answer(ticket, answer));
        }
    }

    /// Time passes at once, as for a machine that slept: what was due then is told late.
    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        for _ in 0..TIMEOUTS_MAX {
            let due = self.session.poll_timeout();
            if self.ending.is_some() || due.is_none_or(|(due, _)| due > self.now) {
                return;
            }
            self.facts(Event::Timeout);
        }
        panic!("timeouts are due again and again at {:?}", self.session.poll_timeout());
    }

    fn settle(&mut self) {
        if let Some(event) = self.readable() {
            self.facts(event);
        }
    }

    /// Tells one fact, then what can be read in consequence.
    fn facts(&mut self, first: Event) {
        let mut next = Some(first);
        while let (Some(event), None) = (next.take(), self.ending) {
            let again = self.fact(event);
            next = if again { Some(Event::Bytes) } else { self.readable() };
        }
    }

    /// Reads from the kernel what there is room for; an end of stream comes behind it.
    fn readable(&mut self) -> Option<Event> {
        if self.ending.is_some() {
            return None;
        }
        if let Some((ticket, host)) = self.heading.take() {
            self.unjudged.push(Arc::clone(&host));
            return Some(Event::Answer(ticket, Answer::Heading(host)));
        }
        for leg in [Leg::Client, Leg::Backend] {
            if !self.is_there(leg) || self.shakes_hands(leg) {
                continue;
            }
            let wire = &mut self.legs[index(leg)];
            let count = wire.kernel.len().min(self.session.room(leg));
            if count > 0 {
                inbox_of(&mut self.inbox, leg).extend(wire.kernel.drain(..count));
                return Some(Event::Bytes);
            }
            if wire.kernel.is_empty() && wire.eof == Eof::Waiting {
                wire.eof = Eof::Told;
                return Some(Event::Eof(leg));
            }
        }
        None
    }

    /// A fact of which nothing may come.
    fn says_nothing(&mut self, event: Event) {
        let text = format!("{event:?}");
        let before = [self.inbox.client.len(), self.inbox.backend.len()];
        let mut out = Outbox::default();
        self.session.handle(event, self.now, &mut self.inbox, &mut out);
        let after = [self.inbox.client.len(), self.inbox.backend.len()];
        let said = !out.client.is_empty() || !out.backend.is_empty() || out.hang_up || out.again;
        let did = out.step.is_some() || !out.notes.is_empty() || before != after;
        assert!(!said && !did, "{text} has a consequence: {out:?}");
    }

    /// One call, judged.
    fn fact(&mut self, event: Event) -> bool {
        let before = [Front::of(&self.inbox.client), Front::of(&self.inbox.backend)];
        let mut out = Outbox::default();
        self.session.handle(event, self.now, &mut self.inbox, &mut out);
        let mut ate = false;
        for (leg, before) in [Leg::Client, Leg::Backend].into_iter().zip(&before) {
            let after = &*inbox_of(&mut self.inbox, leg);
            ate |= before.eaten(after) > 0;
            let carried = self.settings.listener.bridge.is_some();
            // What waits for a balancer's header is held before it is clear what it is.
            let client_max = if carried { EARLY_MAX.max(HEADER_MAX) } else { PREAUTH_MAX };
            let limit = [client_max, BACKEND_LINE_MAX][index(leg)];
            let reach = after.len() + self.session.room(leg);
            assert!(reach <= limit, "{leg}: {reach} octets may be held, {limit} are allowed");
        }
        let again = out.again;
        if again {
            // So calls are as few as outboxes are full: the work is linear in what is sent.
            assert!(out.client.len() >= OUTBOX_FULL, "called again before the outbox is full");
            assert!(ate, "called again, and nothing is eaten");
        }
        self.obey(out);
        again
    }
}

/// An inbox before a fact, as much of it as is cheap to remember at every octet.
struct Front {
    length: usize,
    octets: Vec<u8>,
}

impl Front {
    fn of(inbox: &[u8]) -> Self {
        Self { length: inbox.len(), octets: inbox[..inbox.len().min(FRONT_OCTETS)].to_vec() }
    }

    /// How many octets were eaten off the front.
    fn eaten(&self, inbox: &[u8]) -> usize {
        let eaten = self.length.checked_sub(inbox.len()).expect("an inbox does not grow");
        let kept = self.octets.get(eaten..).unwrap_or_default();
        assert!(inbox.starts_with(kept), "eaten elsewhere than at the front");
        eaten
    }
}

const fn index(leg: Leg) -> usize {
    match leg {
        Leg::Client => 0,
        Leg::Backend => 1,
    }
}

const fn inbox_of(inbox: &mut Inbox, leg: Leg) -> &mut Vec<u8> {
    match leg {
        Leg::Client => &mut inbox.client,
        Leg::Backend => &mut inbox.backend,
    }
}
