//! Resources of a process, as Linux reports them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process, by its folder in `/proc`. Its methods panic if the process has ended.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

impl Process {
    /// Returns the process with this id.
    pub fn new(number: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{number}")))
    }

    /// Returns the number of its open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.0.join("fd")).expect("the process lives").count()
    }

    /// Returns its resident memory in bytes.
    pub fn memory(&self) -> u64 {
        // The counters in `status` lag behind by some pages for each thread.
        let text = fs::read_to_string(self.0.join("smaps_rollup")).expect("the process lives");
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line about it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Returns the CPU time of its threads, except those that have ended.
    pub fn cpu_time(&self) -> Duration {
        let threads = fs::read_dir(self.0.join("task")).expect("the process lives");
        threads.filter_map(|thread| run_time(&thread.ok()?.path())).sum()
    }
}

fn run_time(thread: &Path) -> Option<Duration> {
    let text = fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
