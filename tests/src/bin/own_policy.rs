//! A policy of its own, which does what the last byte of the client's address says.

use cluster::Choice;
use cluster_tests::{announce, serve};

fn pick(choice: &Choice) -> Option<usize> {
    let std::net::IpAddr::V4(client) = choice.peer()?.ip() else { return None };
    match client.octets()[3] {
        100 => panic!("a bug in the policy"),
        101 => {
            for worker in choice.candidates() {
                let (id, slot, generation) = (worker.id(), worker.slot(), worker.generation());
                println!("candidate {id} slot {slot} generation {generation} handed {}", worker.handed());
            }
            println!("at {}", choice.address());
            None
        }
        102 => None,
        slot => Some(slot.into()),
    }
}

#[cluster::main(policy = pick, primary = announce::life)]
async fn main() -> std::io::Result<()> {
    serve::all().await
}
