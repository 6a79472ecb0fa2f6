//! Submission: the model of a backend, and dialogues with it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Dice, Model, Trial};
use crate::guard::Guard;

/// How a backend reads.
#[derive(Debug, Clone, Copy, Default)]
struct Habits {
    bare_lf: bool,
    bare_cr: bool,
    lax_dots: bool,
    /// Long lines are taken in pieces of 512 octets.
    pieces: bool,
    /// Any number is a size.
    lax_sizes: bool,
    /// What stands between two chunks has to be cleared by RSET.
    strict_chunks: bool,
    /// A recipient may be put off with the code of a goodbye, although it is none.
    busy: bool,
}

struct Backend {
    habits: Habits,
    chunking: bool,
    line: Vec<u8>,
    /// A CR has ended a line: an LF behind it belongs to that end.
    after_cr: bool,
    mode: Mode,
    recipients: bool,
    /// The last chunk was not the last one of its message.
    more: bool,
    /// Nothing counts but RSET.
    unsettled: bool,
    ran: Vec<String>,
}

enum Mode {
    Commands,
    /// The client's answer to a challenge.
    Exchange,
    /// The octets of the current line and the one before it.
    Data(Vec<u8>),
    Chunk(usize),
}

impl Model for Backend {
    fn hear(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &octet in octets {
            self.octet(octet, &mut out);
        }
        out
    }

    fn ran(&self) -> &[String] {
        &self.ran
    }
}

impl Backend {
    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        if core::mem::take(&mut self.after_cr) && octet == b'\n' {
            return;
        }
        match &mut self.mode {
            Mode::Chunk(left) => {
                *left -= 1;
                if *left == 0 {
                    self.mode = Mode::Commands;
                    out.extend(b"250 chunk\r\n");
                }
            }
            Mode::Data(seen) => {
                seen.push(octet);
                let ends = |ends: &[&str]| ends.iter().any(|end| seen.ends_with(end.as_bytes()));
                let lax = ["\n.\n", "\n.\r\n", "\r.\r", "\r.\n", "\n.\r", "\n. ", "\r.\r\n"];
                if ends(&["\r\n.\r\n"]) || (self.habits.lax_dots && ends(&lax)) {
                    self.mode = Mode::Commands;
                    self.recipients = false;
                    out.extend(b"250 queued\r\n");
                }
            }
            Mode::Commands | Mode::Exchange => {
                self.line.push(octet);
                let crlf = self.line.ends_with(b"\r\n");
                let habits = self.habits;
                let bare = (habits.bare_lf && octet == b'\n') || (habits.bare_cr && octet == b'\r');
                if crlf || bare || (habits.pieces && self.line.len() == 512) {
                    self.after_cr = octet == b'\r' && habits.bare_cr;
                    let line = core::mem::take(&mut self.line);
                    self.command(&line, out);
                }
            }
        }
    }

    fn command(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if matches!(self.mode, Mode::Exchange) {
            self.mode = Mode::Commands;
            return out.extend(b"501 no base64\r\n");
        }
        let line = String::from_utf8_lossy(line).to_uppercase();
        let trimmed = line.trim_matches(|letter: char| letter <= ' ');
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let verb = words.first().copied().unwrap_or_default();
        if self.habits.strict_chunks && (self.more || self.unsettled) {
            let goes_on = matches!(trimmed, "NOOP") || verb == "BDAT";
            self.unsettled |= !goes_on;
            self.unsettled &= trimmed != "RSET";
            if self.unsettled {
                return out.extend(b"503 reset first\r\n");
            }
        }
        self.ran.push(verb.into());
        match verb {
            "RSET" => {
                self.more = false;
                out.extend(b"250 ok\r\n");
            }
            "MAIL" | "NOOP" => out.extend(b"250 ok\r\n"),
            "RCPT" if self.habits.busy => out.extend(b"421 later\r\n"),
            "RCPT" => {
                self.recipients = true;
                out.extend(b"250 ok\r\n");
            }
            "EHLO" | "HELO" => {
                let chunking =
                    if self.chunking && verb == "EHLO" { "250-CHUNKING\r\n" } else { "" };
                out.extend(format!("250-354 me\r\n{chunking}250 DSN\r\n").bytes());
            }
            "DATA" if self.recipients => {
                self.mode = Mode::Data(b"\r\n".to_vec());
                out.extend(b"354 go\r\n");
            }
            "AUTH" => {
                self.mode = Mode::Exchange;
                out.extend(b"334 \r\n");
            }
            "BDAT" if self.chunking => {
                self.more = words.get(2) != Some(&"LAST");
                match self.size(trimmed, &words) {
                    Some(0) => out.extend(b"250 chunk\r\n"),
                    Some(size) => self.mode = Mode::Chunk(size),
                    None => out.extend(b"501 size\r\n"),
                }
            }
            _ => out.extend(b"500 what\r\n"),
        }
    }

    fn size(&self, line: &str, words: &[&str]) -> Option<usize> {
        let digits = words.get(1)?.trim_start_matches('+');
        let size = digits.parse().ok().filter(|size| *size < 5000)?;
        let strict = [format!("BDAT {size}"), format!("BDAT {size} LAST")];
        (self.habits.lax_sizes || strict.iter().any(|form| form == line)).then_some(size)
    }
}

const HOSTILE: &[&str] = &[
    "XCLIENT ADDR=1\r\n",
    "xclient\r\n",
    " \tStartTLS\r\n",
    "XFORWARD A\r\n",
    "XCLIENT\n",
    "XCLIENT a\r",
    "\0XCLIENT\r\n",
    "XC",
    "LIENT\r\n",
    "NOOP\r\n",
    "NOOP\n",
    "NOOP\r",
    "NOOP XCLIENT\r\n",
    "MAIL FROM:<a>\r\n",
    "RCPT TO:<a>\r\n",
    "RCPT TO:<a>\r\nDATA\r\n",
    "RCPT TO:<a>\nDATA\n",
    "DATA\r\n",
    "data \r\n",
    "DATA\n",
    "hello\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r.\r",
    "\r\n.\n",
    "\r\n. x",
    "..\r\n",
    "\r\n",
    "\n",
    "BDAT 20\r\n",
    "BDAT 3 LAST\r\n",
    "BDAT 0\r\n",
    "BDAT 040\r\n",
    "BDAT 40 LAST \r\n",
    "BDAT  40\r\n",
    "BDAT 30\n",
    "BDAT 30\rX",
    "BDAT 99999999999999999999\r\n",
    "EHLO a\r\n",
    "HELO a\r\n",
    "AUTH LOGIN\r\n",
    "AUTH LOGIN\r\nBDAT 30\r\n",
    "BDAT 3\r\nabcNOOP x\r\nBDAT 30\r\nRSET\r\n",
    "RCPT x\r\nBDAT 31\r\n",
    "RSET\r\n",
    "RSET x\r\n",
    "abcdefghijklmnopqrstuvwxyz",
];

fn hostile(dice: &mut Dice) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..1 + dice.roll(14) {
        match dice.roll(20) {
            0 => {
                let filler = "x".repeat(480 + dice.roll(40));
                text.extend(format!("NOOP {filler}XCLIENT a\r\n").bytes());
            }
            _ => text.extend(dice.pick(HOSTILE).bytes()),
        }
    }
    text.extend(b"\r\n.\r\nXCLIENT last\r\n");
    text
}

/// Data in which forbidden verbs are words.
const BODY: &[&str] =
    &["XCLIENT a\r\n", "STARTTLS\r\n", "..\r\n", "..XFORWARD\r\n", "a.\r\n", "\r\n", "text\r\n"];

fn clean(dice: &mut Dice, chunking: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..1 + dice.roll(8) {
        let body =
            |dice: &mut Dice| -> String { (0..dice.roll(9)).map(|_| *dice.pick(BODY)).collect() };
        match dice.roll(6) {
            0 => text.extend(b"NOOP STARTTLS XCLIENT\r\n"),
            1 => text.extend(b"ehlo me\r\n"),
            2 => text.extend(b"DATA\r\n"),
            3 | 4 => {
                let data = body(dice);
                text.extend(format!("MAIL x\r\nRCPT y\r\nDATA\r\n{data}.\r\n").bytes());
                // Without a recipient that would be a line of commands.
                text.extend(b"RSET\r\n");
            }
            _ if chunking => {
                let data = body(dice);
                text.extend(format!("MAIL x\r\nbdat {} last\r\n{data}", data.len()).bytes());
            }
            _ => text.extend(b"RSET\r\n"),
        }
    }
    text
}

fn model(dice: &mut Dice, chunking: bool, habits: bool) -> Box<dyn Model> {
    let mut coin = || habits && dice.coin();
    let habits = Habits {
        bare_lf: coin(),
        bare_cr: coin(),
        lax_dots: coin(),
        pieces: coin(),
        lax_sizes: coin(),
        strict_chunks: coin(),
        busy: coin(),
    };
    Box::new(Backend {
        habits,
        chunking,
        line: Vec::new(),
        after_cr: false,
        mode: Mode::Commands,
        recipients: false,
        more: false,
        unsettled: false,
        ran: Vec::new(),
    })
}

#[test]
fn no_backend_ever_runs_a_forbidden_verb_of_submission() {
    let forbidden = &["XCLIENT", "XFORWARD", "STARTTLS"];
    Trial { guard: Guard::submission, forbidden, hostile, clean, model, changes: super::none }
        .run();
}
