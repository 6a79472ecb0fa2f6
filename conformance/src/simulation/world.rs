//! One session's world: who sends what to whom, when it arrives, and what breaks.
//!
//! Happenings are queued by time, and those of one instant in the order in which they came about.
//! Each direction of a connection keeps its order; all else is up to the seed. The world ends when
//! nothing is left to happen, and then everybody's records are compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost_core::{
    Answer, BackendFacts, Close, ConnectFault, Instant, Leg, Peer, Reason, Refusal, Route, Routing,
    State, Ticket, TlsFacts, TlsFault,
};

use super::accounts::{Account, SITES, Settings, chance};
use super::backend::Backend;
use super::client::Client;
use super::proxy::{Asked, Effect, Proxy};
use super::tally::Tally;
use super::{Payload, Turn};
use crate::script::{Random, index};

/// Milliseconds since the driver's epoch at which a world begins.
const START: u64 = 1_000_000;
/// By then every session is over: the clients' budgets, three logins with every attempt at its
/// longest, the longest talk, and the relay's patience, with as much again.
const END_AFTER: Duration = Duration::from_secs(30 * 60);
/// Happenings in one world.
const HAPPENINGS_MAX: usize = 20_000;

/// What backends once announced, in another life.
const REMEMBERED: &str = "IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2";

/// What came of one world.
pub(super) struct Played {
    pub(super) tally: Tally,
    pub(super) hash: u64,
    pub(super) fault: Option<String>,
}

enum Happening {
    /// At the proxy.
    FromPeer(Leg, u32, Payload),
    /// At a peer of the proxy's.
    ToPeer(Leg, u32, Payload),
    ClientTick,
    BackendTick(u32),
    /// The client leaves without a word.
    Vanish,
    Answer(Ticket, Answer, Option<usize>),
    Flushed,
    Wake,
    Order {
        kicked: bool,
    },
}

/// A session and all that surrounds it.
pub(super) struct World {
    random: Random,
    settings: Settings,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    /// When the last thing sent on a direction arrives: to the proxy, to the peer.
    clear: [[u64; 2]; 2],
    proxy: Proxy,
    client: Client,
    backend: Option<Backend>,
    /// Which connection to a backend it is.
    connection: u32,
    woken_at: Option<u64>,
    spliced: bool,
    close: Option<Close>,
    tally: Tally,
    hash: u64,
    fault: Option<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let settings = Settings::random(&mut random);
        let peer = Peer {
            client: SocketAddr::from(([192, 0, 2, 7], 50123)),
            local: SocketAddr::from(([198, 51, 100, 1], 143)),
        };
        let now = Instant::from_millis(START);
        let client = Client::new(seed ^ 0xc11e, settings.listener.tls);
        Self {
            proxy: Proxy::accept(&settings.listener, peer, seed, now),
            client,
            random,
            settings,
            now: START,
            queue: BTreeMap::new(),
            queued: 0,
            clear: [[START; 2]; 2],
            backend: None,
            connection: 0,
            woken_at: None,
            spliced: false,
            close: None,
            tally: Tally::default(),
            hash: 0xcbf2_9ce4_8422_2325,
            fault: None,
        }
    }

    /// Lets everything happen.
    pub(super) fn play(mut self) -> Played {
        let turn = self.client.start();
        self.carry_out(Leg::Client, turn);
        if chance(&mut self.random, 8) {
            let at = self.random.below(20_000) as u64;
            self.at(at, Happening::Vanish);
        }
        if chance(&mut self.random, 5) {
            let at = self.random.below(40_000) as u64;
            let kicked = chance(&mut self.random, 50);
            self.at(at, Happening::Order { kicked });
        }
        self.effects();
        let end = START + END_AFTER.as_millis() as u64;
        let mut happened = 0;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            happened += 1;
            self.happen(happening);
            self.effects();
            if self.now > end || happened > HAPPENINGS_MAX {
                self.fail("it does not come to an end");
            }
            if self.fault.is_some() {
                break;
            }
        }
        self.compare();
        Played { tally: self.tally, hash: self.hash, fault: self.fault }
    }

    fn happen(&mut self, happening: Happening) {
        let now = Instant::from_millis(self.now);
        match happening {
            Happening::FromPeer(leg, connection, payload) => {
                if leg == Leg::Client || (connection == self.connection && self.backend.is_some()) {
                    self.mark(b"from", &payload);
                    self.proxy.arrive(leg, payload, now);
                }
            }
            Happening::ToPeer(Leg::Client, _, payload) => {
                self.mark(b"client", &payload);
                let turn = self.client.arrive(payload);
                self.carry_out(Leg::Client, turn);
            }
            Happening::ToPeer(Leg::Backend, connection, payload) => {
                if connection == self.connection
                    && let Some(backend) = &mut self.backend
                {
                    let turn = backend.arrive(payload.clone());
                    self.mark(b"backend", &payload);
                    self.carry_out(Leg::Backend, turn);
                }
            }
            Happening::ClientTick => {
                let turn = self.client.tick();
                self.carry_out(Leg::Client, turn);
            }
            Happening::BackendTick(connection) => {
                if connection == self.connection
                    && let Some(backend) = &mut self.backend
                {
                    let turn = backend.tick();
                    self.carry_out(Leg::Backend, turn);
                }
            }
            Happening::Vanish => {
                let turn = self.client.vanish();
                self.carry_out(Leg::Client, turn);
            }
            Happening::Answer(ticket, answer, site) => self.answer(ticket, answer, site),
            Happening::Flushed => self.proxy.flushed(now),
            Happening::Wake => {
                self.woken_at = None;
                if self.proxy.due().is_some_and(|due| due <= now) {
                    self.tally.count("timers that ran out");
                    self.proxy.wake(now);
                }
            }
            Happening::Order { kicked } => self.proxy.order(kicked, now),
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, site: Option<usize>) {
        let now = Instant::from_millis(self.now);
        if !self.proxy.awaits(ticket) {
            self.tally.count("answers that came too late");
        } else if let (Answer::Connected(_), Some(site)) = (&answer, site) {
            self.connection += 1;
            self.clear[index(Leg::Backend)] = [self.now; 2];
            let seed = self.random.below(usize::MAX) as u64;
            let mut backend = Backend::new(seed, site, self.settings.tls(site));
            let turn = backend.start();
            self.backend = Some(backend);
            self.carry_out(Leg::Backend, turn);
        }
        self.proxy.answer(ticket, answer, now);
    }

    /// Does what the proxy wants done.
    fn effects(&mut self) {
        for effect in std::mem::take(&mut self.proxy.effects) {
            match effect {
                Effect::Send(leg, payload) => self.send(leg, 1, payload),
                Effect::Asked(ticket, asked) => self.ask(ticket, asked),
                Effect::TlsFailed(ticket, fault) => {
                    self.tally.count("handshakes that failed");
                    self.at(0, Happening::Answer(ticket, Answer::TlsFailed(fault), None));
                }
                Effect::Shaken(ticket) => self.shake(ticket),
                Effect::Again => {
                    self.tally.count("pauses for a full outbox");
                    let delay = self.random.below(50) as u64;
                    self.at(delay, Happening::Flushed);
                }
                Effect::Dropped => self.backend = None,
                Effect::Spliced => self.splice(),
                Effect::Closed(close) => {
                    self.tally.count(format!("close by={} reason={}", close.by, close.reason));
                    self.close = Some(close);
                }
            }
        }
        let due = self.proxy.due().map(|due| due.as_millis().max(self.now));
        if let Some(due) = due
            && self.woken_at.is_none_or(|woken| woken > due || woken < self.now)
        {
            // Now and then a timer comes late.
            let late = if chance(&mut self.random, 3) { self.random.below(9000) as u64 } else { 0 };
            self.woken_at = Some(due + late);
            self.at(due - self.now + late, Happening::Wake);
        }
        let faults = [self.client.fault.take(), self.backend.as_mut().and_then(|b| b.fault.take())];
        faults.into_iter().flatten().for_each(|fault| self.fail(&fault));
    }

    fn ask(&mut self, ticket: Ticket, asked: Asked) {
        let quick = self.random.below(200) as u64;
        let (delay, answer, site) = match asked {
            Asked::Admit if chance(&mut self.random, 2) => {
                (quick, Answer::Admitted(Err(Refusal::TooManyConnections)), None)
            }
            Asked::Admit => (quick, Answer::Admitted(Ok(())), None),
            Asked::Lookup(identifier) => {
                self.tally.count("lookups");
                let account = identifier.as_deref().and_then(Account::named);
                let Some(account) = account else {
                    return self.fail("a name is looked up that nobody gave");
                };
                let slow = self.random.below(9000) as u64;
                let delay = if chance(&mut self.random, 8) { slow } else { quick };
                // Somebody else's route, with this ticket, long after: nobody may take it.
                if chance(&mut self.random, 40) {
                    let wrong = self.route((account.site() + 1) % SITES);
                    let after = 1 + self.random.below(3000) as u64;
                    self.at(delay + after, Happening::Answer(ticket, wrong, None));
                }
                let answer = match self.random.below(100) {
                    0..5 => Answer::Routed(Routing::Unavailable),
                    5..10 => {
                        self.tally.count("logins put off");
                        let seconds = self.random.below(60) as u64;
                        Answer::Routed(Routing::Later(Duration::from_secs(seconds)))
                    }
                    _ => self.route(account.site()),
                };
                (delay, answer, None)
            }
            Asked::Nowhere => (quick, Answer::ConnectFailed(ConnectFault::Down), None),
            Asked::Connect(destination) => {
                self.tally.count("connects");
                let site = self.settings.site_of(&destination);
                let slow = self.random.below(15_000) as u64;
                let delay = if chance(&mut self.random, 8) { slow } else { quick };
                if chance(&mut self.random, 8) {
                    (delay, Answer::ConnectFailed(ConnectFault::Refused), None)
                } else {
                    // Sometimes what is remembered of it is out of date.
                    let remembered = chance(&mut self.random, 30).then_some(REMEMBERED);
                    (delay, connected(remembered), Some(site))
                }
            }
        };
        self.at(delay, Happening::Answer(ticket, answer, site));
    }

    fn route(&self, site: usize) -> Answer {
        let destination = self.settings.destinations[site].clone();
        Answer::Routed(Routing::Found(Route::to(destination)))
    }

    fn shake(&mut self, ticket: Ticket) {
        let answer = if chance(&mut self.random, 4) {
            self.tally.count("handshakes that failed");
            Answer::TlsFailed(TlsFault::Certificate)
        } else {
            self.tally.count("handshakes");
            Answer::TlsUp(TlsFacts { version: "TLSv1.3", ..TlsFacts::default() })
        };
        let delay = self.random.below(300) as u64;
        self.at(delay, Happening::Answer(ticket, answer, None));
    }

    fn splice(&mut self) {
        self.tally.count("logins");
        self.spliced = true;
        let accepted = self.backend.as_ref().is_some_and(|it| it.accepted.is_some() || it.is_eager);
        if !accepted {
            self.fail("bytes pass to a backend that has accepted nobody");
        }
    }

    fn carry_out(&mut self, leg: Leg, turn: Turn) {
        let mut joined: Vec<Payload> = Vec::new();
        for payload in turn.sends {
            match (joined.last_mut(), payload) {
                // What is said in one breath mostly travels together.
                (
                    Some(Payload::Octets { tls: before, octets: all }),
                    Payload::Octets { tls, octets },
                ) if *before == tls && chance(&mut self.random, 70) => all.extend(octets),
                (_, payload) => joined.push(payload),
            }
        }
        for payload in joined {
            self.send(leg, 0, payload);
        }
        if let Some(delay) = turn.tick {
            let tick = match leg {
                Leg::Client => Happening::ClientTick,
                Leg::Backend => Happening::BackendTick(self.connection),
            };
            self.at(delay, tick);
        }
    }

    /// Puts something on a connection, octets in pieces; `direction` 0 leads to the proxy.
    fn send(&mut self, leg: Leg, direction: usize, payload: Payload) {
        let mut pieces = Vec::new();
        match payload {
            Payload::Octets { tls, octets } => {
                let scale = 1 << self.random.below(12);
                let mut rest = octets.as_slice();
                while !rest.is_empty() {
                    let count = match chance(&mut self.random, 60) {
                        true => rest.len(),
                        false => rest.len().min(1 + self.random.below(scale)),
                    };
                    pieces.push(Payload::Octets { tls, octets: rest[..count].to_vec() });
                    rest = &rest[count..];
                }
            }
            Payload::Hello | Payload::Eof | Payload::Reset => pieces.push(payload),
        }
        for piece in pieces {
            // Pieces often arrive together, and sometimes much later.
            let latency = match self.random.below(100) {
                0..50 => 0,
                50..98 => self.random.below(80),
                _ => self.random.below(4000),
            } as u64;
            let clear = &mut self.clear[index(leg)][direction];
            *clear = (*clear).max(self.now + latency);
            let delay = *clear - self.now;
            let happening = if direction == 0 { Happening::FromPeer } else { Happening::ToPeer };
            self.at(delay, happening(leg, self.connection, piece));
        }
    }

    fn at(&mut self, delay: u64, happening: Happening) {
        self.queued += 1;
        self.queue.insert((self.now + delay, self.queued), happening);
    }

    fn fail(&mut self, fault: &str) {
        self.fault.get_or_insert_with(|| format!("after {} ms: {fault}", self.now - START));
    }

    /// Folds something that happened into the trace (FNV-1a).
    fn mark(&mut self, who: &[u8], payload: &Payload) {
        let octets = match payload {
            Payload::Octets { octets, .. } => octets.as_slice(),
            Payload::Hello => b"hello",
            Payload::Eof => b"eof",
            Payload::Reset => b"reset",
        };
        for octet in self.now.to_be_bytes().iter().chain(who).chain(octets) {
            self.hash = (self.hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// All is quiet: everybody's records are laid side by side.
    fn compare(&mut self) {
        if self.fault.is_some() {
            return;
        }
        let Some(close) = self.close else { return self.fail("the session did not end") };
        let Some(backend) = self.backend.as_ref().filter(|_| self.spliced) else {
            if self.client.logged_in.is_some() {
                self.fail("the client believes to be logged in, and is connected to nobody");
            }
            return;
        };
        if backend.is_eager {
            let site = self.client.logged_in.map(Account::site);
            let strayed = site.is_some_and(|site| site != backend.site);
            return if strayed {
                self.fail("the client is at somebody else's backend")
            };
        }
        if self.client.logged_in.is_some() && self.client.logged_in != backend.accepted {
            let (told, is) = (self.client.logged_in, backend.accepted);
            return self.fail(&format!("the client logged in as {told:?} and is {is:?}"));
        }
        let sent = &self.client.sent[self.client.login_end..];
        let in_order = close.reason == Reason::Eof && close.state == State::Relay;
        let mut problems = Vec::new();
        for (way, sent, arrived) in [
            ("to the backend", sent, &backend.heard),
            ("to the client", &backend.said, &self.client.received),
        ] {
            if !sent.starts_with(arrived) {
                problems.push(format!("octets {way} are not those that were sent"));
            } else if in_order && sent.len() != arrived.len() {
                let lost = sent.len() - arrived.len();
                problems.push(format!("{lost} octets {way} were lost"));
            }
        }
        let carried = backend.heard.len() + self.client.received.len();
        self.tally.count_many("octets carried", carried as u64);
        self.tally.count(if in_order { "relays that ended in order" } else { "relays cut short" });
        problems.iter().for_each(|problem| self.fail(problem));
    }
}

fn connected(remembered: Option<&str>) -> Answer {
    Answer::Connected(BackendFacts {
        address: SocketAddr::from(([203, 0, 113, 10], 143)),
        local: SocketAddr::from(([198, 51, 100, 1], 40000)),
        remembered: remembered.map(|list| list.as_bytes().into()),
    })
}
