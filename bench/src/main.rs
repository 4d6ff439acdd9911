//! Measures the cluster beside other servers: `cargo run --release -p cluster-bench -- --help`.

mod bench;
mod chart;
mod document;
mod goals;
mod load;
mod machine;
mod options;
mod places;
mod process;
mod progress;
mod record;
mod report;
mod response;
mod running;
mod scenarios;
mod schedule;
mod server;
mod stats;

use std::io;
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::bench::Bench;
use crate::options::{HELP, Options};
use crate::places::Places;

fn main() -> ExitCode {
    let options = match Options::from(lexopt::Parser::from_env()) {
        Ok(options) if options.help => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match measure(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: Options) -> io::Result<()> {
    let places = Places::new()?;
    clean_up_when_told(&places)?;
    if options.build {
        places.build()?;
    }
    let mut bench = Bench::new(options, places);
    bench.look();
    scenarios::run(&mut bench)?;
    let measured = report::all(&bench);
    print!("{measured}");
    if bench.options.write {
        document::write(&bench.places.root().join("docs"), &measured, &bench.record)?;
    }
    if bench.options.by_name && !bench.failed.is_empty() {
        return Err(io::Error::other(format!("of those that were asked for, {:?} failed", bench.failed)));
    }
    Ok(())
}

/// Nothing is left of what was started, even after a Ctrl-C. All of it descends from this process, orphans included.
fn clean_up_when_told(places: &Places) -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let told = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Before there is another thread, which would take them otherwise. Programs are started without this mask.
    told.thread_block()?;
    let folder = places.folder.clone();
    thread::spawn(move || {
        let signal = told.wait();
        running::end_all();
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(128 + signal.map_or(1, |signal| signal as i32));
    });
    Ok(())
}
