//! What an operator wants of all sessions, and how each of them learns of it.
//!
//! Invariant: an order is a state, not a message, so that a session that looks late has missed
//! nothing.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Far enough ahead that nobody waits for it, and near enough to be an instant.
const NEVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// Where orders are given.
#[derive(Debug)]
pub(crate) struct Orders {
    grace: Duration,
    given: watch::Sender<Given>,
}

/// All orders so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// A shutdown was asked for then.
    shut_down: Option<Instant>,
    /// How often everybody was to end.
    kicks: u64,
}

/// One session's view of them.
pub(crate) struct Ears {
    given: watch::Receiver<Given>,
    grace: Duration,
    /// Its part of the last third of the grace, in 1024ths.
    part: u32,
    /// Kicks before it came.
    kicks: u64,
}

impl Orders {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace: grace.min(NEVER), given: watch::Sender::new(Given::default()) }
    }

    pub(crate) fn shut_down(&self) {
        self.given.send_if_modified(|given| {
            let is_first = given.shut_down.is_none();
            given.shut_down.get_or_insert_with(Instant::now);
            is_first
        });
    }

    pub(crate) fn kick_all(&self) {
        self.given.send_modify(|given| given.kicks += 1);
    }

    /// For a session of this name.
    pub(crate) fn listen(&self, name: u64) -> Ears {
        let given = self.given.subscribe();
        let kicks = given.borrow().kicks;
        Ears { given, grace: self.grace, part: (name % 1024) as u32, kicks }
    }

    /// When the grace of a shutdown is over, if there is one.
    pub(crate) fn grace_over(&self) -> Option<Instant> {
        self.given.borrow().shut_down.and_then(|begun| begun.checked_add(self.grace))
    }

    /// Waits for a shutdown.
    pub(crate) async fn until_shut_down(&self) {
        let mut given = self.given.subscribe();
        // The sender is here, so that this cannot fail.
        let _ = given.wait_for(|given| given.shut_down.is_some()).await;
    }
}

impl Ears {
    /// Something that changes when there is an order beyond those that can be seen from here on.
    pub(crate) fn prick_up(&mut self) -> watch::Receiver<Given> {
        self.given.mark_unchanged();
        self.given.clone()
    }

    pub(crate) fn shut_down(&self) -> bool {
        self.given.borrow().shut_down.is_some()
    }

    pub(crate) fn kicked(&self) -> bool {
        self.given.borrow().kicks > self.kicks
    }

    /// When this session is to end by a shutdown. They end evenly over the last third.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let begun = self.given.borrow().shut_down?;
        let last_third = self.grace / 3;
        let waited = self.grace - last_third + last_third * self.part / 1024;
        begun.checked_add(waited)
    }
}

/// An instant that never comes.
pub(crate) fn never() -> Instant {
    Instant::now() + NEVER
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_shutdown_ends_sessions_in_the_last_third_of_its_grace() {
        let orders = Orders::new(Duration::from_secs(30));
        let early = orders.listen(0);
        assert_eq!((early.shut_down(), early.deadline()), (false, None));
        orders.shut_down();
        let first = orders.grace_over().unwrap();
        orders.shut_down();
        assert_eq!(orders.grace_over().unwrap(), first, "a second one changes nothing");
        let begun = first - Duration::from_secs(30);
        assert_eq!(early.deadline().unwrap(), begun + Duration::from_secs(20));
        assert!(Orders::new(Duration::MAX).listen(1023).deadline().is_none());
        let late = orders.listen(1023).deadline().unwrap();
        assert!(late > begun + Duration::from_secs(29) && late <= first);
    }

    #[test]
    fn a_kick_is_for_those_that_are_there() {
        let orders = Orders::new(Duration::ZERO);
        let there = orders.listen(1);
        orders.kick_all();
        assert!(there.kicked());
        assert!(!orders.listen(2).kicked());
    }
}
