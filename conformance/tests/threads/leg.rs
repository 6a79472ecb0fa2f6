//! One connection of the threaded driver, plain or with TLS.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;

use gatepost_conformance::script::Plan;
use gatepost_core::config::{Destination, Host};
use gatepost_core::{TlsFacts, TlsFault, TlsRole};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection,
};

/// A connection whose socket does not block.
pub(crate) struct Leg {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    read_cap: usize,
    unsent: Vec<u8>,
    /// What came before the handshake began, and belongs to it.
    early: Vec<u8>,
}

/// What came of a look at a leg.
pub(crate) enum Came {
    Nothing,
    Octets(Vec<u8>),
    Eof,
    Broken,
}

/// How far a handshake is.
pub(crate) enum Shake {
    Going,
    Up(TlsFacts),
    Failed(TlsFault),
}

impl Leg {
    pub(crate) fn new(socket: TcpStream, read_cap: Option<usize>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let read_cap = read_cap.unwrap_or(usize::MAX);
        Ok(Self { socket, tls: None, read_cap, unsent: Vec::new(), early: Vec::new() })
    }

    pub(crate) fn start_tls(&mut self, role: &TlsRole, plan: &Plan, early: Vec<u8>) {
        self.flush_all();
        self.early = early;
        self.tls = Some(Box::new(match role {
            TlsRole::Server => {
                server(&plan.certificate, &plan.key, &[plan.listener.protocol.name()])
            }
            TlsRole::Balancer => server(&plan.balancer_certificate, &plan.balancer_key, &[]),
            TlsRole::Client(destination, host) => client(destination, host),
        }));
    }

    pub(crate) fn shake(&mut self) -> Shake {
        let Some(tls) = &mut self.tls else { return Shake::Failed(TlsFault::Setup) };
        let mut input = Input { early: &mut self.early, socket: &self.socket, cap: self.read_cap };
        let read = tls.read_tls(&mut input);
        let verdict = tls.process_new_packets();
        while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
        let server_name = match &**tls {
            Connection::Server(server) => server.server_name().map(String::from),
            Connection::Client(_) => None,
        };
        match (read, verdict) {
            (_, Err(error)) => Shake::Failed(fault(&error)),
            (_, Ok(_)) if !tls.is_handshaking() => {
                Shake::Up(TlsFacts { server_name, ..agreed(tls) })
            }
            (Ok(0), _) => Shake::Failed(TlsFault::Closed),
            (Err(error), _) if error.kind() != ErrorKind::WouldBlock => {
                Shake::Failed(TlsFault::Closed)
            }
            (Ok(_) | Err(_), Ok(_)) => Shake::Going,
        }
    }

    pub(crate) fn read(&mut self, room: usize) -> Came {
        let mut buffer = [0; 4096];
        let limit = buffer.len().min(room).min(self.read_cap);
        if limit == 0 {
            return Came::Nothing;
        }
        let result = match &mut self.tls {
            None => self.socket.read(&mut buffer[..limit]),
            Some(tls) => {
                let early = &mut self.early;
                let mut input = Input { early, socket: &self.socket, cap: self.read_cap };
                read_tls(tls, &mut input, &mut buffer[..limit])
            }
        };
        match result {
            Ok(0) => Came::Eof,
            Ok(count) => Came::Octets(buffer[..count].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
            Err(_) => Came::Broken,
        }
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(octets).expect("a buffer without a limit"),
            None => self.unsent.extend_from_slice(octets),
        }
        self.flush();
    }

    /// Whether all is with the kernel.
    pub(crate) fn flush(&mut self) -> bool {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
            return !tls.wants_write();
        }
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.unsent.clear(),
            }
        }
        true
    }

    pub(crate) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush_all();
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends and reads what still comes, so that no reset destroys what was said.
    pub(crate) fn close(mut self) {
        self.end();
        let _ = self.socket.set_nonblocking(false);
        let _ = io::copy(&mut self.socket.take(1 << 20), &mut io::sink());
    }

    fn flush_all(&mut self) {
        let _ = self.socket.set_nonblocking(false);
        self.flush();
        let _ = self.socket.set_nonblocking(true);
    }
}

/// What came before the handshake, then the socket, a little at a time.
struct Input<'a> {
    early: &'a mut Vec<u8>,
    socket: &'a TcpStream,
    cap: usize,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(self.cap);
        if self.early.is_empty() {
            return self.socket.read(&mut buffer[..limit]);
        }
        let count = limit.min(self.early.len());
        buffer[..count].copy_from_slice(&self.early[..count]);
        self.early.drain(..count);
        Ok(count)
    }
}

/// Reads until there is something to give away, or nothing more to read: a look that brought a part
/// of a record is no reason to rest.
fn read_tls(tls: &mut Connection, input: &mut Input<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
        if tls.read_tls(input)? == 0 {
            return tls.reader().read(buffer);
        }
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}

fn agreed(tls: &Connection) -> TlsFacts {
    let suite = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    TlsFacts {
        version: match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        // rustls has names of its own for the suites of TLS 1.3.
        cipher: match suite {
            Some("TLS13_AES_256_GCM_SHA384") => "TLS_AES_256_GCM_SHA384",
            other => other.unwrap_or_default(),
        },
        alpn: tls.alpn_protocol().map(Into::into),
        ..TlsFacts::default()
    }
}

fn server(certificate: &Path, key: &Path, alpn: &[&str]) -> Connection {
    let chain = CertificateDer::from_pem_file(certificate).expect("the plan's certificate");
    let key = PrivateKeyDer::from_pem_file(key).expect("the plan's key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("a certificate with its key");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    ServerConnection::new(Arc::new(config)).expect("a fresh connection").into()
}

fn client(destination: &Destination, host: &Host) -> Connection {
    let path = destination.tls_ca_file.as_ref().expect("the plan's authorities");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).expect("a certificate")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = destination.tls_name(host).to_owned();
    let name = ServerName::try_from(name).expect("a host");
    ClientConnection::new(Arc::new(config), name).expect("a fresh connection").into()
}

fn fault(error: &rustls::Error) -> TlsFault {
    if matches!(error, rustls::Error::InvalidCertificate(_)) {
        TlsFault::Certificate
    } else if matches!(error, rustls::Error::AlertReceived(_)) {
        TlsFault::Alert
    } else {
        TlsFault::Protocol
    }
}
