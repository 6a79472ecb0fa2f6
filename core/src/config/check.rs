//! Rules that span tables.
//!
//! Not here: rules within one table, which its own reader holds, and what needs files or a name
//! server.
//! Read next: `fault`.

use alloc::{format, string::ToString, sync::Arc, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::routing::{Mapping, MappingSource, PASS_THROUGH, Routing};
use super::{
    choice::Protocol, destination::Destination, listener::Listener, own::accepts, reader::Section,
};

/// No two listeners may take the same address and port. 0.0.0.0 and :: are different ones.
pub(super) fn distinct_binds(root: &Section<'_>, listeners: &[Arc<Listener>]) {
    let mut taken: Vec<(SocketAddr, &str)> = Vec::new();
    for listener in listeners {
        for (place, bind) in listener.bind.iter().enumerate().filter(|(_, bind)| bind.port() != 0) {
            let bind = SocketAddr::new(bind.ip().to_canonical(), bind.port());
            let other = taken.iter().find(|(held, name)| *held == bind && *name != listener.name);
            if let Some((_, other)) = other {
                let path = ["listener", &listener.name, "bind", &place.to_string()];
                let problem = format!("{bind} belongs to the listener \"{other}\" already");
                root.fault(&path, problem, "give each its own address or port");
            }
            taken.push((bind, &listener.name));
        }
    }
}

/// What is carried must have somewhere to go that speaks it.
pub(super) fn carried_somewhere(root: &Section<'_>, listeners: &[Arc<Listener>]) {
    for listener in listeners.iter().filter(|listener| !listener.protocol.bears_credentials()) {
        let protocol = listener.protocol.name();
        let path = ["listener", &listener.name, "protocol"];
        match &listener.bridge {
            // A name that nobody has is a fault of its own.
            None if root.section("routing").holds(PASS_THROUGH) => {}
            None => {
                let problem = format!("{protocol} is carried, and no destination is named for it");
                let remedy = format!("write [routing] with {PASS_THROUGH}");
                root.fault(&path, problem, &remedy);
            }
            Some(destination) if destination.endpoint(listener.protocol).is_none() => {
                let name = &destination.name;
                let problem = format!("the pass-through destination \"{name}\" lacks {protocol}");
                let remedy = format!("add [destination.{name}.protocol.{protocol}]");
                root.fault(&path, problem, &remedy);
            }
            Some(_) => {}
        }
    }
}

/// The default destination must speak what clients of the listeners log in by.
pub(super) fn default_speaks(root: &Section<'_>, listeners: &[Arc<Listener>], routing: &Routing) {
    let default = &routing.default_destination;
    for listener in listeners.iter().filter(|listener| listener.protocol.bears_credentials()) {
        if default.endpoint(listener.protocol).is_none() {
            let protocol = listener.protocol.name();
            let problem = format!("the default destination \"{}\" lacks {protocol}", default.name);
            let remedy = format!("add [destination.{}.protocol.{protocol}]", default.name);
            root.fault(&["listener", &listener.name, "protocol"], problem, &remedy);
        }
    }
    let learns = |listener: &&Arc<Listener>| listener.advertise_auto;
    if let Some(listener) = listeners.iter().find(learns).filter(|_| default.probing.is_none()) {
        let protocol = listener.protocol.name();
        let problem = format!("\"auto\" is learned by probes, and \"{}\" has none", default.name);
        let remedy = format!("set probe_interval = \"60s\" in [destination.{}]", default.name);
        root.fault(&["capabilities", protocol, capabilities_key(listener)], problem, &remedy);
    }
}

/// The key that lists what clients of a listener are told.
fn capabilities_key(listener: &Listener) -> &'static str {
    match listener.protocol {
        Protocol::ManageSieve => "sieve",
        Protocol::Submission => "ehlo",
        Protocol::Imap | Protocol::Pop3 | Protocol::Smtp | Protocol::Lmtp => "advertise",
    }
}

/// So must the one whose ports lend their TLS to the addresses that an HTTP server answers.
pub(super) fn http_speaks(root: &Section<'_>, listeners: &[Arc<Listener>], mapping: &Mapping) {
    let MappingSource::Http(store) = &mapping.source else { return };
    let lent = &store.destination;
    for listener in listeners.iter().filter(|listener| listener.protocol.bears_credentials()) {
        if lent.endpoint(listener.protocol).is_none() {
            let protocol = listener.protocol.name();
            let problem =
                format!("the destination \"{}\" of mapping.http lacks {protocol}", lent.name);
            let remedy = format!("add [destination.{}.protocol.{protocol}]", lent.name);
            root.fault(&["listener", &listener.name, "protocol"], problem, &remedy);
        }
    }
}

/// No destination may be one of our own listeners, as far as that shows without a name server and
/// without knowing the addresses of this machine.
pub(super) fn no_loops(
    root: &Section<'_>,
    listeners: &[Arc<Listener>],
    destinations: &[Arc<Destination>],
) {
    for destination in destinations {
        let hosts = destination.hosts.iter();
        for (host, (protocol, endpoint)) in
            hosts.flat_map(|host| destination.endpoints.iter().map(move |spoken| (host, spoken)))
        {
            let (addresses, port) = (reached(&host.name), endpoint.port_on(host));
            let own = listeners.iter().find(|listener| {
                listener.bind.iter().any(|bind| {
                    let mut addresses = addresses.iter();
                    addresses.any(|ip| accepts(*bind, SocketAddr::new(*ip, port), false))
                })
            });
            if let Some(own) = own.filter(|_| port != 0) {
                let path = ["destination", &destination.name, "protocol", protocol.name(), "port"];
                let address = format!("{} port {port}", host.name);
                let problem = format!("{address} is the proxy's own listener \"{}\"", own.name);
                root.fault(&path, problem, "name the backend's own address");
            }
        }
    }
}

/// The addresses that a host stands for, where that shows from the text.
fn reached(host: &str) -> Vec<IpAddr> {
    const LOOPBACKS: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    match host.parse() {
        Ok(address) => [address].into(),
        Err(_) if host.eq_ignore_ascii_case("localhost") => LOOPBACKS.into(),
        Err(_) => Vec::new(),
    }
}
