//! The control thread: what would make a worker wait.
//!
//! Names are resolved here, on a single-threaded tokio runtime, and the answer goes into the
//! worker's mailbox. A slow name server delays the sessions that wait for it and nobody else.

mod resolve;

use std::io;
use std::sync::Arc;
use std::thread;

use gatepost_core::Ticket;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::resolve::Resolver;
use crate::worker::connection::ConnectionId;
use crate::worker::mailbox::{Mailbox, Order, Resolved};

/// A way to the control thread, which ends when the last of them is gone.
#[derive(Clone)]
pub(crate) struct Control {
    questions: UnboundedSender<Question>,
}

/// A session that waits for addresses. There is at most one for each session.
struct Question {
    host: String,
    ticket: Ticket,
    id: ConnectionId,
    mailbox: Arc<Mailbox>,
}

impl Control {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (questions, mut asked) = unbounded_channel::<Question>();
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            let tasks = tokio::task::LocalSet::new();
            let resolver = Resolver::shared();
            let serve = async move {
                while let Some(question) = asked.recv().await {
                    let resolver = resolver.clone();
                    tokio::task::spawn_local(async move {
                        let addresses = resolver.addresses(&question.host).await;
                        let answer = Resolved { ticket: question.ticket, addresses };
                        question.mailbox.post(Order::Resolved { id: question.id, answer });
                    });
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
        let mailbox = Arc::clone(mailbox);
        self.questions.send(Question { host: host.to_owned(), ticket, id, mailbox }).is_ok()
    }
}
