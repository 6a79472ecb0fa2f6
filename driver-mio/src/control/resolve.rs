//! Addresses of host names, remembered for a little while.
//!
//! The operating system is asked (so /etc/hosts and its rules count), one question a name at a
//! time: who asks meanwhile waits for the same answer. An answer is good for [`KEPT`], a failure
//! for [`FAILURE_KEPT`]; until [`STALE_KEPT`] an old answer still serves at once while the name is
//! asked for anew, so that a slow name server delays nobody whose host was known.
//!
//! Invariants: at most [`NAMES_MAX`] names are remembered, whatever hosts backends refer to; a
//! name that is being asked for is not forgotten.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::spawn_local;
use tokio::time::Instant;

/// How long addresses are used again.
const KEPT: Duration = Duration::from_secs(5);

/// How long they are used again while they are asked for anew.
const STALE_KEPT: Duration = Duration::from_secs(300);

/// How long it is remembered that there were none.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// Names that are remembered.
const NAMES_MAX: usize = 4096;

/// Asks, and remembers.
#[derive(Clone, Default)]
pub(crate) struct Resolver {
    known: Rc<RefCell<HashMap<String, Entry>>>,
}

/// What is known of a name, and the question that is under way.
#[derive(Default)]
struct Entry {
    answer: Option<Answer>,
    question: Option<Rc<OnceCell<Vec<IpAddr>>>>,
}

struct Answer {
    addresses: Vec<IpAddr>,
    at: Instant,
    fresh_until: Instant,
}

impl Answer {
    fn new(addresses: Vec<IpAddr>, at: Instant) -> Self {
        let kept = if addresses.is_empty() { FAILURE_KEPT } else { KEPT };
        Self { addresses, at, fresh_until: at + kept }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        now < self.fresh_until
    }

    fn is_usable(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && now < self.at + STALE_KEPT
    }
}

impl Resolver {
    pub(crate) fn shared() -> Self {
        Self::default()
    }

    /// The addresses of a host, in the operating system's order; none if there are none.
    pub(crate) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let now = Instant::now();
        let remembered = {
            let known = self.known.borrow();
            let answer = known.get(host).and_then(|entry| entry.answer.as_ref());
            let usable = answer.filter(|it| it.is_fresh(now) || it.is_usable(now));
            usable.map(|answer| (answer.addresses.clone(), answer.is_fresh(now)))
        };
        match remembered {
            Some((addresses, true)) => addresses,
            Some((addresses, false)) => {
                self.refresh(host);
                addresses
            }
            None => self.ask(host).await,
        }
    }

    /// Asks anew, if nobody does, and waits for nothing.
    fn refresh(&self, host: &str) {
        let known = self.known.borrow();
        if known.get(host).is_some_and(|entry| entry.question.is_none()) {
            drop(known);
            let (resolver, host) = (self.clone(), host.to_owned());
            spawn_local(async move { resolver.ask(&host).await });
        }
    }

    async fn ask(&self, host: &str) -> Vec<IpAddr> {
        let question = {
            let mut known = self.known.borrow_mut();
            if !known.contains_key(host) {
                make_room(&mut known);
            }
            let entry = known.entry(host.to_owned()).or_default();
            Rc::clone(entry.question.get_or_insert_default())
        };
        let addresses = question.get_or_init(async || ask(host).await).await.clone();
        self.answered(host, &question, &addresses);
        addresses
    }

    /// Takes an answer, once for each question. A failure takes no old answer's place before that
    /// is too old to use.
    fn answered(&self, host: &str, question: &Rc<OnceCell<Vec<IpAddr>>>, addresses: &[IpAddr]) {
        let mut known = self.known.borrow_mut();
        let Some(entry) = known.get_mut(host) else { return };
        if entry.question.take_if(|asked| Rc::ptr_eq(asked, question)).is_none() {
            return;
        }
        let now = Instant::now();
        match &mut entry.answer {
            Some(answer) if addresses.is_empty() && answer.is_usable(now) => {
                answer.fresh_until = now + FAILURE_KEPT;
            }
            answer => *answer = Some(Answer::new(addresses.to_vec(), now)),
        }
    }
}

/// Forgets the oldest answer, if there are as many as may be.
fn make_room(known: &mut HashMap<String, Entry>) {
    if known.len() < NAMES_MAX {
        return;
    }
    let idle = known.iter().filter(|(_, entry)| entry.question.is_none());
    let oldest = idle.min_by_key(|(_, entry)| entry.answer.as_ref().map(|answer| answer.at));
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        known.remove(&name);
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
    use tokio::task::LocalSet;

    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        LocalSet::new().block_on(&runtime, future)
    }

    fn known(addresses: &[&str], at: Instant) -> Entry {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Entry { answer: Some(Answer::new(addresses, at)), question: None }
    }

    #[test]
    fn a_name_has_addresses_and_nonsense_has_none() {
        let resolver = Resolver::shared();
        run(async {
            let local = resolver.addresses("localhost").await;
            assert!(!local.is_empty() && local.iter().all(IpAddr::is_loopback));
            assert_eq!(resolver.addresses("a..b").await, Vec::<IpAddr>::new());
        });
        let known = resolver.known.borrow();
        assert_eq!(known.len(), 2);
        assert!(known.values().all(|entry| entry.question.is_none() && entry.answer.is_some()));
    }

    #[test]
    fn an_old_answer_serves_while_the_name_is_asked_for_anew() {
        let resolver = Resolver::shared();
        run(async {
            let long_ago = Instant::now() - KEPT;
            let old = known(&["192.0.2.1"], long_ago);
            resolver.known.borrow_mut().insert("localhost".to_owned(), old);
            let told = resolver.addresses("localhost").await;
            assert_eq!(told, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
            // The question that was begun: whoever asks again joins it or finds its answer.
            let told = resolver.ask("localhost").await;
            assert!(told.iter().all(IpAddr::is_loopback), "{told:?}");
        });
    }

    #[test]
    fn a_failure_does_not_take_a_good_answers_place() {
        let resolver = Resolver::shared();
        run(async {
            let long_ago = Instant::now() - KEPT;
            resolver.known.borrow_mut().insert("a..b".to_owned(), known(&["192.0.2.1"], long_ago));
            assert!(resolver.ask("a..b").await.is_empty());
            assert_eq!(resolver.addresses("a..b").await.len(), 1);
        });
    }

    #[test]
    fn only_so_many_names_are_remembered() {
        let resolver = Resolver::shared();
        run(async {
            let now = Instant::now();
            for number in 0..NAMES_MAX {
                let later = now + Duration::from_secs(number as u64);
                let entry = known(&["192.0.2.1"], later);
                resolver.known.borrow_mut().insert(format!("h{number}"), entry);
            }
            resolver.addresses("localhost").await;
            let known = resolver.known.borrow();
            assert_eq!(known.len(), NAMES_MAX);
            assert!(!known.contains_key("h0") && known.contains_key("h1"));
        });
    }
}
