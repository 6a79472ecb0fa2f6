//! In which order, and how soon after one another, the addresses of a host are tried.
//!
//! RFC 8305 §4 and §5: the families alternate, beginning with that of the resolver's first address,
//! and while an attempt is under way the next one begins after a short delay, so that an address
//! that answers nothing costs a moment and not the login's time. The first connection that stands
//! wins; a driver drops the others.
//!
//! Not here: sockets, and the time for all of it, which the session knows.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::time::Instant;

/// From the beginning of one attempt to that of the next (RFC 8305 §5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The addresses of one host that are not tried yet.
#[derive(Debug, Clone)]
pub struct Race {
    addresses: VecDeque<SocketAddr>,
    last: Instant,
}

impl Race {
    /// The addresses of a host, in the resolver's order. A repeated attempt of one login begins at
    /// another address than the one before: `tried` says how many there were.
    pub fn new(addresses: &[IpAddr], port: u16, tried: u32) -> Self {
        let mut addresses: VecDeque<_> =
            alternating(addresses).into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        let count = addresses.len().max(1);
        addresses.rotate_left(usize::try_from(tried).unwrap_or(0) % count);
        Self { addresses, last: Instant::from_millis(0) }
    }

    /// The address to try now; `under_way` attempts are.
    pub fn next(&mut self, under_way: usize, now: Instant) -> Option<SocketAddr> {
        self.due(under_way).filter(|due| *due <= now)?;
        self.last = now;
        self.addresses.pop_front()
    }

    /// When the next address is to be tried; none: there is none, or not before something fails.
    pub fn due(&self, under_way: usize) -> Option<Instant> {
        if self.addresses.is_empty() {
            return None;
        }
        Some(if under_way == 0 { Instant::from_millis(0) } else { self.last + ATTEMPT_DELAY })
    }
}

/// One of each family in turn; within a family the order stays.
fn alternating(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let of_family = |v4: bool| addresses.iter().copied().filter(move |ip| ip.is_ipv4() == v4);
    let mut one = of_family(first.is_ipv4());
    let mut other = of_family(!first.is_ipv4());
    let mut order = Vec::with_capacity(addresses.len());
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_and_nothing_is_lost() {
        let of = |texts: &[&str]| alternating(&ips(texts));
        assert_eq!(
            of(&["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]),
            ips(&["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"])
        );
        assert_eq!(of(&["10.0.0.1", "::1", "::2"]), ips(&["10.0.0.1", "::1", "::2"]));
        assert_eq!(of(&["10.0.0.1", "10.0.0.2"]), ips(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(of(&[]), ips(&[]));
    }

    #[test]
    fn the_next_one_begins_after_the_delay_or_when_all_have_failed() {
        let at = Instant::from_millis;
        let mut race = Race::new(&ips(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]), 143, 0);
        let place = |last: u8| Some(SocketAddr::from(([10, 0, 0, last], 143)));
        assert_eq!(race.next(0, at(1000)), place(1));
        assert_eq!(race.next(1, at(1249)), None);
        assert_eq!(race.due(1), Some(at(1250)));
        assert_eq!(race.next(1, at(1250)), place(2));
        assert_eq!(race.next(2, at(1300)), None);
        assert_eq!(race.next(0, at(1300)), place(3), "both have failed");
        assert_eq!((race.next(0, at(9000)), race.due(0)), (None, None));
    }

    #[test]
    fn a_repeated_attempt_begins_elsewhere() {
        let first = |tried| {
            let mut race = Race::new(&ips(&["::1", "10.0.0.1"]), 1, tried);
            race.next(0, Instant::from_millis(0)).unwrap().is_ipv6()
        };
        assert_eq!([0, 1, 2].map(first), [true, false, true]);
        assert_eq!(Race::new(&[], 1, 3).due(0), None);
    }
}
