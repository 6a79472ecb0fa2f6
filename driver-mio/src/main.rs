//! `gatepost`: the server as a program.
//!
//! Arguments, the log's destination, and signals; everything else is the library's. Exit status 0
//! after a drain, 1 for a fault of the configuration or a failing start.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use gatepost_core::config::{self, Config, LogFormat, LogLevel};
use gatepost_mio::{Rig, Server, Site};
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A mail-access proxy.
#[derive(Parser)]
#[command(name = "gatepost", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, which drain; a second one ends at once.
    Run {
        /// The configuration, TOML.
        #[arg(env = "GATEPOST_CONFIG")]
        config: PathBuf,
    },
    /// Parse and validate everything that `run` would, and say what is wrong.
    Check {
        /// The configuration, TOML.
        #[arg(env = "GATEPOST_CONFIG")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                complain(&fault);
            }
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> Result<(), Vec<String>> {
    let (config, site) = load(path)?;
    begin_log(&config);
    // Before the workers start, so that no signal finds the default, which is to die.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]);
    let signals = signals.map_err(|error| vec![format!("cannot watch signals: {error}")])?;
    let server = Server::start(site, Rig::default()).map_err(|fault| vec![fault.to_string()])?;
    serve(server, signals);
    Ok(())
}

/// Waits for signals on a thread of its own, and for the end of the server on this one.
fn serve(server: Server, mut signals: Signals) {
    let remote = server.remote();
    let handle = signals.handle();
    let watch = thread::spawn(move || {
        let mut draining = false;
        for signal in &mut signals {
            match signal {
                SIGHUP => log::warn!("reload is not built yet; the configuration stays as it is"),
                _ if draining => {
                    log::warn!("a second signal: ending now");
                    remote.stop();
                }
                _ => {
                    log::info!("draining");
                    draining = true;
                    remote.drain();
                }
            }
        }
    });
    server.join();
    handle.close();
    if watch.join().is_err() {
        log::error!("the signal thread ended by a fault in this program");
    }
    log::info!("ended");
}

fn check(path: &Path) -> Result<(), Vec<String>> {
    let (config, site) = load(path)?;
    let mut out = io::stdout().lock();
    let mut say = |line: String| {
        // Whoever reads this has gone, perhaps; the exit status still tells.
        let _ = writeln!(out, "{line}");
    };
    for listener in &config.listeners {
        let addresses: Vec<_> = listener.bind.iter().map(ToString::to_string).collect();
        say(format!(
            "listener.{}: {} ({}) on {}",
            listener.name,
            listener.protocol.name(),
            listener.tls.name(),
            addresses.join(", ")
        ));
    }
    for destination in &config.destinations {
        let endpoints = destination.endpoints.iter();
        let served: Vec<_> = endpoints
            .map(|(protocol, endpoint)| {
                format!("{} {} {}", protocol.name(), endpoint.port, endpoint.tls.name())
            })
            .collect();
        let (name, host) = (&destination.name, &destination.host);
        say(format!("destination.{name}: {host} ({})", served.join(", ")));
    }
    say(format!("default destination: {}", config.routing.default_destination.name));
    say(format!("mapped accounts: {}", site.accounts()));
    say(format!("{}: no fault found", path.display()));
    Ok(())
}

/// Reads the configuration and everything it names. Warnings go to stderr at once.
fn load(path: &Path) -> Result<(Config, Site), Vec<String>> {
    let file = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("{file}: cannot be read: {error}")])?;
    let (config, warnings) = config::parse(&text).map_err(|faults| {
        faults
            .iter()
            .map(|fault| format!("{file}:{}: {}", fault.line, fault.text()))
            .collect::<Vec<_>>()
    })?;
    for warning in warnings {
        complain(&format!("{file}:{}: warning: {}", warning.line, warning.text()));
    }
    let site = Site::load(&config).map_err(|faults| {
        faults.iter().map(|fault| format!("{file}: {fault}")).collect::<Vec<_>>()
    })?;
    Ok((config, site))
}

fn complain(line: &str) {
    // Nobody may be left to read it.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn begin_log(config: &Config) {
    let level = match config.server.log_level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format_target(false);
    if config.server.log_format == LogFormat::Json {
        // A line is the object and nothing else, so that programs can read it.
        builder.format(|out, record| writeln!(out, "{}", gatepost_mio::json_line(record)));
    }
    builder.init();
}
