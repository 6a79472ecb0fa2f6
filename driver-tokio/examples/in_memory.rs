//! Client, proxy and backend in one program without a socket, as a test of an embedder would be.
//!
//! `cargo run -p gatepost-tokio --example in_memory`

use std::error::Error;
use std::io;
use std::sync::Arc;

use gatepost_tokio::config::{Host, Protocol, TlsMode};
use gatepost_tokio::{
    ConnectFault, Connected, Connector, Gatepost, Peer, Request, Target, destination, listener, to,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

/// Every connection to a backend is a pair of streams, and a task plays the backend.
struct InMemory;

impl Connector for InMemory {
    type Stream = DuplexStream;

    async fn connect(
        &self,
        _: Target,
        _: Arc<Host>,
    ) -> Result<Connected<DuplexStream>, ConnectFault> {
        let (near, far) = duplex(4096);
        tokio::spawn(backend(far));
        Ok(Connected::new(near, ([192, 0, 2, 143], 143).into(), ([192, 0, 2, 1], 49152).into()))
    }
}

/// A backend that takes one login and answers every other command with OK.
async fn backend(stream: DuplexStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] backend\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        println!("backend < {}", line.trim_end());
        let tag = line.split(' ').next().unwrap_or("*");
        let answer = format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n");
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let home = Arc::new(destination("backend.test", 143, Protocol::Imap, TlsMode::Plain)?);
    let route = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    let mut imap = listener(Protocol::Imap, TlsMode::Plain)?;
    imap.cleartext_without_tls = true;
    let gatepost = Gatepost::builder(imap, route).connector(InMemory).build()?;

    let (client, served) = duplex(4096);
    let peer = Peer { client: "192.0.2.7:50123".parse()?, local: "198.51.100.1:143".parse()? };
    let session = tokio::spawn(gatepost.serve(served, peer));

    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).await?;
    for command in ["a LOGIN alice@example.com secret", "b NOOP"] {
        println!("client  > {command}");
        client.write_all(format!("{command}\r\n").as_bytes()).await?;
        line.clear();
        client.read_line(&mut line).await?;
        println!("client  < {}", line.trim_end());
    }
    drop(client);

    let ended = session.await?;
    let user = ended.session.user.escape_ascii();
    println!("{user} was served: {}, {} octets up", ended.close, ended.session.from_client);
    Ok(())
}
