//! Serves, as the process to whom orphans come; its primary starts a child, and asks only later how it ended.

use std::process::{self, Child, Command};
use std::time::Duration;

use cluster::Primary;
use cluster_tests::{announce, serve};

fn setup(primary: &mut Primary) {
    announce::life(primary);
    // Which time it waits; where that is said, orphans go elsewhere.
    let waits = std::env::var("TEST_WAITS").ok().and_then(|times| times.parse().ok());
    if process::id() != 1 && waits.is_none() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("become the subreaper");
    }
    let mut child: Option<Child> = None;
    let (mut times, waits) = (0, waits.unwrap_or(2));
    // It is found dead at the look after one second, and would be reaped at that after two.
    primary.every(Duration::from_millis(900), move || {
        times += 1;
        match times {
            1 => child = Command::new("sh").args(["-c", "exit 7"]).spawn().ok(),
            _ if times == waits => {
                let ended = child.as_mut().map(|child| child.wait().map(|status| status.code()));
                println!("its child ended with {ended:?}");
            }
            _ => {}
        }
    });
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
