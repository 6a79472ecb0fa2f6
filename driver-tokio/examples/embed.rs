//! A mail proxy inside a program: a closure says where accounts live.
//!
//! `cargo run -p gatepost-tokio --example embed -- HOST PORT [LISTEN]`, where HOST and PORT are an
//! IMAP server's that takes logins without TLS, such as one of those that
//! `cargo run --bin demo` starts. Then `curl imap://127.0.0.1:1143/INBOX -u USER:PASSWORD`.

use std::error::Error;
use std::sync::Arc;

use gatepost_tokio::config::{Protocol, TlsMode};
use gatepost_tokio::{Gatepost, Request, destination, listener, to};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, rest @ ..] = &arguments[..] else { return Err("HOST PORT [LISTEN]".into()) };
    let listen = rest.first().map_or("127.0.0.1:1143", String::as_str);

    let backend = destination(host, port.parse()?, Protocol::Imap, TlsMode::Plain)?;
    let backend = Arc::new(backend);
    let route = move |request: Request| {
        let account = request.query.identifier.unwrap_or_default();
        println!("{} from {}", account.escape_ascii(), request.peer.client);
        let answer = to(&backend);
        async move { answer }
    };
    let mut imap = listener(Protocol::Imap, TlsMode::Plain)?;
    imap.cleartext_without_tls = true; // for trying out; with `tls` there is no need

    let gatepost = Gatepost::builder(imap, route).build()?;
    let socket = TcpListener::bind(listen).await?;
    println!("IMAP on {}, until Ctrl-C", socket.local_addr()?);
    gatepost.serve_listener(socket, async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}
