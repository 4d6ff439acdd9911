//! What the threads of a worker do, as the kernel tells: for whoever asks later why it had stalled.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::report;

/// More would bury the message that they explain.
const MOST: usize = 16;

/// Frames of the kernel's stack: the innermost say what is waited for.
const FRAMES: usize = 3;

/// Logs it, a line for each. What can't be read is left out: some of it only root is told, and all of it is gone when the
/// worker is.
pub(super) fn tell(pid: u32) {
    let tasks = match fs::read_dir(format!("/proc/{pid}/task")) {
        Ok(tasks) => tasks,
        Err(error) => {
            report::warn(format_args!("what the threads of {pid} do can't be read: {error}"));
            return;
        }
    };
    let numbers = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
    let mut threads: Vec<u32> = numbers.collect();
    threads.sort_unstable();
    for thread in threads.iter().take(MOST) {
        let task = format!("/proc/{pid}/task/{thread}");
        report::warn(format_args!("thread {thread} of {pid}{}", describe(Path::new(&task))));
    }
    if threads.len() > MOST {
        report::warn(format_args!("and {} other threads of {pid}", threads.len() - MOST));
    }
}

/// ` "http 0": S (sleeping) in futex_wait_queue, system call 202, 0.1s of processor time`
fn describe(task: &Path) -> String {
    let read = |file: &str| fs::read_to_string(task.join(file)).ok();
    let mut told = String::new();
    if let Some(name) = read("comm") {
        told += &format!(" {:?}", name.trim_end());
    }
    if let Some(state) = read("status").as_deref().and_then(state) {
        told += &format!(": {state}");
    }
    if let Some(place) = read("wchan").as_deref().and_then(place) {
        told += &format!(" in {place}");
    }
    if let Some(call) = read("syscall").as_deref().and_then(system_call) {
        told += &format!(", system call {call}");
    }
    if let Some(time) = read("schedstat").as_deref().and_then(processor_time) {
        told += &format!(", {time:.1?} of processor time");
    }
    if let Some(stack) = read("stack").as_deref().and_then(stack) {
        told += &format!(", stack {stack}");
    }
    told
}

/// `S (sleeping)`
fn state(status: &str) -> Option<&str> {
    Some(status.lines().find_map(|line| line.strip_prefix("State:"))?.trim())
}

/// Nothing, or 0, of one that runs.
fn place(wchan: &str) -> Option<&str> {
    Some(wchan.trim()).filter(|place| !place.is_empty() && *place != "0")
}

/// Its number. One that runs, or waits for another reason, is in none.
fn system_call(syscall: &str) -> Option<u32> {
    syscall.split(' ').next()?.trim().parse().ok()
}

fn processor_time(schedstat: &str) -> Option<Duration> {
    schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// `[<0>] do_nanosleep+0x6a/0x170` in each line.
fn stack(stack: &str) -> Option<String> {
    let names = stack.lines().filter_map(|line| line.split(' ').nth(1)?.split('+').next());
    let names: Vec<_> = names.take(FRAMES).collect();
    (!names.is_empty()).then(|| names.join(" < "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p34_the_kernels_words_are_read() {
        assert_eq!(state("Name:\tx\nState:\tS (sleeping)\nTgid:\t1\n"), Some("S (sleeping)"));
        assert_eq!(
            (place("futex_wait_queue"), place("0"), place("")),
            (Some("futex_wait_queue"), None, None)
        );
        let calls = [system_call("202 0x7f 0x0\n"), system_call("running\n"), system_call("-1 0x7f 0x0\n")];
        assert_eq!(calls, [Some(202), None, None]);
        assert_eq!(processor_time("1500000000 17 3\n"), Some(Duration::from_millis(1500)));
        let frames = "[<0>] a_b+0x1/0x2\n[<0>] c+0x1/0x2\n[<0>] d+0x1/0x2\n[<0>] e+0x1/0x2\n";
        assert_eq!(stack(frames).as_deref(), Some("a_b < c < d"));
        assert_eq!(stack(""), None);
    }

    #[test]
    fn p34_a_thread_that_waits_is_told_of() {
        let (told, tell) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        let waits = std::thread::Builder::new().name("waits".into());
        let thread = waits.spawn(move || begun.send(()).is_ok() && tell.recv().is_err()).unwrap();
        // It gives itself its name, first of all.
        begins.recv().unwrap();
        let ours = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| describe(&task.path()));
        assert!(ours.into_iter().any(|line| line.starts_with(" \"waits\": ")));
        drop(told);
        assert!(thread.join().unwrap());
    }

    #[test]
    fn one_that_is_gone_is_no_trouble() {
        assert_eq!(describe(Path::new("/proc/0/task/0")), "");
    }
}
