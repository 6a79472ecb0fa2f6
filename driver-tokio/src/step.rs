//! What a session asks of the driver, and the answer once it is there.
//!
//! Invariant: one step is outstanding at most; beginning another drops what the last one still
//! waits for, and so does hanging up for what concerns the backend.
//! Read next: `dialogue.rs`, which tells the session.

use std::mem::take;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use gatepost_core::config::Host;
use gatepost_core::{
    Answer, BackendFacts, ClientFacts, ConnectFault, Inbox, Leg as Side, Query, Refusal, Routing,
    Step, Target, Ticket, TlsFacts, TlsFault, TlsRole,
};

use crate::connect::Connected;
use crate::dialogue::Legs;
use crate::leg::{BoxedStream, Leg, TlsStart};
use crate::route::{Boxed, Request};
use crate::session::{Accepted, Record};
use crate::tls;

/// The outstanding step.
pub(crate) struct Pending {
    waits: Waits,
    /// TLS that is up before the session begins: the answer to the first question for it.
    early_tls: Option<TlsFacts>,
}

#[derive(Default)]
enum Waits {
    #[default]
    Nothing,
    /// Answered already; nothing once that is told.
    Ready(Ticket, Option<Answer>),
    Routing(Ticket, Boxed<Routing>),
    /// A host is picked, and the session to be told.
    Heading(Ticket, Target, Arc<Host>),
    Connecting(Ticket, Target, Arc<Host>, Boxed<Result<Connected<BoxedStream>, ConnectFault>>),
    Handshaking(Ticket, Side, TlsRole),
}

impl Pending {
    pub(crate) fn at_first(accepted: Accepted) -> Self {
        Self { waits: Waits::Nothing, early_tls: accepted.into_tls() }
    }

    /// Begins a step, in place of any other.
    pub(crate) fn begin(
        &mut self,
        ticket: Ticket,
        step: Step,
        legs: &mut Legs,
        inbox: &mut Inbox,
        record: &mut Record,
    ) {
        self.waits = match step {
            Step::Admit(facts) => answered(ticket, Answer::Admitted(admit(&facts, record))),
            Step::StartTls(Side::Client, TlsRole::Server) if self.early_tls.is_some() => {
                let facts = self.early_tls.take().unwrap_or_default();
                record.facts.client_tls = Some(facts.clone());
                answered(ticket, Answer::TlsUp(facts))
            }
            Step::StartTls(side, role) => match start_tls(side, &role, legs, inbox, record) {
                Ok(()) => Waits::Handshaking(ticket, side, role),
                Err(fault) => answered(ticket, Answer::TlsFailed(fault)),
            },
            Step::Lookup(query) => Waits::Routing(ticket, route(query, record)),
            Step::Connect(target) => {
                record.facts.destination = Some(Arc::clone(&target.destination));
                record.facts.host = None;
                match record.inner.choose(&target) {
                    Ok(host) => {
                        record.facts.host = Some(Arc::clone(&host));
                        Waits::Heading(ticket, target, host)
                    }
                    Err(fault) => answered(ticket, Answer::ConnectFailed(fault)),
                }
            }
            Step::Splice(_) | Step::Close(_) => {
                debug_assert!(false, "what ends a session is not begun");
                Waits::Nothing
            }
        };
    }

    /// The backend leg is gone, and so is what was under way with it.
    pub(crate) fn hang_up(&mut self) {
        match &self.waits {
            Waits::Heading(..)
            | Waits::Connecting(..)
            | Waits::Handshaking(_, Side::Backend, _) => {
                self.waits = Waits::Nothing;
            }
            Waits::Nothing
            | Waits::Ready(..)
            | Waits::Routing(..)
            | Waits::Handshaking(_, Side::Client, _) => {}
        }
    }

    /// The answer, if it is there by now.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        legs: &mut Legs,
        record: &mut Record,
    ) -> Poll<(Ticket, Answer)> {
        let (ticket, answer) = match &mut self.waits {
            Waits::Nothing => return Poll::Pending,
            Waits::Ready(ticket, answer) => match answer.take() {
                Some(answer) => (*ticket, answer),
                None => return Poll::Pending,
            },
            Waits::Routing(ticket, future) => {
                let routing = ready!(future.as_mut().poll(context));
                (*ticket, Answer::Routed(routing))
            }
            Waits::Heading(ticket, target, host) => {
                let (ticket, target, host) = (*ticket, target.clone(), Arc::clone(host));
                let connector = Arc::clone(&record.inner.connector);
                let future = connector.connect(target.clone(), Arc::clone(&host));
                self.waits = Waits::Connecting(ticket, target, Arc::clone(&host), future);
                return Poll::Ready((ticket, Answer::Heading(host)));
            }
            Waits::Connecting(ticket, target, host, future) => {
                let connected = ready!(future.as_mut().poll(context));
                (*ticket, take_connection(connected, (target, host), legs, record))
            }
            Waits::Handshaking(ticket, side, role) => {
                let Some(leg) = legs.of(*side) else { return Poll::Pending };
                let outcome = ready!(leg.poll_handshake(context));
                (*ticket, shaken(outcome, role, record))
            }
        };
        self.waits = Waits::Nothing;
        Poll::Ready((ticket, answer))
    }
}

const fn answered(ticket: Ticket, answer: Answer) -> Waits {
    Waits::Ready(ticket, Some(answer))
}

fn admit(facts: &ClientFacts, record: &mut Record) -> Result<(), Refusal> {
    record.facts.client = facts.client;
    record.admission = record.inner.limits.admit(facts.client.ip());
    record.admission.as_ref().map(|_| ()).ok_or(Refusal::TooManyConnections)
}

fn start_tls(
    side: Side,
    role: &TlsRole,
    legs: &mut Legs,
    inbox: &mut Inbox,
    record: &Record,
) -> Result<(), TlsFault> {
    let leftover = match side {
        Side::Client => take(&mut inbox.client),
        Side::Backend => take(&mut inbox.backend),
    };
    let inner = &record.inner;
    let start = match role {
        TlsRole::Server => TlsStart::Server(inner.tls.clone().ok_or(TlsFault::Setup)?),
        TlsRole::Balancer => TlsStart::Server(inner.balancer_tls.clone().ok_or(TlsFault::Setup)?),
        TlsRole::Client(destination, host) => {
            let protocol = record.facts.listener.protocol;
            tls::toward(destination, host, protocol, inner.backend_tls.as_ref())?
        }
    };
    legs.of(side).ok_or(TlsFault::Closed)?.start_tls(start, leftover);
    Ok(())
}

fn route(query: Query, record: &Record) -> Boxed<Routing> {
    let facts = &record.facts;
    let request = Request {
        query,
        peer: facts.peer,
        tls: facts.client_tls.clone(),
        listener: Arc::clone(&facts.listener),
    };
    Arc::clone(&record.inner.router).route(request)
}

fn take_connection(
    connected: Result<Connected<BoxedStream>, ConnectFault>,
    (target, host): (&Target, &Host),
    legs: &mut Legs,
    record: &mut Record,
) -> Answer {
    match connected {
        Err(fault) => Answer::ConnectFailed(fault),
        Ok(Connected { address, local, .. }) if record.inner.own.holds(local, address) => {
            Answer::ConnectFailed(ConnectFault::OwnListener)
        }
        Ok(Connected { stream, address, local, remembered }) => {
            legs.backend = Some(Leg::new(stream));
            record.facts.backend = Some(address);
            let inner = &record.inner;
            let known = || inner.remembered(&target.destination.name, &host.label, target.protocol);
            let remembered = remembered.or_else(known);
            Answer::Connected(BackendFacts { address, local, remembered })
        }
    }
}

fn shaken(outcome: Result<TlsFacts, TlsFault>, role: &TlsRole, record: &mut Record) -> Answer {
    match outcome {
        Err(fault) => Answer::TlsFailed(fault),
        Ok(facts) => {
            match role {
                TlsRole::Server => record.facts.client_tls = Some(facts.clone()),
                TlsRole::Client(..) => record.facts.backend_tls = Some(facts.clone()),
                TlsRole::Balancer => {}
            }
            Answer::TlsUp(facts)
        }
    }
}
