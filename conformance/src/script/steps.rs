//! The steps of a run: which one is outstanding, and which answers fit.
//!
//! Tickets are kept after their step is answered or cancelled, so that a script can answer late.
//! Invariant: a ticket names one step for ever.

use std::net::SocketAddr;

use gatepost_core::{Answer, BackendFacts, Leg, Refusal, Ticket, TlsFacts, TlsFault};

use super::timeline::{Reply, Routes};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Admit,
    Tls(Leg),
    /// Of an identifier.
    Lookup(Option<Vec<u8>>),
    /// To that port.
    Connect(u16),
}

/// The outstanding step and those before it.
#[derive(Debug, Default)]
pub(super) struct Steps {
    outstanding: Option<(Ticket, Kind)>,
    past: Vec<(Ticket, Kind)>,
}

impl Steps {
    /// A new step, which cancels the outstanding one.
    pub(super) fn begin(&mut self, ticket: Ticket, kind: Kind) -> Result<(), String> {
        self.past.extend(self.outstanding.take());
        if self.past.iter().any(|(past, _)| *past == ticket) {
            return Err("broken contract: two steps have one ticket".into());
        }
        self.outstanding = Some((ticket, kind));
        Ok(())
    }

    /// The backend leg is dropped, and with it what was to be done there.
    pub(super) fn forget_backend(&mut self) {
        if let Some((_, Kind::Connect(_) | Kind::Tls(Leg::Backend))) = self.outstanding {
            self.past.extend(self.outstanding.take());
        }
    }

    /// Whether a handshake with that leg is outstanding.
    pub(super) fn is_tls(&self, leg: Leg) -> bool {
        self.outstanding.as_ref().is_some_and(|(_, kind)| *kind == Kind::Tls(leg))
    }

    /// The answer to an outstanding admission.
    pub(super) fn admission(&mut self, refused: Option<Refusal>) -> Option<(Ticket, Answer)> {
        let (ticket, _) = self.outstanding.take_if(|(_, kind)| *kind == Kind::Admit)?;
        self.past.push((ticket, Kind::Admit));
        Some((ticket, Answer::Admitted(refused.map_or(Ok(()), Err))))
    }

    /// The outstanding step's answer.
    pub(super) fn answer(
        &mut self,
        reply: &Reply,
        routes: &Routes,
    ) -> Result<(Ticket, Answer), String> {
        let Some((ticket, kind)) = &self.outstanding else {
            return Err("nothing is outstanding that could be answered".into());
        };
        let answer = answer_to(kind, reply, routes)
            .ok_or_else(|| format!("this is no answer to {kind:?}, which is outstanding"))?;
        let ticket = *ticket;
        self.past.extend(self.outstanding.take());
        Ok((ticket, answer))
    }

    /// An answer to an earlier step of that kind.
    pub(super) fn late(&self, reply: &Reply, routes: &Routes) -> Result<(Ticket, Answer), String> {
        let mut past = self.past.iter().rev();
        past.find_map(|(ticket, kind)| Some((*ticket, answer_to(kind, reply, routes)?)))
            .ok_or_else(|| "no step before the outstanding one could be answered so".into())
    }
}

/// None if it is no answer to that.
fn answer_to(kind: &Kind, reply: &Reply, routes: &Routes) -> Option<Answer> {
    Some(match (kind, reply) {
        (Kind::Tls(asked), Reply::TlsUp(leg, facts)) if asked == leg => tls_up(facts),
        (Kind::Tls(asked), Reply::TlsFailed(leg, fault)) if asked == leg => tls_failed(*fault),
        (Kind::Lookup(identifier), reply) => {
            Answer::Routed(reply.routing(identifier.as_deref(), routes)?)
        }
        (Kind::Connect(port), Reply::Connected { remembered }) => Answer::Connected(BackendFacts {
            address: SocketAddr::from(([203, 0, 113, 10], *port)),
            local: SocketAddr::from(([198, 51, 100, 1], 40000)),
            remembered: remembered.as_deref().map(Into::into),
        }),
        (Kind::Connect(_), Reply::ConnectFailed(fault)) => Answer::ConnectFailed(*fault),
        (Kind::Admit | Kind::Tls(_) | Kind::Connect(_), _) => return None,
    })
}

fn tls_up(facts: &TlsFacts) -> Answer {
    Answer::TlsUp(facts.clone())
}

const fn tls_failed(fault: TlsFault) -> Answer {
    Answer::TlsFailed(fault)
}
