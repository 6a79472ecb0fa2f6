//! Listeners and destinations without a configuration file.
//!
//! Invariant: what is not given is as the configuration has it by default, because it is the
//! configuration's own reader that fills it in.

use std::fmt;
use std::sync::Arc;

use gatepost_core::config::{
    Config, Destination, Fault, Forwarding, Host, Listener, Protocol, TlsMode, parse,
};

/// A listener with the defaults of the configuration, to be changed at will: every field is
/// public. Its `bind` and `certificates` mean nothing to this driver.
///
/// ```
/// use std::time::Duration;
///
/// use gatepost_tokio::config::{Protocol, TlsMode};
///
/// # fn build() -> Result<(), gatepost_tokio::Unfit> {
/// let mut listener = gatepost_tokio::listener(Protocol::Imap, TlsMode::Implicit)?;
/// listener.hostname = "mail.example.com".into();
/// listener.bridge_idle = Duration::from_secs(60 * 60);
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
///
/// # Errors
///
/// What the configuration would report: the protocol has no dialogue yet.
pub fn listener(protocol: Protocol, tls: TlsMode) -> Result<Listener, Unfit> {
    let mut config = sample(protocol, tls, protocol, TlsMode::Implicit)?;
    config.listeners.pop().map(unshared).ok_or_else(Unfit::default)
}

/// A destination with the defaults of the configuration, except that it is not told who the client
/// is: set the endpoint's `forwarding` where it can be. Every field is public. Its name is its
/// host's.
///
/// ```
/// use gatepost_tokio::config::{Forwarding, Protocol, TlsMode};
///
/// # fn build() -> Result<(), gatepost_tokio::Unfit> {
/// let backend =
///     gatepost_tokio::destination("imap1.internal", 993, Protocol::Imap, TlsMode::Implicit)?;
/// assert_eq!(backend.endpoint(Protocol::Imap).unwrap().forwarding, Forwarding::None);
/// # Ok(())
/// # }
/// # build().unwrap();
/// ```
///
/// With [`TlsMode::Plain`] credentials travel as they are.
///
/// # Errors
///
/// What the configuration would report: no TLS begins that way in that protocol.
pub fn destination(
    host: &str,
    port: u16,
    protocol: Protocol,
    tls: TlsMode,
) -> Result<Destination, Unfit> {
    // Any protocol with a dialogue will do for the listener that a configuration must have.
    let mut config = sample(Protocol::Imap, TlsMode::Plain, protocol, tls)?;
    let mut destination = config.destinations.pop().map(unshared).ok_or_else(Unfit::default)?;
    host.clone_into(&mut destination.name);
    destination.hosts = vec![Arc::new(Host::named(host))];
    destination.forwarding = Forwarding::None;
    destination.endpoints.retain(|(spoken, _)| *spoken == protocol);
    for (_, endpoint) in &mut destination.endpoints {
        endpoint.port = port;
        endpoint.forwarding = Forwarding::None;
    }
    Ok(destination)
}

/// There can be no such listener or destination: what the configuration has against it.
#[derive(Debug, Clone, Default)]
pub struct Unfit(Vec<Fault>);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such listener or destination")?;
        self.0.iter().try_for_each(|fault| write!(f, "; {fault}"))
    }
}

impl std::error::Error for Unfit {}

fn unshared<T: Clone>(shared: Arc<T>) -> T {
    Arc::unwrap_or_clone(shared)
}

fn sample(
    protocol: Protocol,
    tls: TlsMode,
    spoken: Protocol,
    spoken_tls: TlsMode,
) -> Result<Config, Unfit> {
    let both = if spoken == protocol { "" } else { protocol.name() };
    let second = if both.is_empty() {
        String::new()
    } else {
        format!("[destination.it.protocol.{both}]\nport = 1\ntls = \"implicit\"\n")
    };
    let text = format!(
        "[tls.certificate.it]\ncert = \"-\"\nkey = \"-\"\n\
         [listener.it]\nprotocol = \"{}\"\nbind = [\"127.0.0.1:0\"]\ntls = \"{}\"\n\
         [destination.it]\nhost = \"it.invalid\"\nallow_plaintext_auth = {}\n\
         [destination.it.protocol.{}]\nport = 1\ntls = \"{}\"\n{second}\
         [routing]\ndefault_destination = \"it\"\n",
        protocol.name(),
        name(tls),
        spoken_tls == TlsMode::Plain,
        spoken.name(),
        name(spoken_tls),
    );
    parse(&text).map(|(config, _)| config).map_err(Unfit)
}

const fn name(tls: TlsMode) -> &'static str {
    match tls {
        TlsMode::Implicit => "implicit",
        TlsMode::StartTls => "starttls",
        TlsMode::Plain => "plain",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MODES: [TlsMode; 3] = [TlsMode::Implicit, TlsMode::StartTls, TlsMode::Plain];

    #[test]
    fn every_way_of_tls_has_its_listener_and_its_destination() {
        for protocol in [Protocol::Imap, Protocol::Pop3] {
            for tls in MODES {
                let listener = listener(protocol, tls).unwrap();
                assert_eq!((listener.protocol, listener.tls), (protocol, tls));
                let backend = destination("h.test", 7, protocol, tls).unwrap();
                let endpoint = backend.endpoint(protocol).unwrap();
                assert_eq!((endpoint.port, endpoint.tls), (7, tls));
                assert_eq!((&*backend.hosts[0].name, backend.name.as_str()), ("h.test", "h.test"));
                assert_eq!(backend.endpoints.len(), 1);
                assert_eq!(backend.allow_plaintext_auth, tls == TlsMode::Plain);
            }
        }
    }

    #[test]
    fn what_cannot_be_served_is_said() {
        let unfit = listener(Protocol::Lmtp, TlsMode::Plain).unwrap_err();
        assert!(unfit.to_string().contains("lmtp"), "{unfit}");
        assert!(destination("h.test", 7, Protocol::Smtp, TlsMode::StartTls).is_err());
    }
}
