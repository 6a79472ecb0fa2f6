//! Child processes that serve on ports: started, waited for, ended.
//!
//! A [`Daemon`] owns one child and the file with everything it wrote. It is ended by process id,
//! politely first, when it is dropped; if the test is failing at that moment, the end of the log is
//! shown. Nothing here knows what the child is. Ports come from [`free_port`], outside the range
//! from which the kernel takes the ports of outgoing connections, so that a busy test cannot take
//! the port of a server about to start.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// How long a child may take to answer, in a debug build on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a child may take to end by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two looks at a child.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The end of a log that a failing test shows, in lines.
const LOG_TAIL: usize = 80;
/// The ports to choose from: unprivileged, and below the kernel's range for outgoing connections.
const PORTS: std::ops::Range<u32> = 20_000..32_000;
/// How many files the tests and their children ask to have open at once.
const OPEN_FILES: u64 = 20_000;

/// A child process and its log.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with its output appended to the file `log`, which exists already.
    pub fn spawn(name: &'static str, command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    /// Waits until `ready` says so. It is an error if the child ends first or takes too long.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> io::Result<()> {
        let limit = Instant::now() + START_LIMIT;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.fault(&format!("ended with {status}")));
            }
            if Instant::now() > limit {
                return Err(self.fault("did not get ready"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Everything the child has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_else(|error| format!("{}: {error}", self.log.display()))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the child: asks first, kills when it does not listen.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A child that has ended meanwhile is what was wanted.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let limit = Instant::now() + STOP_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Kills the child and its own children with no warning: afterwards none of them runs.
    pub fn kill(&mut self) -> io::Result<()> {
        let child = Pid::from_child(&self.child);
        // Stopped, it starts no further ones behind our back.
        kill_process(child, Signal::STOP)?;
        let id = self.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let children = children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?));
        for id in children.chain([child]) {
            // Whoever has ended meanwhile is gone as well.
            let _ = kill_process(id, Signal::KILL);
        }
        self.child.wait().map(drop)
    }

    fn fault(&self, what: &str) -> io::Error {
        io::Error::other(format!("{} {what}; it wrote:\n{}", self.name, tail(&self.log())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            let report =
                format!("--- the end of what {} wrote:\n{}\n", self.name, tail(&self.log()));
            let _ = io::stderr().write_all(report.as_bytes());
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}

/// A port of 127.0.0.1 on which nobody listens, and which no other call in this process has
/// answered lately.
pub fn free_port() -> io::Result<u16> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let span = PORTS.end - PORTS.start;
    // Test programs that run side by side begin at different places.
    let first = std::process::id().wrapping_mul(97) % span;
    for _ in PORTS {
        let offset = first.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % span;
        let Ok(port) = u16::try_from(PORTS.start + offset) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port of 127.0.0.1 is free"))
}

/// Raises this process's limit of open files, which its children inherit, as far as is allowed.
pub fn raise_open_files() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}

/// Creates an empty log file.
pub(super) fn create_log(path: &Path) -> io::Result<()> {
    File::create(path).map(drop)
}
