//! Every byte script that sockets can produce, over the mio server, with real TLS.

#![allow(missing_docs)]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gatepost_conformance::script::{self, Order, Place, Plan, Served};
use gatepost_core::config::{
    Certificate, Config, LogFormat, LogLevel, Mapping, MappingSource, OnError, Routing,
    Server as Settings, TlsProtocols, TlsVersion,
};
use gatepost_core::route::cache::Keeping;
use gatepost_mio::{Rig, Server, Site};

#[test]
fn scripts_over_the_mio_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let outcome = script::run_over_sockets(&folder, Place::Mio, &start).expect("readable scripts");
    for failure in &outcome.failures {
        println!("{failure}");
    }
    println!("{} scripts, {} runs", outcome.scripts, outcome.runs);
    println!("in the core only: {:?}", outcome.core_only);
    println!("{} skipped, {} failed", outcome.skipped.len(), outcome.failures.len());
    assert!(outcome.failures.is_empty(), "{} scripts failed", outcome.failures.len());
    assert!(outcome.runs > 0 || std::env::var_os("SCRIPT").is_some(), "no script was run");
}

/// A server for one run of one script.
struct OneRun(Server);

impl Served for OneRun {
    fn address(&self) -> SocketAddr {
        self.0.addresses("script").next().expect("it listens")
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Drain => self.0.remote().drain(),
            Order::Kick => self.0.remote().kick_all(),
        }
    }
}

fn start(plan: Plan) -> io::Result<Box<dyn Served>> {
    let config = configuration(&plan);
    let site = Site::load(&config).map_err(|faults| io::Error::other(format!("{faults:?}")))?;
    let rig = Rig {
        peer: Some(plan.peer),
        seed: Some(plan.seed),
        resolve: Some(plan.resolve),
        read_cap: plan.read_cap,
        lookup: Some(plan.route),
        remembered: plan.remembered,
        forgets: true,
        ..Rig::default()
    };
    let server = Server::start(site, rig).map_err(|fault| io::Error::other(fault.to_string()))?;
    Ok(Box::new(OneRun(server)))
}

fn configuration(plan: &Plan) -> Config {
    let mut listener = plan.listener.clone();
    "script".clone_into(&mut listener.name);
    listener.certificates = vec!["script".to_owned()];
    // A server does not even listen where nobody may connect; a script wants to hear the refusal.
    if listener.max_connections == 0 {
        listener.max_connections = 1;
        listener.max_connections_per_ip = Some(0);
    }
    let certificate = Certificate {
        name: "script".to_owned(),
        cert: plan.certificate.display().to_string(),
        key: plan.key.display().to_string(),
        subjects: Vec::new(),
        default: true,
    };
    let for_balancers = Certificate {
        name: "balancer".to_owned(),
        cert: plan.balancer_certificate.display().to_string(),
        key: plan.balancer_key.display().to_string(),
        subjects: Vec::new(),
        default: false,
    };
    let default_destination = Arc::clone(plan.destinations.first().expect("a route"));
    Config {
        server: Settings {
            threads: 1,
            hostname: None,
            // Drains in scripts let relays live.
            shutdown_grace: Duration::from_secs(3600),
            host_down: plan.host_down,
            log_level: LogLevel::Warn,
            log_format: LogFormat::Text,
        },
        certificates: vec![certificate, for_balancers],
        tls: TlsProtocols {
            min_version: TlsVersion::V1_2,
            ignore_client_order: false,
            disable_cipher_suites: Vec::new(),
        },
        listeners: vec![Arc::new(listener)],
        destinations: plan.destinations.clone(),
        routing: Routing { default_destination },
        mapping: Mapping {
            steps: Vec::new(),
            source: MappingSource::None,
            keeping: Keeping {
                entries_max: 0,
                positive_ttl: Duration::ZERO,
                negative_ttl: Duration::ZERO,
            },
            lookup_timeout: Duration::from_secs(5),
            on_error: OnError::Unavailable,
        },
    }
}
