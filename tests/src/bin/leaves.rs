//! Workers without a server that leave, and say what they see of it, as TEST_HOW tells them.

use std::{env, process};

use cluster_tests::announce;

fn setup(primary: &mut cluster::Primary) {
    announce::events(primary);
    let mut heard = 0;
    primary.on_message(move |_, text: String| {
        heard += text.len();
        println!("heard {heard}");
    });
}

#[cluster::main(workers = 1, primary = setup)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    match env::var("TEST_HOW").as_deref() {
        Ok("return") => worker.disconnect(),
        Ok("panic") => {
            worker.disconnect();
            panic!("it leaves in disorder");
        }
        Ok("exit") => {
            // With messages, far more than the socket takes: the word that it leaves waits behind them.
            let messages = env::var("TEST_COUNT").map_or(0, |count| count.parse().expect("a number"));
            (0..messages).for_each(|_| worker.send("x".repeat(200_000)).expect("send"));
            worker.disconnect();
            process::exit(0);
        }
        how => {
            let told = worker.disconnected();
            println!("connected {}", worker.is_connected());
            if how == Ok("itself") {
                worker.disconnect();
                worker.disconnect();
            }
            told.await;
            println!("connected {}", worker.is_connected());
            process::exit(42);
        }
    }
}
