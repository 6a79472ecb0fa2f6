//! IMAP: the model of a backend, and dialogues with it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Both, Dice, Model, Trial};
use crate::guard::Guard;

/// How a backend reads.
#[derive(Debug, Clone, Copy, Default)]
struct Habits {
    bare_lf: bool,
    bare_cr: bool,
    /// It takes a `+` after AUTHENTICATE.
    exchanges: bool,
    /// Literals are refused that do not come behind APPEND.
    picky: bool,
    /// The octets of such a one are commands, even where it did not wait.
    careless: bool,
}

struct Backend {
    habits: Habits,
    /// LITERAL+.
    plus: bool,
    /// The line that is being read.
    line: Vec<u8>,
    /// A CR has ended a line: an LF behind it belongs to that end.
    after_cr: bool,
    /// The lines of the command before it, without literals.
    command: String,
    literal: usize,
    idle: Option<String>,
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
            let Habits { bare_lf, bare_cr, .. } = self.habits;
            let bare = (bare_lf && octet == b'\n') || (bare_cr && octet == b'\r');
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
        if let Some(tag) = self.idle.take() {
            let verdict = if line.eq_ignore_ascii_case("DONE") { "OK" } else { "BAD" };
            out.extend(format!("{tag} {verdict} idle\r\n").bytes());
            return;
        }
        self.command.push_str(line);
        let upper = self.command.to_uppercase();
        let mut words = upper.split_whitespace();
        let (tag, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if let Some((size, waits)) = literal(line) {
            let wanted = verb == "APPEND" || !self.habits.picky;
            match (waits, wanted) {
                (true, true) => out.extend(b"+ go\r\n"),
                (false, _) if self.plus && (wanted || !self.habits.careless) => {}
                (true, false) | (false, _) => {
                    out.extend(format!("{tag} BAD refused {{7}}\r\n").bytes());
                    self.command.clear();
                    return;
                }
            }
            self.literal = size;
            return;
        }
        let (tag, verb) = (String::from(tag), String::from(verb));
        self.command.clear();
        self.run(&tag, &verb, out);
    }

    fn run(&mut self, tag: &str, verb: &str, out: &mut Vec<u8>) {
        self.ran.push(verb.into());
        match verb {
            "NOOP" | "APPEND" => out.extend(format!("{tag} OK done {{5}}\r\n").bytes()),
            "FETCH" => {
                let data = format!("+ stay\r\n{tag} OK x {{90}}\r\n");
                let size = data.len();
                let text = format!("* 1 FETCH (X \"a{{3}}\" BODY[] {{{size}}}\r\n{data})\r\n");
                out.extend(format!("{text}{tag} OK done\r\n").bytes());
            }
            "IDLE" => {
                out.extend(b"+ idling\r\n");
                self.idle = Some(tag.into());
            }
            "AUTHENTICATE" if self.habits.exchanges => {
                out.extend(b"+ \r\n");
                self.idle = Some(tag.into());
            }
            _ if tag.is_empty() => out.extend(b"* BAD tag\r\n"),
            _ => out.extend(format!("{tag} BAD what\r\n").bytes()),
        }
    }
}

fn literal(line: &str) -> Option<(usize, bool)> {
    let inner = line.strip_suffix('}')?;
    let open = inner.rfind('{')?;
    if inner[..open].matches('"').count() % 2 == 1 {
        return None;
    }
    let inner = &inner[open + 1..];
    let digits = inner.strip_suffix('+').unwrap_or(inner);
    Some((digits.parse().ok().filter(|size| *size < 5000)?, digits == inner))
}

const HOSTILE: &[&str] = &[
    "x UNAUTHENTICATE\r\n",
    "x unauthenticate\r\n",
    "x  COMPRESS DEFLATE\r\n",
    "x\tSTARTTLS\r\n",
    "x UNAUTHENTICATE {20+}\r\n",
    "x UNAUTHENTICATE\n",
    "x UNAUTHENTICATE\r",
    "x UNAUTH",
    "ENTICATE\r\n",
    "x NOOP\r\n",
    "x NOOP\n",
    "x NOOP\r",
    "x NOOP {18}\r\n",
    "x NOOP {18+}\r\n",
    "x APPEND b {18}\r\n",
    "x APPEND b {40+}\r\n",
    "x APPEND b {4097+}\r\n",
    "x APPEND b \"{18+}\"\r\n",
    "x APPEND \"b {18+}\r\n",
    "x APPEND b{18+}\r\n",
    "x APPEND b {0+}\r\n",
    "x APPEND b ~{18}\r\n",
    "x FETCH 1 BODY[]\r\n",
    "x IDLE\r\n",
    "DONE\r\n",
    "x AUTHENTICATE PLAIN\r\n",
    "abc\r\n",
    "\r\n",
    "\n",
    "x\r\n",
    "IDLE x\r\n",
    "some text without an end ",
];

fn hostile(dice: &mut Dice) -> Vec<u8> {
    let pieces = 1 + dice.roll(14);
    let mut text: Vec<u8> = (0..pieces).flat_map(|_| dice.pick(HOSTILE).bytes()).collect();
    text.extend(b"\r\nx UNAUTHENTICATE\r\n");
    text
}

fn clean(dice: &mut Dice, _: bool) -> Vec<u8> {
    let mut text = Vec::new();
    let sign = dice.pick(&["", "+"]);
    for _ in 0..1 + dice.roll(8) {
        match dice.roll(5) {
            0 => text.extend(b"a NOOP UNAUTHENTICATE\r\n"),
            1 => text.extend(b"b FETCH 1 BODY[]\r\n"),
            2 => text.extend(b"c IDLE\r\ndone\r\n"),
            3 => {
                text.extend(format!("d APPEND b {{18{sign}}}\r\nx UNAUTHENTICATE\r\n\r\n").bytes())
            }
            _ => {
                let first = format!("e APPEND b (TEXT {{3{sign}}}\r\n\"\r\n");
                let second = format!("~{{18{sign}}}\r\nx UNAUTHENTICATE\r\n)\r\n");
                text.extend(format!("{first} TEXT {second}").bytes());
            }
        }
    }
    text
}

/// Literals that do not wait are made to, of which the client hears nothing.
fn changes(clean: &[u8], said: &[u8]) -> Both {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let (clean, said) = (text(clean), text(said));
    if !clean.contains("+}") {
        return (clean.into(), said.into());
    }
    (clean.replace("+}", "}").into(), said.replace("+ go\r\n", "").into())
}

fn model(dice: &mut Dice, plus: bool, habits: bool) -> Box<dyn Model> {
    let mut coin = || habits && dice.coin();
    let habits = Habits {
        bare_lf: coin(),
        bare_cr: coin(),
        exchanges: coin(),
        picky: coin(),
        careless: coin(),
    };
    Box::new(Backend {
        habits,
        plus,
        line: Vec::new(),
        after_cr: false,
        command: String::new(),
        literal: 0,
        idle: None,
        ran: Vec::new(),
    })
}

#[test]
fn no_backend_ever_runs_a_forbidden_verb_of_imap() {
    let guard = |_| Guard::imap();
    let forbidden = &["UNAUTHENTICATE", "COMPRESS", "STARTTLS"];
    Trial { guard, forbidden, hostile, clean, model, changes }.run();
}
