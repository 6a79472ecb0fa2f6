//! Where accounts live: the embedder's answer, or the core's file map.
//!
//! Not here: normalisation of names; the core has done it by the listener's settings before
//! anybody is asked. Read next: `connect.rs`, which goes where a route leads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gatepost_core::config::{Config, Destination, Listener, MappingSource, Normalize};
use gatepost_core::route::plan::{Plan, Progress, UnfitStep};
use gatepost_core::route::table::{FileMap, MapFault};
use gatepost_core::{Peer, Query, Route, Routing, TlsFacts};

/// Says where an account lives.
///
/// Implemented for closures that give a future, and by [`FileRouter`] for the core's file map.
///
/// ```
/// use std::sync::Arc;
///
/// use gatepost_tokio::config::{Destination, Protocol, TlsMode};
/// use gatepost_tokio::{Request, Router, Routing, destination, to};
///
/// /// Accounts of one domain live on a server of their own.
/// struct ByDomain {
///     old: Arc<Destination>,
///     new: Arc<Destination>,
/// }
///
/// impl Router for ByDomain {
///     async fn route(&self, request: Request) -> Routing {
///         match request.query.identifier {
///             Some(account) if account.ends_with(b"@new.example") => to(&self.new),
///             Some(_) => to(&self.old),
///             None => Routing::Unavailable,
///         }
///     }
/// }
///
/// # fn build() -> Result<(), gatepost_tokio::Unfit> {
/// let old = destination("old.internal", 993, Protocol::Imap, TlsMode::Implicit)?;
/// let new = destination("new.internal", 993, Protocol::Imap, TlsMode::Implicit)?;
/// let router = ByDomain { old: Arc::new(old), new: Arc::new(new) };
/// # let _ = router;
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
///
/// The answer is awaited for as long as the listener's `lookup_timeout`; after that the client
/// hears of an outage. The future is dropped when its session ends or asks anew, at any of its
/// awaits.
pub trait Router: Send + Sync + 'static {
    /// Answers one query. [`Routing::Unavailable`] stands for an outage: nobody could be asked.
    /// After [`Routing::Later`] the same query comes again.
    fn route(&self, request: Request) -> impl Future<Output = Routing> + Send;
}

impl<F, Fut> Router for F
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Routing> + Send,
{
    fn route(&self, request: Request) -> impl Future<Output = Routing> + Send {
        self(request)
    }
}

/// A query, and what is known of the client that makes it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// Account, login, protocol and the client's address.
    pub query: Query,
    /// Both ends of the client's connection.
    pub peer: Peer,
    /// What TLS with the client agreed on; none: it speaks plaintext.
    pub tls: Option<TlsFacts>,
    /// Where the client connected.
    pub listener: Arc<Listener>,
}

/// The answer that an account lives there.
pub fn to(destination: &Arc<Destination>) -> Routing {
    Routing::Found(Route::to(Arc::clone(destination)))
}

/// Routes by the core's file map, and by a default for whom it does not know.
///
/// ```
/// use std::sync::Arc;
///
/// use gatepost_tokio::config::{Normalize, Protocol, TlsMode};
/// use gatepost_tokio::{FileMap, FileRouter, destination};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// # let at = |host| destination(host, 993, Protocol::Imap, TlsMode::Implicit).unwrap();
/// let mut old = at("old.internal");
/// old.name = "old".into();
/// let mut new = at("new.internal");
/// new.name = "new".into();
/// let destinations = vec![Arc::new(old), Arc::new(new)];
///
/// let text = b"alice@example.com new\nbob@example.com old\n";
/// let map = FileMap::parse(text, &["old", "new"], Normalize::Lowercase).map_err(|fault| {
///     fault.to_string()
/// })?;
/// let router = FileRouter::new(map, destinations).default_to("old");
/// # let _ = router;
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
#[derive(Debug)]
pub struct FileRouter {
    map: FileMap,
    destinations: Vec<Arc<Destination>>,
    default: Option<Arc<Destination>>,
}

impl FileRouter {
    /// A router by a map that was parsed with the names of these destinations, in this order.
    pub const fn new(map: FileMap, destinations: Vec<Arc<Destination>>) -> Self {
        Self { map, destinations, default: None }
    }

    /// Sends those that the map does not know to the destination of that name. Without it, or if
    /// there is no such destination, they hear of an outage.
    #[must_use]
    pub fn default_to(mut self, name: &str) -> Self {
        self.default = self.destinations.iter().find(|known| known.name == name).cloned();
        self
    }

    fn find(&self, account: Option<&[u8]>) -> Routing {
        let found = account.and_then(|account| self.map.find(account));
        let found = found.and_then(|hit| self.destinations.get(hit.destination));
        found.or(self.default.as_ref()).map_or(Routing::Unavailable, to)
    }
}

impl Router for FileRouter {
    async fn route(&self, request: Request) -> Routing {
        self.find(request.query.identifier.as_deref())
    }
}

/// Routes as a configuration says: by its steps, its file map and its default destination.
///
/// ```
/// use gatepost_tokio::{PlanRouter, config};
///
/// # fn build() -> Result<(), Box<dyn std::error::Error>> {
/// # const TEXT: &str = include_str!("../../config-examples/migration-by-steps.toml");
/// # const MAP: &[u8] = include_bytes!("../../config-examples/migration-by-steps.map");
/// let (config, _) = config::parse(TEXT).map_err(|faults| faults[0].to_string())?;
/// let router = PlanRouter::new(&config, MAP)?;
/// # let _ = router;
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
#[derive(Debug)]
pub struct PlanRouter {
    /// One for each form of names that a listener uses.
    plans: Vec<(Normalize, Plan)>,
}

/// Why a configuration makes no router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanFault {
    /// The step of that line can be nobody's name.
    Step(usize),
    /// A line of the map cannot be used.
    Map(MapFault),
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(line) => write!(f, "the step of line {line} can be nobody's name"),
            Self::Map(fault) => write!(f, "map, {fault}"),
        }
    }
}

impl std::error::Error for PlanFault {}

impl PlanRouter {
    /// A router for the clients of a configuration's listeners. `map`: what its map file holds,
    /// where it names one.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be used.
    pub fn new(config: &Config, map: &[u8]) -> Result<Self, PlanFault> {
        let names: Vec<&str> = config.destinations.iter().map(|it| it.name.as_str()).collect();
        let mut plans: Vec<(Normalize, Plan)> = Vec::new();
        for form in config.listeners.iter().map(|listener| listener.normalize) {
            if plans.iter().any(|(known, _)| *known == form) {
                continue;
            }
            let plan = Plan::new(config, form);
            let mut plan = plan.map_err(|UnfitStep { line }| PlanFault::Step(line))?;
            if let MappingSource::File { .. } = config.mapping.source {
                let map = FileMap::parse(map, &names, form).map_err(PlanFault::Map)?;
                plan.set_map(Arc::new(map));
            }
            plans.push((form, plan));
        }
        Ok(Self { plans })
    }
}

impl Router for PlanRouter {
    async fn route(&self, request: Request) -> Routing {
        let form = request.listener.normalize;
        let plan = self.plans.iter().find(|(known, _)| *known == form);
        let progress =
            plan.map(|(_, plan)| plan.route(&request.query, &request.listener, &mut |_| {}));
        match progress {
            Some(Progress::Decided(routing)) => routing,
            // A listener of another configuration, or a store that nobody here could ask.
            Some(Progress::Ask(_)) | None => Routing::Unavailable,
        }
    }
}

/// A future that somebody waits for.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A router of whatever type.
pub(crate) trait AnyRouter: Send + Sync {
    fn route(self: Arc<Self>, request: Request) -> Boxed<Routing>;
}

impl<R: Router> AnyRouter for R {
    fn route(self: Arc<Self>, request: Request) -> Boxed<Routing> {
        Box::pin(async move { Router::route(&*self, request).await })
    }
}

impl fmt::Debug for dyn AnyRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gatepost_core::Seed;
    use gatepost_core::config::{Protocol, TlsMode};
    use gatepost_core::sasl::Login;
    use gatepost_core::secret::Secret;

    use super::*;
    use crate::settings::destination;

    fn name(routing: Routing) -> Option<String> {
        match routing {
            Routing::Found(route) => Some(route.destination.name.clone()),
            Routing::Referred(_)
            | Routing::Refused(_)
            | Routing::Later(_)
            | Routing::Unavailable => None,
        }
    }

    #[test]
    fn a_file_map_knows_its_accounts_and_the_default_the_others() {
        let at = |name: &str| {
            let mut it = destination("host", 143, Protocol::Imap, TlsMode::Plain).unwrap();
            it.name = name.into();
            Arc::new(it)
        };
        let map = || FileMap::parse(b"a two\n", &["one", "two"], Normalize::None).unwrap();
        let router = FileRouter::new(map(), vec![at("one"), at("two")]);
        assert_eq!(name(router.find(Some(b"a"))).as_deref(), Some("two"));
        assert_eq!(name(router.find(Some(b"b"))), None);
        let router = router.default_to("one");
        assert_eq!(name(router.find(Some(b"b"))).as_deref(), Some("one"));
        assert_eq!(name(router.find(None)).as_deref(), Some("one"));
    }

    #[test]
    fn a_configuration_routes_by_its_steps_and_its_map() {
        let text = include_str!("../../config-examples/migration-by-steps.toml");
        let (config, _) = gatepost_core::config::parse(text).unwrap();
        let router = PlanRouter::new(&config, b"Alice@example.com new\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let home = |user: &str| {
            let login = Login::with_password(user.into(), Secret::from(&b"secret"[..]));
            let listener = Arc::clone(&config.listeners[0]);
            let named = gatepost_core::route::identify(&login, &listener).unwrap();
            let address = ([192, 0, 2, 7], 50123).into();
            let query = Query {
                identifier: named.map(|named| named.identifier),
                login: Arc::new(login),
                protocol: listener.protocol,
                client: address,
                local: address,
                header: None,
                tls: None,
                session: Seed(1).into(),
                attempt: 1,
            };
            let peer = Peer { client: address, local: address };
            name(runtime.block_on(router.route(Request { query, peer, tls: None, listener })))
        };
        assert_eq!(home("alice@EXAMPLE.com").as_deref(), Some("new"));
        assert_eq!(home("eve@sales.example.com").as_deref(), Some("new"));
        assert_eq!(home("director@sales.example.com").as_deref(), Some("old"));
        assert_eq!(home("eve@sold.example.com"), None);
        let fault = PlanRouter::new(&config, b"a new\nb nwe\n").unwrap_err();
        assert_eq!(fault.to_string(), "map, line 2: unknown destination \"nwe\"");
    }
}
