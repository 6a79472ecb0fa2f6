//! How other threads speak to a worker.
//!
//! Not here: what the worker does with an order, see `mod.rs`.
//! Invariant: an order wakes the worker, and orders are obeyed in the order in which they came.
//! Read next: `../control/mod.rs`, which answers by mailbox.

use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use gatepost_core::Ticket;
use mio::Waker;

use crate::server::Held;
use crate::worker::connection::ConnectionId;

/// What a worker can be told.
pub(crate) enum Order {
    /// A host's addresses; none if it has none or nobody could be asked.
    Resolved { id: ConnectionId, answer: Resolved },
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

/// A worker's orders, and the waker of its poll.
pub(crate) struct Mailbox {
    orders: Mutex<Vec<Order>>,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { orders: Mutex::default(), waker }
    }

    /// Leaves an order.
    pub(crate) fn post(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        if let Err(error) = self.waker.wake() {
            log::error!("waking a worker: {error}");
        }
    }

    /// What was left since the last call.
    pub(crate) fn take(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
