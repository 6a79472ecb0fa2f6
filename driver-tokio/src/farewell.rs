//! The end of a session: flush, close_notify, FIN, then read and forget.
//!
//! Not here: why it ends; the session or the relay said so.
//! Invariants: what was written reaches a peer that takes it, because nothing it still sends
//! provokes a reset; and a peer that neither takes nor ends costs no more than the two spans below.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dialogue::Legs;
use crate::leg::Leg;

/// How long a peer may take to accept what was written to it.
const FLUSH: Duration = Duration::from_secs(30);
/// How long a peer may take to end its side once it has everything.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How far a goodbye is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Something is to be taken yet.
    Sending,
    /// The peer has all, and has not ended.
    Lingering,
    Done,
}

/// Says goodbye on every leg that is still good, and drops each as it is done.
pub(crate) async fn run(mut legs: Legs) {
    for leg in [&mut legs.client, &mut legs.backend] {
        leg.take_if(|leg| leg.is_broken());
    }
    let mut timer = pin!(sleep(FLUSH));
    let mut lingering = false;
    poll_fn(|context| {
        let progress = [&mut legs.client, &mut legs.backend].map(|leg| go_on(leg, context));
        if progress == [Progress::Done; 2] {
            return Poll::Ready(());
        }
        if !lingering && !progress.contains(&Progress::Sending) {
            lingering = true;
            timer.as_mut().reset(Instant::now() + LINGER);
        }
        timer.as_mut().poll(context)
    })
    .await;
}

fn go_on(slot: &mut Option<Leg>, context: &mut Context<'_>) -> Progress {
    let Some(leg) = slot else { return Progress::Done };
    if leg.poll_end(context).is_pending() {
        return Progress::Sending;
    }
    if leg.poll_discard(context).is_pending() {
        return Progress::Lingering;
    }
    *slot = None;
    Progress::Done
}
