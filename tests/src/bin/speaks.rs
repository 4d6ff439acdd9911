//! The second generation counts on its standard error, to TEST_LINES or for ever: ready in the middle, or never. It starts a
//! child that stops, and says a word there when it goes on; where TEST_OWN is a path, its standard error is that file before.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::process::{Command, Stdio};

#[cluster::main(workers = 1, runtime = "none", primary = cluster_tests::announce::life)]
fn main() -> std::io::Result<()> {
    let worker = cluster::worker();
    if worker.generation() > 1 {
        let script = "kill -STOP $$; echo the child speaks >&2";
        let child = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn()?;
        if let Ok(path) = env::var("TEST_OWN") {
            rustix::stdio::dup2_stderr(File::create(path)?)?;
        }
        let own = fs::read_link("/proc/self/fd/2")?;
        println!("child {} of {} on {}", child.id(), worker.pid(), own.display());
        let lines = env::var("TEST_LINES").ok().and_then(|lines| lines.parse().ok());
        for n in 0..lines.unwrap_or(usize::MAX) {
            if lines.is_some_and(|lines| n == lines / 2) {
                worker.ready();
            }
            // At once: others write there, too.
            if io::stderr().write_all(format!("counts {n}\n").as_bytes()).is_err() {
                std::process::abort();
            }
        }
    }
    worker.ready();
    println!("up {}", worker.generation());
    while worker.messages::<String>().blocking_recv().is_some() {}
    Ok(())
}
