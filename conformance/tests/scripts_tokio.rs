//! Every byte script that sockets can produce, over the tokio library, with real TLS.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use gatepost_conformance::script::{self, Order, Place, Plan, Served};
use gatepost_tokio::config::{Destination, Host, Protocol};
use gatepost_tokio::{
    Accepted, ConnectFault, Connected, Connector, Gatepost, Request, Target, TlsFault,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

#[test]
fn scripts_over_the_tokio_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let outcome =
        script::run_over_sockets(&folder, Place::Tokio, &start).expect("readable scripts");
    for failure in &outcome.failures {
        println!("{failure}");
    }
    println!("{} scripts, {} runs", outcome.scripts, outcome.runs);
    println!("in the core only: {:?}", outcome.core_only);
    println!("{} skipped, {} failed", outcome.skipped.len(), outcome.failures.len());
    assert!(outcome.failures.is_empty(), "{} scripts failed", outcome.failures.len());
    assert!(outcome.runs > 0 || std::env::var_os("SCRIPT").is_some(), "no script was run");
}

/// A server for one run of one script: a thread with a runtime.
struct OneRun {
    address: SocketAddr,
    gatepost: Gatepost,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served for OneRun {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Drain => self.gatepost.shutdown(),
            Order::Kick => self.gatepost.kick_all(),
        }
    }
}

impl Drop for OneRun {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn start(plan: Plan) -> io::Result<Box<dyn Served>> {
    let gatepost = gatepost(&plan)?;
    let given = gatepost.clone();
    let (stop, stopped) = oneshot::channel();
    let (bound, binds) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(plan.listener.bind[0]).await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                _ = stopped => {}
                () = accept(&given, &listener, &plan) => {}
            }
        });
    });
    let address = binds.recv().map_err(io::Error::other)?;
    Ok(Box::new(OneRun { address, gatepost, stop: Some(stop), thread: Some(thread) }))
}

async fn accept(gatepost: &Gatepost, listener: &TcpListener, plan: &Plan) {
    let mut sessions = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let stream = Capped { socket, octets: plan.read_cap };
        sessions.spawn(gatepost.serve(stream, Accepted::new(plan.peer).seed(plan.seed)));
    }
}

fn gatepost(plan: &Plan) -> io::Result<Gatepost> {
    let lookup = Arc::clone(&plan.route);
    let router = move |request: Request| {
        let routing = lookup(request.query.identifier.as_deref());
        async move { routing }
    };
    // Drains in scripts let relays live.
    Gatepost::builder(plan.listener.clone(), router)
        .connector(Scripted(plan.clone()))
        .tls(server(&plan.certificate, &plan.key, &[plan.listener.protocol.name()])?)
        .balancer_tls(server(&plan.balancer_certificate, &plan.balancer_key, &[])?)
        .backend_tls(client)
        .shutdown_grace(std::time::Duration::from_secs(3600))
        .remember_capabilities(false)
        .host_down(plan.host_down)
        .build()
        .map_err(io::Error::other)
}

/// Connects where the script says.
struct Scripted(Plan);

impl Connector for Scripted {
    type Stream = Capped;

    async fn connect(
        &self,
        target: Target,
        host: Arc<Host>,
    ) -> Result<Connected<Capped>, ConnectFault> {
        let plan = &self.0;
        let endpoint = target.destination.endpoint(target.protocol).unwrap();
        let address = (plan.resolve)(&host.name, endpoint.port_on(&host))?;
        let socket = TcpStream::connect(address).await.map_err(|_| ConnectFault::Refused)?;
        socket.set_nodelay(true).unwrap();
        let local = socket.local_addr().unwrap();
        let stream = Capped { socket, octets: plan.read_cap };
        let mut connected = Connected::new(stream, address, local);
        connected.remembered = plan.remembered.clone();
        Ok(connected)
    }
}

fn server(certificate: &Path, key: &Path, alpn: &[&str]) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![chain], key));
    let mut config = config.map_err(io::Error::other)?;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn client(destination: &Destination, _: Protocol) -> Result<Arc<ClientConfig>, TlsFault> {
    let path = destination.tls_ca_file.as_ref().ok_or(TlsFault::Setup)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A socket that gives away a few octets at a time.
struct Capped {
    socket: TcpStream,
    octets: Option<usize>,
}

impl AsyncRead for Capped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        let mut part = buffer.take(self.octets.unwrap_or(room));
        let polled = Pin::new(&mut self.socket).poll_read(context, &mut part);
        let filled = part.filled().to_vec();
        buffer.put_slice(&filled);
        polled
    }
}

impl AsyncWrite for Capped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
