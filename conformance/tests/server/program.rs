//! The `gatepost` program as a child process: its log, its signals, its exit status, and what the
//! kernel says of it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use gatepost_conformance::rig::{Program as Needed, Tls, require};
use rustix::process::{Pid, Signal, kill_process};

use crate::server::stage::Draft;
use crate::server::wire::{Wire, eventually};

/// A program that runs. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    pub(crate) draft: Draft,
}

impl Program {
    /// Runs the configuration and waits until it listens. None: there is no program to run, and
    /// the test was told so.
    pub(crate) fn run(draft: Draft) -> Option<Self> {
        Self::run_limited(draft, "")
    }

    /// The same after some words to the shell.
    pub(crate) fn run_limited(draft: Draft, limit: &str) -> Option<Self> {
        let config = draft.file("gatepost.toml", &draft.text());
        let log = draft.folder.path().join("log");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limit} exec \"$0\" run \"$1\"")).arg(path()?).arg(config);
        clean(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let program = Self { child: command.spawn().unwrap(), log, draft };
        program.wait_for("listening");
        Some(program)
    }

    /// Everything it has written to stderr.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The lines of the log that hold all of these words.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(holds).map(str::to_owned).collect()
    }

    /// Waits until the log holds this.
    pub(crate) fn wait_for(&self, word: &str) {
        eventually(word, || self.log().contains(word).then_some(()));
    }

    /// Where the listener of this mode is, as the log has it.
    pub(crate) fn address(&self, tls: Tls) -> SocketAddr {
        let name = format!("listener={tls} ");
        let line = eventually(&name, || self.lines(&["listening", &name]).pop());
        let address = line.split("address=").nth(1).unwrap();
        address
            .trim_end_matches(|letter: char| !letter.is_ascii_digit())
            .split('"')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A client, through its handshake if there is one.
    pub(crate) fn client(&self, tls: Tls) -> Wire {
        let mut wire = Wire::connect(self.address(tls));
        if tls == Tls::Implicit {
            let config = self.draft.certificate.client_config().unwrap();
            wire.secure(config, "localhost").unwrap();
        }
        wire
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; the exit status, which is not that of a signal.
    pub(crate) fn status(&mut self) -> i32 {
        let status = eventually("the program ends", || self.child.try_wait().unwrap());
        assert_eq!(status.signal(), None, "{}", self.log());
        status.code().unwrap()
    }

    /// The processor time it has used so far, in ticks of a hundredth of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything, comes the state; utime and stime are fields 14
        // and 15 (proc(5)).
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// The most memory it has ever occupied, in KiB.
    pub(crate) fn peak_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a subcommand on a configuration until it ends by itself.
pub(crate) fn output(subcommand: &str, config: &Path) -> Option<Output> {
    let mut command = Command::new("timeout");
    command.arg("60").arg(path()?).arg(subcommand).arg(config);
    Some(clean(&mut command).output().unwrap())
}

/// The caller's own variables would override what the test wrote.
fn clean(command: &mut Command) -> &mut Command {
    command.env_remove("GATEPOST_CONFIG").env_remove("RUST_LOG")
}

/// The program, where `cargo build` leaves it beside this one.
fn path() -> Option<PathBuf> {
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().and_then(Path::parent).unwrap();
    require(&[Needed::Gatepost]).then(|| folder.join("gatepost"))
}
