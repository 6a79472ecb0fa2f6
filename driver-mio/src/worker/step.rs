//! What a session asks of the driver, and what it notes.
//!
//! Not here: when an answer is told, see `dialogue`. What the worker knows itself (limits, the
//! file map, what a store said a while ago, literal addresses) is answered at once; only names of
//! hosts and accounts that nobody knows go to the control thread.
//! Read next: `../server/mod.rs` for what the workers share.

use std::mem::take;
use std::net::IpAddr;
use std::sync::Arc;

use gatepost_core::config::Host;
use gatepost_core::race::Race;
use gatepost_core::route::plan::{self, Progress};
use gatepost_core::{
    Answer, ClientFacts, ConnectFault, Inbox, Leg as Side, Note, Query, Refusal, Routing, Step,
    Target, Ticket, TlsFacts, TlsRole,
};

use crate::control::RouteQuestion;
use crate::leg::{TlsFault, TlsUp, TlsVersion};
use crate::log_line;
use crate::store::Told;
use crate::tls::server_name;
use crate::worker::Resources;
use crate::worker::connection::Body;
use crate::worker::dial::Dial;
use crate::worker::dialogue::Pending;

/// A host that is to be connected to.
pub(crate) struct Lookup {
    target: Target,
    host: Arc<Host>,
    port: u16,
}

impl Lookup {
    pub(crate) fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    /// Dials the addresses that its name stands for.
    pub(crate) fn dial(self, addresses: &[IpAddr]) -> Dial {
        let Self { target, host, port } = self;
        Dial::new(target.destination, host, Race::new(addresses, port, target.tried))
    }
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
        Step::Lookup(query) => route(ticket, query, body, resources),
        Step::Connect(target) => connect(ticket, target, body, resources),
        Step::Splice(_) | Step::Close(_) => {
            debug_assert!(false, "what ends a session is not begun");
            Pending::Nothing
        }
    }
}

/// The answer to a handshake that came to its good end.
pub(crate) fn tls_up(up: &TlsUp, role: &TlsRole, body: &mut Body) -> Answer {
    let facts = facts_of(up);
    let agreed = Some((facts.version, facts.cipher));
    match role {
        TlsRole::Server => body.record.client_tls = agreed,
        TlsRole::Client(..) => body.record.backend_tls = agreed,
        TlsRole::Balancer => {}
    }
    Answer::TlsUp(facts)
}

/// What the core is told of a handshake.
pub(crate) fn facts_of(up: &TlsUp) -> TlsFacts {
    let version = match up.version {
        TlsVersion::Tls12 => "TLSv1.2",
        TlsVersion::Tls13 => "TLSv1.3",
    };
    TlsFacts {
        version,
        cipher: up.suite,
        server_name: up.sni.clone(),
        alpn: up.alpn.clone().map(Into::into),
        resumed: up.resumed,
    }
}

/// The answer to a handshake that failed; what its class does not say is kept for the log.
pub(crate) fn tls_failed(fault: &TlsFault, side: Side, body: &mut Body) -> Answer {
    let (class, detail) = class_of(fault);
    body.record.detail = detail.map(|detail| format!("{side}/{detail}").into_boxed_str());
    Answer::TlsFailed(class)
}

/// The class of a failed handshake, and what it does not say.
pub(crate) fn class_of(fault: &TlsFault) -> (gatepost_core::TlsFault, Option<String>) {
    use gatepost_core::TlsFault as Class;
    match fault {
        TlsFault::Certificate(certificate) => (Class::Certificate, Some(certificate.to_string())),
        TlsFault::Alpn => (Class::NoCommonGround, Some("alpn".to_owned())),
        TlsFault::Incompatible(detail) => (Class::NoCommonGround, Some(detail.clone())),
        TlsFault::Protocol(detail) => (Class::Protocol, Some(detail.clone())),
        TlsFault::Alert(alert) => (Class::Alert, Some(alert.clone())),
        TlsFault::PeerClosed => (Class::Closed, None),
        TlsFault::Io(kind) => (Class::Closed, Some(kind.to_string())),
    }
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
        Note::AttemptFailed { destination, host, fault, state } => {
            record.destination = Some(destination);
            record.host = host;
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
        Note::Learned { destination, host, capabilities } => {
            let protocol = record.listener.protocol;
            shared.remember(&destination.name, &host.label, protocol, capabilities);
        }
        Note::HostJudged { destination, host, client, outcome } => {
            let place = (&*destination, &*host, record.listener.protocol);
            shared.judge(place, outcome, client, resources.now);
        }
        Note::Referred { destination, from, to, followed } => {
            record.destination = Some(destination);
            record.host = Some(from);
            log_line::referred(record, &to, followed, format);
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
                TlsRole::Server | TlsRole::Client(..) => &served.tls,
            };
            let missing = || TlsFault::Incompatible("this listener has no certificate".to_owned());
            wire.leg.start_tls_server(config.clone().ok_or_else(missing)?, leftover)
        }
        TlsRole::Client(destination, host) => {
            let missing = || TlsFault::Incompatible("no TLS is configured there".to_owned());
            let config =
                shared.site.backend_tls(&destination.name, protocol).ok_or_else(missing)?;
            let name = server_name(destination.tls_name(host))
                .map_err(|error| TlsFault::Incompatible(error.to_string()))?;
            wire.leg.start_tls_client(config, name, leftover)
        }
    }
}

/// Answers at once what can be: by the map, or by what a store said a while ago.
fn route(ticket: Ticket, query: Query, body: &Body, resources: &Resources) -> Pending {
    let shared = &resources.shared;
    if let Some(lookup) = &shared.rig.lookup {
        let routing = lookup(query.identifier.as_deref());
        return Pending::Ready(ticket, Answer::Routed(routing));
    }
    let listener = &body.record.listener;
    let plan = shared.site.plan(listener.normalize);
    let routing = match plan.map(|plan| plan.route(&query, listener, &mut |_| {})) {
        Some(Progress::Decided(routing)) => routing,
        Some(Progress::Ask(found)) => return ask(ticket, query, found, body, resources),
        // Every listener's form has its plan.
        None => Routing::Unavailable,
    };
    Pending::Ready(ticket, Answer::Routed(routing))
}

/// Asks the store, if it did not say a while ago.
fn ask(
    ticket: Ticket,
    query: Query,
    found: plan::Pending,
    body: &Body,
    resources: &Resources,
) -> Pending {
    let shared = &resources.shared;
    let form = body.record.listener.normalize;
    let Some(store) = shared.site.store() else {
        debug_assert!(false, "a plan asks where there is a store");
        return Pending::Ready(ticket, Answer::Routed(Routing::Unavailable));
    };
    let told = if let Some(finding) = store.known(query.identifier.as_deref()) {
        Told::Finding(finding)
    } else if let Some(place) = store.place() {
        let site = Arc::clone(&shared.site);
        let question = RouteQuestion { site, query, form, found, place };
        shared.control.route(question, ticket, body.id, &resources.mailbox);
        return Pending::Routing(ticket);
    } else {
        store.silent()
    };
    Pending::Ready(ticket, Answer::Routed(shared.site.follow(form, found, told)))
}

/// Picks a host; the session is told before anything else happens.
fn connect(ticket: Ticket, target: Target, body: &mut Body, resources: &Resources) -> Pending {
    let Target { destination, protocol, .. } = &target;
    body.record.destination = Some(Arc::clone(destination));
    body.record.host = None;
    body.record.detail = None;
    let Some(endpoint) = destination.endpoint(*protocol) else {
        return failed(ticket, ConnectFault::NoAddress);
    };
    match resources.shared.choose(&target, resources.now) {
        Ok(host) => {
            body.record.host = Some(Arc::clone(&host));
            let port = endpoint.port_on(&host);
            Pending::Chosen(ticket, Lookup { target, host, port })
        }
        Err(fault) => failed(ticket, fault),
    }
}

/// Begins to find the addresses of a chosen host.
pub(crate) fn reach(ticket: Ticket, lookup: Lookup, body: &Body, resources: &Resources) -> Pending {
    let shared = &resources.shared;
    let name = lookup.host.name.as_str();
    if let Some(resolve) = &shared.rig.resolve {
        return match resolve(name, lookup.port) {
            Ok(address) => {
                let lookup = Lookup { port: address.port(), ..lookup };
                Pending::Resolved(ticket, lookup, vec![address.ip()])
            }
            Err(fault) => failed(ticket, fault),
        };
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return Pending::Resolved(ticket, lookup, vec![address]);
    }
    if shared.control.resolve(name, ticket, body.id, &resources.mailbox) {
        Pending::Resolving(ticket, lookup)
    } else {
        failed(ticket, ConnectFault::NoAddress)
    }
}

const fn failed(ticket: Ticket, fault: ConnectFault) -> Pending {
    Pending::Ready(ticket, Answer::ConnectFailed(fault))
}
