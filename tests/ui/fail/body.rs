//! What is wrong in the body is rustc's to say, in the place where it is.
#[cluster::main(workers = 2, on_exit = goodbye)]
async fn main() {
    let number: u8 = "text";
    missing(number);
}

mod no_import {
    #[cluster::main]
    pub async fn main() {
        HttpServer::new(actix_web::App::new);
    }
}

fn goodbye(_: cluster::Worker, _: cluster::Exit) {}
