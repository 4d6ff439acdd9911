//! The library under another name, and re-exported.
#![deny(warnings)]

extern crate cluster as flock;

mod reexport {
    pub mod inner {
        pub use cluster;
    }
}

mod string {
    use actix_web::HttpServer;

    #[flock::main(crate = "crate::reexport::inner::cluster", workers = 2)]
    pub async fn main() {
        let _ = HttpServer::new(actix_web::App::new);
    }
}

mod path {
    #[flock::main(crate = crate::flock, restart = "never", runtime = "current_thread")]
    pub async fn main() {
        let _ = actix_web::HttpServer::new(actix_web::App::new);
    }
}

mod absolute {
    #[cluster::main(crate = "::cluster")]
    pub async fn main() {}
}

fn main() {
    let _: [fn(); 3] = [string::main, path::main, absolute::main];
}
