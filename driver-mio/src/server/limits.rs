//! How many connections there are, and who holds them.
//!
//! Shared by all workers. An [`Admission`] is held for as long as its connection lives and gives
//! its place back when it is dropped, however the connection ended. Addresses are counted as
//! whoever can change them at will would be: v6 by /64.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gatepost_core::config::Listener;

/// The connections of one listener.
pub(crate) struct Limits {
    max: u32,
    max_per_address: Option<u32>,
    open: AtomicU32,
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection's place.
pub(crate) struct Admission {
    limits: Arc<Limits>,
    address: Option<IpAddr>,
}

impl Limits {
    pub(crate) fn new(listener: &Listener) -> Arc<Self> {
        Arc::new(Self {
            max: listener.max_connections,
            max_per_address: listener.max_connections_per_ip,
            open: AtomicU32::new(0),
            addresses: Mutex::default(),
        })
    }

    /// A place for one more connection from an address; none if there is no room.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Admission> {
        let taken = |open: u32| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        // From here on dropping gives back what was taken.
        let mut admission = Admission { limits: Arc::clone(self), address: None };
        if let Some(max) = self.max_per_address {
            let network = network(client);
            let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let open = addresses.entry(network).or_insert(0);
            if *open >= max {
                if *open == 0 {
                    addresses.remove(&network);
                }
                drop(addresses);
                return None;
            }
            *open += 1;
            admission.address = Some(network);
        }
        Some(admission)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.address else { return };
        let mut addresses = self.limits.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = addresses.get_mut(&network) {
            *open -= 1;
            if *open == 0 {
                addresses.remove(&network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn limits(max: u32, per_address: Option<u32>) -> Arc<Limits> {
        Arc::new(Limits {
            max,
            max_per_address: per_address,
            open: AtomicU32::new(0),
            addresses: Mutex::default(),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_is_gone() {
        let limits = limits(2, None);
        let first = limits.admit(ip("192.0.2.1")).unwrap();
        let _second = limits.admit(ip("192.0.2.1")).unwrap();
        assert!(limits.admit(ip("192.0.2.2")).is_none());
        drop(first);
        assert!(limits.admit(ip("192.0.2.2")).is_some());
    }

    #[test]
    fn an_address_past_its_share_takes_nobody_elses_place() {
        let limits = limits(3, Some(1));
        let held = limits.admit(ip("2001:db8::1")).unwrap();
        for _ in 0..5 {
            assert!(limits.admit(ip("2001:db8::ffff")).is_none(), "the same /64");
        }
        let _mapped = limits.admit(ip("::ffff:192.0.2.1")).unwrap();
        assert!(limits.admit(ip("192.0.2.1")).is_none(), "the same v4 address");
        assert!(limits.admit(ip("2001:db8:0:1::1")).is_some());
        drop(held);
        assert!(limits.admit(ip("2001:db8::2")).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_addresses_that_are_gone() {
        let limits = limits(10, Some(2));
        drop(limits.admit(ip("192.0.2.1")));
        assert!(limits.addresses.lock().unwrap().is_empty());
    }
}
