//! One script on the core alone: the reference driver.
//!
//! It follows the loop at the head of `core/src/contract.rs` to the letter, with queues for the
//! kernel's part: what `room` does not admit waits there, an end of stream behind it. After the
//! hand-off [`Pump`] moves the bytes by the relay's verdicts.
//!
//! After every fact it holds the session to what the contract says ("broken contract"); a
//! timeline that cannot happen is a fault of the script. What came out is only recorded here.
//! Read next: `pump`, `steps` (which answers fit), `compare`.

use std::sync::Arc;

use gatepost_core::fleet::Fleet;
use gatepost_core::{
    Answer, Close, Event, Inbox, Instant, Leg, Note, Outbox, Peer, Refusal, Relay, Seed, Session,
    Step, Target, Ticket, TlsRole,
};

use super::cuts::Cut;
use super::pump::Pump;
use super::steps::{Kind, Steps};
use super::timeline::{Deed, Emission, Fault, Party, Reply, Script, What, World, index, place};

/// The seed of every scripted session, so that its id can stand in scripts.
const SEED: Seed = Seed(0xa1);
/// Milliseconds since the driver's epoch when the client connects.
const START_MILLIS: u64 = 1_000_000;
/// Facts that may follow from one input without anything being eaten or sent.
const IDLE_FACTS_MAX: u32 = 1000;

/// Octets at the front of an inbox that are watched.
const FRONT_OCTETS: usize = 256;

/// What came out of a run.
#[derive(Debug)]
pub(super) struct Played {
    /// For each block that was played to its end, in order.
    pub(super) blocks: Vec<Vec<Emission>>,
    /// Why it did not go on.
    pub(super) fault: Option<Stopped>,
}

/// A run that could not go on.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) fault: Fault,
    /// What had come out of the block by then.
    pub(super) emissions: Vec<Emission>,
}

/// Plays a script.
pub(super) fn play(script: &Script, cut: Cut) -> Played {
    let mut run = Run::new(script, cut);
    let mut blocks = Vec::with_capacity(script.blocks.len());
    for block in &script.blocks {
        run.leg_dropped = false;
        run.was_over = matches!(run.stage, Stage::Over);
        for input in &block.inputs {
            if let Err(problem) = run.input(&input.what) {
                let emissions = std::mem::take(&mut run.emissions);
                let fault = Fault::new(input.line, problem);
                return Played { blocks, fault: Some(Stopped { fault, emissions }) };
            }
        }
        blocks.push(std::mem::take(&mut run.emissions));
    }
    Played { blocks, fault: None }
}

struct Run<'a> {
    script: &'a Script,
    cut: Cut,
    /// Chunks delivered so far.
    chunks: usize,
    now: Instant,
    stage: Stage,
    inbox: Inbox,
    /// What arrived and was not read for want of room.
    kernel: [Vec<u8>; 2],
    /// Ends of stream: arrived, and told to the session.
    eof: [Eof; 2],
    steps: Steps,
    /// What the answer to an admission is.
    refused: Option<Refusal>,
    fleet: Fleet,
    /// To be told before anything is read.
    due: Option<Event>,
    /// Attempts whose hosts are not judged.
    unjudged: u32,
    backend: Backend,
    /// Whether TLS input came that was never meant as such.
    slipped_in: [bool; 2],
    /// Whether the backend leg was dropped in this block.
    leg_dropped: bool,
    /// Whether all was over before this block.
    was_over: bool,
    emissions: Vec<Emission>,
}

enum Stage {
    Closed,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backend {
    None,
    Connecting,
    Up,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, cut: Cut) -> Self {
        Self {
            script,
            cut,
            chunks: 0,
            now: Instant::from_millis(START_MILLIS),
            stage: Stage::Closed,
            inbox: Inbox::default(),
            kernel: [Vec::new(), Vec::new()],
            eof: [Eof::No; 2],
            steps: Steps::default(),
            refused: None,
            fleet: Fleet::new(script.rules),
            due: None,
            unjudged: 0,
            backend: Backend::None,
            slipped_in: [false; 2],
            leg_dropped: false,
            was_over: false,
            emissions: Vec::new(),
        }
    }

    fn input(&mut self, what: &What) -> Result<(), String> {
        match what {
            What::Bytes(leg, octets) => self.chunk(*leg, octets),
            What::World(World::Client { peer, refused }) => self.connect(*peer, *refused),
            What::World(World::Eof(leg)) => self.end_of_stream(*leg),
            What::World(World::Lost(leg, fault)) => {
                if !self.is_there(*leg)? {
                    return Ok(());
                }
                self.kernel[index(*leg)].clear();
                if let Stage::Relay(pump) = &mut self.stage {
                    let close = pump.lost(*leg, *fault, self.now);
                    return self.finish(close);
                }
                self.facts(Event::Lost(*leg, *fault))
            }
            What::World(World::Pass(span)) => self.pass(self.now + *span),
            What::World(World::Answer(reply)) => self.answer(reply),
            What::World(World::Late(reply)) => {
                let (ticket, answer) = self.steps.late(reply, &self.script.routes)?;
                self.in_dialogue()?;
                self.facts(Event::Answer(ticket, answer))
            }
            What::World(World::Drain) => match &self.stage {
                Stage::Relay(pump) => self.finish(pump.drained(self.now)),
                Stage::Closed | Stage::Session(_) | Stage::Over => self.order(Event::Drain),
            },
            What::World(World::Kicked) => match &self.stage {
                Stage::Relay(pump) => self.finish(pump.kicked(self.now)),
                Stage::Closed | Stage::Session(_) | Stage::Over => self.order(Event::Kicked),
            },
        }
    }

    fn connect(&mut self, peer: Peer, refused: Option<Refusal>) -> Result<(), String> {
        let mut out = Outbox::default();
        self.refused = refused;
        let listener = Arc::clone(&self.script.listener);
        let session = Session::accept(listener, peer, SEED, self.now, &mut out);
        self.stage = Stage::Session(Box::new(session));
        self.obey(out)?;
        if let Some((ticket, answer)) = self.steps.admission(refused) {
            return self.facts(Event::Answer(ticket, answer));
        }
        self.settle()
    }

    fn chunk(&mut self, leg: Leg, octets: &[u8]) -> Result<(), String> {
        let chunk = self.chunks;
        self.chunks += 1;
        let mut rest = octets;
        for piece in self.cut.pieces(chunk, octets.len()) {
            let (now, later) = rest.split_at(piece);
            rest = later;
            if !self.is_there(leg)? {
                return Ok(());
            }
            if self.eof[index(leg)] != Eof::No {
                return Err(format!("the {leg} has sent its last byte already"));
            }
            if let Stage::Relay(pump) = &mut self.stage {
                pump.carry(leg, now.to_vec(), self.now, &mut self.emissions);
            } else if self.steps.is_tls(leg) {
                self.slipped_in[index(leg)] = true;
            } else {
                self.kernel[index(leg)].extend_from_slice(now);
                self.settle()?;
            }
        }
        Ok(())
    }

    fn end_of_stream(&mut self, leg: Leg) -> Result<(), String> {
        if !self.is_there(leg)? {
            return Ok(());
        }
        if self.eof[index(leg)] != Eof::No {
            return Err(format!("the {leg} has ended already"));
        }
        if self.steps.is_tls(leg) {
            return Err(format!("an end within a handshake is `W: tls {leg} failed closed`"));
        }
        self.eof[index(leg)] = Eof::Waiting;
        if let Stage::Relay(pump) = &mut self.stage {
            self.eof[index(leg)] = Eof::Told;
            let verdict = pump.ended(leg, self.now, &mut self.emissions);
            return verdict.map_or(Ok(()), |close| self.finish(close));
        }
        self.settle()
    }

    fn answer(&mut self, reply: &Reply) -> Result<(), String> {
        self.in_dialogue()?;
        if let Reply::TlsUp(party, _) = reply
            && self.slipped_in[index(party.leg())]
        {
            return Err(format!("no handshake succeeds: the {party} sent something else before"));
        }
        if let Reply::TlsUp(party, _) | Reply::TlsFailed(party, _) = reply {
            self.slipped_in[index(party.leg())] = false;
        }
        let (ticket, answer) = self.steps.answer(reply, &self.script.routes)?;
        match reply {
            Reply::Connected { .. } => {
                self.backend = Backend::Up;
                self.leg_dropped = false;
            }
            Reply::ConnectFailed(_) => self.backend = Backend::None,
            Reply::TlsUp(..)
            | Reply::TlsFailed(..)
            | Reply::Found(_)
            | Reply::Referred(_)
            | Reply::Denied(_)
            | Reply::Later(_)
            | Reply::Unavailable => {}
        }
        self.facts(Event::Answer(ticket, answer))
    }

    fn order(&mut self, event: Event) -> Result<(), String> {
        self.in_dialogue()?;
        self.facts(event)
    }

    fn pass(&mut self, end: Instant) -> Result<(), String> {
        let mut timeouts = 0;
        loop {
            let due = match &self.stage {
                Stage::Session(session) => session.poll_timeout().map(|(due, _)| due),
                Stage::Relay(pump) => Some(pump.deadline()),
                Stage::Closed | Stage::Over if self.was_over => {
                    return Err("nobody is there for whom time could pass".into());
                }
                Stage::Closed | Stage::Over => None,
            };
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            timeouts += 1;
            if timeouts > IDLE_FACTS_MAX {
                return Err(format!("broken contract: a timeout at {due:?} is due for ever"));
            }
            if let Stage::Relay(pump) = &mut self.stage {
                let close = pump.expired(self.now);
                close.map_or(Ok(()), |close| self.finish(close))?;
            } else {
                self.facts(Event::Timeout)?;
            }
        }
        self.now = end;
        Ok(())
    }

    /// Whether that leg can send; an error if nobody could have expected it to.
    fn is_there(&self, leg: Leg) -> Result<bool, String> {
        match (&self.stage, leg) {
            (Stage::Closed, _) => Err("nobody is connected".into()),
            (Stage::Over, _) if self.was_over => Err("the session is over".into()),
            (Stage::Over, _) => Ok(false),
            (Stage::Session(_) | Stage::Relay(_), Leg::Client) => Ok(true),
            (Stage::Session(_) | Stage::Relay(_), Leg::Backend) => match self.backend {
                Backend::Up => Ok(true),
                Backend::None | Backend::Connecting if self.leg_dropped => Ok(false),
                Backend::None | Backend::Connecting => Err("no backend is connected".into()),
            },
        }
    }

    fn in_dialogue(&self) -> Result<(), String> {
        match self.stage {
            Stage::Session(_) => Ok(()),
            Stage::Closed | Stage::Over => Err("the session is over".into()),
            Stage::Relay(_) => Err("bytes pass already, nobody waits for answers".into()),
        }
    }

    /// Tells the session one fact, then what can be read in consequence.
    fn facts(&mut self, first: Event) -> Result<(), String> {
        let mut next = Some(first);
        let mut idle = 0;
        while let Some(event) = next.take() {
            let before = self.progress();
            let again = self.fact(event)?;
            idle = if before == self.progress() { idle + 1 } else { 0 };
            if idle > IDLE_FACTS_MAX {
                return Err("broken contract: called again for ever, and nothing is eaten".into());
            }
            let admission = self.steps.admission(self.refused);
            next = match admission {
                Some((ticket, answer)) => Some(Event::Answer(ticket, answer)),
                None if again => Some(Event::Bytes),
                None => self.readable(),
            };
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        self.readable().map_or(Ok(()), |event| self.facts(event))
    }

    fn progress(&self) -> [usize; 3] {
        [self.inbox.client.len(), self.inbox.backend.len(), self.emissions.len()]
    }

    /// Reads from the kernel what there is room for; an end of stream comes behind it.
    fn readable(&mut self) -> Option<Event> {
        let Stage::Session(session) = &self.stage else { return None };
        if let Some(event) = self.due.take() {
            return Some(event);
        }
        for leg in [Leg::Client, Leg::Backend] {
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

    /// Tells the session one fact and does what it wants done; whether it wants to be called again.
    fn fact(&mut self, event: Event) -> Result<bool, String> {
        let Stage::Session(session) = &mut self.stage else { return Ok(false) };
        let before = [Front::of(&self.inbox.client), Front::of(&self.inbox.backend)];
        let mut out = Outbox::default();
        session.handle(event, self.now, &mut self.inbox, &mut out);
        let after = [&self.inbox.client, &self.inbox.backend];
        if before.iter().zip(after).any(|(before, after)| !before.was_eaten_from(after)) {
            return Err("broken contract: an inbox was not eaten from its front".into());
        }
        let again = out.again;
        self.obey(out)?;
        Ok(again && matches!(self.stage, Stage::Session(_)))
    }

    fn obey(&mut self, out: Outbox) -> Result<(), String> {
        for note in out.notes {
            self.take_note(note)?;
        }
        if out.hang_up {
            if !out.backend.is_empty() {
                return Err("broken contract: octets for a backend that is hung up".into());
            }
            self.hang_up();
        }
        for (leg, octets) in [(Leg::Client, out.client), (Leg::Backend, out.backend)] {
            if octets.is_empty() {
                continue;
            }
            if leg == Leg::Backend && self.backend != Backend::Up {
                return Err("broken contract: octets for a backend that is not connected".into());
            }
            if self.steps.is_tls(leg) {
                return Err(format!("broken contract: octets for the {leg} within a handshake"));
            }
            self.emissions.push(Emission::Sent(leg, octets));
        }
        let Some((ticket, step)) = out.step else { return Ok(()) };
        if let Some(kind) = self.begin(ticket, step)? {
            self.steps.begin(ticket, kind)?;
        }
        Ok(())
    }

    /// Every attempt's host is judged once, and before another attempt begins.
    fn take_note(&mut self, note: Note) -> Result<(), String> {
        let Note::HostJudged { destination, host, client, outcome } = note else { return Ok(()) };
        let left = self.unjudged.checked_sub(1);
        self.unjudged = left.ok_or("broken contract: a host is judged where no attempt went")?;
        let place = (&*destination, &*host, self.script.listener.protocol);
        self.fleet.judge(place, outcome, client, self.now);
        Ok(())
    }

    fn hang_up(&mut self) {
        if self.backend != Backend::None {
            self.emissions.push(Emission::Did(Deed::HangUp));
        }
        self.backend = Backend::None;
        self.leg_dropped = true;
        self.steps.forget_backend();
        self.due = None;
        self.inbox.backend.clear();
        self.kernel[index(Leg::Backend)].clear();
        self.eof[index(Leg::Backend)] = Eof::No;
        self.slipped_in[index(Leg::Backend)] = false;
    }

    /// What is to be answered, if anything is.
    fn begin(&mut self, ticket: Ticket, step: Step) -> Result<Option<Kind>, String> {
        match step {
            Step::Admit(_) => Ok(Some(Kind::Admit)),
            Step::StartTls(leg, role) => {
                let party = match role {
                    TlsRole::Server => Party::Client,
                    TlsRole::Balancer => Party::Balancer,
                    TlsRole::Client(..) => Party::Backend,
                };
                if party.leg() != leg {
                    return Err(format!(
                        "broken contract: TLS with the {party} on the {leg}'s leg"
                    ));
                }
                if leg == Leg::Backend && self.backend != Backend::Up {
                    return Err("broken contract: TLS with a backend that is not connected".into());
                }
                let inbox = inbox_of(&mut self.inbox, leg);
                let kernel = &mut self.kernel[index(leg)];
                self.slipped_in[index(leg)] = !inbox.is_empty() || !kernel.is_empty();
                inbox.clear();
                kernel.clear();
                self.emissions.push(Emission::Did(Deed::StartTls(party)));
                Ok(Some(Kind::Tls(party)))
            }
            Step::Lookup(query) => {
                self.emissions.push(Emission::Did(Deed::Lookup(query.identifier.clone())));
                Ok(Some(Kind::Lookup(query.identifier)))
            }
            Step::Connect(target) => self.begin_connect(ticket, &target).map(Some),
            Step::Splice(_) | Step::Close(_) if self.unjudged > 0 => {
                Err("broken contract: an end without a word of the host".into())
            }
            Step::Splice(relay) => self.splice(relay).map(|()| None),
            Step::Close(close) => self.finish(close).map(|()| None),
        }
    }

    /// Picks a host as a driver would, and says so before anything else happens.
    fn begin_connect(&mut self, ticket: Ticket, target: &Target) -> Result<Kind, String> {
        if self.backend == Backend::Up {
            return Err("broken contract: connect, and a backend is connected".into());
        }
        if self.unjudged > 0 {
            return Err("broken contract: an attempt ended without a word of its host".into());
        }
        let endpoint = target.destination.endpoint(target.protocol);
        let endpoint = endpoint.ok_or("broken contract: connect without an endpoint")?;
        let (answer, to, port) = match self.fleet.choose(target, self.now) {
            Ok(host) => {
                self.backend = Backend::Connecting;
                self.unjudged += 1;
                let port = endpoint.port_on(&host);
                let to = place(&host.name, port);
                (Answer::Heading(host), to, port)
            }
            Err(fault) => (Answer::ConnectFailed(fault), "-".to_owned(), endpoint.port),
        };
        self.due = Some(Event::Answer(ticket, answer));
        self.emissions.push(Emission::Did(Deed::Connect(to)));
        Ok(Kind::Connect(port))
    }

    fn splice(&mut self, relay: Relay) -> Result<(), String> {
        if self.backend != Backend::Up {
            return Err("broken contract: splice without a backend".into());
        }
        if relay.client_eof() != (self.eof[index(Leg::Client)] == Eof::Told) {
            return Err("broken contract: the relay forgot the client's end of stream".into());
        }
        self.emissions.push(Emission::Did(Deed::Splice));
        let mut pump = Pump::new(relay);
        let mut close = None;
        // The backend's first: none of it answers what the client sends from here on.
        for leg in [Leg::Backend, Leg::Client] {
            let mut octets = std::mem::take(inbox_of(&mut self.inbox, leg));
            octets.append(&mut self.kernel[index(leg)]);
            pump.carry(leg, octets, self.now, &mut self.emissions);
        }
        for leg in [Leg::Client, Leg::Backend] {
            if self.eof[index(leg)] != Eof::No {
                self.eof[index(leg)] = Eof::Told;
                close = pump.ended(leg, self.now, &mut self.emissions);
            }
        }
        self.stage = Stage::Relay(pump);
        close.map_or(Ok(()), |close| self.finish(close))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last thing that an input leads to")]
    fn finish(&mut self, close: Close) -> Result<(), String> {
        self.emissions.push(Emission::Did(Deed::Close(close.to_string())));
        self.stage = Stage::Over;
        Ok(())
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

    fn was_eaten_from(&self, inbox: &[u8]) -> bool {
        let Some(eaten) = self.length.checked_sub(inbox.len()) else { return false };
        self.octets.get(eaten..).is_none_or(|kept| inbox.starts_with(kept))
    }
}

const fn inbox_of(inbox: &mut Inbox, leg: Leg) -> &mut Vec<u8> {
    match leg {
        Leg::Client => &mut inbox.client,
        Leg::Backend => &mut inbox.backend,
    }
}
