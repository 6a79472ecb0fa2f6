//! From a login to a route: what is asked, and what follows from the answer.
//!
//! The login waits in an [`Inquiry`] while whoever keeps accounts is asked. Found, it goes on to
//! `attempt.rs`; anything else is said to the client here.
//!
//! Invariant: nothing is asked for credentials that hold what no lookup may carry.

use alloc::sync::Arc;

use super::attempt::{Attempt, Errand};
use super::{Phase, Session};
use crate::close::Refusal;
use crate::contract::{Outbox, Query, Routing, Step};
use crate::protocol::Frontend;
use crate::route;
use crate::sasl::Login;
use crate::time::{Instant, Timer};

/// A login whose account is being looked up.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) login: Arc<Login>,
    /// What the account is known by; empty where the credentials name nobody.
    key: Arc<[u8]>,
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
        let Ok(identifier) = route::identifier(&login, &self.listener) else {
            return self.refuse(&login, Refusal::BadCharacters, None, now, out);
        };
        self.clock.arm(Timer::Lookup, now, self.listener.lookup_timeout);
        let key = Arc::from(identifier.as_deref().unwrap_or_default());
        let query = Query {
            identifier,
            login: Arc::clone(&login),
            protocol: self.listener.protocol,
            client: self.peer.client,
            local: self.peer.local,
            tls: self.client_tls.clone(),
            session: self.id,
            attempt: self.logins,
        };
        self.phase = Phase::Lookup(Inquiry { login, key });
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
        let Inquiry { login, key } = inquiry;
        let refusal = match routing {
            Routing::Found(route) => {
                let attempt = Attempt::new(login, route, key);
                return self.connect(Errand::Login(attempt), now, out);
            }
            Routing::Refused(denial) if denial.judged => Refusal::Credentials,
            Routing::Refused(_) | Routing::Referred(_) => Refusal::Configuration,
            Routing::Unavailable => Refusal::Unavailable,
        };
        self.refuse(&login, refusal, None, now, out);
    }
}
