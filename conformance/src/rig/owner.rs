//! Whom the rig's servers run as: the current user, or `nobody` when the tests are run by root.

use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::process::geteuid;

/// Whom the servers run as when root runs the tests.
const UNPRIVILEGED_USER: &str = "nobody";

/// A user and a group.
pub(super) struct Owner {
    pub(super) user: String,
    pub(super) group: String,
    user_id: u32,
    group_id: u32,
}

impl Owner {
    /// Whoever may run a server without privileges.
    pub(super) fn choose() -> io::Result<Self> {
        let name: &[&str] = if geteuid().is_root() { &[UNPRIVILEGED_USER] } else { &[] };
        let id = |option: &str| -> io::Result<String> {
            let output = Command::new("id").arg(option).args(name).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        Ok(Self {
            user: id("-un")?,
            group: id("-gn")?,
            user_id: id("-u")?.parse().map_err(io::Error::other)?,
            group_id: id("-g")?.parse().map_err(io::Error::other)?,
        })
    }

    /// Makes a command run as this user, who gets the folder that it works in.
    pub(super) fn run(&self, command: &mut Command, folder: &Path) -> io::Result<()> {
        if geteuid().is_root() {
            self.take(folder)?;
            // This also drops the supplementary groups.
            command.uid(self.user_id).gid(self.group_id);
        }
        Ok(())
    }

    /// Gives a folder and what is in it to the owner.
    fn take(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.user_id), Some(self.group_id))?;
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.take(&entry?.path())?;
            }
        }
        Ok(())
    }
}
