//! A router that does not know yet.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gatepost_tokio::config::TlsMode;
use gatepost_tokio::{Denial, Gatepost, Observer, Refusal, Request, Routing, SessionFacts, to};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use stage::{InMemory, begin, home, line, open_listener, take_login};

#[tokio::test(start_paused = true)]
async fn a_login_that_is_put_off_is_asked_for_again() {
    let asked = Arc::new(AtomicU32::new(0));
    let (home, count) = (home(TlsMode::Plain), Arc::clone(&asked));
    let router = move |request: Request| {
        assert_eq!(request.query.attempt, 1, "it is the same login");
        let answer = match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Routing::Later(Duration::from_secs(15)),
            _ => to(&home),
        };
        async move { answer }
    };
    let (sender, mut backends) = mpsc::channel(1);
    let gatepost =
        Gatepost::builder(open_listener(), router).connector(InMemory(sender)).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    // Time passes by itself while everybody waits.
    let mut backend = backends.recv().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    take_login(&mut backend).await;
    let mut heard = line(&mut client).await;
    while heard.starts_with("* ") {
        assert_eq!(heard, "* OK Still working\r\n");
        heard = line(&mut client).await;
    }
    assert_eq!(heard, "a OK [CAPABILITY IMAP4rev1] in\r\n");
}

/// Counts refusals.
struct Refusals(Arc<AtomicU32>);

impl Observer for Refusals {
    fn login_refused(&self, _: &SessionFacts, refusal: Refusal) {
        assert_eq!(refusal, Refusal::Credentials);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Otherwise nobody who leaves in time would ever have given a wrong password.
#[tokio::test(start_paused = true)]
async fn a_denial_that_is_held_back_counts_although_nobody_stays_to_hear_it() {
    let hold = Some(Duration::from_secs(60));
    let denial = Denial { judged: true, hold, ..Denial::with_text("no") };
    let router = move |_: Request| {
        let denial = denial.clone();
        async move { Routing::Refused(denial) }
    };
    let refusals = Arc::new(AtomicU32::new(0));
    let builder = Gatepost::builder(open_listener(), router);
    let gatepost = builder.observer(Refusals(Arc::clone(&refusals))).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    let serving = tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice wrong\r\n").await.unwrap();
    // Long enough for the answer to be there, and not for the client to hear it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(refusals.load(Ordering::Relaxed), 0);
    gatepost.kick_all();
    serving.await.unwrap();
    assert_eq!(refusals.load(Ordering::Relaxed), 1);
}
