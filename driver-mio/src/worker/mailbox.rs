//! How other threads speak to a worker.
//!
//! Not here: what the worker does with an order, see `mod.rs`.
//! Invariant: an order wakes the worker, and orders are obeyed in the order in which they came;
//! an order to a worker that has ended is dropped, and with it whatever it would answer by.
//! Read next: `../control/mod.rs`, which answers by mailbox.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use gatepost_core::{Routing, Ticket};
use mio::Waker;

use crate::server::Held;
use crate::worker::connection::ConnectionId;

/// What a worker can be told.
pub(crate) enum Order {
    /// A host's addresses; none if it has none or nobody could be asked.
    Resolved { id: ConnectionId, answer: Resolved },
    /// Where an account lives, or what else becomes of its login.
    Routed { id: ConnectionId, answer: Routed },
    /// Accept nothing more, say goodbye, and return when all is gone.
    Drain,
    /// End the session of this seed, or every session.
    Kick(Option<u64>),
    /// Say what idle sessions hold.
    Report(Sender<Held>),
    /// Return now.
    Stop,
}

/// The answer to a question of a step.
pub(crate) struct Resolved {
    pub(crate) ticket: Ticket,
    pub(crate) addresses: Vec<IpAddr>,
}

/// The answer to a question for a route.
pub(crate) struct Routed {
    pub(crate) ticket: Ticket,
    pub(crate) routing: Routing,
}

/// A worker's orders, and the waker of its poll.
pub(crate) struct Mailbox {
    /// None: nobody reads them any more.
    orders: Mutex<Option<Vec<Order>>>,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { orders: Mutex::new(Some(Vec::new())), waker }
    }

    /// Leaves an order, or drops it if the worker has ended.
    pub(crate) fn post(&self, order: Order) {
        match &mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(orders) => orders.push(order),
            None => return,
        }
        if let Err(error) = self.waker.wake() {
            log::error!("waking a worker: {error}");
        }
    }

    /// What was left since the last call.
    pub(crate) fn take(&self) -> Vec<Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Drops what was left and what will be, so that nobody waits for an answer.
    pub(crate) fn close(&self) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
