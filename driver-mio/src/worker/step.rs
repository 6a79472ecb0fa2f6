//! What a session asks of the driver, and what it notes.
//!
//! Not here: when an answer is told, see `dialogue`. What the worker knows itself (limits, the
//! file map, literal addresses) is answered at once; only names go to the control thread.
//! Read next: `../server/mod.rs` for what the workers share.

use std::collections::VecDeque;
use std::mem::take;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatepost_core::config::{Destination, Protocol};
use gatepost_core::{
    Answer, ClientFacts, ConnectFault, Inbox, Leg as Side, Note, Query, Refusal, Route, Routing,
    Step, Target, Ticket, TlsFacts, TlsRole,
};

use crate::leg::{TlsFault, TlsUp, TlsVersion};
use crate::log_line;
use crate::worker::Resources;
use crate::worker::connection::Body;
use crate::worker::dial::Dial;
use crate::worker::dialogue::Pending;

/// A host whose addresses are asked for.
pub(crate) struct Lookup {
    destination: Arc<Destination>,
    port: u16,
    tried: u32,
}

/// Begins a step.
pub(crate) fn begin(
    ticket: Ticket,
    step: Step,
    inbox: &mut Inbox,
    body: &mut Body,
    resources: &mut Resources,
) -> Pending {
    match step {
        Step::Admit(facts) => {
            Pending::Ready(ticket, Answer::Admitted(admit(&facts, body, resources)))
        }
        Step::StartTls(side, role) => match start_tls(side, &role, inbox, body, resources) {
            Ok(()) => Pending::Handshaking { ticket, side, role, begun: false },
            Err(fault) => Pending::Ready(ticket, tls_failed(&fault, side, body)),
        },
        Step::Lookup(query) => {
            Pending::Ready(ticket, Answer::Routed(route(&query, body, resources)))
        }
        Step::Connect(target) => connect(ticket, target, body, resources),
        Step::Splice(_) | Step::Close(_) => {
            debug_assert!(false, "what ends a session is not begun");
            Pending::Nothing
        }
    }
}

/// Dials the addresses that a name stands for.
pub(crate) fn dial(
    ticket: Ticket,
    lookup: Lookup,
    addresses: &[IpAddr],
    body: &mut Body,
    resources: &mut Resources,
) -> Pending {
    let Lookup { destination, port, tried } = lookup;
    let addresses = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
    dial_addresses(ticket, destination, addresses, tried, body, resources)
}

/// The answer to a handshake that came to its good end.
pub(crate) fn tls_up(up: &TlsUp, role: &TlsRole, body: &mut Body) -> Answer {
    let version = match up.version {
        TlsVersion::Tls12 => "TLSv1.2",
        TlsVersion::Tls13 => "TLSv1.3",
    };
    let agreed = Some((version, up.suite));
    match role {
        TlsRole::Server => body.record.client_tls = agreed,
        TlsRole::Client(_) => body.record.backend_tls = agreed,
        TlsRole::Balancer => {}
    }
    Answer::TlsUp(TlsFacts {
        version,
        cipher: up.suite,
        server_name: up.sni.clone(),
        alpn: up.alpn.clone().map(Into::into),
        resumed: up.resumed,
    })
}

/// The answer to a handshake that failed; what its class does not say is kept for the log.
pub(crate) fn tls_failed(fault: &TlsFault, side: Side, body: &mut Body) -> Answer {
    use gatepost_core::TlsFault as Class;
    let (class, detail) = match fault {
        TlsFault::Certificate(certificate) => (Class::Certificate, Some(certificate.to_string())),
        TlsFault::Alpn => (Class::NoCommonGround, Some("alpn".to_owned())),
        TlsFault::Incompatible(detail) => (Class::NoCommonGround, Some(detail.clone())),
        TlsFault::Protocol(detail) => (Class::Protocol, Some(detail.clone())),
        TlsFault::Alert(alert) => (Class::Alert, Some(alert.clone())),
        TlsFault::PeerClosed => (Class::Closed, None),
        TlsFault::Io(kind) => (Class::Closed, Some(kind.to_string())),
    };
    body.record.detail = detail.map(|detail| format!("{side}/{detail}").into_boxed_str());
    Answer::TlsFailed(class)
}

/// Takes what the session noted.
pub(crate) fn take_notes(body: &mut Body, resources: &mut Resources) {
    for note in take(&mut resources.outbox.notes) {
        take_note(note, body, resources);
    }
}

fn take_note(note: Note, body: &mut Body, resources: &Resources) {
    let shared = &resources.shared;
    let (record, format) = (&mut body.record, shared.format());
    match note {
        Note::AttemptFailed { destination, fault, state } => {
            record.destination = Some(destination);
            log_line::attempt_failed(record, fault, state, format);
            record.detail = None;
        }
        Note::LoginRefused { user, mechanism, refusal } => {
            record.user = user.into_boxed_slice();
            record.mechanism = Some(mechanism);
            log_line::refused(record, refusal, format);
        }
        Note::LoginAccepted { user, mechanism, destination } => {
            record.user = user.into_boxed_slice();
            record.mechanism = Some(mechanism);
            record.destination = Some(destination);
            record.logged_in = Some(resources.now);
            log_line::accepted(record, format);
        }
        Note::Origin(origin) => {
            record.client = origin.client;
            record.via_session = origin.session;
        }
        Note::ForwardingNotOffered(destination) => {
            if shared.warns_first(&destination.name) {
                log_line::forwarding_not_offered(&destination, format);
            }
        }
        Note::Learned { destination, capabilities } => {
            shared.remember(&destination.name, record.listener.protocol, capabilities);
        }
    }
}

fn admit(facts: &ClientFacts, body: &mut Body, resources: &mut Resources) -> Result<(), Refusal> {
    body.record.client = facts.client;
    let limits = resources.shared.limits(body.record.listener_index);
    body.admission = limits.admit(facts.client.ip());
    body.admission.as_ref().map(|_| ()).ok_or(Refusal::TooManyConnections)
}

fn start_tls(
    side: Side,
    role: &TlsRole,
    inbox: &mut Inbox,
    body: &mut Body,
    resources: &mut Resources,
) -> Result<(), TlsFault> {
    let shared = &resources.shared;
    let leftover = match side {
        Side::Client => take(&mut inbox.client),
        Side::Backend => take(&mut inbox.backend),
    };
    let (index, protocol) = (body.record.listener_index, body.record.listener.protocol);
    let wire = body.wires.of(side).ok_or(TlsFault::PeerClosed)?;
    match role {
        TlsRole::Server | TlsRole::Balancer => {
            let served = &shared.site.listeners[index];
            let config = match role {
                TlsRole::Balancer => &served.balancer_tls,
                TlsRole::Server | TlsRole::Client(_) => &served.tls,
            };
            let missing = || TlsFault::Incompatible("this listener has no certificate".to_owned());
            wire.leg.start_tls_server(config.clone().ok_or_else(missing)?, leftover)
        }
        TlsRole::Client(destination) => {
            let missing = || TlsFault::Incompatible("no TLS is configured there".to_owned());
            let tls = shared.site.backend_tls(&destination.name, protocol).ok_or_else(missing)?;
            wire.leg.start_tls_client(tls.config, tls.name, leftover)
        }
    }
}

fn route(query: &Query, body: &Body, resources: &Resources) -> Routing {
    let shared = &resources.shared;
    let account = query.identifier.as_deref();
    match &shared.rig.lookup {
        Some(lookup) => lookup(account),
        None => {
            let destination = shared.site.route(account, body.record.listener.normalize);
            Routing::Found(Route { destination })
        }
    }
}

fn connect(ticket: Ticket, target: Target, body: &mut Body, resources: &mut Resources) -> Pending {
    let Target { destination, protocol, tried } = target;
    body.record.destination = Some(destination.clone());
    body.record.detail = None;
    let Some(port) = port(&destination, protocol) else {
        return failed(ticket, ConnectFault::NoAddress);
    };
    let host = &destination.host;
    let known = match (&resources.shared.rig.resolve, host.parse::<IpAddr>()) {
        (Some(resolve), _) => match resolve(host, port) {
            Ok(address) => Some(address),
            Err(fault) => return failed(ticket, fault),
        },
        (None, Ok(address)) => Some(SocketAddr::new(address, port)),
        (None, Err(_)) => None,
    };
    if let Some(address) = known {
        let addresses = VecDeque::from([address]);
        return dial_addresses(ticket, destination, addresses, tried, body, resources);
    }
    if resources.shared.control.resolve(host, ticket, body.id, &resources.mailbox) {
        Pending::Resolving(ticket, Lookup { destination, port, tried })
    } else {
        failed(ticket, ConnectFault::NoAddress)
    }
}

fn port(destination: &Destination, protocol: Protocol) -> Option<u16> {
    destination.endpoint(protocol).map(|endpoint| endpoint.port)
}

fn dial_addresses(
    ticket: Ticket,
    destination: Arc<Destination>,
    addresses: VecDeque<SocketAddr>,
    tried: u32,
    body: &mut Body,
    resources: &mut Resources,
) -> Pending {
    match Dial::begin(destination, addresses, tried, body, resources) {
        Ok(dial) => Pending::Dialling(ticket, dial),
        Err(fault) => failed(ticket, fault),
    }
}

const fn failed(ticket: Ticket, fault: ConnectFault) -> Pending {
    Pending::Ready(ticket, Answer::ConnectFailed(fault))
}
