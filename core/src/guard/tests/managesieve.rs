//! ManageSieve: the model of a backend, and dialogues with it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Dice, Model, Trial};
use crate::guard::Guard;

/// How a backend reads; each announces what it reads, so there is no more to vary.
struct Backend {
    bare_lf: bool,
    bare_cr: bool,
    /// It takes `{5}` for a literal too.
    waits: bool,
    /// The literal of a command that it does not know is commands.
    careless: bool,
    line: Vec<u8>,
    after_cr: bool,
    command: String,
    literal: usize,
    ran: Vec<String>,
}

impl Model for Backend {
    fn hear(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &octet in octets {
            if core::mem::take(&mut self.after_cr) && octet == b'\n' {
                continue;
            }
            if self.literal > 0 {
                self.literal -= 1;
                continue;
            }
            self.line.push(octet);
            let bare = (self.bare_lf && octet == b'\n') || (self.bare_cr && octet == b'\r');
            if self.line.ends_with(b"\r\n") || bare {
                self.after_cr = octet == b'\r';
                let line = core::mem::take(&mut self.line);
                self.take(&String::from_utf8_lossy(&line), &mut out);
            }
        }
        out
    }

    fn ran(&self) -> &[String] {
        &self.ran
    }
}

impl Backend {
    fn take(&mut self, line: &str, out: &mut Vec<u8>) {
        let line = line.trim_end_matches(['\r', '\n']);
        self.command.push_str(line);
        if let Some(size) = self.announced(line) {
            self.literal = size;
            return;
        }
        let command = core::mem::take(&mut self.command).to_uppercase();
        self.ran.push(command.split_whitespace().next().unwrap_or_default().into());
        out.extend(b"OK\r\n");
    }

    fn announced(&self, line: &str) -> Option<usize> {
        let verb = self.command.split(' ').next().unwrap_or_default().to_uppercase();
        if self.careless && !["PUTSCRIPT", "CHECKSCRIPT", "HAVESPACE"].contains(&&*verb) {
            return None;
        }
        let inner = line.strip_suffix('}')?;
        let inner =
            if self.waits { inner.trim_end_matches('+') } else { inner.strip_suffix('+')? };
        let open = inner.rfind('{')?;
        let outside = inner[..open].matches('"').count() % 2 == 0;
        inner[open + 1..].parse().ok().filter(|size| outside && *size < 5000)
    }
}

const HOSTILE: &[&str] = &[
    "UNAUTHENTICATE\r\n",
    " unauthenticate x\r\n",
    "STARTTLS\r\n",
    "UNAUTHENTICATE {20+}\r\n",
    "UNAUTHENTICATE\n",
    "STARTTLS\r",
    "UNAUTH",
    "ENTICATE\r\n",
    "NOOP\r\n",
    "NOOP \"a\n",
    "NOOP\r",
    "PUTSCRIPT \"a\" {16+}\r\n",
    "PUTSCRIPT \"a\" {40}\r\n",
    "PUTSCRIPT \"a {16+}\r\n",
    "PUTSCRIPT \"a {16+}\"\r\n",
    "HAVESPACE {1+}\r\n",
    "FOO {18+}\r\n",
    "PUTSCRIPTS {18+}\r\n",
    "PUTSCRIPT\"a\" {18+}\r\n",
    " PUTSCRIPT {18+}\r\n",
    "x {3+} \r\n",
    "\r\n",
    "\n",
    "some text without an end ",
];

fn hostile(dice: &mut Dice) -> Vec<u8> {
    let pieces = 1 + dice.roll(14);
    let mut text: Vec<u8> = (0..pieces).flat_map(|_| dice.pick(HOSTILE).bytes()).collect();
    text.extend(b"\r\nUNAUTHENTICATE\r\n");
    text
}

const CLEAN: &[&str] = &[
    "NOOP \"UNAUTHENTICATE\"\r\n",
    "LISTSCRIPTS\r\n",
    "PUTSCRIPT \"a {9+}\" {16+}\r\nUNAUTHENTICATE\r\n\r\n",
    "PUTSCRIPT {3+}\r\n\"\r\n {10+}\r\nSTARTTLS\r\n\r\n",
    "unauth\r\n",
];

fn clean(dice: &mut Dice, _: bool) -> Vec<u8> {
    let pieces = 1 + dice.roll(9);
    (0..pieces).flat_map(|_| dice.pick(CLEAN).bytes()).collect()
}

fn model(dice: &mut Dice, _: bool, habits: bool) -> Box<dyn Model> {
    let mut coin = || habits && dice.coin();
    Box::new(Backend {
        bare_lf: coin(),
        bare_cr: coin(),
        waits: coin(),
        careless: coin(),
        line: Vec::new(),
        after_cr: false,
        command: String::new(),
        literal: 0,
        ran: Vec::new(),
    })
}

#[test]
fn no_backend_ever_runs_a_forbidden_verb_of_managesieve() {
    let forbidden = &["UNAUTHENTICATE", "STARTTLS"];
    Trial {
        guard: |_| Guard::managesieve(),
        forbidden,
        hostile,
        clean,
        model,
        changes: super::none,
    }
    .run();
}
