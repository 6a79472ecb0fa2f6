//! Every byte script that sockets can produce, on the mio server.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatepost_conformance::script::{self, Order, Place, Plan, Served};
use gatepost_core::config::{
    Certificate, Config, LogFormat, LogLevel, Mapping, MappingSource, Routing, Server,
    TlsProtocols, TlsVersion,
};
use gatepost_mio::{Rig, Site};

/// Longer than a script may take: those in relay end by themselves.
const GRACE: Duration = Duration::from_secs(60);

#[test]
fn scripts_on_the_mio_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let outcome = script::run_over_sockets(&folder, Place::Mio, &start).unwrap();
    for skipped in &outcome.skipped {
        println!("skipped: {skipped}");
    }
    for failure in &outcome.failures {
        println!("{failure}");
    }
    println!("{} scripts, {} runs", outcome.scripts, outcome.runs);
    println!("in the core only: {:?}", outcome.core_only);
    println!("{} skipped, {} failed", outcome.skipped.len(), outcome.failures.len());
    assert!(outcome.failures.is_empty(), "{} scripts failed", outcome.failures.len());
    assert!(outcome.runs > 0 || std::env::var_os("SCRIPT").is_some(), "no script was run");
}

struct Running(gatepost_mio::Server);

impl Served for Running {
    fn address(&self) -> SocketAddr {
        self.0.addresses("script").next().unwrap()
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Drain => self.0.remote().drain(),
            Order::Kick => self.0.remote().kick_all(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.remote().stop();
    }
}

fn start(plan: Plan) -> io::Result<Box<dyn Served>> {
    if plan.needs.lookups || plan.needs.connect_faults || plan.needs.memory {
        let reason = "an answer that the rig cannot give";
        return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
    }
    let site = Site::load(&config(&plan)).map_err(|faults| {
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        io::Error::other(texts.join("; "))
    })?;
    let resolve = plan.resolve;
    let rig = Rig {
        peer: Some(plan.peer),
        seed: Some(plan.seed),
        // Faults are not among what this script needs.
        resolve: Some(Arc::new(move |host, port| resolve(host, port).unwrap())),
        read_cap: plan.read_cap,
        accounts: plan.accounts,
        ..Rig::default()
    };
    let server = gatepost_mio::Server::start(site, rig).map_err(io::Error::other)?;
    Ok(Box::new(Running(server)))
}

fn config(plan: &Plan) -> Config {
    let certificate = Certificate {
        name: "script".into(),
        cert: plan.certificate.to_string_lossy().into_owned(),
        key: plan.key.to_string_lossy().into_owned(),
        subjects: Vec::new(),
        default: true,
    };
    let own = plan.accounts.iter().map(|(_, destination)| destination);
    Config {
        server: Server {
            threads: 1,
            hostname: None,
            shutdown_grace: GRACE,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        },
        certificates: vec![certificate],
        tls: TlsProtocols {
            min_version: TlsVersion::V1_2,
            ignore_client_order: false,
            disable_cipher_suites: Vec::new(),
        },
        listeners: vec![Arc::new(plan.listener.clone())],
        destinations: own.chain([&plan.default]).cloned().collect(),
        routing: Routing { default_destination: Arc::clone(&plan.default) },
        mapping: Mapping { source: MappingSource::None },
    }
}
