//! `gatepost`: the server as a program.
//!
//! Arguments, the log's destination, and signals; everything else is the library's. Exit status 0
//! after a drain, 1 for a fault of the configuration or a failing start.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use gatepost_core::config::{self, Config, Host, LogFormat, LogLevel, Protocol, Standing};
use gatepost_mio::{NoListener, Question, Rig, Server, Site, explain};
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
    /// Say where an account goes, and why.
    Explain {
        /// The configuration, TOML.
        config: PathBuf,
        /// The user name, as a client would give it.
        user: String,
        /// What the client speaks: imap, pop3, managesieve or submission.
        #[arg(long)]
        protocol: Option<String>,
        /// The address that the client comes from.
        #[arg(long)]
        client: Option<IpAddr>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Explain { config, user, protocol, client } => {
            tell_way(&config, user, protocol.as_deref(), client)
        }
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
        let hosts: Vec<_> = destination.hosts.iter().map(|host| described(host)).collect();
        let (name, hosts) = (&destination.name, hosts.join(", "));
        say(format!("destination.{name}: {hosts} ({})", served.join(", ")));
    }
    say(format!("default destination: {}", config.routing.default_destination.name));
    say(format!("mapped accounts: {}", site.accounts()));
    say(format!("{}: no fault found", path.display()));
    Ok(())
}

/// A host, and what is particular about it among others.
fn described(host: &Host) -> String {
    let mut text = host.label.to_string();
    if host.weight != 1 {
        text.push_str(&format!("={}", host.weight));
    }
    if host.standing != Standing::Up {
        text.push(' ');
        text.push_str(host.standing.name());
    }
    text
}

fn tell_way(
    path: &Path,
    user: String,
    protocol: Option<&str>,
    client: Option<IpAddr>,
) -> Result<(), Vec<String>> {
    let missing = || vec![format!("no listener serves {}", protocol.unwrap_or("logins"))];
    let protocol = protocol.map(|name| Protocol::named(name).ok_or_else(missing)).transpose()?;
    let (config, site) = load(path)?;
    let question = Question { user, protocol, client };
    let lines = explain(&config, &site, &question).map_err(|NoListener| missing())?;
    let mut out = io::stdout().lock();
    for line in lines {
        // Whoever reads this has gone, perhaps.
        let _ = writeln!(out, "{line}");
    }
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
        let line = |place: &str| line_of(&text, place);
        let told = faults.iter().map(|fault| format!("{file}:{}: {fault}", line(&fault.place)));
        told.collect::<Vec<_>>()
    })?;
    Ok((config, site))
}

/// The line on which a key stands, or else the header of its table; the first line if neither is
/// written out.
fn line_of(text: &str, key: &str) -> usize {
    let bare = |text: &str| text.chars().filter(|it| !" \t\"'".contains(*it)).collect::<String>();
    let (key, mut table, mut table_line) = (bare(key), String::new(), 1);
    for (index, line) in text.lines().enumerate() {
        let line = bare(line);
        if let Some((header, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            header.trim_start_matches('[').clone_into(&mut table);
            let below = key.strip_prefix(&table);
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                table_line = index + 1;
            }
        } else if let Some((own, _)) = line.split_once('=') {
            let whole = if table.is_empty() { own.to_owned() } else { format!("{table}.{own}") };
            if whole == key {
                return index + 1;
            }
        }
    }
    table_line
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key_or_of_its_table() {
        let text = "[server]\n[tls.certificate.\"main\"]\ncert = \"a\"\nkey = \"b\"\n\n[mapping]\n\
            source = \"file\"\nfile.path = \"x\"\n";
        assert_eq!(line_of(text, "tls.certificate.main"), 2);
        assert_eq!(line_of(text, "tls.certificate.main.key"), 4);
        assert_eq!(line_of(text, "mapping.file.path"), 8);
        assert_eq!(line_of(text, "destination.gone"), 1);
    }
}
