//! One look at a host of a destination: does it answer as a backend does, and what can it do?
//!
//! A [`Probe`] is driven as a [`crate::Session`] is, by the same events, steps and rules of
//! [`crate::contract`], with a backend leg only: connect, TLS, greeting, capabilities, by the same
//! automata, and with an account a login. It ends with [`Step::Close`]; then [`Probe::result`] says
//! what came of it, which is for [`crate::fleet::Fleet::probed`] and [`crate::survey`].
//!
//! Invariants: it goes to the host it was made for, and learns nothing that was said before the
//! leg's final TLS state; a wrong password in its own configuration takes no host out of service.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use zeroize::Zeroize;

use crate::automaton::BackendAsk;
use crate::close::{AttemptFault, By, Close, LegFault, Reason, State};
use crate::config::{Destination, Endpoint, Forwarding, Host, Protocol, TlsMode};
use crate::contract::{Answer, Event, Inbox, Leg, Outbox, Step, Target, Ticket, TlsRole};
use crate::handshake::Settings;
use crate::health::{Outcome, outcome};
use crate::line::BACKEND_LINE_MAX;
use crate::protocol::Backend;
use crate::proxy_protocol;
use crate::sasl::Login;
use crate::secret::Secret;
use crate::time::{Instant, Timer};

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The destination.
    pub destination: Arc<Destination>,
    /// The host of it.
    pub host: Arc<Host>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whom to log in; none: it ends before the login.
    pub login: Option<Arc<Login>>,
}

/// What came of a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What the host can do, as the protocol lists it before a login; none if that is not known.
    pub capabilities: Option<Vec<String>>,
    /// Why it did not come to a good end, and where that was.
    pub fault: Option<(Trouble, State)>,
}

/// Why a look did not come to a good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The attempt failed.
    Fault(AttemptFault),
    /// The account was refused; the host did its work.
    Refused,
}

impl Finding {
    /// Whether the host works; none: this says nothing of it.
    pub fn works(&self) -> Option<bool> {
        match self.fault {
            None | Some((Trouble::Refused, _)) => Some(true),
            Some((Trouble::Fault(fault), _)) => match outcome(fault, false) {
                Outcome::Works => Some(true),
                Outcome::Broken | Outcome::BrokenForClient => Some(false),
                Outcome::Unjudged => None,
            },
        }
    }
}

/// One look at a host.
#[derive(Debug)]
pub struct Probe {
    subject: Subject,
    hostname: String,
    started: Instant,
    deadline: Instant,
    phase: Phase,
    last_ticket: u32,
    outstanding: Option<Ticket>,
    held: usize,
    capabilities: Option<Vec<String>>,
    result: Option<Finding>,
}

#[derive(Debug)]
enum Phase {
    Connect,
    /// Implicit TLS.
    Tls,
    Backend(Box<Backend>),
    Over,
}

impl Probe {
    /// Begins; all of it may take so long. `hostname`: what the proxy calls itself.
    pub fn begin(
        subject: Subject,
        hostname: &str,
        timeout: Duration,
        now: Instant,
        out: &mut Outbox,
    ) -> Self {
        let mut probe = Self {
            subject,
            hostname: hostname.into(),
            started: now,
            deadline: now + timeout,
            phase: Phase::Connect,
            last_ticket: 0,
            outstanding: None,
            held: 0,
            capabilities: None,
            result: None,
        };
        let Subject { destination, host, protocol, .. } = &probe.subject;
        let plain = destination.endpoint(*protocol).is_some_and(|it| it.tls == TlsMode::Plain);
        if destination.endpoint(*protocol).is_none() {
            probe.end(Some(Trouble::Fault(AttemptFault::NoEndpoint)), now, out);
        } else if plain && probe.subject.login.is_some() && !destination.allow_plaintext_auth {
            probe.end(Some(Trouble::Fault(AttemptFault::PlaintextForbidden)), now, out);
        } else {
            let target = Target {
                destination: Arc::clone(destination),
                protocol: *protocol,
                at: None,
                key: Arc::default(),
                tried: 0,
                referred: Some(Arc::clone(host)),
                avoid: Vec::new(),
            };
            probe.step(Step::Connect(target), out);
        }
        probe
    }

    /// Takes one fact.
    pub fn handle(&mut self, event: Event, now: Instant, inbox: &mut Inbox, out: &mut Outbox) {
        match event {
            Event::Bytes | Event::Eof(Leg::Client) | Event::Lost(Leg::Client, _) => {}
            Event::Eof(Leg::Backend) => {
                self.feed(inbox, now, out);
                self.fail(AttemptFault::Eof, now, out);
            }
            Event::Lost(Leg::Backend, fault) => self.lost(fault, now, out),
            Event::Answer(ticket, answer) if self.outstanding == Some(ticket) => {
                self.answer(answer, now, out);
            }
            Event::Answer(..) => {}
            Event::Timeout => {
                if self.deadline <= now {
                    self.fail(AttemptFault::TimedOut, now, out);
                }
            }
            Event::Drain | Event::Kicked => self.give_up(now, out),
        }
        self.feed(inbox, now, out);
        self.held = inbox.backend.len();
    }

    /// When [`Event::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self.phase {
            Phase::Over => None,
            Phase::Connect | Phase::Tls | Phase::Backend(_) => {
                Some((self.deadline, Timer::Backend))
            }
        }
    }

    /// Octets worth reading now from the backend.
    pub fn room(&self) -> usize {
        BACKEND_LINE_MAX.saturating_sub(self.held)
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Connect => State::Connect,
            Phase::Tls => State::BackendTls,
            Phase::Backend(backend) => backend.state(),
            Phase::Over => State::Relay,
        }
    }

    /// What is looked at.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What came of it, once it is over; none: it was given up.
    pub const fn result(&self) -> Option<&Finding> {
        self.result.as_ref()
    }

    fn answer(&mut self, answer: Answer, now: Instant, out: &mut Outbox) {
        if matches!(answer, Answer::Heading(_)) {
            return;
        }
        self.outstanding = None;
        let destination = Arc::clone(&self.subject.destination);
        let Some(endpoint) = destination.endpoint(self.subject.protocol) else {
            return self.fail(AttemptFault::NoEndpoint, now, out);
        };
        match answer {
            Answer::Connected(_) => self.connected(endpoint, now, out),
            Answer::TlsUp(_) => match &mut self.phase {
                Phase::Tls => self.converse(endpoint, now, out),
                Phase::Backend(backend) => backend.tls_up(&mut out.backend),
                Phase::Connect | Phase::Over => debug_assert!(false, "TLS was not asked for"),
            },
            Answer::ConnectFailed(fault) => self.fail(AttemptFault::Connect(fault), now, out),
            Answer::TlsFailed(fault) => self.fail(AttemptFault::Tls(fault), now, out),
            Answer::Heading(_) | Answer::Admitted(_) | Answer::Routed(_) => {
                debug_assert!(false, "{answer:?} answers no step of a probe");
            }
        }
    }

    fn connected(&mut self, endpoint: &Endpoint, now: Instant, out: &mut Outbox) {
        if endpoint.forwarding == Forwarding::Proxy {
            proxy_protocol::write_local(&mut out.backend);
        }
        match endpoint.tls {
            TlsMode::Implicit => {
                self.phase = Phase::Tls;
                self.start_tls(out);
            }
            TlsMode::StartTls | TlsMode::Plain => self.converse(endpoint, now, out),
        }
    }

    fn start_tls(&mut self, out: &mut Outbox) {
        let Subject { destination, host, .. } = &self.subject;
        let role = TlsRole::Client(Arc::clone(destination), Arc::clone(host));
        self.step(Step::StartTls(Leg::Backend, role), out);
    }

    /// The backend can be spoken to; of protocols that are carried, that is all there is to see.
    fn converse(&mut self, endpoint: &Endpoint, now: Instant, out: &mut Outbox) {
        let Subject { destination, protocol, login, .. } = &self.subject;
        let pinned = !destination.tls_pinned_cert_sha256.is_empty();
        let settings = Settings {
            tls: endpoint.tls,
            verified: pinned || !destination.tls_allow_invalid_certs,
            identity: None,
            remembered: None,
            survey: true,
        };
        // Without an account nobody is logged in: it ends before.
        let nobody = || Arc::new(Login::with_password(Vec::new(), Secret::new(Vec::new())));
        let login = login.clone().unwrap_or_else(nobody);
        match Backend::of_probe(*protocol, login, settings, &self.hostname) {
            Some(backend) => self.phase = Phase::Backend(Box::new(backend)),
            None => self.end(None, now, out),
        }
    }

    fn feed(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        while self.outstanding.is_none()
            && let Phase::Backend(backend) = &mut self.phase
        {
            let advance = backend.advance(&inbox.backend, &mut out.backend);
            inbox.backend.drain(..advance.eaten);
            match advance.ask {
                BackendAsk::More => return,
                BackendAsk::Nothing => {}
                BackendAsk::StartTls => self.start_tls(out),
                BackendAsk::Surveyed(list) => {
                    self.capabilities = Some(list);
                    match self.subject.login {
                        Some(_) => {
                            if let Err(fault) = backend.log_in(&mut out.backend) {
                                self.fail(fault, now, out);
                            }
                        }
                        None => self.end(None, now, out),
                    }
                }
                BackendAsk::Accepted(_) => self.end(None, now, out),
                BackendAsk::Refused(_) => self.end(Some(Trouble::Refused), now, out),
                BackendAsk::Referred(_) => self.fail(AttemptFault::Referral, now, out),
                // Its account has a password, and answers no questions.
                BackendAsk::Challenge(_) => self.fail(AttemptFault::Protocol, now, out),
                BackendAsk::Fault(fault) => self.fail(fault, now, out),
            }
        }
    }

    fn lost(&mut self, fault: LegFault, now: Instant, out: &mut Outbox) {
        self.fail(AttemptFault::Lost(fault), now, out);
    }

    fn fail(&mut self, fault: AttemptFault, now: Instant, out: &mut Outbox) {
        self.end(Some(Trouble::Fault(fault)), now, out);
    }

    fn end(&mut self, trouble: Option<Trouble>, now: Instant, out: &mut Outbox) {
        let state = self.state();
        let phase = mem::replace(&mut self.phase, Phase::Over);
        if matches!(phase, Phase::Over) {
            return;
        }
        let reason = match trouble {
            Some(Trouble::Fault(fault)) => {
                // It may be a password.
                out.backend.zeroize();
                Reason::Backend(fault)
            }
            Some(Trouble::Refused) | None => {
                if let Phase::Backend(backend) = &phase {
                    out.backend.extend_from_slice(backend.farewell());
                }
                Reason::Logout
            }
        };
        let fault = trouble.map(|trouble| (trouble, state));
        self.result = Some(Finding { capabilities: self.capabilities.take(), fault });
        let after = now.since(self.started);
        self.step(Step::Close(Close { by: By::Proxy, reason, state, after }), out);
    }

    /// Ends it, and says nothing of the host.
    fn give_up(&mut self, now: Instant, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Over) {
            let (by, reason, state) = (By::Operator, Reason::Drain, self.state());
            self.phase = Phase::Over;
            out.backend.zeroize();
            let after = now.since(self.started);
            self.step(Step::Close(Close { by, reason, state, after }), out);
        }
    }

    fn step(&mut self, step: Step, out: &mut Outbox) {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        self.outstanding = Some(ticket);
        out.step = Some((ticket, step));
    }
}

#[cfg(test)]
mod tests;
