//! A server's processes: which they are, the processor time they took, and their memory.
//!
//! Processor time is read from each process's own clock, in nanoseconds and with all of its threads, those that ended
//! included. The ticks of `/proc/PID/stat` are 10 ms, which is a third of what a round's thousand requests take; they
//! are used only for children that have died and been reaped, which no clock tells any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// What `/proc/PID/stat` counts in, whatever the kernel's own is.
const TICK: Duration = Duration::from_millis(10);

/// One line of `/proc/PID/stat`, as far as it is of use here.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: i32,
    /// Its reaped children's processor time, in ticks.
    reaped: u64,
}

/// The name, in parentheses, may have spaces and parentheses itself: fields count from the last one on.
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, reaped: ticks(13)? + ticks(14)? })
}

fn all() -> BTreeMap<i32, Stat> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // One that ended meanwhile is left out.
    pids.filter_map(|pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// The process and all that descend from it.
pub(crate) fn tree(root: i32) -> BTreeSet<i32> {
    descend(root, &all())
}

fn descend(root: i32, all: &BTreeMap<i32, Stat>) -> BTreeSet<i32> {
    let (mut found, mut look) = (BTreeSet::from([root]), vec![root]);
    while let Some(parent) = look.pop() {
        let children = all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid);
        look.extend(children.filter(|pid| found.insert(*pid)));
    }
    found
}

/// The processor time that these have taken, and their children that died.
pub(crate) fn processor(root: i32) -> Duration {
    let all = all();
    let mut sum = Duration::ZERO;
    for pid in descend(root, &all) {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).and_then(|clock| clock.now());
        sum += clock.map_or(Duration::ZERO, Duration::from);
        sum += TICK * all.get(&pid).map_or(0, |stat| stat.reaped as u32);
    }
    sum
}

/// In bytes; what several have together is counted once, in parts.
pub(crate) fn memory(root: i32) -> u64 {
    tree(root).into_iter().map(|pid| rollup(pid, &["Pss:"])).sum()
}

/// What one process shares with no other, in bytes.
pub(crate) fn private(pid: i32) -> u64 {
    rollup(pid, &["Private_Clean:", "Private_Dirty:"])
}

/// None of one that has ended.
fn rollup(pid: i32, fields: &[&str]) -> u64 {
    let all = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let wanted = all.lines().filter_map(|line| fields.iter().find_map(|field| line.strip_prefix(field)));
    let kilobytes = wanted.filter_map(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_anything_in_it() {
        let line = "7 (a) b (c)) S 5 7 7 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 100 0";
        assert_eq!(parse(line), Some(Stat { parent: 5, reaped: 70 }));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn descendants_of_descendants_count_and_others_do_not() {
        let of = |parent| Stat { parent, reaped: 0 };
        let all = BTreeMap::from([(1, of(0)), (5, of(1)), (6, of(5)), (7, of(6)), (8, of(1))]);
        assert_eq!(descend(5, &all), BTreeSet::from([5, 6, 7]));
    }

    #[test]
    fn this_process_has_memory_and_takes_time() {
        let me = std::process::id() as i32;
        let before = processor(me);
        while processor(me) < before + Duration::from_millis(1) {}
        assert!(memory(me) > 100_000);
    }
}
