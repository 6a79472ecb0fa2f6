//! All scripts of a folder, at all cuts, and what is to be said about it.
//!
//! Nothing stops at the first failure: a change shows everything it breaks. A run that panics is a
//! failure of its script like any other. The environment decides: `SCRIPT` (a part of the path)
//! picks scripts, `BLESS=1` rewrites them, `GATEPOST_SEED` (hexadecimal) repeats random cuts.
//!
//! Read next: `core_run`, `cuts`.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::bless::blessed;
use super::compare::{Strictness, difference, lines};
use super::core_run::play;
use super::cuts::{Cut, all, over_sockets};
use super::parse::parse;
use super::timeline::{Emission, Fault, Place, Script};
use super::wire::{Start, out_of_scope};

/// What a run of all scripts came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Scripts that were found.
    pub scripts: usize,
    /// Ways in which they were cut, in all.
    pub runs: usize,
    /// What was skipped, with the reason.
    pub skipped: Vec<String>,
    /// How many scripts can run in the core only, by reason.
    pub core_only: BTreeMap<&'static str, usize>,
    /// A text for each script that failed.
    pub failures: Vec<String>,
    /// Scripts that were rewritten.
    pub rewritten: Vec<PathBuf>,
}

/// Runs every script below a folder on the core.
///
/// # Errors
/// The folder or a script cannot be read or rewritten.
pub fn run(folder: &Path) -> io::Result<Outcome> {
    on(Ground::Core, folder)
}

/// Runs every script below a folder over sockets, unless it needs what only the core's runner can
/// make happen, on servers that `start` starts.
///
/// # Errors
/// The folder or a script cannot be read.
pub fn run_over_sockets(folder: &Path, place: Place, start: &Start<'_>) -> io::Result<Outcome> {
    on(Ground::Sockets(place, start), folder)
}

/// Where scripts are run.
#[derive(Clone, Copy)]
enum Ground<'a> {
    Core,
    Sockets(Place, &'a Start<'a>),
}

fn on(ground: Ground<'_>, folder: &Path) -> io::Result<Outcome> {
    let settings = Settings::from_environment();
    let mut paths = Vec::new();
    collect(folder, &mut paths)?;
    paths.sort();
    paths.retain(|path| path.to_string_lossy().contains(&settings.picked));
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let work = || {
        let mut done = Vec::new();
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((path, one(ground, path, &settings)));
        }
        done
    };
    let mut verdicts = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results
            .flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    verdicts.sort_by_key(|(path, _)| *path);
    let mut outcome = Outcome::default();
    for (path, verdict) in verdicts {
        outcome.add(path, verdict?);
    }
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, path: &Path, verdict: Verdict) {
        self.scripts += 1;
        match verdict {
            Verdict::Passed { runs } => self.runs += runs,
            Verdict::Skipped(reason) => {
                self.skipped.push(format!("{}: {reason}", path.display()));
            }
            Verdict::Failed { runs, text } => {
                self.runs += runs;
                self.failures.push(text);
            }
            Verdict::CoreOnly(reason) => *self.core_only.entry(reason).or_default() += 1,
            Verdict::Rewritten => self.rewritten.push(path.to_owned()),
        }
    }
}

struct Settings {
    picked: String,
    bless: bool,
    seed: u64,
}

impl Settings {
    fn from_environment() -> Self {
        let seed = std::env::var("GATEPOST_SEED").ok();
        let seed = seed.and_then(|digits| u64::from_str_radix(&digits, 16).ok());
        Self {
            picked: std::env::var("SCRIPT").unwrap_or_default(),
            bless: std::env::var("BLESS").is_ok_and(|value| value == "1"),
            // The standard library's hasher keys are the only randomness it gives away.
            seed: seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
        }
    }
}

enum Verdict {
    Passed { runs: usize },
    Skipped(String),
    CoreOnly(&'static str),
    Failed { runs: usize, text: String },
    Rewritten,
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "script") {
            paths.push(path);
        }
    }
    Ok(())
}

fn one(ground: Ground<'_>, path: &Path, settings: &Settings) -> io::Result<Verdict> {
    let text = fs::read_to_string(path)?;
    let script = match parse(path, &text) {
        Ok(script) => script,
        Err(fault) => {
            let text = headline(path, &fault);
            return Ok(Verdict::Failed { runs: 0, text });
        }
    };
    match ground {
        Ground::Core if settings.bless && rewrite(&script, &text)? => Ok(Verdict::Rewritten),
        Ground::Core => {
            let cuts = all(&script, settings.seed);
            Ok(judged(&script, Place::Core, &cuts, |cut| failure(&script, cut)))
        }
        Ground::Sockets(place, start) => Ok(match out_of_scope(&script) {
            Some(reason) => Verdict::CoreOnly(reason),
            None => judged(&script, place, &over_sockets(settings.seed), |cut| {
                let fault = super::wire::play(&script, cut, start).err()?;
                Some(headline(path, &fault))
            }),
        }),
    }
}

/// Writes what comes out into the script; whether that changed it.
fn rewrite(script: &Script, text: &str) -> io::Result<bool> {
    if script.skips.iter().any(|skip| skip.place == Place::Core) {
        return Ok(false);
    }
    // What panics is judged and shown like any other failure.
    let Ok(played) = catch_unwind(AssertUnwindSafe(|| play(script, Cut::Whole))) else {
        return Ok(false);
    };
    let new = blessed(script, &played.blocks);
    if new != text {
        fs::write(&script.path, &new)?;
    }
    Ok(new != text)
}

fn judged(
    script: &Script,
    place: Place,
    cuts: &[Cut],
    failure: impl Fn(Cut) -> Option<String>,
) -> Verdict {
    let skip = script.skips.iter().find(|skip| skip.place == place);
    let (runs, failure) = first_failure(script, cuts, failure);
    match (skip, failure) {
        (None, None) => Verdict::Passed { runs },
        (None, Some(text)) => Verdict::Failed { runs, text },
        (Some(skip), Some(_)) => Verdict::Skipped(skip.reason.clone()),
        (Some(_), None) => {
            let fault = Fault::new(1, "it passes here: remove the skip");
            Verdict::Failed { runs, text: headline(&script.path, &fault) }
        }
    }
}

fn first_failure(
    script: &Script,
    cuts: &[Cut],
    failure: impl Fn(Cut) -> Option<String>,
) -> (usize, Option<String>) {
    for (position, cut) in cuts.iter().enumerate() {
        let failure = match catch_unwind(AssertUnwindSafe(|| failure(*cut))) {
            Ok(failure) => failure,
            Err(panic) => Some(headline(&script.path, &Fault::new(1, panic_text(&*panic)))),
        };
        if let Some(mut text) = failure {
            let _ = writeln!(text, "  run: {cut}");
            return (position + 1, Some(text));
        }
    }
    (cuts.len(), None)
}

fn failure(script: &Script, cut: Cut) -> Option<String> {
    let played = play(script, cut);
    let strictness = if cut == Cut::Whole { Strictness::Whole } else { Strictness::Cut };
    for (block, got) in script.blocks.iter().zip(&played.blocks) {
        let expected: Vec<Emission> =
            block.expected.iter().map(|expected| expected.what.clone()).collect();
        if let Some(text) = difference(&expected, got, strictness) {
            let fault = Fault::new(block.inputs_end, "what comes of this is not what stands below");
            return Some(headline(&script.path, &fault) + &text);
        }
    }
    let stopped = played.fault.as_ref()?;
    let mut text = headline(&script.path, &stopped.fault);
    if !stopped.emissions.is_empty() {
        text.push_str("  until then:\n");
        for line in lines(&stopped.emissions) {
            let _ = writeln!(text, "      {line}");
        }
    }
    Some(text)
}

fn headline(path: &Path, fault: &Fault) -> String {
    format!("{}:{}: {}\n", path.display(), fault.line, fault.problem)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a text"))
}
