//! One session from its stream to its end: dialogue, relay, goodbye.
//!
//! Invariants: everything a session owns is in its future, and nothing of it runs elsewhere; the
//! dialogue's memory is gone when the relay begins; the observer is told of the end once.
//! Read next: `dialogue.rs`, `relay.rs`, `farewell.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use gatepost_core::{By, Close, Instant, Note, Peer, Reason, Seed, State, TlsFacts};

use crate::dialogue::{self, Outcome};
use crate::farewell;
use crate::gatepost::Inner;
use crate::leg::{BoxedStream, Leg};
use crate::limits::Admission;
use crate::observe::{Ended, Id, SessionFacts};
use crate::orders::{Ears, never};
use crate::relay;

/// A stream that was accepted: who is at its ends, and what is known already.
#[derive(Debug, Clone)]
pub struct Accepted {
    peer: Peer,
    tls: Option<TlsFacts>,
    seed: Option<Seed>,
}

impl Accepted {
    /// A stream between these two addresses. Where it has none, as a Unix socket, choose what
    /// limits, logs and backends shall see in their place.
    pub const fn new(peer: Peer) -> Self {
        Self { peer, tls: None, seed: None }
    }

    /// The stream's TLS is off already, and this is what it agreed on: it counts as encrypted from
    /// its first byte, whatever the listener says of TLS. [`crate::facts_of`] has the facts of a
    /// rustls connection.
    #[must_use]
    pub fn tls(mut self, facts: TlsFacts) -> Self {
        self.tls = Some(facts);
        self
    }

    pub(crate) fn into_tls(self) -> Option<TlsFacts> {
        self.tls
    }

    /// The session's name, in place of a random one. It should be unlike any other.
    #[must_use]
    pub const fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl From<Peer> for Accepted {
    fn from(peer: Peer) -> Self {
        Self::new(peer)
    }
}

/// The future of one session, from [`crate::Gatepost::serve`].
///
/// It is `Send` and owns everything it needs. Dropping it ends the session at once.
#[must_use = "a session does nothing unless it is polled"]
pub struct Serving {
    id: Id,
    future: Pin<Box<dyn Future<Output = Ended> + Send>>,
}

impl Serving {
    pub(crate) fn new(inner: Arc<Inner>, stream: BoxedStream, accepted: Accepted) -> Self {
        let seed = accepted.seed.unwrap_or_else(|| inner.next_seed());
        Self { id: Id(seed.0), future: Box::pin(run(inner, stream, accepted, seed)) }
    }

    /// The session's name.
    pub const fn id(&self) -> Id {
        self.id
    }
}

impl Future for Serving {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        self.future.as_mut().poll(context)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("id", &self.id).finish_non_exhaustive()
    }
}

async fn run(inner: Arc<Inner>, stream: BoxedStream, accepted: Accepted, seed: Seed) -> Ended {
    let mut record = Record::new(inner, &accepted, seed);
    let client = Leg::new(stream);
    // In a box of its own, which is gone when bytes begin to pass.
    let dialogue = Box::pin(dialogue::run(&mut record, client, accepted, seed));
    let (legs, close) = match dialogue.await {
        Outcome::Closed(legs, close) => (legs, close),
        Outcome::Spliced(begun) => relay::run(&mut record, begun).await,
    };
    record.end(close);
    Box::pin(farewell::run(legs)).await;
    Ended { close, session: record.facts.clone() }
}

/// What is kept of a session for as long as it lives.
pub(crate) struct Record {
    pub(crate) inner: Arc<Inner>,
    pub(crate) ears: Ears,
    pub(crate) facts: SessionFacts,
    pub(crate) admission: Option<Admission>,
    /// Where it stands.
    pub(crate) state: State,
    epoch: tokio::time::Instant,
    ended: bool,
}

impl Record {
    fn new(inner: Arc<Inner>, accepted: &Accepted, seed: Seed) -> Self {
        let listener = if accepted.tls.is_some() { &inner.decrypted } else { &inner.listener };
        let facts = SessionFacts {
            id: Id(seed.0),
            listener: Arc::clone(listener),
            peer: accepted.peer,
            client: accepted.peer.client,
            via_session: None,
            user: Vec::new(),
            mechanism: None,
            client_tls: None,
            backend_tls: None,
            destination: None,
            host: None,
            backend: None,
            logged_in_after: None,
            from_client: 0,
            from_backend: 0,
        };
        let ears = inner.orders.listen(seed.0);
        let epoch = tokio::time::Instant::now();
        let state = State::Admit;
        Self { inner, ears, facts, admission: None, state, epoch, ended: false }
    }

    /// The core's time: it begins with the session.
    pub(crate) fn now(&self) -> Instant {
        let millis = self.epoch.elapsed().as_millis();
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// When that is by tokio's clock.
    pub(crate) fn when(&self, due: Instant) -> tokio::time::Instant {
        let span = due.since(Instant::from_millis(0));
        self.epoch.checked_add(span).map_or_else(never, |at| at.min(never()))
    }

    /// Takes what the session noted, and tells it.
    pub(crate) fn note(&mut self, note: Note) {
        let observer = Arc::clone(&self.inner.observer);
        match note {
            Note::AttemptFailed { destination, host, fault, state } => {
                self.facts.host = host;
                observer.attempt_failed(&self.facts, &destination, fault, state);
            }
            Note::LoginRefused { user, mechanism, refusal } => {
                self.facts.user = user;
                self.facts.mechanism = Some(mechanism);
                observer.login_refused(&self.facts, refusal);
            }
            Note::LoginAccepted { user, mechanism, destination } => {
                self.facts.user = user;
                self.facts.mechanism = Some(mechanism);
                self.facts.destination = Some(destination);
                self.facts.logged_in_after = Some(self.epoch.elapsed());
                observer.login_accepted(&self.facts);
            }
            Note::Origin(origin) => {
                self.facts.client = origin.client;
                self.facts.via_session = origin.session;
            }
            Note::ForwardingNotOffered(destination) => {
                observer.forwarding_not_offered(&self.facts, &destination);
            }
            Note::Learned { destination, host, capabilities } => {
                let protocol = self.facts.listener.protocol;
                self.inner.remember(&destination.name, &host.label, protocol, capabilities);
            }
            Note::HostJudged { destination, host, client, outcome } => {
                let protocol = self.facts.listener.protocol;
                let place = (&*destination, &*host, protocol);
                if let Some(change) = self.inner.judge(place, outcome, client) {
                    observer.host_changed(&destination, &host, change);
                }
            }
            Note::Referred { destination, from, to, followed } => {
                self.facts.host = Some(from);
                observer.referred(&self.facts, &destination, &to, followed);
            }
        }
    }

    /// An end that the core does not know of.
    pub(crate) fn ended_by_operator(&self, reason: Reason) -> Close {
        let after = self.now().since(Instant::from_millis(0));
        Close { by: By::Operator, reason, state: self.state, after }
    }

    fn end(&mut self, close: Close) {
        if !self.ended {
            self.ended = true;
            self.inner.observer.ended(&Ended { close, session: self.facts.clone() });
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let close = self.ended_by_operator(Reason::Kicked);
        self.end(close);
    }
}
