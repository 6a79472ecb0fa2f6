//! The scripts over sockets, on the simplest driver there is: a thread for each session that
//! follows the loop at the head of `core/src/contract.rs`.
//!
//! It tells apart who is wrong when a script fails on a real driver: if it passes here, script and
//! runner are right. It keeps the contract and nothing else: no limits, no shared state.

#![allow(missing_docs, clippy::unwrap_used)]

mod leg;

use std::collections::VecDeque;
use std::io;
use std::mem::take;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gatepost_conformance::script::{self, Order, Place, Plan, Served};
use gatepost_core::config::Host;
use gatepost_core::fleet::Fleet;
use gatepost_core::guard::Passage;
use gatepost_core::relay::Verdict;
use gatepost_core::{
    Answer, BackendFacts, ConnectFault, Event, Inbox, Instant, Leg as Side, LegFault, Note, Outbox,
    Refusal, Relay, Session, Step, Target, Ticket, TlsRole,
};

use crate::leg::{Came, Leg, Shake};

/// Between two looks at sockets that have nothing to say.
const GLANCE: Duration = Duration::from_micros(200);

#[test]
fn scripts_over_sockets_on_threads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let outcome = script::run_over_sockets(&folder, Place::Threads, &start).unwrap();
    for failure in &outcome.failures {
        println!("{failure}");
    }
    println!("{} scripts, {} runs", outcome.scripts, outcome.runs);
    println!("in the core only: {:?}", outcome.core_only);
    println!("{} skipped, {} failed", outcome.skipped.len(), outcome.failures.len());
    assert!(outcome.failures.is_empty(), "{} scripts failed", outcome.failures.len());
    assert!(outcome.runs > 0 || std::env::var_os("SCRIPT").is_some(), "no script was run");
}

struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    orders: Arc<Orders>,
    acceptor: Option<JoinHandle<()>>,
}

/// What was ordered; sessions look.
#[derive(Default)]
struct Orders {
    drain: AtomicBool,
    kick: AtomicBool,
}

fn start(plan: Plan) -> io::Result<Box<dyn Served>> {
    let listener = TcpListener::bind(plan.listener.bind[0])?;
    let address = listener.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let orders = Arc::new(Orders::default());
    let given = Arc::clone(&orders);
    let acceptor = thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            let mut served =
                Serving::new(plan.clone(), socket, Arc::clone(&stopped), Arc::clone(&given));
            thread::spawn(move || served.run());
        }
    });
    Ok(Box::new(Server { address, stop, orders, acceptor: Some(acceptor) }))
}

impl Served for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Drain => self.orders.drain.store(true, Ordering::Relaxed),
            Order::Kick => self.orders.kick.store(true, Ordering::Relaxed),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

struct Serving {
    plan: Plan,
    stop: Arc<AtomicBool>,
    orders: Arc<Orders>,
    draining: bool,
    begun: std::time::Instant,
    legs: [Option<Leg>; 2],
    eof: [bool; 2],
    shaking: Option<(Ticket, Side)>,
    answers: VecDeque<(Ticket, Answer)>,
    fleet: Fleet,
    inbox: Inbox,
    again: bool,
}

enum Next {
    Fact(Event),
    Nothing,
}

impl Serving {
    fn new(plan: Plan, socket: TcpStream, stop: Arc<AtomicBool>, orders: Arc<Orders>) -> Self {
        let client = Leg::new(socket, plan.read_cap).unwrap();
        let fleet = Fleet::new(plan.host_down);
        Self {
            plan,
            stop,
            orders,
            draining: false,
            begun: std::time::Instant::now(),
            legs: [Some(client), None],
            eof: [false; 2],
            shaking: None,
            answers: VecDeque::new(),
            fleet,
            inbox: Inbox::default(),
            again: false,
        }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.begun.elapsed().as_millis() as u64)
    }

    fn run(&mut self) {
        let mut out = Outbox::default();
        let listener = Arc::new(self.plan.listener.clone());
        let (peer, seed, now) = (self.plan.peer, self.plan.seed, self.now());
        let mut session = Session::accept(listener, peer, seed, now, &mut out);
        loop {
            if let Some(relay) = self.obey(&mut out) {
                match relay {
                    Some(relay) => self.pump(relay),
                    None => take(&mut self.legs).into_iter().flatten().for_each(Leg::close),
                }
                return;
            }
            match self.next(&session) {
                Next::Fact(event) => session.handle(event, self.now(), &mut self.inbox, &mut out),
                Next::Nothing if self.stop.load(Ordering::Relaxed) => return,
                Next::Nothing => thread::sleep(GLANCE),
            }
        }
    }

    /// Does what the session wants done; at its end a relay, or nothing more.
    fn obey(&mut self, out: &mut Outbox) -> Option<Option<Relay>> {
        for note in out.notes.drain(..) {
            if let Note::HostJudged { destination, host, client, outcome } = note {
                let (place, now) =
                    ((&*destination, &*host, self.plan.listener.protocol), self.now());
                self.fleet.judge(place, outcome, client, now);
            }
        }
        self.again |= take(&mut out.again);
        if take(&mut out.hang_up) {
            self.legs[1] = None;
            self.inbox.backend.clear();
            self.eof[1] = false;
        }
        let octets = [take(&mut out.client), take(&mut out.backend)];
        for (leg, octets) in self.legs.iter_mut().zip(&octets) {
            if let Some(leg) = leg {
                leg.send(octets);
            }
        }
        let (ticket, step) = out.step.take()?;
        self.shaking = None;
        self.answers.clear();
        match step {
            Step::Admit(_) => {
                let refused = self.plan.listener.max_connections == 0;
                let verdict = if refused { Err(Refusal::TooManyConnections) } else { Ok(()) };
                self.answers.push_back((ticket, Answer::Admitted(verdict)));
            }
            Step::StartTls(side, role) => self.start_tls(ticket, side, &role),
            Step::Lookup(query) => {
                let route = (self.plan.route)(query.identifier.as_deref());
                self.answers.push_back((ticket, Answer::Routed(route)));
            }
            Step::Connect(target) => {
                let answer = match self.fleet.choose(&target, self.now()) {
                    Ok(host) => {
                        self.answers.push_back((ticket, Answer::Heading(Arc::clone(&host))));
                        self.connect(&target, &host)
                    }
                    Err(fault) => Answer::ConnectFailed(fault),
                };
                self.answers.push_back((ticket, answer));
            }
            Step::Splice(relay) => return Some(Some(relay)),
            Step::Close(_) => return Some(None),
        }
        None
    }

    fn start_tls(&mut self, ticket: Ticket, side: Side, role: &TlsRole) {
        let inbox = match side {
            Side::Client => &mut self.inbox.client,
            Side::Backend => &mut self.inbox.backend,
        };
        let leg = self.legs[index(side)].as_mut().unwrap();
        leg.start_tls(role, &self.plan, take(inbox));
        self.shaking = Some((ticket, side));
    }

    fn connect(&mut self, target: &Target, host: &Host) -> Answer {
        let port = target.destination.endpoint(target.protocol).unwrap().port_on(host);
        let address = match (self.plan.resolve)(&host.name, port) {
            Ok(address) => address,
            Err(fault) => return Answer::ConnectFailed(fault),
        };
        let Ok(socket) = TcpStream::connect(address) else {
            return Answer::ConnectFailed(ConnectFault::Refused);
        };
        let local = socket.local_addr().unwrap();
        self.legs[1] = Some(Leg::new(socket, self.plan.read_cap).unwrap());
        Answer::Connected(BackendFacts { address, local, remembered: self.plan.remembered.clone() })
    }

    fn next(&mut self, session: &Session) -> Next {
        if let Some((ticket, answer)) = self.answers.pop_front() {
            return Next::Fact(Event::Answer(ticket, answer));
        }
        if self.orders.kick.swap(false, Ordering::Relaxed) {
            return Next::Fact(Event::Kicked);
        }
        if !self.draining && self.orders.drain.load(Ordering::Relaxed) {
            self.draining = true;
            return Next::Fact(Event::Drain);
        }
        let flushed = self.legs.iter_mut().flatten().all(Leg::flush);
        if flushed && take(&mut self.again) {
            return Next::Fact(Event::Bytes);
        }
        for side in [Side::Client, Side::Backend] {
            if let Some((ticket, shaking)) = self.shaking
                && shaking == side
            {
                match self.legs[index(side)].as_mut().unwrap().shake() {
                    Shake::Going => {}
                    Shake::Up(facts) => {
                        return Next::Fact(Event::Answer(ticket, self.up(facts)));
                    }
                    Shake::Failed(fault) => {
                        self.shaking = None;
                        return Next::Fact(Event::Answer(ticket, Answer::TlsFailed(fault)));
                    }
                }
            } else if let Some(event) = self.look(side, session.room(side)) {
                return Next::Fact(event);
            }
        }
        match session.poll_timeout() {
            Some((due, _)) if due <= self.now() => Next::Fact(Event::Timeout),
            Some(_) | None => Next::Nothing,
        }
    }

    fn up(&mut self, facts: gatepost_core::TlsFacts) -> Answer {
        self.shaking = None;
        Answer::TlsUp(facts)
    }

    fn look(&mut self, side: Side, room: usize) -> Option<Event> {
        if self.eof[index(side)] {
            return None;
        }
        match self.legs[index(side)].as_mut()?.read(room) {
            Came::Nothing => None,
            Came::Octets(octets) => {
                match side {
                    Side::Client => self.inbox.client.extend(octets),
                    Side::Backend => self.inbox.backend.extend(octets),
                }
                Some(Event::Bytes)
            }
            Came::Eof => {
                self.eof[index(side)] = true;
                Some(Event::Eof(side))
            }
            Came::Broken => {
                self.eof[index(side)] = true;
                Some(Event::Lost(side, LegFault::Reset))
            }
        }
    }

    fn pump(&mut self, mut relay: Relay) {
        let mut waiting = take(&mut self.inbox.client);
        let first = take(&mut self.inbox.backend);
        self.carry(&mut relay, Side::Backend, first);
        waiting = self.carry(&mut relay, Side::Client, waiting);
        if relay.client_eof() && waiting.is_empty() && self.ended(&mut relay, Side::Client) {
            return;
        }
        while !self.stop.load(Ordering::Relaxed) {
            let mut idle = true;
            for side in [Side::Client, Side::Backend] {
                let other = self.legs[index(side.other())].as_mut().unwrap();
                if !other.flush() {
                    continue;
                }
                if side == Side::Client && !waiting.is_empty() {
                    waiting = self.carry(&mut relay, side, waiting);
                    if self.eof[0] && waiting.is_empty() && self.ended(&mut relay, side) {
                        return;
                    }
                    continue;
                }
                if self.eof[index(side)] || relay.passage(side) == Passage::Shut {
                    continue;
                }
                match self.legs[index(side)].as_mut().unwrap().read(usize::MAX) {
                    Came::Nothing => continue,
                    Came::Octets(octets) => {
                        let left = self.carry(&mut relay, side, octets);
                        if side == Side::Client {
                            waiting = left;
                        }
                    }
                    Came::Eof => {
                        self.eof[index(side)] = true;
                        if self.ended(&mut relay, side) {
                            return;
                        }
                    }
                    Came::Broken => {
                        take(&mut self.legs).into_iter().flatten().for_each(Leg::close);
                        return;
                    }
                }
                idle = false;
            }
            if self.orders.kick.load(Ordering::Relaxed) {
                take(&mut self.legs).into_iter().flatten().for_each(Leg::close);
                return;
            }
            if idle {
                thread::sleep(GLANCE);
            }
        }
    }

    /// Sends what passes; what is left waits for the other side.
    fn carry(&mut self, relay: &mut Relay, side: Side, mut octets: Vec<u8>) -> Vec<u8> {
        let other = self.legs[index(side.other())].as_mut().unwrap();
        let now = Instant::from_millis(self.begun.elapsed().as_millis() as u64);
        loop {
            let screened = relay.screen(side, &octets, now);
            if screened.is_over() {
                return octets;
            }
            other.send(screened.pass);
            let eaten = screened.eaten;
            octets.drain(..eaten);
        }
    }

    fn ended(&mut self, relay: &mut Relay, side: Side) -> bool {
        let last = relay.last_words(side);
        self.legs[index(side.other())].as_mut().unwrap().send(last);
        match relay.ended(side, self.now()) {
            Verdict::HalfClose(leg) => {
                self.legs[index(leg)].as_mut().unwrap().end();
                false
            }
            Verdict::Close(_) => {
                take(&mut self.legs).into_iter().flatten().for_each(Leg::close);
                true
            }
        }
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Backend => 1,
    }
}
