//! The sink as its parent sees it: a child process, its ports, and what it counts.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::bench::case::Suite;
use crate::bench::process::Tree;
use crate::bench::sink::Ports;

/// Handshakes that the sink has accepted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::bench) struct Handshakes {
    pub(in crate::bench) full: u64,
    pub(in crate::bench) resumed: u64,
}

/// A sink that runs. It ends when this is dropped.
pub(in crate::bench) struct Remote {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(in crate::bench) ports: Ports,
}

impl Remote {
    /// Starts this very program in the sink's role.
    pub(in crate::bench) fn start(folder: &Path, suite: Suite) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("sink")
            .arg(folder)
            .arg(suite.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a child without its streams"));
        };
        let mut answers = BufReader::new(answers);
        let numbers = numbers(&mut answers)?;
        let [a, b, c, d, e, f, auth_http] = numbers[..] else {
            return Err(io::Error::other("the sink did not start"));
        };
        let port = |number: u64| u16::try_from(number).map_err(io::Error::other);
        let ports = Ports {
            plain: [port(a)?, port(b)?, port(c)?],
            tls: [port(d)?, port(e)?, port(f)?],
            auth_http: port(auth_http)?,
        };
        Ok(Self { child, orders: Some(orders), answers, ports })
    }

    pub(in crate::bench) fn tree(&self) -> Tree {
        Tree::of(self.child.id())
    }

    pub(in crate::bench) fn handshakes(&mut self) -> io::Result<Handshakes> {
        if let Some(orders) = &mut self.orders {
            orders.write_all(b"\n")?;
        }
        match numbers(&mut self.answers)?[..] {
            [full, resumed] => Ok(Handshakes { full, resumed }),
            _ => Err(io::Error::other("the sink is gone")),
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It ends by itself once it can hear no more.
        self.orders = None;
        let _ = self.child.wait();
    }
}

fn numbers(answers: &mut BufReader<ChildStdout>) -> io::Result<Vec<u64>> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}
