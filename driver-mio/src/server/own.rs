//! Our own listeners, as places where no destination may lead.
//!
//! Looked for twice: when the program starts, for what names stand for then, and whenever a backend
//! is connected to, since names change. Not here: what the text alone tells, which is refused where
//! the configuration is read.
//!
//! A name that cannot be resolved is no fault: its server may be started after us.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gatepost_core::config::{Config, Destination, Host, Protocol, accepts};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::site::SiteFault;

/// How long the start waits for names to be resolved.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names resolved at a time.
const RESOLVERS: usize = 8;

/// Where this program listens, and what is known of this machine's addresses.
pub(crate) struct Own {
    /// Listeners by name, and the addresses that they are bound to.
    binds: Vec<(String, SocketAddr)>,
    /// Of the machine, when the program started.
    addresses: Vec<IpAddr>,
}

impl Own {
    pub(crate) fn new(binds: Vec<(String, SocketAddr)>) -> Self {
        Self { binds, addresses: addresses_of_this_machine() }
    }

    /// The listener that takes connections to an address. `from`: what our side of such a
    /// connection is called, where there is one; that is the same address for this machine's own.
    pub(crate) fn listener_at(&self, address: SocketAddr, from: Option<IpAddr>) -> Option<&str> {
        let reached = address.ip().to_canonical();
        let from = from.map(|from| from.to_canonical());
        let is_ours = from == Some(reached) || self.addresses.contains(&reached);
        let mut binds = self.binds.iter();
        binds.find(|(_, bind)| accepts(*bind, address, is_ours)).map(|(name, _)| name.as_str())
    }
}

/// Adds a fault for each destination that is one of our listeners by what its name stands for, or
/// by this machine's addresses.
pub(super) fn check(config: &Config, faults: &mut Vec<SiteFault>) {
    let binds = || config.listeners.iter().flat_map(|listener| &listener.bind);
    let mut hosts = BTreeMap::new();
    for destination in &config.destinations {
        for (_, host, port) in reached(destination) {
            if binds().any(|bind| bind.port() == port) {
                hosts.insert(host.name.clone(), Vec::new());
            }
        }
    }
    resolve(&mut hosts);
    let named = config
        .listeners
        .iter()
        .flat_map(|listener| listener.bind.iter().map(|bind| (listener.name.clone(), *bind)));
    let own = Own::new(named.collect());
    for destination in &config.destinations {
        for (protocol, host, port) in reached(destination) {
            let addresses = hosts.get(&host.name).map_or(&[][..], Vec::as_slice);
            let found = addresses.iter().find_map(|ip| {
                let address = SocketAddr::new(*ip, port);
                own.listener_at(address, None).map(|listener| (address, listener))
            });
            if let Some((address, listener)) = found {
                let (name, host) = (&destination.name, &host.name);
                faults.push(SiteFault {
                    place: format!("destination.{name}.protocol.{}.port", protocol.name()),
                    what: format!(
                        "{host} is {address}, the proxy's own listener \"{listener}\"; name the \
                         backend's own address"
                    ),
                });
            }
        }
    }
}

/// Every host of a destination, by each protocol that is spoken there, with its port.
fn reached(destination: &Destination) -> impl Iterator<Item = (Protocol, &Host, u16)> {
    let hosts = destination.hosts.iter();
    hosts.flat_map(|host| {
        let endpoints = destination.endpoints.iter();
        endpoints.map(move |(protocol, endpoint)| (*protocol, &**host, endpoint.port_on(host)))
    })
}

/// Fills in the addresses of each host, as far as they are told in time.
fn resolve(hosts: &mut BTreeMap<String, Vec<IpAddr>>) {
    let due = Instant::now() + PATIENCE;
    let (tell, told) = channel();
    let mut names = Vec::new();
    for (host, addresses) in hosts.iter_mut() {
        match host.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(host.clone()),
        }
    }
    let (count, queue) = (names.len(), Arc::new(Mutex::new(names)));
    for _ in 0..count.min(RESOLVERS) {
        let (tell, queue) = (tell.clone(), Arc::clone(&queue));
        // A name server that does not answer must not keep the program: nobody waits for these.
        thread::spawn(move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(host) = next else { return };
                let found = (host.as_str(), 0).to_socket_addrs();
                let found = found.map(|found| found.map(|address| address.ip()).collect());
                if tell.send((host, found.unwrap_or_default())).is_err() {
                    return;
                }
            }
        });
    }
    drop(tell);
    while let Ok((host, found)) = told.recv_timeout(due.saturating_duration_since(Instant::now())) {
        hosts.insert(host, found);
    }
}

/// The addresses of all interfaces; none, where the system does not tell.
fn addresses_of_this_machine() -> Vec<IpAddr> {
    let ip = |address: &SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| interface.address.as_ref().and_then(ip)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gatepost_core::config::parse;

    use super::*;

    fn faults(host: &str, bind: &str, port: u16) -> Vec<String> {
        let text = format!(
            "[listener.in]\nprotocol = \"imap\"\nbind = [\"{bind}\"]\ntls = \"plain\"\n\
             allow_plain_auth_without_tls = true\n\
             [destination.out]\nhost = \"out.test\"\nallow_plaintext_auth = true\n\
             [destination.out.protocol.imap]\nport = {port}\ntls = \"plain\"\n\
             [routing]\ndefault_destination = \"out\"\n"
        );
        let (mut config, _) = parse(&text).unwrap();
        // Behind the back of the check of the text, which knows this name.
        let destination = Arc::make_mut(&mut config.destinations[0]);
        destination.hosts = vec![Arc::new(Host::on(host, port))];
        let mut faults = Vec::new();
        check(&config, &mut faults);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_is_among_the_addresses_of_this_machine() {
        assert!(addresses_of_this_machine().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn what_a_name_stands_for_is_found_and_a_name_for_nothing_is_no_fault() {
        for bind in ["0.0.0.0:7143", "127.0.0.1:7143"] {
            let found = faults("localhost", bind, 7143);
            assert_eq!(found.len(), 1, "{bind}: {found:?}");
            let expected = "destination.out.protocol.imap.port: localhost is 127.0.0.1:7143, \
                            the proxy's own listener \"in\"; name the backend's own address";
            assert_eq!(found[0], expected);
        }
        assert!(faults("localhost", "0.0.0.0:7143", 7144).is_empty());
        assert!(faults("localhost", "127.0.0.2:7143", 7143).is_empty());
        assert!(faults("nowhere.invalid", "0.0.0.0:7143", 7143).is_empty());
    }

    #[test]
    fn an_interfaces_address_is_ours_where_all_are_bound() {
        let ours = addresses_of_this_machine();
        let Some(address) = ours.iter().find(|it| it.is_ipv4() && !it.is_loopback()) else {
            return;
        };
        let host = address.to_string();
        let found = faults(&host, "0.0.0.0:7143", 7143);
        assert!(found.len() == 1 && found[0].contains("own listener \"in\""), "{found:?}");
        assert!(faults(&host, "[::]:7143", 7143).is_empty());
        let mapped = faults(&format!("::ffff:{host}"), "0.0.0.0:7143", 7143);
        assert!(mapped.len() == 1 && mapped[0].contains("own listener \"in\""), "{mapped:?}");
    }

    #[test]
    fn a_connection_to_oneself_is_known_by_its_ends() {
        let own = Own { binds: vec![("in".into(), ([0; 4], 143).into())], addresses: Vec::new() };
        let address = SocketAddr::from(([192, 0, 2, 1], 143));
        assert_eq!(own.listener_at(address, Some([192, 0, 2, 1].into())), Some("in"));
        assert_eq!(own.listener_at(address, Some([192, 0, 2, 2].into())), None);
        assert_eq!(own.listener_at(address, None), None);
        let mapped = "[::ffff:192.0.2.1]:143".parse().unwrap();
        assert_eq!(own.listener_at(mapped, None), None);
        let own = Own { addresses: vec![[192, 0, 2, 1].into()], ..own };
        assert_eq!(own.listener_at(mapped, None), Some("in"));
    }
}
