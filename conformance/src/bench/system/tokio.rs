//! The tokio library in a small program of one thread, given the same configuration file.
//!
//! The program is the bench itself in another role. What an embedder would pass in (certificates,
//! trust in backends, where accounts live) is made from the file here.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{fs, io};

use gatepost_core::config::{self, Destination, Listener, Protocol};
use gatepost_tokio::{Gatepost, Request, to};
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::bench::case::{Column, Suite};
use crate::bench::system::{Place, gatepost};
use crate::bench::tls;

pub(super) fn command(place: &Place<'_>) -> io::Result<Command> {
    let file = place.write("gatepost.toml", &gatepost::configuration(place, 1)?)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("tokio").arg(file).arg(place.ground.folder).arg(place.ground.suite.name());
    Ok(command)
}

/// Serves a configuration, with certificate and authority from `folder`, until it is killed.
pub(in crate::bench) fn serve(
    file: &Path,
    folder: &Path,
    suite: Suite,
) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    let (config, _) = config::parse(&text).map_err(|faults| format!("{faults:?}"))?;
    let (server, client) = (tls::server(folder, suite)?, tls::client(folder, suite, true)?);
    let home = |column| config.destination(gatepost::home(column)).cloned().ok_or("no home");
    let homes = [home(Column::Plain)?, home(Column::Both)?];
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut serving = Vec::new();
        for listener in &config.listeners {
            let gatepost = build(Arc::clone(listener), homes.clone(), &server, &client)?;
            for address in &listener.bind {
                let socket = TcpListener::bind(*address).await?;
                let gatepost = gatepost.clone();
                serving.push(tokio::spawn(async move {
                    gatepost.serve_listener(socket, std::future::pending()).await;
                }));
            }
        }
        for task in serving {
            task.await?;
        }
        Ok(())
    })
}

fn build(
    listener: Arc<Listener>,
    [plain, tls]: [Arc<Destination>; 2],
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<Gatepost, Box<dyn Error>> {
    let router = move |request: Request| {
        let account = request.query.identifier.as_deref();
        let is_tls = account == Some(Column::Both.user().as_bytes());
        let answer = to(if is_tls { &tls } else { &plain });
        async move { answer }
    };
    let client = Arc::clone(client);
    let trust = move |_: &Destination, _: Protocol| Ok(Arc::clone(&client));
    Ok(Gatepost::builder(listener, router).tls(Arc::clone(server)).backend_tls(trust).build()?)
}
