//! From a login to a route: what is asked, and what follows from the answer.
//!
//! The login waits in an [`Inquiry`] while whoever keeps accounts is asked. Found, it goes on to
//! `attempt.rs`; put off, it waits and is asked for again; anything else is said to the client
//! here.
//!
//! Invariants: nothing is asked for credentials that hold what no lookup may carry. What a route
//! logs in with in the client's place is a name and a password: an exchange cannot go on under
//! another name, a client that began none could not answer a challenge, and one that wants proof
//! of the backend gets it from its own exchange alone.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::attempt::{Attempt, Errand};
use super::{Phase, Session};
use crate::close::{By, Reason, Refusal};
use crate::contract::{Note, Outbox, Query, Route, Routing, Step};
use crate::protocol::Frontend;
use crate::route;
use crate::sasl::{Login, Proof};
use crate::time::{Instant, Timer};
use crate::verdict::{DEFERRAL_MIN, DEFERRALS_MAX, Denial, HOLD_MAX, Referral};

/// A login whose account is being looked up.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) login: Arc<Login>,
    /// Whom the credentials name, be it by a token alone; empty: nobody.
    claimed: Vec<u8>,
    /// What the account is known by; nothing where the credentials name nobody.
    identifier: Option<Vec<u8>>,
    deferred: Option<Deferred>,
}

/// How a login was put off until now.
#[derive(Debug)]
struct Deferred {
    since: Instant,
    times: u32,
}

impl Session {
    /// Asks where the account of a login lives.
    pub(super) fn look_up(&mut self, login: Login, now: Instant, out: &mut Outbox) {
        let login = Arc::new(login);
        self.logins = self.logins.saturating_add(1);
        self.clock.proxy_turn(now);
        let shows_life = self.frontend.as_ref().is_some_and(Frontend::shows_life);
        let interval = self.listener.working_interval.filter(|_| shows_life);
        self.clock.login_begins(now, interval);
        let Ok(named) = route::identify(&login, &self.listener) else {
            return self.refuse(&login, Refusal::BadCharacters, None, now, out);
        };
        let (claimed, identifier) = match named {
            Some(named) => (named.claimed, Some(named.identifier)),
            None => (Vec::new(), None),
        };
        self.ask(Inquiry { login, claimed, identifier, deferred: None }, now, out);
    }

    /// Each answer has a time of its own.
    fn ask(&mut self, inquiry: Inquiry, now: Instant, out: &mut Outbox) {
        self.clock.arm(Timer::Lookup, now, self.listener.lookup_timeout);
        let query = Query {
            identifier: inquiry.identifier.clone(),
            login: Arc::clone(&inquiry.login),
            protocol: self.listener.protocol,
            client: self.origin.client,
            local: self.origin.local,
            header: self.origin.header,
            tls: self.client_tls.clone(),
            session: self.id,
            attempt: self.logins,
        };
        self.phase = Phase::Lookup(inquiry);
        self.step(Step::Lookup(query), out);
    }

    /// Follows the answer.
    pub(super) fn routed(
        &mut self,
        inquiry: Inquiry,
        routing: Routing,
        now: Instant,
        out: &mut Outbox,
    ) {
        let login = Arc::clone(&inquiry.login);
        match routing {
            Routing::Found(Route { login: Some(other), .. })
                if !matches!(other.proof, Proof::Password(_)) || login.mechanism.proves_both() =>
            {
                self.refuse(&login, Refusal::Configuration, None, now, out);
            }
            Routing::Found(route) => {
                let key = Arc::from(inquiry.identifier.unwrap_or_default());
                let attempt = Attempt::new(login, inquiry.claimed, route, key);
                self.connect(Errand::Login(attempt), now, out);
            }
            Routing::Referred(referral) => self.refer(&login, &referral, now, out),
            Routing::Refused(denial) => match denial.hold {
                Some(span) if span > HOLD_MAX => {
                    self.refuse(&login, Refusal::Unavailable, None, now, out);
                }
                Some(span) => {
                    self.clock.arm(Timer::Hold, now, span);
                    self.phase = Phase::Held(login, denial);
                }
                None => self.deny(&login, denial, now, out),
            },
            Routing::Later(span) => self.defer(inquiry, span, now, out),
            Routing::Unavailable => self.refuse(&login, Refusal::Unavailable, None, now, out),
        }
    }

    /// Waits until the same may be asked again, if that is still of use to the client.
    fn defer(&mut self, mut inquiry: Inquiry, span: Duration, now: Instant, out: &mut Outbox) {
        let span = span.max(DEFERRAL_MIN);
        let deferred = inquiry.deferred.get_or_insert(Deferred { since: now, times: 0 });
        deferred.times += 1;
        let in_all = now.since(deferred.since).saturating_add(span);
        if deferred.times > DEFERRALS_MAX || in_all > HOLD_MAX {
            return self.refuse(&inquiry.login, Refusal::Unavailable, None, now, out);
        }
        self.clock.arm(Timer::Hold, now, span);
        self.phase = Phase::Deferred(inquiry);
    }

    /// The time has come for what was held back.
    pub(super) fn release(&mut self, now: Instant, out: &mut Outbox) {
        let waits = matches!(self.phase, Phase::Held(..) | Phase::Deferred(_));
        debug_assert!(waits, "nothing is held back");
        match self.take_phase() {
            Phase::Held(login, denial) => self.deny(&login, denial, now, out),
            Phase::Deferred(inquiry) => self.ask(inquiry, now, out),
            phase @ (Phase::ProxyTls
            | Phase::ProxyHeader
            | Phase::Admit(_)
            | Phase::ClientTls(_)
            | Phase::Greeted
            | Phase::Dialogue
            | Phase::Lookup(_)
            | Phase::Connect(_)
            | Phase::Pause(_)
            | Phase::BackendTls(_)
            | Phase::Backend(..)
            | Phase::Challenged(..)
            | Phase::Explained(_)
            | Phase::Over) => self.phase = phase,
        }
    }

    /// The login failed; the client may try again.
    pub(super) fn refuse(
        &mut self,
        login: &Login,
        refusal: Refusal,
        passed_on: Option<&[u8]>,
        now: Instant,
        out: &mut Outbox,
    ) {
        self.login_failed(login, refusal, now, out);
        let frontend = self.frontend.as_mut();
        let ending = frontend.and_then(|it| it.refuse(refusal, passed_on, &mut out.client));
        self.go_on_or_end(ending, now, out);
    }

    /// The login is denied, whether or not the client lives to hear it.
    fn deny(&mut self, login: &Login, denial: Denial, now: Instant, out: &mut Outbox) {
        self.login_failed(login, denial.refusal(), now, out);
        let Some(frontend) = &mut self.frontend else {
            debug_assert!(false, "only a dialogue leads to a login");
            return;
        };
        if let Some(challenge) = denial.challenge_for(login.mechanism) {
            frontend.challenge(challenge, &mut out.client);
            self.phase = Phase::Explained(denial);
        } else {
            self.pronounce(&denial, now, out);
        }
    }

    /// The client has read why; whatever its answer says, it changes nothing.
    pub(super) fn acknowledged(&mut self, now: Instant, out: &mut Outbox) {
        debug_assert!(matches!(self.phase, Phase::Explained(_)), "nothing was explained");
        if let Phase::Explained(denial) = self.take_phase() {
            self.phase = Phase::Dialogue;
            self.pronounce(&denial, now, out);
        }
    }

    /// The client does not want to hear more. The denial stands all the same.
    pub(super) fn unacknowledged(&mut self, now: Instant, out: &mut Outbox) {
        debug_assert!(matches!(self.phase, Phase::Explained(_)), "nothing was explained");
        if let Phase::Explained(denial) = self.take_phase() {
            self.phase = Phase::Dialogue;
            if denial.last {
                let refusal = Refusal::TooManyAttempts;
                return self.send_away(refusal, By::Proxy, Reason::Denied, now, out);
            }
            self.end_if_draining(now, out);
        }
    }

    fn pronounce(&mut self, denial: &Denial, now: Instant, out: &mut Outbox) {
        let frontend = self.frontend.as_mut();
        let ending = frontend.and_then(|it| it.deny(denial, &mut out.client));
        self.go_on_or_end(ending, now, out);
    }

    /// Sends the client elsewhere. Without TLS anybody on the way could send it anywhere.
    fn refer(&mut self, login: &Login, referral: &Referral, now: Instant, out: &mut Outbox) {
        if self.client_tls.is_none() && self.origin.tls.is_none() {
            return self.refuse(login, Refusal::TlsNeeded, None, now, out);
        }
        if !referral.is_sound() {
            return self.refuse(login, Refusal::Configuration, None, now, out);
        }
        self.login_failed(login, Refusal::Referred, now, out);
        let named = login.user() != Some(&referral.user);
        let frontend = self.frontend.as_mut();
        let ending = frontend.and_then(|it| it.refer(referral, named, &mut out.client));
        self.go_on_or_end(ending, now, out);
    }

    /// A denial counts although its client does not stay to hear it.
    pub(super) fn note_untold(&self, out: &mut Outbox) {
        if let Phase::Held(login, denial) = &self.phase {
            out.notes.push(refused(login, denial.refusal()));
        }
    }

    /// It is the client's turn again.
    fn login_failed(&mut self, login: &Login, refusal: Refusal, now: Instant, out: &mut Outbox) {
        out.notes.push(refused(login, refusal));
        self.clock.disarm(now);
        self.clock.login_ends();
        self.clock.client_turn(now);
        self.phase = Phase::Dialogue;
    }

    fn go_on_or_end(&mut self, ending: Option<Reason>, now: Instant, out: &mut Outbox) {
        match ending {
            Some(reason) => self.end(By::Proxy, reason, now, out),
            None => self.end_if_draining(now, out),
        }
    }
}

fn refused(login: &Login, refusal: Refusal) -> Note {
    let user = login.user().unwrap_or_default().to_vec();
    Note::LoginRefused { user, mechanism: login.mechanism, refusal }
}
