//! How steps are answered, well or badly, in every way that there is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::Destination;
use gatepost_core::sasl::Login;
use gatepost_core::secret::Secret;
use gatepost_core::{
    Answer, BackendFacts, ConnectFault, Denial, Leg, Referral, Refusal, Route, Routing, TlsFacts,
    TlsFault,
};

use super::super::judge::PASSWORD;

/// What is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Admit,
    Tls(Leg),
    Lookup,
    Connect,
}

/// The answer to a step: a good one with particulars, or one of the ways to fail.
pub(super) fn answer_to(
    kind: Kind,
    destination: &Arc<Destination>,
    particulars: &[u8],
    way: Option<u8>,
) -> Answer {
    let Some(way) = way.map(usize::from) else { return good(kind, destination, particulars) };
    match kind {
        Kind::Admit => {
            const REFUSALS: [Refusal; 2] = [Refusal::TooManyConnections, Refusal::ShuttingDown];
            Answer::Admitted(Err(REFUSALS[way % 2]))
        }
        Kind::Tls(_) => {
            const FAULTS: [TlsFault; 6] = [
                TlsFault::Protocol,
                TlsFault::NoCommonGround,
                TlsFault::Certificate,
                TlsFault::Alert,
                TlsFault::Closed,
                TlsFault::Setup,
            ];
            Answer::TlsFailed(FAULTS[way % 6])
        }
        Kind::Lookup => Answer::Routed(other_than_a_route(way)),
        Kind::Connect => {
            const FAULTS: [ConnectFault; 9] = [
                ConnectFault::Refused,
                ConnectFault::Unreachable,
                ConnectFault::TimedOut,
                ConnectFault::NoAddress,
                ConnectFault::Exhausted,
                ConnectFault::OwnListener,
                ConnectFault::NoSourceAddress,
                ConnectFault::Down,
                ConnectFault::Io,
            ];
            Answer::ConnectFailed(FAULTS[way % 9])
        }
    }
}

/// An answer of any kind, to a step that does not wait for one.
pub(super) fn stale_answer(destination: &Arc<Destination>, what: u8) -> Answer {
    let kinds = [Kind::Admit, Kind::Tls(Leg::Client), Kind::Lookup, Kind::Connect];
    let way = (what >= 128).then_some(what);
    answer_to(kinds[usize::from(what) % 4], destination, &[], way)
}

fn good(kind: Kind, destination: &Arc<Destination>, particulars: &[u8]) -> Answer {
    match kind {
        Kind::Admit => Answer::Admitted(Ok(())),
        Kind::Tls(_) => Answer::TlsUp(TlsFacts::default()),
        Kind::Lookup => Answer::Routed(Routing::Found(route(destination, particulars))),
        Kind::Connect => Answer::Connected(BackendFacts {
            address: SocketAddr::from(([203, 0, 113, 10], 143)),
            local: SocketAddr::from(([198, 51, 100, 1], 40000)),
            remembered: (!particulars.is_empty()).then(|| Arc::from(particulars)),
        }),
    }
}

/// With an alert, another login or an address, as letters say.
fn route(destination: &Arc<Destination>, particulars: &[u8]) -> Route {
    let has = |letter: u8| particulars.contains(&letter);
    let login = || Arc::new(Login::with_password(b"bob".to_vec(), Secret::from(PASSWORD)));
    Route {
        login: has(b'l').then(login),
        alert: has(b'a').then(|| "mind\r\nthe gap".into()),
        at: has(b'@').then(|| SocketAddr::from(([203, 0, 113, 77], 1143))),
        key: has(b'k').then(|| Arc::from(&b"key"[..])),
        ..Route::to(Arc::clone(destination))
    }
}

fn other_than_a_route(way: usize) -> Routing {
    let user = b"some\r\nbody".to_vec();
    let denial = Denial::with_text("no\r\n");
    match way % 8 {
        0 => Routing::Unavailable,
        1 => Routing::Referred(Referral { user, host: "two.test".into(), port: Some(143) }),
        2 => Routing::Refused(Denial { judged: true, ..denial }),
        3 => Routing::Refused(Denial { hold: Some(Duration::from_secs(7)), ..denial }),
        4 => Routing::Later(Duration::from_secs(3)),
        5 => Routing::Refused(Denial { challenge: Some(b"{\r\n}".to_vec()), ..denial }),
        6 => {
            let user = b"alice".to_vec();
            Routing::Referred(Referral { user, host: "two.test".into(), port: None })
        }
        _ => Routing::Refused(Denial { last: true, ..denial }),
    }
}
