//! Workers that print TEST_LINES lines of TEST_LENGTH bytes, and one that has no end. The primary says what it is told of it, or,
//! with TEST_QUIET, nothing at all. TEST_ENDS: so many, one after the other. TEST_CHILD, TEST_ODD: what else they print.

use std::env::var;
use std::io::{Write, stderr, stdout};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cluster::{Exit, Line, Primary, Worker};

static PRINTED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn count(name: &str) -> Option<usize> {
    var(name).ok().and_then(|count| count.parse().ok())
}

fn setup(primary: &mut Primary) {
    if var("TEST_QUIET").is_err() {
        cluster_tests::announce::life(primary);
        primary.on_output(|worker: Worker, line: Line| {
            PRINTED[line.stream as usize].fetch_add(line.bytes.len() + usize::from(!line.cut), Relaxed);
            if !line.bytes.starts_with(b"line") {
                println!("told {} {:?} {} {:.20}", worker.id(), line.stream, line.cut, line.text());
            }
        });
        primary.on_exit(|worker: Worker, _: Exit| {
            println!("total {} {} {}", worker.id(), PRINTED[0].swap(0, Relaxed), PRINTED[1].swap(0, Relaxed));
            count("TEST_ENDS").filter(|last| worker.id() < *last as u64).map(|_| cluster::fork());
        });
    }
}

#[cluster::main(primary = setup, runtime = "none", workers = 1, output = "captured")]
fn main() {
    cluster::worker().ready();
    if var("TEST_CHILD").is_ok() {
        println!("child {}", Command::new("sleep").arg("1000").spawn().expect("start sleep").id());
    }
    if var("TEST_ODD").is_ok() {
        stderr().write_all(b"\xff\xfe\n").expect("print what is no text");
        println!("{}", "y".repeat(70_000));
    }
    let text = "x".repeat(count("TEST_LENGTH").unwrap_or(0));
    (0..count("TEST_LINES").unwrap_or(0)).for_each(|n| println!("line {n} {text}"));
    print!("the end");
    stdout().flush().expect("print");
    while count("TEST_ENDS").is_none() && cluster::worker().messages::<String>().blocking_recv().is_some() {}
}
