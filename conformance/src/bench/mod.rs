//! The bench: what a login, a byte, a request and an idle session cost, here and beside others.
//!
//! All figures come from one run on one machine and mean something beside each other only: CPU of
//! the server's processes as the kernel counts it, memory as their proportional share, latency as
//! clients see it while the system is busy. Rounds alternate between the systems, so that whatever
//! else the machine does meets all of them alike, and the median counts. It is no test: nothing
//! here asserts a time.
//!
//! The generator is this process, the sink (`sink/`) and every system are children. Read next:
//! `case.rs`, what is measured; `measure.rs`, how; `system/mod.rs`, whose.

mod case;
mod figures;
mod load;
mod measure;
mod process;
mod program;
mod report;
mod rounds;
mod sink;
mod stream;
mod system;
mod tls;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

pub use self::case::{Column, Row, Suite, System};
pub use self::report::Report;
pub use self::rounds::run;

/// What a run is to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Kinds of work.
    pub rows: Vec<Row>,
    /// Which legs have TLS.
    pub columns: Vec<Column>,
    /// Programs beside each other.
    pub systems: Vec<System>,
    /// How often each is measured; the median counts.
    pub rounds: usize,
    /// The amount of work of one measurement, 1.0 being enough for steady figures.
    pub size: f64,
    /// Numbers of idle sessions.
    pub sessions: Vec<usize>,
    /// What every leg with TLS speaks.
    pub suite: Suite,
    /// The `gatepost` program; without it the one beside this program, built anew by cargo where
    /// cargo runs this.
    pub gatepost: Option<PathBuf>,
}

/// The sink's role: a process of its own, see `sink/mod.rs`.
pub fn serve_sink(folder: &Path, suite: Suite) -> io::Result<()> {
    sink::serve(folder, suite)
}

/// The role of a relay that knows nothing, see `system/bare.rs`. `pairs`: `front:backend` ports.
pub fn serve_bare(pairs: &[String]) -> io::Result<()> {
    system::serve_bare(pairs)
}

/// The role of a small program that embeds the tokio library.
pub fn serve_tokio(
    configuration: &Path,
    folder: &Path,
    suite: Suite,
) -> Result<(), Box<dyn Error>> {
    system::serve_tokio(configuration, folder, suite)
}
