//! What is told of a server that does not answer, and when it is connected to again.
//!
//! The log has a line when an outage begins and one when it ends, and none between: a dead store
//! concerns every login. Whoever cannot connect rests before trying again, longer each time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first rest after a connection that could not be made.
const REST_MIN: Duration = Duration::from_millis(100);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(2);

/// How one server fares, as the log tells it.
pub(super) struct Outage {
    name: String,
    /// Failures since it last answered.
    failures: AtomicU64,
}

/// The pause after a connection that could not be made.
#[derive(Default)]
pub(super) struct Rest {
    state: Mutex<Option<(Duration, Instant)>>,
}

impl Outage {
    /// `name`: what the log calls it; no secret.
    pub(super) fn of(name: String) -> Self {
        Self { name, failures: AtomicU64::new(0) }
    }

    /// It did not answer, or made no sense.
    pub(super) fn failed(&self, why: &dyn fmt::Display) {
        if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            let why = plain(&why.to_string());
            log::warn!("route store {}: {why}; this is said once until it answers", self.name);
        }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        let failures = self.failures.swap(0, Ordering::Relaxed);
        if failures > 0 {
            log::info!("route store {}: answers again, after {failures} failures", self.name);
        }
    }
}

impl Rest {
    /// No connection could be made: the next rest begins, twice as long as the last.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        let pause = state.map_or(REST_MIN, |(pause, _)| (pause * 2).min(REST_MAX));
        *state = Some((pause, Instant::now() + pause));
    }

    /// A connection was made.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// Whether it is too early to try again.
    pub(super) fn lasts(&self) -> bool {
        self.lock().is_some_and(|(_, end)| Instant::now() < end)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Duration, Instant)>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line, whatever a server wrote.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_its_beginning_and_its_end() {
        let outage = Outage::of("test".to_owned());
        outage.failed(&"too slow");
        outage.failed(&"too slow");
        assert_eq!(outage.failures.load(Ordering::Relaxed), 2);
        outage.answered();
        assert_eq!(outage.failures.load(Ordering::Relaxed), 0);
        assert_eq!(plain("a\r\nb\u{1b}"), "a  b ");
    }

    #[test]
    fn rests_grow_to_a_limit_and_end_with_a_connection() {
        let rest = Rest::default();
        assert!(!rest.lasts());
        let pauses: Vec<_> = (0..8)
            .map(|_| {
                rest.begin();
                rest.lock().map_or(0, |(pause, _)| pause.as_millis())
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 2000, 2000, 2000]);
        assert!(rest.lasts());
        rest.end();
        assert!(!rest.lasts());
    }
}
