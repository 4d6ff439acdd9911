//! Worker 1 writes to its channel behind the library's back: TEST_HOSTILE says what.

use cluster::{Primary, Worker};
use cluster_tests::announce;
use cluster_tests::channel::{begin_with, channel, forged, frame};

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary.on_message(|worker: Worker, text: String| println!("{} says {text}", worker.id()));
}

#[cluster::main(workers = 2, primary = setup)]
async fn main() {
    let worker = cluster::worker();
    worker.ready();
    let what = std::env::var("TEST_HOSTILE").unwrap_or_default();
    let length = |len: u32| [&len.to_le_bytes()[..], &[0; 12]].concat();
    let bytes = match what.as_str() {
        // Answers to nothing, a refusal, and a word that only a primary may say; then all is well.
        "forged" => [frame(4, 1, b"5"), frame(4, u64::MAX, b""), frame(5, 7, b"no")].concat(),
        "hello" => frame(2, 99, b"another build"),
        "flood" => frame(3, 1, b"\xc0").repeat(4000),
        "state" | "question" => Vec::new(),
        len => length(len.parse().expect("a length")),
    };
    if worker.id() == 1 {
        worker.flushed().await.expect("write all that is ours");
        let channel = channel();
        let times = if what == "flood" { 50 } else { 1 };
        // Whatever becomes of it: the channel may be closed half way.
        (0..times).find(|_| cluster_tests::channel::write_all(&channel, &bytes).is_err());
        if let Some(sent) = forged(&what) {
            begin_with(&channel, &sent).expect("begin a message");
            println!("1 has begun");
            return cluster::shutdown_signal().await;
        }
    }
    worker.send("all is well").expect("send");
    cluster::shutdown_signal().await;
}
