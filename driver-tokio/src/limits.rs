//! How many sessions a listener may have, and from one address.
//!
//! An [`Admission`] is held for as long as its session lives and gives its place back when it is
//! dropped, however the session ended. Addresses are counted as whoever can change them at will
//! would be: v6 by /64.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepost_core::config::Listener;

/// The sessions of one listener.
#[derive(Debug)]
pub(crate) struct Limits {
    max: u32,
    max_per_address: Option<u32>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

/// A session's place.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Arc<Limits>,
    network: IpAddr,
}

impl Limits {
    pub(crate) fn new(listener: &Listener) -> Arc<Self> {
        Arc::new(Self {
            max: listener.max_connections,
            max_per_address: listener.max_connections_per_ip,
            open: Mutex::default(),
        })
    }

    /// A place for one more session from an address; none if there is no room.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Admission> {
        let network = network(client);
        let mut open = self.open();
        if open.all >= self.max {
            return None;
        }
        if let Some(max) = self.max_per_address {
            if open.by_address.get(&network).copied().unwrap_or(0) >= max {
                return None;
            }
            *open.by_address.entry(network).or_insert(0) += 1;
        }
        open.all += 1;
        Some(Admission { limits: Arc::clone(self), network })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.limits.open();
        open.all -= 1;
        if let Some(count) = open.by_address.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.network);
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

    fn limits(max: u32, max_per_address: Option<u32>) -> Arc<Limits> {
        Arc::new(Limits { max, max_per_address, open: Mutex::default() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_free_again_when_its_session_is_gone() {
        let limits = limits(2, None);
        let first = limits.admit(ip("192.0.2.1")).unwrap();
        let _second = limits.admit(ip("192.0.2.1")).unwrap();
        assert!(limits.admit(ip("192.0.2.2")).is_none());
        drop(first);
        assert!(limits.admit(ip("192.0.2.2")).is_some());
    }

    #[test]
    fn an_address_past_its_share_takes_nobody_elses_place() {
        let limits = limits(2, Some(1));
        let held = limits.admit(ip("2001:db8::1")).unwrap();
        assert!(limits.admit(ip("2001:db8::ffff")).is_none(), "the same /64");
        let mapped = limits.admit(ip("::ffff:192.0.2.1")).unwrap();
        drop(held);
        assert!(limits.admit(ip("192.0.2.1")).is_none(), "the same v4 address");
        assert!(limits.admit(ip("2001:db8::2")).is_some());
        drop(mapped);
        assert!(limits.open().by_address.is_empty(), "nothing is remembered of who is gone");
    }
}
