//! `bench`: what carrying mail costs here, and what it costs the programs beside.
//!
//! See `gatepost_conformance::bench` for what is measured and how. The table goes to stdout, what
//! is under way to stderr.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::PathBuf;
use std::{fs, io};

use clap::{Parser, Subcommand, ValueEnum as _};
use gatepost_conformance::bench::{self, Column, Plan, Row, Suite, System};

/// How much smaller a quick run is.
const QUICK_SIZE: f64 = 0.05;
/// Idle sessions of a quick run.
const QUICK_SESSIONS: usize = 100;

/// CPU, memory and latency of Gatepost and of what stands beside it, in one run.
#[derive(Parser)]
struct Arguments {
    /// Kinds of work; without it, all.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Which legs have TLS; without it, every combination.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<Column>,
    /// Programs; without it, all that are installed.
    #[arg(long, value_delimiter = ',')]
    systems: Vec<System>,
    /// Rounds; the systems take turns, and the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The amount of work of one measurement.
    #[arg(long, default_value_t = 1.0)]
    size: f64,
    /// Numbers of idle sessions.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000, 8000])]
    sessions: Vec<usize>,
    /// What every leg with TLS speaks.
    #[arg(long, value_enum, default_value = "aes128")]
    suite: Suite,
    /// One short round of everything, to see that it works: its figures are worth little.
    #[arg(long)]
    quick: bool,
    /// The gatepost program, if not the one that belongs to this one.
    #[arg(long)]
    gatepost: Option<PathBuf>,
    /// A file for the figures of every round.
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it is its own child.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Sink { folder: PathBuf, suite: Suite },
    #[command(hide = true)]
    Bare { pairs: Vec<String> },
    #[command(hide = true)]
    Tokio { configuration: PathBuf, folder: PathBuf, suite: Suite },
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Sink { folder, suite }) => return Ok(bench::serve_sink(folder, *suite)?),
        Some(Role::Bare { pairs }) => return Ok(bench::serve_bare(pairs)?),
        Some(Role::Tokio { configuration, folder, suite }) => {
            return bench::serve_tokio(configuration, folder, *suite);
        }
        None => {}
    }
    let quick = arguments.quick;
    if quick {
        println!("A quick run: it shows that everything works, and its figures are worth little.");
    }
    if cfg!(debug_assertions) {
        println!("Not a release build: its figures are worth nothing.");
    }
    let json = arguments.json.clone();
    let report = bench::run(&plan(arguments), &mut io::stderr().lock())?;
    print!("{}", report.table());
    if let Some(file) = json {
        fs::write(file, report.json())?;
    }
    Ok(())
}

fn plan(arguments: Arguments) -> Plan {
    let Arguments {
        rows, columns, systems, rounds, size, sessions, suite, quick, gatepost, ..
    } = arguments;
    Plan {
        rows: or_all(rows, Row::value_variants()),
        columns: or_all(columns, Column::value_variants()),
        systems: or_all(systems, System::value_variants()),
        rounds: if quick { 1 } else { rounds },
        size: if quick { size * QUICK_SIZE } else { size },
        sessions: if quick { vec![QUICK_SESSIONS] } else { sessions },
        suite,
        gatepost,
    }
}

fn or_all<T: Copy>(chosen: Vec<T>, all: &[T]) -> Vec<T> {
    if chosen.is_empty() { all.to_vec() } else { chosen }
}
