//! One probe carried out: the loop of `gatepost_core::contract` with a backend leg only.
//!
//! It runs on a thread that may wait, with a poll of its own: names are resolved where it stands.
//! Not here: what is looked at and when, see `mod.rs`.
//! Invariant: a look ends within its time and a glance, whatever the host does.

use std::collections::HashSet;
use std::io;
use std::mem::take;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use gatepost_core::probe::{Finding, Probe, Subject};
use gatepost_core::race::Race;
use gatepost_core::{
    Answer, BackendFacts, ConnectFault, Event as Fact, Inbox, Instant, Leg as Side, Outbox, Step,
    Target, Ticket, TlsFault, TlsRole,
};
use mio::{Events, Interest, Poll, Token};
use zeroize::Zeroize;

use crate::leg::{Handshake, Leg, Read, Scratch};
use crate::server::Shared;
use crate::tls::server_name;
use crate::worker::connection::leg_fault;
use crate::worker::dial::{connect, connect_fault};
use crate::worker::step::{class_of, facts_of};

/// How long it waits at most until it looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(200);
/// Readiness events taken from the kernel at once.
const EVENTS_MAX: usize = 64;
/// Octets that are read at once.
const READ_OCTETS: usize = 16 * 1024;

/// What looks, one host after the other.
pub(super) struct Looker {
    poll: Poll,
    events: Events,
    scratch: Scratch,
    tokens: usize,
}

/// A look under way.
struct Look {
    probe: Probe,
    inbox: Inbox,
    leg: Option<(Token, Leg)>,
    pending: Pending,
    /// Its end of stream was read, or it broke.
    ended: bool,
}

enum Pending {
    Nothing,
    Connecting(Ticket, Box<Dialling>),
    Handshaking(Ticket, bool),
}

struct Dialling {
    target: Target,
    race: Race,
    legs: Vec<(Token, Leg)>,
    fault: ConnectFault,
}

impl Looker {
    pub(super) fn new() -> io::Result<Self> {
        let events = Events::with_capacity(EVENTS_MAX);
        Ok(Self { poll: Poll::new()?, events, scratch: Scratch::new(), tokens: 0 })
    }

    /// Looks at a host; none if it was told to stop.
    pub(super) fn look(
        &mut self,
        subject: Subject,
        shared: &Shared,
        stopped: impl Fn() -> bool,
    ) -> Option<Finding> {
        let (hostname, timeout) = shared.site.probe_terms();
        let mut out = Outbox::default();
        let probe = Probe::begin(subject, hostname, timeout, shared.now(), &mut out);
        let pending = Pending::Nothing;
        let mut look = Look { probe, inbox: Inbox::default(), leg: None, pending, ended: false };
        loop {
            let mut lost = None;
            if let Some((_, leg)) = &mut look.leg
                && let Err(fault) = leg.write(&out.backend, &mut self.scratch)
            {
                lost = Some(Fact::Lost(Side::Backend, leg_fault(&fault)));
            }
            out.backend.zeroize();
            match out.step.take() {
                Some((_, Step::Close(_))) => {
                    if let Some((_, leg)) = &mut look.leg {
                        // It need not hear the goodbye.
                        let _ = leg.shutdown_write(&mut self.scratch);
                    }
                    return look.probe.result().cloned();
                }
                Some((ticket, step)) => {
                    if let Some(event) = self.begin(&mut look, ticket, step, shared) {
                        lost = Some(event);
                    }
                }
                None => {}
            }
            let event = lost.unwrap_or_else(|| self.next(&mut look, shared, &stopped));
            look.probe.handle(event, shared.now(), &mut look.inbox, &mut out);
        }
    }

    /// Begins a step; its answer, where that is known at once.
    fn begin(&self, look: &mut Look, ticket: Ticket, step: Step, shared: &Shared) -> Option<Fact> {
        match step {
            Step::Connect(target) => match addresses(&target, shared) {
                Ok((addresses, port)) => {
                    let race = Race::new(&addresses, port, target.tried);
                    let fault = ConnectFault::NoAddress;
                    let dialling = Dialling { target, race, legs: Vec::new(), fault };
                    look.pending = Pending::Connecting(ticket, Box::new(dialling));
                    None
                }
                Err(fault) => Some(Fact::Answer(ticket, Answer::ConnectFailed(fault))),
            },
            Step::StartTls(_, role) => match start_tls(look, &role, shared) {
                Ok(()) => {
                    look.pending = Pending::Handshaking(ticket, false);
                    None
                }
                Err(fault) => Some(Fact::Answer(ticket, Answer::TlsFailed(fault))),
            },
            Step::Admit(_) | Step::Lookup(_) | Step::Splice(_) | Step::Close(_) => {
                debug_assert!(false, "a probe asks for no such thing");
                None
            }
        }
    }

    /// The next fact.
    fn next(&mut self, look: &mut Look, shared: &Shared, stopped: impl Fn() -> bool) -> Fact {
        loop {
            if stopped() {
                return Fact::Drain;
            }
            let now = shared.now();
            if let Some(fact) = self.fact(look, shared, now) {
                return fact;
            }
            let due = look.probe.poll_timeout().map(|(due, _)| due);
            if due.is_some_and(|due| due <= now) {
                return Fact::Timeout;
            }
            let dial = match &look.pending {
                Pending::Connecting(_, dialling) => dialling.race.due(dialling.legs.len()),
                Pending::Nothing | Pending::Handshaking(..) => None,
            };
            let wait = [due, dial].into_iter().flatten().min().map_or(GLANCE, |at| at.since(now));
            // A millisecond more, since a poll may wake a moment early.
            let wait = (wait + Duration::from_millis(1)).min(GLANCE);
            if let Err(error) = self.poll.poll(&mut self.events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("waiting for a probe: {error}");
                return Fact::Drain;
            }
            for event in &self.events {
                let racing = match &mut look.pending {
                    Pending::Connecting(_, dialling) => dialling.legs.as_mut_slice(),
                    Pending::Nothing | Pending::Handshaking(..) => &mut [],
                };
                let mut legs = look.leg.iter_mut().chain(racing);
                if let Some((_, leg)) = legs.find(|(token, _)| *token == event.token()) {
                    leg.on_event(event);
                }
            }
        }
    }

    /// What can be told now.
    fn fact(&mut self, look: &mut Look, shared: &Shared, now: Instant) -> Option<Fact> {
        if let Some((_, leg)) = &mut look.leg
            && let Err(lost) = leg.flush()
            && !look.ended
        {
            look.ended = true;
            return Some(Fact::Lost(Side::Backend, leg_fault(&lost)));
        }
        match std::mem::replace(&mut look.pending, Pending::Nothing) {
            Pending::Connecting(ticket, mut dialling) => {
                let answer = self.dial(look, &mut dialling, shared, now);
                if answer.is_none() {
                    look.pending = Pending::Connecting(ticket, dialling);
                }
                answer.map(|answer| Fact::Answer(ticket, answer))
            }
            Pending::Handshaking(ticket, begun) => {
                let answer = self.shake(look, begun);
                if answer.is_none() {
                    look.pending = Pending::Handshaking(ticket, true);
                }
                answer.map(|answer| Fact::Answer(ticket, answer))
            }
            Pending::Nothing => self.read(look),
        }
    }

    fn dial(
        &mut self,
        look: &mut Look,
        dialling: &mut Dialling,
        shared: &Shared,
        now: Instant,
    ) -> Option<Answer> {
        let mut place = 0;
        while let Some((_, leg)) = dialling.legs.get_mut(place) {
            let Some(connected) = leg.finish_connect() else {
                place += 1;
                continue;
            };
            let (token, mut leg) = dialling.legs.remove(place);
            let ends = connected
                .and_then(|()| Ok((leg.socket().peer_addr()?, leg.socket().local_addr()?)));
            match ends {
                Ok((address, local)) => {
                    look.leg = Some((token, leg));
                    let facts = BackendFacts { address, local, remembered: None };
                    return Some(Answer::Connected(facts));
                }
                Err(error) => dialling.fault = connect_fault(&error),
            }
        }
        while let Some(address) = dialling.race.next(dialling.legs.len(), now) {
            let destination = &dialling.target.destination;
            let source = match shared.source(destination, address.ip()) {
                Ok(source) => source,
                Err(fault) => {
                    dialling.fault = fault;
                    continue;
                }
            };
            let begun =
                connect(address, source).and_then(|socket| self.register(Leg::connecting(socket)));
            match begun {
                Ok(leg) => dialling.legs.push(leg),
                Err(error) => dialling.fault = connect_fault(&error),
            }
        }
        dialling.legs.is_empty().then(|| Answer::ConnectFailed(dialling.fault))
    }

    fn register(&mut self, mut leg: Leg) -> io::Result<(Token, Leg)> {
        self.tokens = self.tokens.wrapping_add(1);
        let token = Token(self.tokens);
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(leg.socket(), token, interests)?;
        Ok((token, leg))
    }

    fn shake(&mut self, look: &mut Look, begun: bool) -> Option<Answer> {
        let mut begun = begun;
        let (_, leg) = look.leg.as_mut()?;
        while !begun || leg.readable() {
            begun = true;
            match leg.handshake(&mut self.scratch) {
                Handshake::InProgress => {}
                Handshake::Up(up) => return Some(Answer::TlsUp(facts_of(&up))),
                Handshake::Failed(fault) => return Some(Answer::TlsFailed(class_of(&fault).0)),
            }
        }
        None
    }

    fn read(&mut self, look: &mut Look) -> Option<Fact> {
        let room = look.probe.room().min(READ_OCTETS);
        let (_, leg) = look.leg.as_mut().filter(|_| !look.ended && room > 0)?;
        while leg.readable() {
            match leg.read(&mut self.scratch, room) {
                Read::Some { plain: 0, .. } => {}
                Read::Some { .. } => {
                    look.inbox.backend.extend_from_slice(self.scratch.received());
                    return Some(Fact::Bytes);
                }
                Read::WouldBlock => return None,
                Read::Eof { .. } => {
                    look.ended = true;
                    return Some(Fact::Eof(Side::Backend));
                }
                Read::Lost(lost) => {
                    look.ended = true;
                    return Some(Fact::Lost(Side::Backend, leg_fault(&lost)));
                }
            }
        }
        None
    }
}

fn start_tls(look: &mut Look, role: &TlsRole, shared: &Shared) -> Result<(), TlsFault> {
    let TlsRole::Client(destination, host) = role else { return Err(TlsFault::Setup) };
    let protocol = look.probe.subject().protocol;
    let config = shared.site.backend_tls(&destination.name, protocol).ok_or(TlsFault::Setup)?;
    let name = server_name(destination.tls_name(host)).map_err(|_| TlsFault::Setup)?;
    let (_, leg) = look.leg.as_mut().ok_or(TlsFault::Closed)?;
    let leftover = take(&mut look.inbox.backend);
    leg.start_tls_client(config, name, leftover).map_err(|fault| class_of(&fault).0)
}

/// The addresses of the host, and its port.
fn addresses(target: &Target, shared: &Shared) -> Result<(Vec<IpAddr>, u16), ConnectFault> {
    let endpoint = target.destination.endpoint(target.protocol).ok_or(ConnectFault::NoAddress)?;
    let host = target.referred.as_ref().ok_or(ConnectFault::NoAddress)?;
    let port = endpoint.port_on(host);
    if let Some(resolve) = &shared.rig.resolve {
        return resolve(&host.name, port).map(|at| (vec![at.ip()], at.port()));
    }
    let found =
        (host.name.as_str(), port).to_socket_addrs().map_err(|_| ConnectFault::NoAddress)?;
    let mut known = HashSet::new();
    Ok((found.map(|at| at.ip()).filter(|ip| known.insert(*ip)).collect(), port))
}
