//! A server in nginx's auth_http form: it sees the credentials, and says where the login goes.
//!
//! One request, one connection, as servers in the field expect. The words are the core's
//! (`gatepost_core::route::auth_http`). Where a server cannot be connected to, the next one is
//! asked; once a request is out nobody else is, since the login may have been judged. A server that
//! wants to be asked again later is so by the session, see [`Routing::Later`].
//!
//! Invariants: nothing is kept, and nothing shared between logins; buffers that held a password are
//! wiped; the whole takes `lookup_timeout` at most.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gatepost_core::config::{HttpServer, HttpStore};
use gatepost_core::route::auth_http::{self, Acceptance, AnswerFault, HEAD_MAX, Verdict};
use gatepost_core::secret::Secret;
use gatepost_core::{Denial, Query, Route, Routing};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::outage::{Outage, Rest};
use crate::control::Resolver;
use crate::tls::{self, ClientConfig, ServerName};

/// Requests under way at a time; the others wait for their turn.
const REQUESTS_MAX: usize = 256;

/// The servers of a configuration.
pub(super) struct Judge {
    store: HttpStore,
    servers: Vec<Server>,
    requests: Semaphore,
    timeout: Duration,
}

struct Server {
    at: HttpServer,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    outage: Outage,
    rest: Rest,
}

impl Judge {
    pub(super) fn new(
        store: HttpStore,
        timeout: Duration,
        disable_cipher_suites: &[String],
    ) -> Result<Self, String> {
        let mut servers = Vec::with_capacity(store.servers.len());
        for at in &store.servers {
            let tls = match at.tls {
                true => Some(tls::for_https(&at.host, disable_cipher_suites)?),
                false => None,
            };
            let outage = Outage::of(format!("http at {}", at.authority));
            servers.push(Server { at: at.clone(), tls, outage, rest: Rest::default() });
        }
        Ok(Self { store, servers, requests: Semaphore::new(REQUESTS_MAX), timeout })
    }

    /// What is to become of a login.
    pub(super) async fn ask(&self, query: &Query, resolver: &Resolver) -> Routing {
        let asked = timeout(self.timeout, self.ask_in_turn(query, resolver)).await;
        asked.ok().flatten().unwrap_or(Routing::Unavailable)
    }

    async fn ask_in_turn(&self, query: &Query, resolver: &Resolver) -> Option<Routing> {
        // It is never closed.
        let _turn = self.requests.acquire().await.ok()?;
        let (server, verdict) = self.ask_one(query, resolver).await?;
        match verdict {
            Verdict::Accepted(acceptance) => self.route(query, acceptance, server, resolver).await,
            Verdict::Denied(denial) => Some(Routing::Refused(denial)),
            Verdict::Wait(span) => Some(Routing::Later(span)),
        }
    }

    /// Asks the first server that can be connected to. Those that could not be a moment ago come
    /// last.
    async fn ask_one(&self, query: &Query, resolver: &Resolver) -> Option<(&Server, Verdict)> {
        let (resting, awake): (Vec<&Server>, Vec<&Server>) =
            self.servers.iter().partition(|server| server.rest.lasts());
        let share = self.timeout / u32::try_from(self.servers.len()).unwrap_or(u32::MAX).max(1);
        for server in awake.into_iter().chain(resting) {
            let mut stream = match timeout(share, server.connect(resolver)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    server.unreachable(&error);
                    continue;
                }
                Err(_) => {
                    server.unreachable(&format_args!("no connection within {share:?}"));
                    continue;
                }
            };
            server.rest.end();
            let Some(request) = auth_http::request(query, &self.store, &server.at) else {
                let denial = Denial::with_text("This mechanism is not available here.");
                return Some((server, Verdict::Denied(denial)));
            };
            let verdict = async {
                let received = exchange(&mut stream, &request).await?;
                let head = auth_http::whole_head(&received).unwrap_or_default();
                auth_http::verdict(head, self.store.decode_response)
                    .map_err(|fault| fault.to_string())
            };
            // Told of in time, that is before nobody waits any more.
            let mut told = ToldOnDrop { outage: Some(&server.outage) };
            let verdict = verdict.await;
            told.outage = None;
            return match verdict {
                Ok(verdict) => {
                    server.outage.answered();
                    Some((server, verdict))
                }
                Err(why) => {
                    server.outage.failed(&why);
                    None
                }
            };
        }
        None
    }

    async fn route(
        &self,
        query: &Query,
        accepted: Acceptance,
        server: &Server,
        resolver: &Resolver,
    ) -> Option<Routing> {
        let login = match auth_http::login(&query.login, &accepted) {
            Ok(login) => login,
            Err(fault) => {
                server.outage.failed(&fault);
                return None;
            }
        };
        let addresses = addresses(&accepted.host, resolver).await;
        let Some(address) = addresses.first() else {
            server.outage.failed(&format_args!("\"{}\" has no address", accepted.host));
            return None;
        };
        let at = Some(SocketAddr::new(*address, accepted.port));
        Some(Routing::Found(Route { login, at, ..Route::to(Arc::clone(&self.store.destination)) }))
    }
}

/// Says that a server did not answer in time, where the wait for it is given up.
struct ToldOnDrop<'a> {
    outage: Option<&'a Outage>,
}

impl Drop for ToldOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(outage) = self.outage {
            outage.failed(&"no answer in time");
        }
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

impl Server {
    fn unreachable(&self, why: &dyn fmt::Display) {
        self.outage.failed(why);
        self.rest.begin();
    }

    async fn connect(&self, resolver: &Resolver) -> io::Result<Box<dyn Stream>> {
        let mut error = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in addresses(&self.at.host, resolver).await {
            match TcpStream::connect(SocketAddr::new(address, self.at.port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return match &self.tls {
                        None => Ok(Box::new(stream)),
                        Some((config, name)) => {
                            let encrypted = tls::encrypt(Arc::clone(config), name.clone(), stream);
                            Ok(Box::new(encrypted.await?))
                        }
                    };
                }
                Err(why) => error = why,
            }
        }
        Err(error)
    }
}

async fn addresses(host: &str, resolver: &Resolver) -> Vec<IpAddr> {
    match host.parse() {
        Ok(address) => vec![address],
        Err(_) => resolver.addresses(host).await,
    }
}

/// Sends a request; what was received holds a whole head.
async fn exchange(stream: &mut dyn Stream, request: &Secret) -> Result<Zeroizing<Vec<u8>>, String> {
    stream.write_all(request.expose()).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    // It never grows, so that what it held is wiped as a whole.
    let mut received = Zeroizing::new(Vec::with_capacity(HEAD_MAX));
    while auth_http::whole_head(&received).is_none() {
        if received.len() >= HEAD_MAX {
            return Err(AnswerFault::TooLong.to_string());
        }
        let read = stream.read_buf(&mut *received).await;
        if read.map_err(|error| error.to_string())? == 0 {
            return Err(AnswerFault::CutShort.to_string());
        }
    }
    Ok(received)
}

#[cfg(test)]
mod tests;
