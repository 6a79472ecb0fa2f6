//! The `gatepost` program as an operator meets it: arguments, log, signals, exit status.
#![allow(clippy::unwrap_used)]

mod world;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use world::{End, Kind, LOGGED_IN, LOGIN, PATIENCE, World};

/// Descriptors of a program that is to run out of them.
const FEW_DESCRIPTORS: u32 = 64;

/// A program that serves.
struct Program {
    child: Child,
    log: Receiver<String>,
    address: SocketAddr,
}

impl Program {
    fn run(config: &Path, descriptors: u32) -> Self {
        let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut child = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_gatepost"), "run"])
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
        });
        let listening = wait_for(&log, "address=127.0.0.1:");
        let address = field(&listening, "address").parse().unwrap();
        Self { child, log, address }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that failed must not leave it behind; one that did not has ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(log: &Receiver<String>, part: &str) -> String {
    loop {
        let line = log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {part}"));
        if line.contains(part) {
            return line;
        }
    }
}

fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let prefix = format!("{key}=");
    let found = line.split(' ').find_map(|pair| pair.strip_prefix(prefix.as_str()));
    found.unwrap_or_else(|| panic!("no {key} in {line}"))
}

fn gatepost(command: &str, config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost")).arg(command).arg(config).output().unwrap()
}

/// A world, whose backend the program uses as well, and a file with its configuration.
fn world(kind: Kind) -> (World, PathBuf) {
    let world = World::new(kind);
    let path = world.folder().join("gatepost.toml");
    fs::write(&path, world.text()).unwrap();
    (world, path)
}

fn log_in(world: &World, address: SocketAddr) -> (End, End) {
    let mut client = world.connect_to(address);
    assert!(client.line().starts_with("* OK "));
    client.say(LOGIN);
    client.hear(LOGGED_IN);
    (client, world.backends.recv_timeout(PATIENCE).unwrap())
}

#[test]
fn check_tells_what_would_be_served() {
    let (_world, config) = world(Kind::default());
    let output = gatepost("check", &config);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for part in ["listener.imap", "destination.main", "localhost"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn check_and_run_tell_every_fault_with_its_line() {
    let (world, config) = world(Kind::default());
    let wrong = world.text().replace("threads = 2", "threads = -2").replace("port", "prot");
    fs::write(&config, &wrong).unwrap();
    let place = |part: &str| {
        let line = wrong.lines().position(|line| line.contains(part)).unwrap() + 1;
        format!("{}:{line}: ", config.display())
    };
    for command in ["check", "run"] {
        let output = gatepost(command, &config);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["threads", "prot ="] {
            assert!(said.lines().any(|line| line.starts_with(&place(part))), "{part}: {said}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_used_is_a_fault_of_the_line_that_names_its_table() {
    let (world, config) = world(Kind { client_tls: true, backend_tls: true, ..Kind::default() });
    fs::remove_file(world.folder().join("cert.pem")).unwrap();
    let output = gatepost("check", &config);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for table in ["[tls.certificate.main]", "[destination.main]"] {
        let line = world.text().lines().position(|line| line.contains(table)).unwrap() + 1;
        let place = format!("{}:{line}: ", config.display());
        let told = said.lines().any(|line| line.starts_with(&place) && line.contains("cert.pem"));
        assert!(told, "{table}: {said}");
    }
}

#[test]
fn a_line_of_the_map_that_cannot_be_used_is_a_fault() {
    let (world, config) = world(Kind::default());
    let map = world.folder().join("accounts.map");
    fs::write(&map, "alice main\nbob mian\n").unwrap();
    let mapping = format!("[mapping]\nsource = \"file\"\nfile.path = \"{}\"\n", map.display());
    let text = format!("{}\n{mapping}", world.text());
    fs::write(&config, &text).unwrap();
    let output = gatepost("check", &config);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let line = text.lines().position(|line| line.starts_with("file.path")).unwrap() + 1;
    assert!(said.starts_with(&format!("{}:{line}: ", config.display())), "{said}");
    assert!(said.contains("accounts.map:2: unknown destination \"mian\""), "{said}");
}

#[test]
fn a_port_in_use_ends_the_start_with_the_listener_and_the_address() {
    let (world, config) = world(Kind::default());
    let address = world.address().to_string();
    fs::write(&config, world.text().replace("127.0.0.1:0", &address)).unwrap();
    let output = gatepost("run", &config);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("listener.imap") && said.contains(&address), "{said}");
}

#[test]
fn a_session_has_a_line_for_its_login_and_one_for_its_end() {
    let (world, config) = world(Kind { client_tls: true, ..Kind::default() });
    let mut program = Program::run(&config, 1024);
    let (mut client, mut backend) = log_in(&world, program.address);
    client.say("a2 LOGOUT\r\n");
    backend.hear("a2 LOGOUT\r\n");
    backend.say("* BYE\r\n");
    backend.end();
    assert_eq!(client.rest(), "* BYE\r\n");
    client.end();

    let login = wait_for(&program.log, "login session=");
    let end = wait_for(&program.log, "end session=");
    for (key, value) in [("user", "alice"), ("mechanism", "PLAIN"), ("destination", "main")] {
        assert_eq!(field(&login, key), value, "{login}");
        assert_eq!(field(&end, key), value, "{end}");
    }
    assert_eq!(field(&end, "session"), field(&login, "session"));
    let ending = [("by", "backend"), ("reason", "eof"), ("state", "relay"), ("protocol", "imap")];
    for (key, value) in ending {
        assert_eq!(field(&end, key), value, "{end}");
    }
    assert!(!login.contains("secret") && !end.contains("secret"));
    program.signal(Signal::TERM);
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn without_descriptors_nobody_is_lost_and_nothing_spins() {
    let (world, config) = world(Kind::default());
    let program = Program::run(&config, FEW_DESCRIPTORS);
    let (mut client, mut backend) = log_in(&world, program.address);
    let crowd: Vec<End> =
        (0..2 * FEW_DESCRIPTORS).map(|_| world.connect_to(program.address)).collect();
    wait_for(&program.log, "accepting nobody for now");
    client.say("a2 NOOP\r\n");
    backend.hear("a2 NOOP\r\n");
    drop(crowd);
    drop(log_in(&world, program.address));
    // Two workers, each of which may complain once in ten seconds.
    let complaints = program.log.try_iter().filter(|line| line.contains("accepting nobody"));
    assert!(complaints.count() <= 3);
}

#[test]
fn a_second_signal_ends_what_the_first_lets_finish() {
    let (world, config) = world(Kind::default());
    let mut program = Program::run(&config, 1024);
    let (mut client, _backend) = log_in(&world, program.address);
    program.signal(Signal::HUP);
    wait_for(&program.log, "reload");
    program.signal(Signal::TERM);
    wait_for(&program.log, "draining");
    program.signal(Signal::INT);
    assert_eq!(client.rest(), "");
    assert!(program.child.wait().unwrap().success());
}
