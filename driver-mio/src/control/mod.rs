//! The control thread: what would make a worker wait.
//!
//! Names are resolved and route stores asked here, on a single-threaded tokio runtime, and the
//! answer goes into the worker's mailbox. A slow name server or store delays the sessions that wait
//! for it and nobody else.

mod resolve;

use std::io;
use std::sync::Arc;
use std::thread;

use gatepost_core::config::Normalize;
use gatepost_core::route::plan;
use gatepost_core::{Query, Ticket};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) use self::resolve::Resolver;
use crate::server::site::Site;
use crate::store::Place;
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
    /// Where an account lives.
    Route(Box<RouteQuestion>),
}

/// A login whose account the site's store is asked for.
pub(crate) struct RouteQuestion {
    pub(crate) site: Arc<Site>,
    pub(crate) query: Query,
    /// The form of its name.
    pub(crate) form: Normalize,
    /// What was found before.
    pub(crate) found: plan::Pending,
    /// Given back with the answer.
    pub(crate) place: Place,
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

    /// Asks a store where an account lives, which comes by mailbox. If nobody answers any more, the
    /// session's time for it runs out.
    pub(crate) fn route(
        &self,
        question: RouteQuestion,
        ticket: Ticket,
        id: ConnectionId,
        mailbox: &Arc<Mailbox>,
    ) {
        let (what, mailbox) = (What::Route(Box::new(question)), Arc::clone(mailbox));
        // The thread ends after the last worker.
        let _ = self.questions.send(Question { what, ticket, id, mailbox });
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
            What::Route(question) => {
                let RouteQuestion { site, query, form, found, place } = *question;
                let Some(store) = site.store() else { return };
                let told = store.ask(&query, &resolver).await;
                drop(place);
                let routing = site.follow(form, found, told);
                Order::Routed { id, answer: Routed { ticket, routing } }
            }
        };
        mailbox.post(order);
    }
}
