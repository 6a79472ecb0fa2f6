//! What clients are told before they log in, where that follows from what backends say.
//!
//! A listener whose capabilities are `"auto"` is replaced when probes of the default destination
//! learn something else; sessions that have begun keep the one they began with. Every other
//! listener stays as it is, and costs nothing.
//!
//! Not here: what is common to lists, see `gatepost_core::survey`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gatepost_core::config::{Destination, Listener, Protocol};
use gatepost_core::survey;

/// The listeners, with what their clients are told.
pub(crate) struct Told {
    listeners: RwLock<Vec<Arc<Listener>>>,
    known: Mutex<Known>,
}

/// What hosts of the default destination can do, by label and protocol.
type Known = HashMap<(Arc<str>, Protocol), Vec<String>>;

impl Told {
    pub(crate) fn new(listeners: Vec<Arc<Listener>>) -> Self {
        Self { listeners: RwLock::new(listeners), known: Mutex::default() }
    }

    /// The listener of that place, as it is now.
    pub(crate) fn listener(&self, index: usize) -> Arc<Listener> {
        Arc::clone(&self.listeners.read().unwrap_or_else(PoisonError::into_inner)[index])
    }

    /// A host of the default destination can do this.
    pub(crate) fn learn(
        &self,
        default: &Destination,
        host: &Arc<str>,
        protocol: Protocol,
        capabilities: Vec<String>,
    ) {
        // Held to the end, so that what was learned last is told last.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(host), protocol);
        if known.get(&key) == Some(&capabilities) {
            return;
        }
        known.insert(key, capabilities);
        let labels = default.hosts.iter().map(|host| Arc::clone(&host.label));
        let lists: Vec<Vec<String>> =
            labels.filter_map(|label| known.get(&(label, protocol)).cloned()).collect();
        let told = survey::shared_by_all(protocol, &lists);
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter_mut().filter(|listener| listener.protocol == protocol) {
            if !listener.advertise_auto {
                continue;
            }
            let mut told = told.clone();
            // That clients may be referred follows from the configuration, not from backends.
            let referrals = listener.advertise.iter().find(|it| it.as_str() == "LOGIN-REFERRALS");
            told.extend(referrals.cloned());
            if listener.advertise != told {
                let words = told.join(" ");
                log::info!("capabilities listener={} learned=\"{words}\"", listener.name);
                Arc::make_mut(listener).advertise = told;
            }
        }
    }
}
