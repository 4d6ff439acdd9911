//! Processes as the kernel tells of them: who lives, what is open, what was burnt.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, getpeername, getsockname};
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit,
    kill_process, pidfd_getfd, pidfd_open, prlimit, setrlimit, waitpid,
};

/// The variable that marks all processes of one test's cluster, however often they fork and exec.
pub const MARK: &str = "TEST_MARK";

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a pid is not 0")
}

/// All living processes that carry this mark. A zombie has no environment any more, so it is not among them.
#[must_use]
pub fn marked(mark: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("read /proc");
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| carries(pid, mark))
        .collect()
}

/// Whether this pid lives and carries this mark, which also tells it from a stranger that got the same pid.
#[must_use]
pub fn carries(pid: u32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes()))
}

/// Blocks until this process has exited (it may still be a zombie); false if the deadline came first.
#[must_use]
pub fn exits_within(pid: u32, deadline: Duration) -> bool {
    let end = Instant::now() + deadline;
    let pidfd = match pidfd_open(as_pid(pid), PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return true,
        Err(error) => panic!("pidfd_open({pid}): {error}"),
    };
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a deadline of seconds fits");
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(error) => panic!("poll the pidfd of {pid}: {error}"),
        }
    }
}

/// Reaps a process that became ours because its parent died; `None` if it is not our child or still lives.
#[must_use]
pub fn reap(pid: u32) -> Option<WaitStatus> {
    waitpid(Some(as_pid(pid)), WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status)
}

/// Sends a signal; one to a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    match kill_process(as_pid(pid), signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("kill({pid}, {signal:?}): {error}"),
    }
}

/// Closes a worker's channel to its primary under it, both ways, as its own code might by mistake. It is the first of
/// its sockets.
///
/// # Panics
/// If it has none.
pub fn hang_up(pid: u32) {
    let open = own_descriptors(pid);
    let sockets = open.iter().filter(|(number, what)| *number > 2 && what.starts_with("socket:"));
    let number = sockets.map(|(number, _)| *number).min().expect("a worker has a channel");
    let pidfd = pidfd_open(as_pid(pid), PidfdFlags::empty()).expect("open a worker's pidfd");
    let channel = pidfd_getfd(&pidfd, number.cast_signed(), PidfdGetfdFlags::empty());
    let channel = channel.expect("duplicate a worker's channel");
    rustix::net::shutdown(&channel, rustix::net::Shutdown::Both).expect("shut a channel down");
}

/// Sets how many descriptors a running process may have from now on.
pub fn limit_descriptors(pid: u32, limit: u64) {
    let both = Rlimit { current: Some(limit), maximum: Some(1024) };
    prlimit(Some(as_pid(pid)), Resource::Nofile, both).expect("prlimit on a process of ours");
}

/// A process's descriptors, each with what it leads to, such as `socket:[4711]`.
#[must_use]
pub fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut open: Vec<_> = all
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .collect();
    open.sort();
    open
}

/// The status flags of one of a process's descriptors, and O_CLOEXEC.
///
/// # Panics
/// If it has none with this number.
#[must_use]
pub fn flags(pid: u32, number: u32) -> u32 {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).expect("an open descriptor");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).expect("its flags")
}

/// The lowest number that no descriptor of this process has: its next one gets it.
#[must_use]
pub fn next_descriptor(pid: u32) -> u64 {
    let open = descriptors(pid);
    (0..).find(|free| !open.iter().any(|(number, _)| u64::from(*number) == *free)).unwrap_or_default()
}

/// A process's descriptors without those that this test itself was started with and passed on: a shell or a test
/// runner may leave some open.
#[must_use]
pub fn own_descriptors(pid: u32) -> Vec<(u32, String)> {
    let ours = descriptors(std::process::id());
    let mut open = descriptors(pid);
    open.retain(|one| one.0 <= 2 || !ours.contains(one));
    open
}

/// The inodes of the TCP sockets that listen on `address`.
#[must_use]
pub fn listening_inodes(address: &str) -> Vec<String> {
    let Some(port) = port(address) else { return Vec::new() };
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines() {
            // sl, local, remote, state, queues, timer, retransmits, uid, timeout, inode; 0A is LISTEN.
            let field: Vec<_> = line.split_whitespace().collect();
            if field.len() > 9 && field[1].ends_with(&port) && field[3] == "0A" {
                inodes.push(field[9].to_owned());
            }
        }
    }
    inodes
}

/// How many clients wait to be accepted, over all TCP sockets that listen on `address`.
#[must_use]
pub fn waiting(address: &str) -> usize {
    let Some(port) = port(address) else { return 0 };
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = fields.filter(|field| field.len() > 9 && field[1].ends_with(&port) && field[3] == "0A");
    // Of one that listens the queue of what was received is that of who has come.
    let queue = |field: Vec<&str>| usize::from_str_radix(field[4].split_once(':')?.1, 16).ok();
    listening.filter_map(queue).sum()
}

/// A duplicate of a socket that a process listens with: of the same open file, with its flags.
///
/// # Panics
/// If it has none on this address.
#[must_use]
pub fn listening_socket(pid: u32, address: &str) -> OwnedFd {
    let inodes = listening_inodes(address);
    let is_one = |what: &str| inodes.iter().any(|inode| what == format!("socket:[{inode}]"));
    let open = descriptors(pid).into_iter().find(|(_, what)| is_one(what));
    let (number, _) = open.unwrap_or_else(|| panic!("process {pid} does not listen on {address}"));
    let pidfd = pidfd_open(as_pid(pid), PidfdFlags::empty()).expect("open a pidfd");
    pidfd_getfd(&pidfd, number.cast_signed(), PidfdGetfdFlags::empty()).expect("a duplicate")
}

/// The processor time which this process has used so far, in steps of the kernel's clock tick (10 ms).
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = stat_after_name(pid);
    // Counted from the state, which is field 3 of proc_pid_stat(5): utime is field 14, stime is field 15.
    let ticks: u64 = stat.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The pid's state letter and parent, as in `('Z', 1)`; `None` if there is no such process.
#[must_use]
pub fn state(pid: u32) -> Option<(char, u32)> {
    let stat = stat_after_name(pid);
    Some((stat.first()?.chars().next()?, stat.get(1)?.parse().ok()?))
}

/// The signals which the main thread of a process blocks, as the kernel prints them.
#[must_use]
pub fn blocked_signals(pid: u32) -> String {
    signal_mask(pid, "SigBlk:").unwrap_or_else(|| panic!("no signal mask of {pid}"))
}

/// Whether a process has a handler of its own for this signal.
#[must_use]
pub fn handles(pid: u32, signal: Signal) -> bool {
    is_in(signal_mask(pid, "SigCgt:"), signal)
}

fn signal_mask(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    mask.map(|mask| mask.trim().to_owned())
}

fn is_in(mask: Option<String>, signal: Signal) -> bool {
    let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
    mask & 1 << (signal.as_raw() - 1) != 0
}

/// Whether this signal was sent to a process and has not reached it yet, since it is stopped or blocks it.
#[must_use]
pub fn is_pending(pid: u32, signal: Signal) -> bool {
    is_in(signal_mask(pid, "ShdPnd:"), signal)
}

/// How many threads a process has.
#[must_use]
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The children of `parent`, those included which have died and which it has not reaped.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("read /proc");
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| state(pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// The children of `parent` which have died and which it has not reaped.
#[must_use]
pub fn zombies_of(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("read /proc");
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| state(pid) == Some(('Z', parent)))
        .collect()
}

/// One line about a process, for a failure's story.
#[must_use]
pub fn describe(pid: u32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let command = read("cmdline").replace('\0', " ");
    format!("{pid} {:?} in {} with {} fds: {command}", state(pid), read("wchan"), descriptors(pid).len())
}

/// The fields of /proc/PID/stat after the name, which may hold anything, also spaces and parentheses.
fn stat_after_name(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// The connections of clients that a process holds.
#[derive(Debug, Default)]
pub struct Held {
    /// Over TCP, by the client's port.
    pub ports: Vec<u16>,
    /// How many over Unix sockets, where clients have no name.
    pub unix: usize,
}

/// Those that were accepted on these addresses: `127.0.0.1:8000`, `unix:/path`. Asked of the sockets themselves: the kernel's
/// tables may leave some out while others come and go. `None` if there is no such process any more.
#[must_use]
pub fn held(pid: u32, addresses: &[String]) -> Option<Held> {
    let pidfd = pidfd_open(as_pid(pid), PidfdFlags::empty()).ok()?;
    let sockets = descriptors(pid).into_iter().filter(|(_, what)| what.starts_with("socket:"));
    let mut held = Held::default();
    for (number, _) in sockets {
        let Ok(socket) = pidfd_getfd(&pidfd, number.cast_signed(), PidfdGetfdFlags::empty()) else {
            continue;
        };
        let (Ok(own), Ok(peer)) = (getsockname(&socket), getpeername(&socket)) else { continue };
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        if let (Ok(own), Some(peer)) = (SocketAddr::try_from(own.clone()), peer) {
            held.ports.extend(addresses.contains(&own.to_string()).then(|| peer.port()));
        } else if let Ok(own) = SocketAddrUnix::try_from(own) {
            let path = own.path().map(|path| format!("unix:{}", path.to_string_lossy()));
            held.unix += usize::from(path.is_some_and(|path| addresses.contains(&path)));
        }
    }
    Some(held)
}

/// As the kernel's tables print it, `:1F90`.
fn port(address: &str) -> Option<String> {
    let port: u16 = address.rsplit_once(':')?.1.parse().ok()?;
    Some(format!(":{port:04X}"))
}

/// The memory of its own, in bytes, that a process has in use: no file's, and not what is given back.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn own_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let row = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = row.and_then(|row| row.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_else(|| panic!("no memory of {pid}")) * 1024
}

/// Lets this process, and all that it starts, have as many descriptors as it may. How many that are.
///
/// # Panics
/// If the kernel does not let it.
pub fn raise_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .expect("raise a limit as far as it may be");
    maximum.unwrap_or(u64::MAX)
}
