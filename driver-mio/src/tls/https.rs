//! TLS for route stores that are asked over HTTPS: a client's part, on the control thread.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{ClientConfig, ClientPolicy, ServerName, Trust, client_config, server_name};

/// What it takes to speak to such a server: the operating system's authorities vouch for its name.
pub(crate) fn for_https(
    host: &str,
    disable_cipher_suites: &[String],
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    let policy = ClientPolicy {
        trust: Trust::PlatformRoots,
        identity: None,
        disable_cipher_suites: disable_cipher_suites.to_vec(),
        alpn: vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()],
    };
    let config = client_config(&policy).map_err(|error| error.to_string())?;
    let name = server_name(host).map_err(|error| error.to_string())?;
    Ok((config, name))
}

/// Shakes hands.
pub(crate) async fn encrypt(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    TlsConnector::from(config).connect(name, stream).await
}
