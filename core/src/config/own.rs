//! Whether an address is one at which this program itself listens.
//!
//! Not here: which addresses a host name stands for, and which are this machine's; whoever connects
//! knows that. Read next: `check`, which asks of what stands in the text.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether a socket that is bound to one address takes connections to the other. `is_ours`: the
/// other is an address of this machine, which decides where the socket is bound to all of them;
/// loopback is without being told. Port 0 is no port yet.
pub fn accepts(bind: SocketAddr, address: SocketAddr, is_ours: bool) -> bool {
    let bound = bind.ip().to_canonical();
    let reached = reached(address.ip());
    let all = bound.is_unspecified() && bound.is_ipv4() == reached.is_ipv4();
    bind.port() == address.port()
        && bind.port() != 0
        && (bound == reached || all && (is_ours || reached.is_loopback()))
}

/// Where a connection to an address arrives: one to the unspecified address, on this very machine.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn takes(bind: &str, address: &str, is_ours: bool) -> bool {
        accepts(bind.parse().unwrap(), address.parse().unwrap(), is_ours)
    }

    #[test]
    fn a_bound_address_takes_its_own_connections() {
        assert!(takes("192.0.2.1:143", "192.0.2.1:143", false));
        assert!(takes("192.0.2.1:143", "[::ffff:192.0.2.1]:143", false));
        assert!(takes("[2001:db8::1]:143", "[2001:db8::1]:143", false));
        for other in ["192.0.2.1:144", "192.0.2.2:143", "[2001:db8::1]:143", "127.0.0.1:143"] {
            assert!(!takes("192.0.2.1:143", other, true), "{other}");
        }
        assert!(!takes("192.0.2.1:0", "192.0.2.1:0", true), "no port yet");
    }

    #[test]
    fn all_addresses_of_a_family_are_those_of_this_machine() {
        for (bind, local, foreign) in [
            ("0.0.0.0:143", "192.0.2.1:143", "[2001:db8::1]:143"),
            ("[::]:143", "[2001:db8::1]:143", "192.0.2.1:143"),
        ] {
            assert!(takes(bind, local, true) && !takes(bind, local, false), "{bind}");
            assert!(!takes(bind, foreign, true), "{bind}: the other family");
        }
        for loopback in ["127.0.0.1:143", "127.0.0.2:143", "[::ffff:127.0.0.1]:143", "0.0.0.0:143"]
        {
            assert!(takes("0.0.0.0:143", loopback, false), "{loopback}");
        }
        assert!(takes("[::]:143", "[::1]:143", false) && takes("[::]:143", "[::]:143", false));
        assert!(takes("127.0.0.1:143", "0.0.0.0:143", false), "it arrives at loopback");
        assert!(!takes("192.0.2.1:143", "0.0.0.0:143", false));
    }
}
