//! What the kernel says of a process and of those it started: CPU time and memory.
//!
//! CPU is the time that all threads had a processor, user and system together, from each thread's
//! `schedstat`: the same clock as in `stat`, in nanoseconds and not in ticks of ten milliseconds.
//! Memory is the proportional share (Pss) of `smaps_rollup`, so that what processes share counts
//! once. A process that ended between two looks takes its time with it: the systems measured here
//! keep theirs.

use std::collections::HashMap;
use std::time::Duration;
use std::{fs, io};

/// A process and everything below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree {
    root: u32,
}

impl Tree {
    pub(super) const fn of(root: u32) -> Self {
        Self { root }
    }

    /// This process.
    pub(super) fn own_cpu() -> io::Result<Duration> {
        cpu_of(std::process::id())
    }

    /// CPU time of all of them.
    pub(super) fn cpu(self) -> io::Result<Duration> {
        self.members()?.into_iter().map(cpu_of).sum()
    }

    /// Proportional share of memory of all of them, in KiB.
    pub(super) fn pss_kib(self) -> io::Result<u64> {
        self.members()?.into_iter().map(pss_of).sum()
    }

    fn members(self) -> io::Result<Vec<u32>> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(parent) = parent_of(id) {
                children.entry(parent).or_default().push(id);
            }
        }
        let mut members = vec![self.root];
        let mut next = 0;
        while let Some(member) = members.get(next) {
            if let Some(below) = children.get(member) {
                members.extend(below);
            }
            next += 1;
        }
        Ok(members)
    }
}

/// None: it is gone.
fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn cpu_of(id: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = schedstat.split(' ').next().unwrap_or_default();
        nanos += spent.parse::<u64>().map_err(io::Error::other)?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn pss_of(id: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let share = line.and_then(|line| line.split_whitespace().next());
    share.and_then(|share| share.parse().ok()).ok_or_else(|| io::Error::other("no Pss in /proc"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;
    use std::thread;

    use super::*;

    /// Looks at a busy process until its work shows.
    const LOOKS: u32 = 1000;

    #[test]
    fn work_and_memory_of_a_process_show() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let tree = Tree::of(busy.id());
        let before = tree.cpu().unwrap();
        let works = (0..LOOKS).any(|_| {
            thread::sleep(Duration::from_millis(10));
            tree.cpu().unwrap() > before
        });
        let pss = tree.pss_kib().unwrap();
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(works, "a process that does nothing else works");
        assert!(pss > 0);
    }
}
