//! One Dovecot, the proxy in front of it, and the configuration that joins them in every
//! combination of TLS.
//!
//! The proxy has a listener for each mode of TLS on the client's side, and a destination for each
//! mode on the backend's side, with and without telling the backend who the client is. The account
//! decides the destination: `starttls@example.test` is reached through STARTTLS,
//! `forwarded-plain@example.test` in the clear with the client's address. Every account exists on
//! the same Dovecot. On the direct path the accounts are the same and the endpoints are Dovecot's
//! own.

use std::{fmt::Write as _, fs};

use gatepost_conformance::rig::{
    Account, Authority, Dovecot, Endpoint, Program, Proxy, Tls, free_port, raise_open_files,
    require,
};
use tempfile::TempDir;

/// The password of every account but the odd one.
pub(crate) const PASSWORD: &str = "secret";
/// An account whose password needs care in every encoding.
pub(crate) const ODD: Account<'static> =
    Account { user: "odd@example.test", password: " \"quo\\ted\" %40 {5} wörd" };

/// What a check is run through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Straight to Dovecot.
    Direct,
    /// Through the proxy.
    Proxied,
}

impl Path {
    /// The combinations of TLS, for the client's and the backend's side. Without the proxy there is
    /// no second side.
    pub(crate) fn combinations(self) -> Vec<(Tls, Tls)> {
        let backend: &[Tls] = match self {
            Self::Direct => &[Tls::Plain],
            Self::Proxied => &Tls::ALL,
        };
        Tls::ALL
            .into_iter()
            .flat_map(|client| backend.iter().map(move |tls| (client, *tls)))
            .collect()
    }
}

/// The account that is reached over a backend connection of this kind.
pub(crate) fn account(backend: Tls) -> String {
    format!("{backend}@example.test")
}

/// The same, with the backend told who the client is.
pub(crate) fn forwarded_account(backend: Tls) -> String {
    format!("forwarded-{backend}@example.test")
}

/// The servers of one test.
pub(crate) struct Stage {
    front: Option<Front>,
    pub(crate) dovecot: Dovecot,
}

impl Stage {
    /// Sets everything up, unless a program is missing that the servers or the check need.
    pub(crate) fn set(path: Path, needed: &[Program]) -> Option<Self> {
        let servers: &[Program] = match path {
            Path::Direct => &[Program::Dovecot],
            Path::Proxied => &[Program::Dovecot, Program::Gatepost],
        };
        if !require(&[servers, needed].concat()) {
            return None;
        }
        raise_open_files().unwrap();
        let users: Vec<String> =
            Tls::ALL.into_iter().flat_map(|tls| [account(tls), forwarded_account(tls)]).collect();
        let mut accounts: Vec<Account<'_>> =
            users.iter().map(|user| Account { user, password: PASSWORD }).collect();
        accounts.push(ODD);
        let dovecot = Dovecot::start(&accounts).unwrap();
        let front = (path == Path::Proxied).then(|| {
            let mut routes: Vec<Route> = Vec::new();
            for tls in Tls::ALL {
                for (user, forwarding) in
                    [(account(tls), "none"), (forwarded_account(tls), "xclient")]
                {
                    routes.push(Route { user, forwarding, ..Route::to(&dovecot.endpoint(tls)) });
                }
            }
            let user = ODD.user.to_owned();
            routes.push(Route { user, ..Route::to(&dovecot.endpoint(Tls::Implicit)) });
            Front::start(&routes)
        });
        Some(Self { front, dovecot })
    }

    /// Where a client connects on the path under test.
    pub(crate) fn endpoint(&self, tls: Tls) -> Endpoint {
        self.front.as_ref().map_or_else(|| self.dovecot.endpoint(tls), |front| front.endpoint(tls))
    }
}

/// One account's way to a backend: a destination of its own in the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The account.
    pub(crate) user: String,
    /// The port of 127.0.0.1.
    pub(crate) port: u16,
    /// How the proxy protects the connection.
    pub(crate) tls: Tls,
    /// The destination's `forwarding`.
    pub(crate) forwarding: &'static str,
    /// The lines of the destination that say which certificate is right.
    pub(crate) trust: String,
}

impl Route {
    /// The way to a server that shows a certificate of its own authority.
    pub(crate) fn to(server: &Endpoint) -> Self {
        Self {
            user: String::new(),
            port: server.port,
            tls: server.tls,
            forwarding: "none",
            trust: format!(
                "tls_server_name = \"localhost\"\ntls_ca_file = \"{}\"\n",
                server.authority.display()
            ),
        }
    }
}

/// The proxy with a listener for each mode of TLS.
pub(crate) struct Front {
    _proxy: Proxy,
    authority: Authority,
    ports: Vec<(Tls, u16)>,
    _folder: TempDir,
}

impl Front {
    /// Starts it. Whoever has no route goes the way of the first.
    pub(crate) fn start(routes: &[Route]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path()).unwrap();
        let ports: Vec<(Tls, u16)> = Tls::ALL.map(|tls| (tls, free_port().unwrap())).to_vec();
        let map = folder.path().join("map");
        let lines = routes.iter().enumerate();
        fs::write(
            &map,
            lines.map(|(index, route)| format!("{} d{index}\n", route.user)).collect::<String>(),
        )
        .unwrap();
        let mut text = format!(
            "[server]\nhostname = \"proxy.test\"\nthreads = 2\nshutdown_grace = \"1s\"\n\
             [tls.certificate.proxy]\ncert = \"{}\"\nkey = \"{}\"\ndefault = true\n\
             [routing]\ndefault_destination = \"d0\"\n\
             [mapping]\nsource = \"file\"\n[mapping.file]\npath = \"{}\"\n",
            authority.certificate.display(),
            authority.key.display(),
            map.display(),
        );
        for (tls, port) in &ports {
            write!(
                text,
                "[listener.{tls}]\nprotocol = \"imap\"\nbind = [\"127.0.0.1:{port}\"]\n\
                 tls = \"{tls}\"\nallow_plain_auth_without_tls = {}\n",
                *tls == Tls::Plain
            )
            .unwrap();
        }
        for (index, route) in routes.iter().enumerate() {
            write!(text, "{}", destination(index, route)).unwrap();
        }
        let waited: Vec<u16> = ports.iter().map(|(_, port)| *port).collect();
        let proxy = Proxy::start(&text, &waited).unwrap();
        Self { _proxy: proxy, authority, ports, _folder: folder }
    }

    /// Where a client connects.
    pub(crate) fn endpoint(&self, tls: Tls) -> Endpoint {
        let (_, port) = self.ports.iter().find(|(mode, _)| *mode == tls).unwrap();
        Endpoint { port: *port, tls, authority: self.authority.authority.clone() }
    }
}

fn destination(index: usize, route: &Route) -> String {
    let Route { port, tls, forwarding, trust, .. } = route;
    let trust = if *tls == Tls::Plain { "allow_plaintext_auth = true\n" } else { trust };
    format!(
        "[destination.d{index}]\nhost = \"127.0.0.1\"\nforwarding = \"{forwarding}\"\n{trust}\
         [destination.d{index}.protocol.imap]\nport = {port}\ntls = \"{tls}\"\n"
    )
}
