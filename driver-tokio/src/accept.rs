//! A listening socket, and a task for each connection that comes of it.
//!
//! Invariants: accepting survives a lack of descriptors without spinning; the tasks end with the
//! future that accepts.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use gatepost_core::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout_at};

use crate::farewell::LINGER;
use crate::gatepost::Gatepost;
use crate::orders::never;

/// How long accepting rests when it cannot succeed.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(
    gatepost: &Gatepost,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) {
    let orders = &gatepost.inner.orders;
    let mut tasks = JoinSet::new();
    let listening = gatepost.inner.own.listening(&listener);
    {
        let mut shutdown = pin!(shutdown);
        let mut ordered = pin!(orders.until_shut_down());
        let mut accepting = pin!(accept(gatepost, &listener, &mut tasks));
        poll_fn(|context| {
            if shutdown.as_mut().poll(context).is_ready()
                || ordered.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            accepting.as_mut().poll(context)
        })
        .await;
    }
    drop((listening, listener));
    gatepost.shutdown();
    let patience = orders.grace_over().map_or_else(never, |over| over + LINGER);
    let all = async { while tasks.join_next().await.is_some() {} };
    // Those that do not come to an end are ended with their set.
    let _ = timeout_at(patience, all).await;
}

async fn accept(gatepost: &Gatepost, listener: &TcpListener, tasks: &mut JoinSet<()>) {
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await.and_then(|(socket, _)| Ok((peer(&socket)?, socket))) {
            Ok((peer, socket)) => {
                // Replies are written whole. A socket that refuses the option is only slower.
                let _ = socket.set_nodelay(true);
                let serving = gatepost.serve(socket, peer);
                tasks.spawn(async move {
                    serving.await;
                });
            }
            Err(error) if is_one_connections(&error) => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Addresses of v4 clients are v4, on a socket for both families too.
fn peer(socket: &TcpStream) -> io::Result<Peer> {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let (client, local) = (canonical(socket.peer_addr()?), canonical(socket.local_addr()?));
    Ok(Peer { client, local })
}

/// Whether the error is one of a connection that came to nothing: the next may be fine.
fn is_one_connections(error: &io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}
