//! The proxy with its configuration: listeners, routes, destinations.
//!
//! Every account of a route has a destination of its own, so that a check chooses by its account
//! how the proxy reaches the backend.

use std::{fmt::Write as _, fs, net::Ipv4Addr, path::PathBuf};

use gatepost_conformance::rig::{Authority, Endpoint, Protocol, Proxy, Tls, free_port};
use tempfile::TempDir;

/// The line of a listener that takes passwords in the clear.
pub(crate) const CLEARTEXT: &str = "allow_plain_auth_without_tls = true\n";

/// The name of the certificate for TLS beneath a PROXY header.
const BENEATH: &str = "beneath";

/// One account's way to a backend: a destination of its own in the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The account; empty, and the first route: everybody.
    pub(crate) user: String,
    /// Where the backend is, for each protocol that it speaks.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The destination's `forwarding`.
    pub(crate) forwarding: &'static str,
    /// The lines of the destination that say which certificate is right.
    pub(crate) trust: String,
    /// The address that the proxy connects from, where it is not the usual one.
    pub(crate) source: Option<Ipv4Addr>,
}

impl Route {
    /// The way to a server that shows a certificate of its own authority.
    pub(crate) fn to(endpoints: &[Endpoint]) -> Self {
        let authority = endpoints.first().unwrap().authority.display();
        Self {
            user: String::new(),
            endpoints: endpoints.to_vec(),
            forwarding: "none",
            trust: format!("tls_server_name = \"localhost\"\ntls_ca_file = \"{authority}\"\n"),
            source: None,
        }
    }
}

/// A port of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    protocol: Protocol,
    tls: Tls,
    pub(crate) port: u16,
    /// What else its table says.
    lines: &'static str,
}

impl Listener {
    /// A listener for each mode of TLS of each protocol. STARTTLS is not the proxy's to offer where
    /// it carries everything from the first octet.
    pub(crate) fn each(protocols: &[Protocol]) -> Vec<Self> {
        let mut listeners = Vec::new();
        for protocol in protocols.iter().copied() {
            let carried = matches!(protocol, Protocol::Smtp | Protocol::Lmtp);
            for tls in Tls::ALL.into_iter().filter(|tls| !carried || *tls != Tls::Starttls) {
                let lines = if tls == Tls::Plain && !carried { CLEARTEXT } else { "" };
                listeners.push(Self::new(protocol, tls, lines));
            }
        }
        listeners
    }

    /// A listener with further lines of configuration.
    pub(crate) fn new(protocol: Protocol, tls: Tls, lines: &'static str) -> Self {
        Self { protocol, tls, port: free_port().unwrap(), lines }
    }

    /// Where to connect to it in the clear, even before there is a proxy.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let Self { protocol, tls, port, .. } = *self;
        assert_eq!(tls, Tls::Plain, "nobody vouches for {self:?}");
        Endpoint { protocol, port, tls, authority: PathBuf::new() }
    }

    /// The one of this protocol and mode.
    pub(crate) fn find(listeners: &[Self], protocol: Protocol, tls: Tls) -> Self {
        let wanted = |listener: &&Self| listener.protocol == protocol && listener.tls == tls;
        *listeners.iter().find(wanted).unwrap()
    }
}

/// A running proxy.
pub(crate) struct Front {
    pub(crate) proxy: Proxy,
    authority: Authority,
    /// Of the certificate that no client sees, for TLS beneath a PROXY header.
    pub(crate) beneath: Authority,
    listeners: Vec<Listener>,
    _folder: TempDir,
}

impl Front {
    /// Starts it for the protocols of the first route, the way of everybody who has none.
    pub(crate) fn start(routes: &[Route]) -> Self {
        let endpoints = &routes.first().unwrap().endpoints;
        let protocols: Vec<Protocol> = endpoints.iter().map(|endpoint| endpoint.protocol).collect();
        Self::start_on(Listener::each(&protocols), routes, None)
    }

    /// The same with listeners that are chosen already, and the way of what it carries.
    pub(crate) fn start_on(
        listeners: Vec<Listener>,
        routes: &[Route],
        pass_through: Option<&Route>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path()).unwrap();
        let beneath = folder.path().join("beneath");
        fs::create_dir(&beneath).unwrap();
        let beneath = Authority::create(&beneath).unwrap();
        let map = folder.path().join("map");
        let known = routes.iter().enumerate().filter(|(_, route)| !route.user.is_empty());
        let lines = known.map(|(index, route)| format!("{} d{index}\n", route.user));
        fs::write(&map, lines.collect::<String>()).unwrap();
        let mut text = format!(
            "[server]\nhostname = \"proxy.test\"\nthreads = 2\nshutdown_grace = \"1s\"\n\
             [tls.certificate.proxy]\ncert = \"{}\"\nkey = \"{}\"\ndefault = true\n\
             [mapping]\nsource = \"file\"\n[mapping.file]\npath = \"{}\"\n",
            authority.certificate.display(),
            authority.key.display(),
            map.display(),
        );
        text.push_str("[routing]\ndefault_destination = \"d0\"\n");
        if let Some(route) = pass_through {
            text.push_str("smtp_passthrough_destination = \"carried\"\n");
            text.push_str(&destination("carried", route));
        }
        for listener in &listeners {
            text.push_str(&table(listener));
        }
        // A listener without certificates of its own would show this one too.
        if listeners.iter().any(|listener| listener.lines.contains(BENEATH)) {
            let Authority { certificate, key, .. } = &beneath;
            let (certificate, key) = (certificate.display(), key.display());
            write!(text, "[tls.certificate.beneath]\ncert = \"{certificate}\"\nkey = \"{key}\"\n")
                .unwrap();
        }
        for (index, route) in routes.iter().enumerate() {
            text.push_str(&destination(&format!("d{index}"), route));
        }
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.port).collect();
        let proxy = Proxy::start(&text, &ports).unwrap();
        Self { proxy, authority, beneath, listeners, _folder: folder }
    }

    /// Where an IMAP client connects.
    pub(crate) fn endpoint(&self, tls: Tls) -> Endpoint {
        self.endpoint_of(Protocol::Imap, tls)
    }

    /// Where a client of any protocol connects.
    pub(crate) fn endpoint_of(&self, protocol: Protocol, tls: Tls) -> Endpoint {
        let Listener { port, .. } = Listener::find(&self.listeners, protocol, tls);
        Endpoint { protocol, port, tls, authority: self.authority.authority.clone() }
    }
}

fn table(listener: &Listener) -> String {
    let Listener { protocol, tls, port, lines } = listener;
    format!(
        "[listener.{protocol}-{tls}]\nprotocol = \"{protocol}\"\nbind = [\"127.0.0.1:{port}\"]\n\
         tls = \"{tls}\"\n{lines}"
    )
}

fn destination(name: &str, route: &Route) -> String {
    let Route { endpoints, forwarding, trust, source, .. } = route;
    let encrypted = endpoints.iter().any(|endpoint| endpoint.tls != Tls::Plain);
    let trust = if encrypted { trust } else { "allow_plaintext_auth = true\n" };
    let mut text = format!(
        "[destination.{name}]\nhost = \"127.0.0.1\"\nforwarding = \"{forwarding}\"\n{trust}"
    );
    if let Some(source) = source {
        writeln!(text, "source_ips = [\"{source}\"]").unwrap();
    }
    for Endpoint { protocol, port, tls, .. } in endpoints {
        write!(text, "[destination.{name}.protocol.{protocol}]\nport = {port}\ntls = \"{tls}\"\n")
            .unwrap();
    }
    text
}
