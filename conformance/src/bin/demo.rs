//! `demo`: two small mail servers, the mio server in front of them, and what to type.
//!
//! The servers behind are for trying out; the server in front is the real one, started from the
//! same configuration file that `gatepost run` would take. Everything ends with Ctrl-C.
#![forbid(unsafe_code)]

use std::error::Error;

use gatepost_conformance::demo::Demo;
use gatepost_core::config;
use gatepost_mio::{Rig, Server, Site};
use log::LevelFilter;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Info)
        .format_target(false)
        .parse_default_env()
        .init();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let demo = Demo::prepare()?;
    let (config, _) = config::parse(demo.configuration()).map_err(lines)?;
    let site = Site::load(&config).map_err(lines)?;
    let server = Server::start(site, Rig::default())?;
    println!("{}", demo.instructions());
    signals.forever().next();
    server.remote().stop();
    server.join();
    Ok(())
}

/// Several faults as one error, a line each.
fn lines<F: ToString>(faults: Vec<F>) -> Box<dyn Error> {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
}
