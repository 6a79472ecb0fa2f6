//! A driver that keeps the contract and believes nothing.
//!
//! It delivers operations as the loop at the head of `contract.rs` would: no more octets than
//! `room`, an end of stream behind them, nothing of a leg that was hung up, octets of a leg that
//! shakes hands to nobody. Only answers may be late, repeated or of another kind than their step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{Destination, Host, Listener, TlsMode};
use gatepost_core::fleet::Fleet;
use gatepost_core::health::Rules;
use gatepost_core::line::{
    BACKEND_LINE_MAX, BACKEND_OCTETS_MAX, EARLY_MAX, OUTBOX_FULL, PREAUTH_MAX,
};
use gatepost_core::{
    Answer, BackendFacts, ConnectFault, Denial, Event, Inbox, Instant, Leg, LegFault, Note, Outbox,
    Peer, Referral, Refusal, Route, Routing, Seed, Session, State, Step, Ticket, TlsFacts,
    TlsFault,
};

use super::dialogues::{Op, PASSWORD};

/// Octets that the answer to one command may take beside what a backend said.
const REPLY_MAX: usize = 1024;
/// Octets that one handshake may write at once: a client's own ID and a login, each escaped.
const BACKEND_WRITE_MAX: usize = 2 * PREAUTH_MAX;

/// Few failures are enough to have no host left.
const RULES: Rules = Rules { threshold: 3, min_clients: 1, cooldown: Duration::from_secs(5) };

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Closed,
    Spliced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Admit,
    Tls(Leg),
    Lookup,
    Connect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    None,
    Connecting,
    Up { encrypted: bool },
}

/// A session and the world around it.
pub(crate) struct Rig {
    session: Session,
    now: Instant,
    inbox: Inbox,
    /// Octets that there was no room for.
    kernel: [Vec<u8>; 2],
    eof: [Eof; 2],
    outstanding: Option<(Ticket, Kind)>,
    tickets: Vec<Ticket>,
    fleet: Fleet,
    /// To be told next.
    heading: Option<(Ticket, Arc<Host>)>,
    /// Where attempts went whose hosts are not judged.
    unjudged: Vec<Arc<Host>>,
    backend: Backend,
    encrypted: TlsMode,
    /// The client is carried from its first byte.
    carried: bool,
    /// The backend said somebody's password.
    gossip: bool,
    random: u64,
    ending: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eof {
    No,
    Waiting,
    Told,
}

impl Rig {
    pub(crate) fn new(listener: Arc<Listener>, seed: u64) -> Self {
        let peer = Peer {
            client: SocketAddr::from(([192, 0, 2, 7], 50123)),
            local: SocketAddr::from(([198, 51, 100, 1], 143)),
        };
        let now = Instant::from_millis(1_000_000);
        let mut out = Outbox::default();
        let carried = !listener.protocol.bears_credentials();
        let session = Session::accept(listener, peer, Seed(seed), now, &mut out);
        let mut rig = Self {
            session,
            now,
            inbox: Inbox::default(),
            kernel: [Vec::new(), Vec::new()],
            eof: [Eof::No; 2],
            outstanding: None,
            tickets: Vec::new(),
            fleet: Fleet::new(RULES),
            heading: None,
            unjudged: Vec::new(),
            backend: Backend::None,
            encrypted: TlsMode::Plain,
            carried,
            gossip: false,
            random: seed,
            ending: None,
        };
        rig.obey(out);
        rig
    }

    pub(crate) fn op(&mut self, op: Op, destination: &Arc<Destination>) {
        if self.ending.is_some() {
            return;
        }
        self.encrypted = destination.endpoints[0].1.tls;
        match op {
            Op::Bytes(leg, octets) => self.bytes(leg, &octets),
            Op::Good => self.answer(destination, None),
            Op::Bad(way) => self.answer(destination, Some(way)),
            Op::Stale(ticket, kind) => {
                let past = &self.tickets[..];
                if past.is_empty() {
                    return;
                }
                let ticket = past[ticket.index(past.len())];
                if self.outstanding.is_none_or(|(outstanding, _)| outstanding != ticket) {
                    let kinds = [Kind::Admit, Kind::Tls(Leg::Client), Kind::Lookup, Kind::Connect];
                    let way = (kind >= 128).then_some(kind);
                    let answer = answer_to(kinds[usize::from(kind) % 4], destination, way);
                    self.facts(Event::Answer(ticket, answer));
                }
            }
            Op::Eof(leg) if self.reads(leg) && self.eof[index(leg)] == Eof::No => {
                self.eof[index(leg)] = Eof::Waiting;
                self.settle();
            }
            Op::Lost(leg, fault) if self.is_there(leg) => {
                const FAULTS: [LegFault; 4] =
                    [LegFault::Reset, LegFault::TimedOut, LegFault::Tls, LegFault::Io];
                self.kernel[index(leg)].clear();
                self.facts(Event::Lost(leg, FAULTS[usize::from(fault) % 4]));
            }
            Op::Eof(_) | Op::Lost(..) => {}
            Op::Pass(millis) => self.pass(millis),
            Op::EarlyTimeout => self.facts(Event::Timeout),
            Op::Drain => self.facts(Event::Drain),
        }
    }

    /// An operator ends what has not ended.
    pub(crate) fn end(mut self) -> Ending {
        if self.ending.is_none() {
            self.facts(Event::Kicked);
        }
        self.ending.expect("a session that is kicked ends at once")
    }

    fn is_there(&self, leg: Leg) -> bool {
        leg == Leg::Client || matches!(self.backend, Backend::Up { .. })
    }

    /// Whether what that leg sends is for the session.
    fn reads(&self, leg: Leg) -> bool {
        let shakes_hands = self.outstanding.is_some_and(|(_, kind)| kind == Kind::Tls(leg));
        self.is_there(leg) && !shakes_hands
    }

    fn bytes(&mut self, leg: Leg, octets: &[u8]) {
        self.gossip |= leg == Leg::Backend && contains(octets, PASSWORD.as_bytes());
        let mut rest = octets;
        while !rest.is_empty() && self.ending.is_none() {
            if !self.reads(leg) || self.eof[index(leg)] != Eof::No {
                return;
            }
            let (piece, later) = rest.split_at(self.piece(rest.len()));
            rest = later;
            self.kernel[index(leg)].extend_from_slice(piece);
            self.settle();
        }
    }

    /// A random length, often the whole.
    fn piece(&mut self, length: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (self.random >> 33) as usize;
        match number % 4 {
            0 | 1 => length,
            2 => length.min(1 + number / 4 % 16),
            _ => length.min(1 + number / 4 % 2048),
        }
    }

    fn answer(&mut self, destination: &Arc<Destination>, failure: Option<u8>) {
        let Some((ticket, kind)) = self.outstanding.take() else { return };
        if kind == Kind::Connect {
            let up = Backend::Up { encrypted: false };
            self.backend = if failure.is_none() { up } else { Backend::None };
        }
        if kind == Kind::Tls(Leg::Backend) && failure.is_none() {
            self.backend = Backend::Up { encrypted: true };
        }
        self.facts(Event::Answer(ticket, answer_to(kind, destination, failure)));
    }

    /// Time passes at once, as for a machine that slept: what was due then is told late.
    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        for _ in 0..8 {
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

    fn facts(&mut self, first: Event) {
        let mut next = Some(first);
        while let (Some(event), None) = (next.take(), self.ending) {
            let again = self.fact(event);
            next = if again { Some(Event::Bytes) } else { self.readable() };
        }
        if self.ending.is_none() && self.session.state() == State::Preauth {
            // Or it would wait for ever for octets that nobody may read.
            assert!(self.session.room(Leg::Client) > 0, "no room in the client's turn");
        }
    }

    fn readable(&mut self) -> Option<Event> {
        if self.ending.is_some() {
            return None;
        }
        if let Some((ticket, host)) = self.heading.take() {
            self.unjudged.push(Arc::clone(&host));
            return Some(Event::Answer(ticket, Answer::Heading(host)));
        }
        for leg in [Leg::Client, Leg::Backend] {
            if !self.reads(leg) {
                continue;
            }
            let kernel = &mut self.kernel[index(leg)];
            let count = kernel.len().min(self.session.room(leg));
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

    /// One call, judged.
    fn fact(&mut self, event: Event) -> bool {
        let before = [self.inbox.client.clone(), self.inbox.backend.clone()];
        let mut out = Outbox::default();
        self.session.handle(event, self.now, &mut self.inbox, &mut out);
        for (leg, before) in [Leg::Client, Leg::Backend].into_iter().zip(&before) {
            let after = &*inbox_of(&mut self.inbox, leg);
            assert!(before.ends_with(after), "{leg}: eaten elsewhere than at the front");
            let client_max = if self.carried { EARLY_MAX } else { PREAUTH_MAX };
            let limit = [client_max, BACKEND_LINE_MAX][index(leg)];
            let reach = after.len() + self.session.room(leg);
            assert!(reach <= limit, "{leg}: {reach} octets may be held, {limit} are allowed");
        }
        let ate =
            before[0].len() > self.inbox.client.len() || before[1].len() > self.inbox.backend.len();
        let again = out.again;
        if again {
            // So calls are as few as outboxes are full: the work is linear in what is sent.
            assert!(out.client.len() >= OUTBOX_FULL, "called again before the outbox is full");
            assert!(ate, "called again, and nothing is eaten");
        }
        self.obey(out);
        again
    }

    fn obey(&mut self, out: Outbox) {
        let Outbox { client, backend, hang_up, step, notes, .. } = out;
        self.take_notes(notes);
        if hang_up {
            assert!(backend.is_empty(), "said to a backend that is hung up");
            self.hang_up();
        }
        let spliced = matches!(step, Some((_, Step::Splice(_))));
        let passed_on = if spliced { BACKEND_OCTETS_MAX } else { BACKEND_LINE_MAX };
        let limit = OUTBOX_FULL + REPLY_MAX + passed_on;
        assert!(client.len() <= limit, "{} octets to the client at once", client.len());
        self.judge_echo(&client);
        if self.carried && !client.is_empty() {
            let over = matches!(step, Some((_, Step::Close(_))));
            assert!(over && client.starts_with(b"421 "), "said to a client that is carried");
        }
        self.judge_backend(&backend);
        if let Some((ticket, step)) = step {
            self.begin(ticket, step);
        }
    }

    /// No password comes back, unless damage made it a command's tag, or the backend said it.
    fn judge_echo(&self, octets: &[u8]) {
        if self.gossip || contains(octets, b"OK (TAG ") {
            return;
        }
        for line in octets.split(|octet| *octet == b'\n') {
            let tag = line.iter().position(|octet| *octet == b' ').unwrap_or(0);
            assert!(!contains(&line[tag..], PASSWORD.as_bytes()), "a password is echoed");
        }
    }

    fn judge_backend(&self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        assert!(octets.len() <= BACKEND_WRITE_MAX, "{} octets to the backend", octets.len());
        let Backend::Up { encrypted } = self.backend else {
            panic!("octets for a backend that is not there")
        };
        let shakes_hands =
            self.outstanding.is_some_and(|(_, kind)| kind == Kind::Tls(Leg::Backend));
        assert!(!shakes_hands, "octets within a handshake");
        if !encrypted && self.encrypted != TlsMode::Plain {
            const WITHOUT_TLS: [&[u8]; 6] = [
                b"S STARTTLS\r\n",
                b"C CAPABILITY\r\n",
                b"CAPA\r\n",
                b"STLS\r\n",
                b"EHLO mail.example.com\r\n",
                b"STARTTLS\r\n",
            ];
            const PROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
            let harmless = WITHOUT_TLS.contains(&octets) || octets.starts_with(PROXY);
            assert!(harmless && !contains(octets, PASSWORD.as_bytes()), "said before TLS");
        }
    }

    /// Every host where an attempt went is judged once.
    fn take_notes(&mut self, notes: Vec<Note>) {
        for note in notes {
            let Note::HostJudged { destination, host, client, outcome } = note else { continue };
            let awaited = self.unjudged.iter().position(|known| known.label == host.label);
            self.unjudged.remove(awaited.expect("a host is judged where an attempt went"));
            let place = (&*destination, &*host, destination.endpoints[0].0);
            self.fleet.judge(place, outcome, client, self.now);
        }
    }

    fn hang_up(&mut self) {
        self.heading = None;
        self.backend = Backend::None;
        self.inbox.backend.clear();
        self.kernel[index(Leg::Backend)].clear();
        self.eof[index(Leg::Backend)] = Eof::No;
        if matches!(self.outstanding, Some((_, Kind::Connect | Kind::Tls(Leg::Backend)))) {
            self.outstanding = None;
        }
    }

    fn begin(&mut self, ticket: Ticket, step: Step) {
        assert!(!self.tickets.contains(&ticket), "two steps have one ticket");
        self.tickets.push(ticket);
        let kind = match step {
            Step::Admit(_) => Kind::Admit,
            Step::StartTls(leg, _) => {
                assert!(self.is_there(leg), "a handshake with nobody");
                inbox_of(&mut self.inbox, leg).clear();
                self.kernel[index(leg)].clear();
                Kind::Tls(leg)
            }
            Step::Lookup(_) => Kind::Lookup,
            Step::Connect(target) => {
                assert_eq!(self.backend, Backend::None, "a second backend");
                assert!(self.unjudged.is_empty(), "an attempt ended without a word of its host");
                self.backend = Backend::Connecting;
                self.heading = self.fleet.choose(&target, self.now).ok().map(|it| (ticket, it));
                Kind::Connect
            }
            Step::Splice(relay) => {
                let encrypted = self.encrypted != TlsMode::Plain;
                assert_eq!(self.backend, Backend::Up { encrypted }, "bytes would pass to nobody");
                let told = self.eof[index(Leg::Client)] == Eof::Told;
                assert_eq!(relay.client_eof(), told, "an end of stream is lost");
                assert!(self.unjudged.is_empty(), "a hand-off without a word of the host");
                self.ending = Some(Ending::Spliced);
                return;
            }
            Step::Close(_) => {
                assert!(self.unjudged.is_empty(), "an end without a word of the host");
                self.ending = Some(Ending::Closed);
                return;
            }
        };
        self.outstanding = Some((ticket, kind));
    }
}

fn answer_to(kind: Kind, destination: &Arc<Destination>, failure: Option<u8>) -> Answer {
    let way = failure.map(usize::from);
    match (kind, way) {
        (Kind::Admit, None) => Answer::Admitted(Ok(())),
        (Kind::Admit, Some(way)) => {
            const REFUSALS: [Refusal; 2] = [Refusal::TooManyConnections, Refusal::ShuttingDown];
            Answer::Admitted(Err(REFUSALS[way % 2]))
        }
        (Kind::Tls(_), None) => Answer::TlsUp(TlsFacts::default()),
        (Kind::Tls(_), Some(way)) => {
            const FAULTS: [TlsFault; 6] = [
                TlsFault::Protocol,
                TlsFault::NoCommonGround,
                TlsFault::Certificate,
                TlsFault::Alert,
                TlsFault::Closed,
                TlsFault::Setup,
            ];
            Answer::TlsFailed(FAULTS[way % 6])
        }
        (Kind::Lookup, None) => Answer::Routed(Routing::Found(Route::to(Arc::clone(destination)))),
        (Kind::Lookup, Some(way)) => Answer::Routed(other_than_a_route(way)),
        (Kind::Connect, None) => Answer::Connected(BackendFacts {
            address: SocketAddr::from(([203, 0, 113, 10], 143)),
            local: SocketAddr::from(([198, 51, 100, 1], 40000)),
            remembered: None,
        }),
        (Kind::Connect, Some(way)) => {
            const FAULTS: [ConnectFault; 8] = [
                ConnectFault::Refused,
                ConnectFault::Unreachable,
                ConnectFault::TimedOut,
                ConnectFault::NoAddress,
                ConnectFault::Exhausted,
                ConnectFault::OwnListener,
                ConnectFault::NoSourceAddress,
                ConnectFault::Io,
            ];
            Answer::ConnectFailed(FAULTS[way % 8])
        }
    }
}

fn other_than_a_route(way: usize) -> Routing {
    let user = b"some\r\nbody".to_vec();
    let denial = Denial::with_text("no\r\n");
    match way % 7 {
        0 => Routing::Unavailable,
        1 => Routing::Referred(Referral { user, host: "two.test".into(), port: Some(143) }),
        2 => Routing::Refused(Denial { judged: true, ..denial }),
        3 => Routing::Refused(Denial { hold: Some(Duration::from_secs(7)), ..denial }),
        4 => Routing::Later(Duration::from_secs(3)),
        5 => Routing::Refused(Denial { challenge: Some(b"{\r\n}".to_vec()), ..denial }),
        _ => Routing::Refused(Denial { last: true, ..denial }),
    }
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
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
