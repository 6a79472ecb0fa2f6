//! Probes of backends: who is looked at when, and what is done with what was found.
//!
//! Every host of a destination with `probe_interval` is looked at, by each protocol, over and over,
//! on a few threads of their own: a host that answers nothing delays others no more than that, and
//! no worker at all. What is found goes to the fleet (is the host up?) and, of the default
//! destination, into what clients are told before they log in.
//!
//! Not here: a look itself, see `look.rs`. Invariant: one look at a host and protocol at a time.

mod look;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gatepost_core::config::Standing;
use gatepost_core::probe::{Finding, Subject, Trouble};

use self::look::Looker;
use crate::log_line;
use crate::server::Shared;

/// Threads that probe, at most.
const THREADS_MAX: usize = 4;

/// The threads that probe. They end when this is dropped.
pub(crate) struct Probers {
    schedule: Arc<Schedule>,
    threads: Vec<JoinHandle<()>>,
}

/// What is looked at.
struct Check {
    subject: Subject,
    interval: Duration,
    /// Its account was refused the last time.
    refused: AtomicBool,
}

struct Schedule {
    checks: Vec<Check>,
    turns: Mutex<Turns>,
    changed: Condvar,
}

/// Which check is due when, by its place.
#[derive(Default)]
struct Turns {
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    stopped: bool,
}

impl Probers {
    /// Begins to look at every host that is to be looked at.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let checks = checks(shared);
        let now = Instant::now();
        let due = (0..checks.len()).map(|place| Reverse((now, place))).collect();
        let threads = checks.len().min(THREADS_MAX);
        let schedule = Arc::new(Schedule {
            checks,
            turns: Mutex::new(Turns { due, stopped: false }),
            changed: Condvar::new(),
        });
        let mut probers = Self { schedule, threads: Vec::new() };
        for number in 0..threads {
            let (schedule, shared) = (Arc::clone(&probers.schedule), Arc::clone(shared));
            let looker = Looker::new()?;
            let thread = thread::Builder::new().name(format!("probes-{number}"));
            probers.threads.push(thread.spawn(move || schedule.run(looker, &shared))?);
        }
        Ok(probers)
    }
}

impl Drop for Probers {
    fn drop(&mut self) {
        self.schedule.turns().stopped = true;
        self.schedule.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a prober ended by a fault in this program");
            }
        }
    }
}

fn checks(shared: &Shared) -> Vec<Check> {
    let mut checks = Vec::new();
    for destination in shared.site.destinations() {
        let Some(probing) = &destination.probing else { continue };
        let login = shared.site.probe_login(&destination.name);
        for host in destination.hosts.iter().filter(|host| host.standing != Standing::Down) {
            for (protocol, _) in &destination.endpoints {
                let subject = Subject {
                    destination: Arc::clone(destination),
                    host: Arc::clone(host),
                    protocol: *protocol,
                    login: login.clone(),
                };
                let refused = AtomicBool::new(false);
                checks.push(Check { subject, interval: probing.interval, refused });
            }
        }
    }
    checks
}

impl Schedule {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut looker: Looker, shared: &Shared) {
        while let Some((due, place)) = self.next() {
            let check = &self.checks[place];
            let found = looker.look(check.subject.clone(), shared, || self.turns().stopped);
            if let Some(finding) = found {
                check.take(finding, shared);
            }
            // What took longer than its interval is not made up for.
            let next = (due + check.interval).max(Instant::now());
            self.turns().due.push(Reverse((next, place)));
            self.changed.notify_one();
        }
    }

    /// Waits for the next check that is due; none: it is over.
    fn next(&self) -> Option<(Instant, usize)> {
        let mut turns = self.turns();
        loop {
            if turns.stopped {
                return None;
            }
            let now = Instant::now();
            let first = turns.due.peek().map(|Reverse((due, _))| *due);
            turns = match first {
                Some(due) if due <= now => return turns.due.pop().map(|Reverse(turn)| turn),
                Some(due) => {
                    let waited = self.changed.wait_timeout(turns, due - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Check {
    fn take(&self, finding: Finding, shared: &Shared) {
        let Subject { destination, host, protocol, .. } = &self.subject;
        let place = (&**destination, &**host, *protocol);
        if let Some(works) = finding.works() {
            shared.probed(place, works);
        }
        let refused = matches!(finding.fault, Some((Trouble::Refused, _)));
        let told = self.refused.swap(refused, Ordering::Relaxed);
        if let Some((trouble, state)) = finding.fault
            && !(refused && told)
        {
            log_line::probe_failed(place, trouble, state, shared.format());
        }
        if let Some(capabilities) = finding.capabilities {
            shared.surveyed(destination, &host.label, *protocol, capabilities);
        }
    }
}
