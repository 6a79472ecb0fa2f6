//! From which of our own addresses a destination is connected to.
//!
//! A destination's `source_ips` take turns, each family by itself: so every address of a family
//! bears its share, whatever else is connected to meanwhile. An address whose family has none is
//! not to be connected to at all, since the other side may know us by these only.
//!
//! Not here: sockets. Read next: `config/destination.rs`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::IpAddr;

use crate::close::ConnectFault;
use crate::config::Destination;

/// Destinations whose turns are kept; with one more, all begin again.
const DESTINATIONS_MAX: usize = 4096;

/// Whose turn it is, by the destination's name.
#[derive(Debug, Clone, Default)]
pub struct SourceTurns {
    turns: BTreeMap<String, Turns>,
}

/// Turns taken, in each family.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    v4: usize,
    v6: usize,
}

impl SourceTurns {
    /// Nobody has had a turn.
    pub const fn new() -> Self {
        Self { turns: BTreeMap::new() }
    }

    /// The address from which to connect to one of a destination's; none: the system's choice.
    ///
    /// # Errors
    ///
    /// [`ConnectFault::NoSourceAddress`]: it must not be left to the system, and none is of that
    /// family.
    pub fn next(
        &mut self,
        destination: &Destination,
        to: IpAddr,
    ) -> Result<Option<IpAddr>, ConnectFault> {
        let sources = &destination.source_ips;
        if sources.is_empty() {
            return Ok(None);
        }
        let fitting = || sources.iter().filter(|source| source.is_ipv4() == to.is_ipv4());
        let count = fitting().count();
        if count == 0 {
            return Err(ConnectFault::NoSourceAddress);
        }
        if self.turns.len() >= DESTINATIONS_MAX && !self.turns.contains_key(&destination.name) {
            self.turns.clear();
        }
        let turns = self.turns.entry(destination.name.clone()).or_default();
        let turn = if to.is_ipv4() { &mut turns.v4 } else { &mut turns.v6 };
        let source = fitting().nth(*turn % count).copied();
        *turn = (*turn + 1) % count;
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::format;
    use alloc::vec::Vec;

    use super::*;
    use crate::config::{Forwarding, Policy};

    fn destination(name: &str, sources: &[&str]) -> Destination {
        Destination {
            name: name.into(),
            hosts: Vec::new(),
            policy: Policy::First,
            tls_server_name: None,
            forwarding: Forwarding::None,
            tls_allow_invalid_certs: false,
            tls_pinned_cert_sha256: Vec::new(),
            tls_client_cert: None,
            tls_client_key: None,
            tls_ca_file: None,
            source_ips: sources.iter().map(|text| text.parse().unwrap()).collect(),
            hide_auth_errors: false,
            allow_plaintext_auth: false,
            guard: false,
            referral_hosts: Vec::new(),
            probing: None,
            proxy_ttl: 7,
            endpoints: Vec::new(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_family_of_each_destination_takes_its_own_turns() {
        let mut turns = SourceTurns::new();
        let one = destination("one", &["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]);
        let two = destination("two", &["192.0.2.8", "192.0.2.9"]);
        let (four, six) = (ip("198.51.100.1"), ip("2001:db8::7"));
        for expected in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"] {
            assert_eq!(turns.next(&one, four), Ok(Some(ip(expected))));
            assert_eq!(turns.next(&one, six), Ok(Some(ip("2001:db8::1"))));
        }
        assert_eq!(turns.next(&two, four), Ok(Some(ip("192.0.2.8"))));
        assert_eq!(turns.next(&one, four), Ok(Some(ip("192.0.2.2"))));
        assert_eq!(turns.next(&two, four), Ok(Some(ip("192.0.2.9"))));
    }

    #[test]
    fn a_family_without_an_address_is_never_left_to_the_system() {
        let mut turns = SourceTurns::new();
        let bound = destination("bound", &["192.0.2.1"]);
        assert_eq!(turns.next(&bound, ip("::1")), Err(ConnectFault::NoSourceAddress));
        assert_eq!(turns.next(&destination("free", &[]), ip("::1")), Ok(None));
        assert!(turns.turns.is_empty(), "who has no turns is not remembered");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut turns = SourceTurns::new();
        for number in 0..=DESTINATIONS_MAX {
            let bound = destination(&format!("{number}"), &["192.0.2.1"]);
            assert_eq!(turns.next(&bound, ip("198.51.100.1")), Ok(Some(ip("192.0.2.1"))));
        }
        assert_eq!(turns.turns.len(), 1);
    }
}
