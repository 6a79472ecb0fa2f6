//! `gatepost explain`: the way of one account, with the reason of every turn.
//!
//! The search is the core's own, asked as a session asks it; here it is only put into words. No
//! store, resolver or backend is contacted: what only they know is said to be theirs.
//!
//! Not here: which hosts are out of service, which a running server alone knows; they are told in
//! the order in which the account would go to them. Read next: the core's `route/plan.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatepost_core::config::{Config, Listener, MappingSource, OnError, Policy, Protocol, Standing};
use gatepost_core::route::place::{Wish, order};
use gatepost_core::route::plan::{Clue, Progress};
use gatepost_core::route::step::Decision;
use gatepost_core::route::{Named, identify, split_account};
use gatepost_core::sasl::Login;
use gatepost_core::secret::Secret;
use gatepost_core::{Denial, Query, Referral, Route, Routing, Seed};

use crate::server::site::Site;

/// Whose way is explained.
#[derive(Debug, Clone)]
pub struct Question {
    /// The user name, as a client would give it.
    pub user: String,
    /// What the client speaks; none: what the first listener with logins does.
    pub protocol: Option<Protocol>,
    /// Where the client comes from; none: it does not matter.
    pub client: Option<IpAddr>,
}

/// The listener that would be asked does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoListener;

/// A line for every turn, in order; those below a step or table are indented.
pub fn explain(
    config: &Config,
    site: &Site,
    question: &Question,
) -> Result<Vec<String>, NoListener> {
    let serves = |it: &&Arc<Listener>| match question.protocol {
        Some(protocol) => it.protocol == protocol && protocol.bears_credentials(),
        None => it.protocol.bears_credentials(),
    };
    let listener = config.listeners.iter().find(serves).ok_or(NoListener)?;
    let mut lines = vec![format!("listener {}: {}", listener.name, listener.protocol.name())];
    if let Some(client) = question.client {
        let address = client.to_canonical();
        let allow = &listener.allow;
        if !allow.is_empty() && !allow.iter().any(|range| range.contains(address)) {
            lines.push(format!("client {client}: not among the addresses that are allowed; end"));
            return Ok(lines);
        }
        lines.push(format!("client {client}: allowed"));
    }
    // Whether a password is right is no matter of routing; an empty one is refused, though.
    let login = Login::with_password(question.user.clone().into_bytes(), Secret::from(&b"-"[..]));
    let Ok(Some(named)) = identify(&login, listener) else {
        let user = question.user.escape_debug();
        lines.push(format!("user \"{user}\": can be nobody's name here; refused"));
        return Ok(lines);
    };
    tell_name(&named, listener, &mut lines);
    search(config, site, listener, login, named, question, &mut lines);
    Ok(lines)
}

fn tell_name(named: &Named, listener: &Listener, lines: &mut Vec<String>) {
    lines.push(format!("user {}", quoted(&named.claimed)));
    let (account, master) = split_account(&named.claimed, &listener.master_user_separators);
    if !master.is_empty() {
        lines.push(format!("master user {} cut: {}", quoted(master), quoted(account)));
    }
    let form = listener.normalize.name();
    let changed = if named.identifier == account { " (unchanged)" } else { "" };
    lines.push(format!("normalised as {form}: {}{changed}", quoted(&named.identifier)));
}

fn search(
    config: &Config,
    site: &Site,
    listener: &Arc<Listener>,
    login: Login,
    named: Named,
    question: &Question,
    lines: &mut Vec<String>,
) {
    let Some(plan) = site.plan(listener.normalize) else { return };
    let client = question.client.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let local = listener.bind.first().copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let query = Query {
        identifier: Some(named.identifier.clone()),
        login: Arc::new(login),
        protocol: listener.protocol,
        client: SocketAddr::new(client, 0),
        local,
        header: None,
        tls: None,
        session: Seed(0).into(),
        attempt: 1,
    };
    let progress = plan.route(&query, listener, &mut |clue| lines.push(told(&clue, config)));
    match progress {
        Progress::Decided(routing) => {
            tell_end(&routing, listener.protocol, &named.identifier, lines);
        }
        Progress::Ask(_) => tell_store(config, lines),
    }
}

/// What may come of asking the store.
fn tell_store(config: &Config, lines: &mut Vec<String>) {
    let silent = "  where it cannot be asked: unavailable".to_owned();
    if let MappingSource::Http(store) = &config.mapping.source {
        let destination = &store.destination.name;
        lines.push(format!(
            "  it judges the login, and names an address; the rest is as destination {destination}"
        ));
        lines.push(silent);
        return;
    }
    let default = &config.routing.default_destination.name;
    lines.push(format!("  where it is not known: the default destination {default}"));
    lines.push(match config.mapping.on_error {
        OnError::Unavailable => silent,
        OnError::Default => format!("  where it cannot be asked: {default}"),
    });
}

fn told(clue: &Clue<'_>, config: &Config) -> String {
    match clue {
        Clue::Nameless => "the credentials name nobody, so that no table is asked".to_owned(),
        Clue::Passed(step) => {
            format!("step of line {}, {}: does not match", step.line, step.subject)
        }
        Clue::Met(step) => {
            let decided = match &step.decision {
                Some(Decision::Destination(destination)) => destination.name.clone(),
                Some(Decision::Referral { .. }) => "a referral".to_owned(),
                Some(Decision::Refusal(_)) => "a refusal".to_owned(),
                None => "goes on".to_owned(),
            };
            format!("step of line {}, {}: matches; {decided}", step.line, step.subject)
        }
        Clue::Renamed(name) => format!("  the backend gets the user name {}", quoted(name)),
        Clue::Unrenamable => "  the mechanism fixes the user name; refused".to_owned(),
        Clue::Mapped(line) => format!("map {}: line {line}", map_of(config)),
        Clue::Unmapped => format!("map {}: not there", map_of(config)),
        Clue::NoTable => "no table is configured".to_owned(),
        Clue::Asked => "a store is asked when somebody logs in; it is not asked here".to_owned(),
        Clue::Known => "the store knows it".to_owned(),
        Clue::Unknown => "the store does not know it".to_owned(),
        Clue::Silent => "the store cannot be asked".to_owned(),
        Clue::Default => "the default destination".to_owned(),
    }
}

fn map_of(config: &Config) -> &str {
    match &config.mapping.source {
        MappingSource::File { path } => path,
        MappingSource::None
        | MappingSource::Http(_)
        | MappingSource::Redis(_)
        | MappingSource::Sql(_) => "",
    }
}

fn tell_end(routing: &Routing, protocol: Protocol, account: &[u8], lines: &mut Vec<String>) {
    match routing {
        Routing::Found(route) => {
            if let Some(alert) = &route.alert {
                lines.push(format!("alert \"{}\"", alert.escape_debug()));
            }
            lines.push(place(route, protocol));
            tell_hosts(route, protocol, account, lines);
        }
        Routing::Referred(Referral { user, host, port }) => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            lines.push(format!("referred to {host}{port} as {}, inside TLS", quoted(user)));
        }
        Routing::Refused(Denial { text, .. }) => {
            lines.push(format!("refused: {}", quoted(text)));
        }
        Routing::Later(span) => lines.push(format!("asked for again after {span:?}")),
        Routing::Unavailable => lines.push("unavailable".to_owned()),
    }
}

/// The destination, and where in it a session would go.
fn place(route: &Route, protocol: Protocol) -> String {
    let destination = &route.destination;
    let name = &destination.name;
    match destination.endpoint(protocol) {
        Some(endpoint) => {
            let at = match (route.at, destination.hosts.as_slice()) {
                (Some(at), _) => at.to_string(),
                (None, [host]) => format!("{} port {}", host.name, endpoint.port_on(host)),
                (None, hosts) => {
                    format!("{} hosts, policy {}", hosts.len(), destination.policy.name())
                }
            };
            let (tls, forwarding) = (endpoint.tls.name(), endpoint.forwarding.name());
            format!("destination {name}: {at}, tls {tls}, forwarding {forwarding}")
        }
        None => {
            format!("destination {name}: does not speak {}, so the login fails", protocol.name())
        }
    }
}

/// Which hosts of several the account would go to, in which order, and why.
fn tell_hosts(route: &Route, protocol: Protocol, account: &[u8], lines: &mut Vec<String>) {
    let destination = &route.destination;
    let endpoint = destination.endpoint(protocol);
    let Some(endpoint) = endpoint.filter(|_| route.at.is_none() && destination.hosts.len() > 1)
    else {
        return;
    };
    let key = route.key.as_deref().unwrap_or(account);
    let wish = Wish { policy: destination.policy, key, turn: 0 };
    for (place, host) in order(&destination.hosts, wish).into_iter().enumerate() {
        let why = match (place, destination.policy) {
            (0, Policy::Rendezvous) => "the account's own",
            (0, Policy::First) => "the first",
            (_, Policy::RoundRobin) => "in turn with the others",
            (_, Policy::Rendezvous | Policy::First) => "where those above are out of service",
        };
        let (name, port) = (&host.name, endpoint.port_on(host));
        let (weight, standing) = (host.weight, host.standing.name());
        lines.push(format!("  host {name} port {port}, weight {weight}, {standing}: {why}"));
    }
    for host in destination.hosts.iter().filter(|host| host.standing == Standing::Down) {
        lines.push(format!("  host {}: down by the configuration", host.name));
    }
}

fn quoted(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}
