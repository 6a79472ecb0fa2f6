//! Dropping a session's future, wherever it stands, leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatepost_tokio::{
    ConnectFault, Connected, Connector, Gatepost, Request, Routing, Serving, Target, to,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use gatepost_tokio::config::{Host, Listener, TlsMode};
use stage::{Counting, Counts, Relayed, begin, builder, home, line, log_in, open_listener};

fn one_place() -> Listener {
    let mut listener = open_listener();
    listener.max_connections = 1;
    listener
}

/// Notes when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn is_closed(stream: &mut DuplexStream) -> bool {
    stream.read(&mut [0; 64]).await.unwrap() == 0
}

/// The only place is free, so that somebody else is greeted.
async fn is_greeted(gatepost: &Gatepost) -> bool {
    let (mut client, serving) = begin(gatepost);
    let session = tokio::spawn(serving);
    let greeted = line(&mut client).await.starts_with("* OK ");
    session.abort();
    greeted
}

#[tokio::test]
async fn a_relay_closes_both_sides_and_frees_its_place() {
    let counts = Arc::new(Counts::default());
    let (builder, mut backends) = builder(one_place());
    let gatepost = builder.observer(Counting(Arc::clone(&counts))).build().unwrap();
    let Relayed { mut client, mut backend, session } = log_in(&gatepost, &mut backends).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1, "a session spawns nothing");
    {
        let (mut turned_away, serving) = begin(&gatepost);
        let refused = tokio::spawn(serving);
        assert!(line(&mut turned_away).await.starts_with("* BYE "), "the only place is taken");
        drop(turned_away);
        assert_eq!(
            refused.await.unwrap().close.to_string(),
            "by=proxy reason=too-many-connections state=admit"
        );
    }
    session.abort();
    assert!(session.await.unwrap_err().is_cancelled());
    assert!(is_closed(&mut client).await && is_closed(&mut backend).await);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
    assert!(is_greeted(&gatepost).await);
    let told = counts.ended.lock().unwrap();
    assert_eq!(told[1], "by=operator reason=kicked state=relay", "{told:?}");
}

#[tokio::test]
async fn a_lookup_is_dropped() {
    let (dropped, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (flag, ask) = (Arc::clone(&dropped), Arc::clone(&asked));
    let router = move |_: Request| {
        let held = Dropped(Arc::clone(&flag));
        ask.notify_one();
        async move {
            let _held = held;
            pending::<Routing>().await
        }
    };
    let gatepost = Gatepost::builder(one_place(), router).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    let session = tokio::spawn(serving);
    line(&mut client).await;
    client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
    asked.notified().await;
    assert!(!dropped.load(Ordering::Relaxed));
    session.abort();
    assert!(is_closed(&mut client).await);
    assert!(dropped.load(Ordering::Relaxed));
    assert!(is_greeted(&gatepost).await);
}

/// Never gets there.
struct Nowhere(Arc<AtomicBool>, Arc<Notify>);

impl Connector for Nowhere {
    type Stream = DuplexStream;

    async fn connect(
        &self,
        _: Target,
        _: Arc<Host>,
    ) -> Result<Connected<DuplexStream>, ConnectFault> {
        let _held = Dropped(Arc::clone(&self.0));
        self.1.notify_one();
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_attempt_is_dropped_with_its_session_and_with_its_time() {
    for abort in [true, false] {
        let (dropped, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let connector = Nowhere(Arc::clone(&dropped), Arc::clone(&asked));
        let home = home(TlsMode::Plain);
        let router = move |_: Request| {
            let answer = to(&home);
            async move { answer }
        };
        let gatepost = Gatepost::builder(one_place(), router).connector(connector).build().unwrap();
        let (mut client, serving) = begin(&gatepost);
        let session = tokio::spawn(serving);
        line(&mut client).await;
        client.write_all(b"a LOGIN alice secret\r\n").await.unwrap();
        asked.notified().await;
        assert!(!dropped.load(Ordering::Relaxed));
        if abort {
            session.abort();
            assert!(is_closed(&mut client).await);
        } else {
            // Time passes by itself while everybody waits: two attempts, and signs of life.
            let mut heard = line(&mut client).await;
            while heard.starts_with("* ") {
                heard = line(&mut client).await;
            }
            assert!(heard.starts_with("a NO [UNAVAILABLE]"), "{heard}");
            asked.notified().await;
        }
        assert!(dropped.load(Ordering::Relaxed));
    }
}

#[tokio::test]
async fn a_future_that_was_never_polled_has_done_nothing() {
    let counts = Arc::new(Counts::default());
    let (builder, _backends) = builder(one_place());
    let gatepost = builder.observer(Counting(Arc::clone(&counts))).build().unwrap();
    let (mut client, serving) = begin(&gatepost);
    drop(serving);
    assert!(is_closed(&mut client).await);
    assert!(counts.ended.lock().unwrap().is_empty(), "it has not begun");
}

#[tokio::test]
async fn the_sessions_of_a_listener_end_with_the_future_that_accepts() {
    let (builder, _backends) = builder(open_listener());
    let gatepost = builder.build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn({
        let gatepost = gatepost.clone();
        async move { gatepost.serve_listener(listener, pending()).await }
    });
    let mut client = TcpStream::connect(address).await.unwrap();
    assert!(line(&mut client).await.starts_with("* OK "));
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[test]
fn a_session_may_be_spawned_and_is_small_until_it_is_polled() {
    const fn sendable<T: Send + 'static>() {}
    sendable::<Serving>();
    assert!(size_of::<Serving>() <= 32);
}
