//! `logins`: what a login costs each driver, side by side in one run.
//!
//! One small backend; in front of it the mio server with one worker and the tokio library on one
//! thread; a client that logs in and out, over and over, at each of them in turn. What is measured
//! is the time that a driver's own thread had a processor (from /proc), so the backend, the client
//! and the rest of the machine do not count. It says how two drivers compare here and now, and is
//! no judge of anything else.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use clap::Parser;
use gatepost_conformance::backend::{Account, Backend, Settings};
use gatepost_core::config::{self, Protocol, TlsMode};
use gatepost_mio::{Rig, Server, Site};
use gatepost_tokio::{Gatepost, Request, destination, listener, to};
use tokio::net::TcpListener;

const USER: &str = "alice@example.com";
const PASSWORD: &str = "secret";
/// The name of the mio server's only worker, and of the thread that the library runs on.
const THREADS: [&str; 2] = ["worker-0", "tokio-driver"];

/// CPU time of a plaintext IMAP login and logout in each driver.
#[derive(Parser)]
struct Arguments {
    /// Logins of one round.
    #[arg(long, default_value_t = 1000)]
    logins: u32,
    /// Rounds; the drivers take turns, and the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { logins, rounds } = Arguments::parse();
    let accounts = vec![Account::new(USER, PASSWORD)];
    let backend = Backend::start(Settings { accounts, ..Settings::default() })?;
    let mio = start_mio(backend.address())?;
    let mio_address = mio.addresses("imap").next().ok_or("it listens")?;
    let tokio_address = start_tokio(backend.address())?;

    let mut spent = [Vec::new(), Vec::new()];
    for _ in 0..rounds.max(1) {
        for (driver, address) in [mio_address, tokio_address].into_iter().enumerate() {
            let before = cpu_nanos(THREADS[driver])?;
            for _ in 0..logins.max(1) {
                log_in(address)?;
            }
            let nanos = cpu_nanos(THREADS[driver])? - before;
            spent[driver].push(nanos / u64::from(logins.max(1)));
        }
    }
    for (name, spent) in ["mio", "tokio"].into_iter().zip(&mut spent) {
        spent.sort_unstable();
        let micros = |nanos: u64| nanos / 1000;
        println!(
            "{name:6} {:5} us of CPU a login ({} to {}, {} rounds of {logins})",
            micros(spent[spent.len() / 2]),
            micros(spent[0]),
            micros(spent[spent.len() - 1]),
            spent.len(),
        );
    }
    Ok(())
}

fn start_mio(backend: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let text = format!(
        r#"
        [server]
        threads = 1
        [listener.imap]
        protocol = "imap"
        bind = ["127.0.0.1:0"]
        tls = "plain"
        allow_plain_auth_without_tls = true
        [destination.one]
        host = "{}"
        forwarding = "none"
        allow_plaintext_auth = true
        protocol.imap = {{ port = {}, tls = "plain" }}
        [routing]
        default_destination = "one"
        "#,
        backend.ip(),
        backend.port()
    );
    let (config, _) = config::parse(&text).map_err(|faults| format!("{faults:?}"))?;
    let site = Site::load(&config).map_err(|faults| format!("{faults:?}"))?;
    Ok(Server::start(site, Rig::default())?)
}

fn start_tokio(backend: SocketAddr) -> Result<SocketAddr, Box<dyn Error>> {
    let host = backend.ip().to_string();
    let home = destination(&host, backend.port(), Protocol::Imap, TlsMode::Plain)?;
    let home = Arc::new(home);
    let route = move |_: Request| {
        let answer = to(&home);
        async move { answer }
    };
    let mut imap = listener(Protocol::Imap, TlsMode::Plain)?;
    imap.cleartext_without_tls = true;
    let gatepost = Gatepost::builder(imap, route).build()?;
    let (ready, address) = mpsc::channel();
    thread::Builder::new().name(THREADS[1].to_owned()).spawn(move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await?;
            // Nobody waits for it any more only if the program is ending.
            let _ = ready.send(socket.local_addr()?);
            gatepost.serve_listener(socket, std::future::pending()).await;
            Ok(())
        })
    })?;
    Ok(address.recv()?)
}

/// One session: greeting, login, logout, and the server's end.
fn log_in(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut lines = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    write!(socket, "a LOGIN {USER} {PASSWORD}\r\n")?;
    line.clear();
    lines.read_line(&mut line)?;
    if !line.starts_with("a OK") {
        return Err(format!("not logged in: {line}").into());
    }
    socket.write_all(b"b LOGOUT\r\n")?;
    while lines.read_line(&mut line)? > 0 {}
    Ok(())
}

/// How long a thread of this process has had a processor.
fn cpu_nanos(name: &str) -> Result<u64, Box<dyn Error>> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == name {
            let schedule = fs::read_to_string(task.join("schedstat"))?;
            return Ok(schedule.split(' ').next().unwrap_or_default().parse()?);
        }
    }
    Err(format!("no thread is called {name}").into())
}
