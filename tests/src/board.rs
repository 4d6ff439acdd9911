//! In a fixture's worker: what a worker may do to its row of the board, behind the library's back.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::serve;

/// What the rows are called where a process's memory and descriptors are listed.
pub const NAME: &str = "cluster-board";

/// Where such a page is mapped in a process: each begins at such an address.
#[must_use]
pub fn mapped(pid: u32) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let ours = maps.lines().filter(|line| line.contains(NAME));
    ours.filter_map(|line| u64::from_str_radix(line.split('-').next()?, 16).ok()).collect()
}

/// Writes all over its own row, and tries to make every row smaller and larger, by way of the primary's descriptors. Answers with
/// what was refused: `worker … of 1 page, refused 4 of 4`.
///
/// # Panics
/// When the row can't be found.
pub async fn lie() -> String {
    let own = mapped(std::process::id());
    let memory = File::options().write(true).open("/proc/self/mem").expect("open this process's memory");
    for at in &own {
        memory.write_all_at(&[0x41; 4096], *at).expect("write all over it");
    }
    let folder = format!("/proc/{}/fd", rustix::process::getppid().expect("a primary").as_raw_nonzero());
    let open = fs::read_dir(folder).expect("the primary's descriptors").flatten();
    let rows = open.map(|fd| fd.path());
    let rows = rows.filter(|path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains(NAME)));
    let mut tried = Vec::new();
    for path in rows {
        let file = File::options().write(true).open(path).expect("it is of the same user");
        tried.extend([0, 8192].map(|size| file.set_len(size).is_err()));
    }
    let refused = tried.iter().filter(|refused| **refused).count();
    format!("{} of {} page, refused {refused} of {}", serve::me(), own.len(), tried.len())
}
