//! The example `chat` on TEST_BIND.

use cluster::Primary;
use cluster::net::TcpListener;
use cluster_framework_tests::address;
use cluster_tests::announce;

#[allow(dead_code)]
#[path = "../../../../examples/chat.rs"]
mod chat;

fn setup(primary: &mut Primary) {
    announce::events(primary);
    primary.on_message(chat::relay);
}

#[cluster::main(primary = setup)]
async fn main() -> std::io::Result<()> {
    chat::serve(TcpListener::bind(address()).await?).await
}
