//! Addresses of host names, remembered for a little while.
//!
//! The operating system is asked (so /etc/hosts and its rules count), one question a name at a
//! time: who asks meanwhile waits for the same answer. An answer is good for [`KEPT`], a failure
//! for [`FAILURE_KEPT`]; the names are the configuration's, so there are few.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

/// How long addresses are used again.
const KEPT: Duration = Duration::from_secs(5);

/// How long it is remembered that there were none.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// Asks, and remembers.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    known: Rc<RefCell<HashMap<String, Rc<Answer>>>>,
}

#[derive(Default)]
struct Answer {
    given: OnceCell<(Vec<IpAddr>, Instant)>,
}

impl Answer {
    /// An answer that is awaited is as good as a fresh one.
    fn is_good(&self, now: Instant) -> bool {
        self.given.get().is_none_or(|(addresses, at)| {
            now < *at + if addresses.is_empty() { FAILURE_KEPT } else { KEPT }
        })
    }
}

impl Resolver {
    pub(crate) fn shared() -> Self {
        Self::default()
    }

    /// The addresses of a host, in the operating system's order; none if there are none.
    pub(crate) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let answer = {
            let mut known = self.known.borrow_mut();
            let entry = known.entry(host.to_owned()).or_default();
            if !entry.is_good(Instant::now()) {
                *entry = Rc::default();
            }
            Rc::clone(entry)
        };
        let ask = async || (ask(host).await, Instant::now());
        answer.given.get_or_init(ask).await.0.clone()
    }
}

async fn ask(host: &str) -> Vec<IpAddr> {
    match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found.map(|address| address.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            addresses
        }
        Err(error) => {
            log::warn!("resolving {host}: {error}");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_name_has_addresses_and_nonsense_has_none() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let resolver = Resolver::shared();
        let local = runtime.block_on(resolver.addresses("localhost"));
        assert!(!local.is_empty() && local.iter().all(IpAddr::is_loopback));
        assert_eq!(runtime.block_on(resolver.addresses("a..b")), Vec::<IpAddr>::new());
        let known = resolver.known.borrow();
        assert!(known.values().all(|answer| answer.given.get().is_some()));
    }
}
