//! The `gatepost` program that is measured: the real one, built like this program.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that was asked for, or the one beside this program. Where cargo runs this, it is
/// built first: `cargo run --bin bench` builds the bench and not the server.
pub(super) fn locate(asked: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    if let Some(cargo) = env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "gatepost-mio", "--bin", "gatepost"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        if !build.status()?.success() {
            return Err(io::Error::other("cargo could not build gatepost"));
        }
    }
    let program = env::current_exe()?.with_file_name("gatepost");
    if program.is_file() {
        Ok(program)
    } else {
        let missing = "no gatepost beside this program: build it, or name it with --gatepost";
        Err(io::Error::new(io::ErrorKind::NotFound, missing))
    }
}
