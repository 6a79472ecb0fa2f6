//! One attempt to log in at a backend: connect, TLS, handshake, verdict.
//!
//! Everything the session does while a backend leg exists or is being made. Each attempt begins
//! from nothing, and ends in a verdict or a fault. The leg of a failed or refused attempt is hung
//! up in the same step, so no byte of the client's can ever reach a backend that has not accepted
//! it.
//!
//! Connecting, TLS and trying again are the same for a client that is carried without a login: an
//! [`Errand`] is either. Read next: `again.rs` for what follows a fault, `referral.rs` for what
//! follows a referral, `bridge.rs` for what differs without a login.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::referral::Referrals;
use super::{Phase, Session};
use crate::automaton::BackendAsk;
use crate::close::{AttemptFault, Refusal, State};
use crate::config::{Destination, Endpoint, Forwarding, Host, Standing, TlsMode};
use crate::contract::{BackendFacts, Inbox, Leg, Note, Outbox, Route, Step, Target, TlsRole};
use crate::guard::Guard;
use crate::handshake::Settings;
use crate::health::Outcome;
use crate::protocol::{Backend, Welcome};
use crate::relay::Relay;
use crate::sasl::Login;
use crate::secret::Secret;
use crate::time::{Instant, Timer};
use crate::verdict::one_line;

/// A login on its way through attempts.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What the client gave: that is who it is in every report.
    pub(super) login: Arc<Login>,
    /// Whom that names; it is who logged in once the backend says so.
    claimed: Vec<u8>,
    /// What to log in with, which may be another.
    credentials: Arc<Login>,
    /// What the account's owner is to read.
    alert: Option<String>,
    pub(super) dial: Dial,
    /// The client has answered a challenge of the backend.
    pub(super) challenged: bool,
    /// What is left of the attempt's time while it is the client's turn.
    suspended: core::time::Duration,
}

/// Where to connect, and what came of it so far.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) destination: Arc<Destination>,
    /// The route's own address and key, see [`Target`].
    at: Option<SocketAddr>,
    key: Arc<[u8]>,
    /// Where a backend referred the login, and where it was before.
    pub(super) referrals: Referrals,
    /// Where it goes or has gone, until that host is judged.
    pub(super) host: Option<Arc<Host>>,
    /// Hosts where an attempt failed.
    pub(super) avoid: Vec<Arc<Host>>,
    /// Attempts that failed.
    pub(super) tried: u32,
    facts: Option<BackendFacts>,
    /// What is written to the backend is written in the leg's final TLS state.
    pub(super) is_final: bool,
    /// The backend has been told who the client is, or something that may come from it.
    pub(super) knows_client: bool,
}

/// What a connection to a backend is made for.
#[derive(Debug)]
pub(super) enum Errand {
    /// To log in there.
    Login(Attempt),
    /// To carry the client from its first byte.
    Bridge(Dial),
}

impl Attempt {
    /// A login's way along a route. `key`: what the account is known by.
    pub(super) fn new(login: Arc<Login>, claimed: Vec<u8>, route: Route, key: Arc<[u8]>) -> Self {
        let Route { destination, login: other, at, key: own_key, alert } = route;
        let key = own_key.unwrap_or(key);
        let dial = Dial { at, key, ..Dial::new(destination) };
        let credentials = other.unwrap_or_else(|| Arc::clone(&login));
        let alert = alert.as_deref().and_then(one_line);
        let suspended = core::time::Duration::ZERO;
        Self { login, claimed, credentials, alert, dial, challenged: false, suspended }
    }
}

impl Dial {
    pub(super) fn new(destination: Arc<Destination>) -> Self {
        Self {
            destination,
            at: None,
            key: Arc::default(),
            referrals: Referrals::default(),
            host: None,
            avoid: Vec::new(),
            tried: 0,
            facts: None,
            is_final: false,
            knows_client: false,
        }
    }

    /// Forgets what belonged to one attempt.
    pub(super) fn start_over(&mut self) {
        self.facts = None;
        self.is_final = false;
        self.knows_client = false;
    }

    /// Whether the login may be tried at a host where it has not failed.
    pub(super) fn has_other_host(&self) -> bool {
        let untried = |host: &&Arc<Host>| {
            let failed = self.avoid.iter().chain(&self.host).any(|it| it.label == host.label);
            host.standing != Standing::Down && !failed
        };
        let is_bound = self.at.is_some() || self.referrals.to().is_some();
        !is_bound && self.destination.hosts.iter().any(|host| untried(&host))
    }
}

impl Errand {
    pub(super) const fn dial(&self) -> &Dial {
        match self {
            Self::Login(attempt) => &attempt.dial,
            Self::Bridge(dial) => dial,
        }
    }

    pub(super) const fn dial_mut(&mut self) -> &mut Dial {
        match self {
            Self::Login(attempt) => &mut attempt.dial,
            Self::Bridge(dial) => dial,
        }
    }
}

impl Session {
    pub(super) fn connect(&mut self, errand: Errand, now: Instant, out: &mut Outbox) {
        let protocol = self.listener.protocol;
        let dial = errand.dial();
        let Some(endpoint) = dial.destination.endpoint(protocol) else {
            return self.fail_attempt(errand, AttemptFault::NoEndpoint, State::Connect, now, out);
        };
        if self.ttl_beyond(&dial.destination, dial.referrals.count()).is_none() {
            return self.fail_attempt(errand, AttemptFault::Loop, State::Connect, now, out);
        }
        // The configuration refuses such a destination; a router of somebody's own may not.
        if endpoint.tls == TlsMode::Plain
            && !dial.destination.allow_plaintext_auth
            && protocol.bears_credentials()
        {
            let fault = AttemptFault::PlaintextForbidden;
            return self.fail_attempt(errand, fault, State::Connect, now, out);
        }
        self.clock.arm(Timer::Backend, now, self.listener.backend_timeout);
        let target = Target {
            destination: Arc::clone(&dial.destination),
            protocol,
            at: dial.at,
            key: Arc::clone(&dial.key),
            tried: dial.tried,
            referred: dial.referrals.to().cloned(),
            avoid: dial.avoid.clone(),
        };
        self.phase = Phase::Connect(errand);
        self.step(Step::Connect(target), out);
    }

    /// The driver says where it is about to connect to.
    pub(super) fn heading(&mut self, host: Arc<Host>) {
        debug_assert!(matches!(self.phase, Phase::Connect(_)), "nobody wants to connect");
        if let Phase::Connect(errand) = &mut self.phase {
            errand.dial_mut().host = Some(host);
        }
    }

    pub(super) fn connected(
        &mut self,
        mut errand: Errand,
        facts: BackendFacts,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        let dial = errand.dial_mut();
        dial.facts = Some(facts);
        let destination = Arc::clone(&dial.destination);
        let Some(endpoint) = destination.endpoint(self.listener.protocol) else {
            return self.fail_attempt(errand, AttemptFault::NoEndpoint, State::Connect, now, out);
        };
        if endpoint.forwarding == Forwarding::Proxy {
            self.proxy_header(&destination, errand.dial().referrals.count())
                .write(&mut out.backend);
            errand.dial_mut().knows_client = true;
        }
        if endpoint.tls == TlsMode::Implicit {
            self.start_backend_tls(errand.dial(), out);
            self.phase = Phase::BackendTls(errand);
        } else {
            self.backend_up(errand, endpoint, inbox, now, out);
        }
    }

    fn start_backend_tls(&mut self, dial: &Dial, out: &mut Outbox) {
        let host = dial.host.clone();
        debug_assert!(host.is_some(), "the driver has said where it connects to");
        // Without it there is no name to verify, and the handshake fails.
        let host = host.unwrap_or_else(|| Arc::new(Host::named("")));
        let role = TlsRole::Client(Arc::clone(&dial.destination), host);
        self.step(Step::StartTls(Leg::Backend, role), out);
    }

    pub(super) fn backend_tls_up(
        &mut self,
        errand: Errand,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        let destination = Arc::clone(&errand.dial().destination);
        match destination.endpoint(self.listener.protocol) {
            Some(endpoint) => self.backend_up(errand, endpoint, inbox, now, out),
            None => {
                self.fail_attempt(errand, AttemptFault::NoEndpoint, State::BackendTls, now, out);
            }
        }
    }

    /// The backend can be spoken to.
    fn backend_up(
        &mut self,
        errand: Errand,
        endpoint: &Endpoint,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        match errand {
            Errand::Login(attempt) => self.begin_handshake(attempt, endpoint, inbox, now, out),
            Errand::Bridge(dial) => self.carry(dial, endpoint, now, out),
        }
    }

    fn begin_handshake(
        &mut self,
        mut attempt: Attempt,
        endpoint: &Endpoint,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Some(frontend) = &self.frontend else {
            debug_assert!(false, "only a dialogue leads to a login");
            return;
        };
        let destination = &attempt.dial.destination;
        let pinned = !destination.tls_pinned_cert_sha256.is_empty();
        let settings = Settings {
            tls: endpoint.tls,
            verified: pinned || !destination.tls_allow_invalid_certs,
            identity: (endpoint.forwarding == Forwarding::Xclient)
                .then(|| self.identity(destination, attempt.dial.referrals.count())),
            remembered: attempt.dial.facts.as_mut().and_then(|facts| facts.remembered.take()),
            survey: false,
        };
        let backend = frontend.backend(Arc::clone(&attempt.credentials), settings);
        attempt.dial.is_final = endpoint.tls != TlsMode::StartTls;
        self.phase = Phase::Backend(attempt, backend);
        self.feed_backend(inbox, now, out);
    }

    /// Lets the backend automaton eat what is there.
    pub(super) fn feed_backend(&mut self, inbox: &mut Inbox, now: Instant, out: &mut Outbox) {
        while let Phase::Backend(attempt, backend) = &mut self.phase {
            let advance = backend.advance(&inbox.backend, &mut out.backend);
            inbox.backend.drain(..advance.eaten);
            attempt.dial.knows_client |= attempt.dial.is_final && !out.backend.is_empty();
            match advance.ask {
                BackendAsk::More => return,
                BackendAsk::Nothing => {}
                ask @ (BackendAsk::StartTls
                | BackendAsk::Surveyed(_)
                | BackendAsk::Challenge(_)
                | BackendAsk::Accepted(_)
                | BackendAsk::Refused(_)
                | BackendAsk::Referred(_)
                | BackendAsk::Fault(_)) => return self.follow(ask, inbox, now, out),
            }
        }
    }

    fn follow(
        &mut self,
        ask: BackendAsk<Welcome>,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        let Phase::Backend(mut attempt, backend) = self.take_phase() else { return };
        match ask {
            BackendAsk::More | BackendAsk::Nothing => self.phase = Phase::Backend(attempt, backend),
            BackendAsk::StartTls => {
                self.start_backend_tls(&attempt.dial, out);
                self.phase = Phase::Backend(attempt, backend);
            }
            BackendAsk::Surveyed(_) => {
                debug_assert!(false, "nobody wants a survey");
                self.fail_handshake(attempt, &backend, AttemptFault::Protocol, now, out);
            }
            BackendAsk::Challenge(challenge) => {
                self.challenge(attempt, backend, &challenge, inbox, now, out);
            }
            BackendAsk::Accepted(welcome) => {
                self.note_handshake(&attempt, &backend, out);
                self.judge(&mut attempt.dial, Outcome::Works, out);
                self.hand_off(&attempt, &backend, &welcome, now, out);
            }
            BackendAsk::Referred(referral) => {
                self.note_handshake(&attempt, &backend, out);
                self.send_on(attempt, &referral, backend.state(), now, out);
            }
            BackendAsk::Refused(line) => {
                self.note_handshake(&attempt, &backend, out);
                self.judge(&mut attempt.dial, Outcome::Works, out);
                self.hang_up(out);
                let passed_on = (!attempt.dial.destination.hide_auth_errors).then_some(&line[..]);
                self.refuse(&attempt.login, Refusal::Credentials, passed_on, now, out);
            }
            BackendAsk::Fault(fault) => self.fail_handshake(attempt, &backend, fault, now, out),
        }
    }

    /// Passes a challenge on: it is the client's turn, on the client's time.
    fn challenge(
        &mut self,
        mut attempt: Attempt,
        backend: Backend,
        challenge: &Secret,
        inbox: &mut Inbox,
        now: Instant,
        out: &mut Outbox,
    ) {
        attempt.challenged = true;
        attempt.suspended = self.clock.disarm(now);
        self.clock.login_ends();
        self.clock.client_turn(now);
        if let Some(frontend) = &mut self.frontend {
            frontend.challenge(challenge.expose(), &mut out.client);
        }
        self.phase = Phase::Challenged(attempt, backend);
        self.feed_client(inbox, now, out);
    }

    /// The client's answer goes to the backend, whose time runs again.
    pub(super) fn respond(&mut self, response: &Secret, now: Instant, out: &mut Outbox) {
        debug_assert!(matches!(self.phase, Phase::Challenged(..)), "an answer without a challenge");
        if let Phase::Challenged(attempt, mut backend) = self.take_phase() {
            backend.respond(response, &mut out.backend);
            self.clock.proxy_turn(now);
            self.clock.arm(Timer::Backend, now, attempt.suspended);
            self.phase = Phase::Backend(attempt, backend);
        }
    }

    /// The client gave its exchange up. It leaves the backend, not the proxy.
    pub(super) fn cancelled(&mut self, now: Instant, out: &mut Outbox) {
        debug_assert!(matches!(self.phase, Phase::Challenged(..)), "there is no exchange");
        self.forsake(out);
        self.hang_up(out);
        self.clock.disarm(now);
        self.phase = Phase::Dialogue;
        self.end_if_draining(now, out);
    }

    fn hand_off(
        &mut self,
        attempt: &Attempt,
        backend: &Backend,
        welcome: &Welcome,
        now: Instant,
        out: &mut Outbox,
    ) {
        if let Some(frontend) = &self.frontend {
            frontend.accept(welcome, attempt.alert.as_deref(), &mut out.client);
        }
        out.notes.push(Note::LoginAccepted {
            user: attempt.claimed.clone(),
            mechanism: attempt.login.mechanism,
            destination: Arc::clone(&attempt.dial.destination),
        });
        let guard = backend.guard(attempt.dial.destination.guard);
        self.splice(guard, now, out);
    }

    /// From here on bytes pass.
    pub(super) fn splice(&mut self, guard: Option<Guard>, now: Instant, out: &mut Outbox) {
        let relay = Relay::new(self.started, now, self.listener.bridge_idle, self.client_eof);
        let relay = match guard {
            Some(guard) => relay.guarded_by(guard),
            None => relay,
        };
        self.step(Step::Splice(relay), out);
        self.phase = Phase::Over;
    }

    /// What the handshake taught, for whoever keeps such things.
    fn note_handshake(&self, attempt: &Attempt, backend: &Backend, out: &mut Outbox) {
        let destination = &attempt.dial.destination;
        if backend.left_out_identity() {
            out.notes.push(Note::ForwardingNotOffered(Arc::clone(destination)));
        }
        if let (Some(list), Some(host)) = (backend.learned(), &attempt.dial.host) {
            let (destination, host) = (Arc::clone(destination), Arc::clone(host));
            out.notes.push(Note::Learned { destination, host, capabilities: Arc::from(list) });
        }
    }
}
