//! The control thread: what would make a worker wait.
//!
//! Names are resolved and route stores asked here, on a single-threaded tokio runtime, and the
//! answer goes into the worker's mailbox. A slow name server or store delays the sessions that wait
//! for it and nobody else.

mod resolve;

use std::io;
use std::sync::Arc;
use std::thread;

use gatepost_core::{Query, Ticket};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) use self::resolve::Resolver;
use crate::server::site::Site;
use crate::store::{Place, Store};
use crate::worker::connection::ConnectionId;
use crate::worker::mailbox::{Mailbox, Order, Resolved, Routed};

/// A way to the control thread, which ends when the last of them is gone.
#[derive(Clone)]
pub(crate) struct Control {
    questions: UnboundedSender<Question>,
}

/// What a session waits for: one thing at a time.
struct Question {
    what: What,
    ticket: Ticket,
    id: ConnectionId,
    mailbox: Arc<Mailbox>,
}

enum What {
    /// A host's addresses.
    Addresses(String),
    /// Where an account lives. The place is given back with the answer.
    Route(Arc<Site>, Box<Query>, Place),
}

impl Control {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (questions, mut asked) = unbounded_channel::<Question>();
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            let resolver = Resolver::shared();
            let serve = async move {
                while let Some(question) = asked.recv().await {
                    tokio::task::spawn_local(question.answer(resolver.clone()));
                }
            };
            tasks.block_on(&runtime, serve);
            // A lookup that hangs in the operating system must not keep the program.
            runtime.shutdown_background();
        })?;
        Ok(Self { questions })
    }

    /// Asks for a host's addresses, which come by mailbox. False: nobody answers any more.
    pub(crate) fn resolve(
        &self,
        host: &str,
        ticket: Ticket,
        id: ConnectionId,
        mailbox: &Arc<Mailbox>,
    ) -> bool {
        let (what, mailbox) = (What::Addresses(host.to_owned()), Arc::clone(mailbox));
        self.questions.send(Question { what, ticket, id, mailbox }).is_ok()
    }

    /// Asks the site's store where an account lives. False: nobody answers any more, or too many
    /// wait already.
    pub(crate) fn route(
        &self,
        site: &Arc<Site>,
        query: Query,
        ticket: Ticket,
        id: ConnectionId,
        mailbox: &Arc<Mailbox>,
    ) -> bool {
        let Some(place) = site.store().and_then(Store::place) else { return false };
        let what = What::Route(Arc::clone(site), Box::new(query), place);
        self.questions.send(Question { what, ticket, id, mailbox: Arc::clone(mailbox) }).is_ok()
    }
}

impl Question {
    async fn answer(self, resolver: Resolver) {
        let Self { what, ticket, id, mailbox } = self;
        let order = match what {
            What::Addresses(host) => {
                let addresses = resolver.addresses(&host).await;
                Order::Resolved { id, answer: Resolved { ticket, addresses } }
            }
            What::Route(site, query, place) => {
                let Some(store) = site.store() else { return };
                let told = store.ask(&query, &resolver).await;
                drop(place);
                Order::Routed { id, answer: Routed { ticket, routing: site.follow(told) } }
            }
        };
        mailbox.post(order);
    }
}
