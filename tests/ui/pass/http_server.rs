//! However it is spelled: `HttpServer` in the body is the cluster's, and nothing that the user wrote is reported as unused.
#![deny(warnings)]

pub mod prelude {
    pub use actix_web::{App, Error, HttpServer};
}

pub mod application {
    use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
    use actix_web::{App, Error};

    pub fn app() -> App<
        impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse, Error = Error, InitError = ()>,
    > {
        App::new()
    }

    /// Two servers of one application are of one type only if they are of one library.
    pub fn same<S>(_: &S, _: &S) {}
}

macro_rules! ours {
    ($server:expr) => {
        $crate::application::same(&$server, &::cluster::actix::HttpServer::new($crate::application::app))
    };
}

macro_rules! theirs {
    ($server:expr) => {
        $crate::application::same(&$server, &::actix_web::HttpServer::new($crate::application::app))
    };
}

/// Imported outside of `main`.
mod outside {
    pub mod alone {
        use crate::application::app;
        use actix_web::HttpServer;

        #[cluster::main]
        pub async fn main() -> std::io::Result<()> {
            ours!(HttpServer::new(app));
            HttpServer::new(app).bind(("127.0.0.1", 0))?.run().await
        }
    }

    pub mod in_a_group {
        use crate::application::app;
        use actix_web::{App, HttpServer};

        #[cluster::main]
        pub async fn main() {
            let _ = HttpServer::new(App::new);
            let server: HttpServer<_, _, _, _> = HttpServer::new(app);
            ours!(server);
        }
    }

    pub mod by_a_glob {
        use actix_web::*;

        #[cluster::main]
        pub async fn main() {
            ours!(HttpServer::new(crate::application::app));
        }
    }

    pub mod by_a_glob_of_a_prelude {
        use crate::prelude::*;

        #[cluster::main]
        pub async fn main() {
            let _ = HttpServer::new(App::new);
            ours!(HttpServer::new(crate::application::app));
        }
    }

    pub mod and_used_elsewhere {
        use crate::application::app;
        use actix_web::HttpServer;

        #[cluster::main]
        pub async fn main() {
            ours!(HttpServer::new(app));
            other();
        }

        // Not in the body of `main`.
        fn other() {
            theirs!(HttpServer::new(app));
        }
    }

    pub mod from_the_cluster {
        use cluster::actix::HttpServer;

        #[cluster::main]
        pub async fn main() {
            ours!(HttpServer::new(crate::application::app));
        }
    }

    pub mod in_a_function_around {
        pub fn main() {
            use actix_web::HttpServer;

            #[cluster::main]
            async fn main() {
                ours!(HttpServer::new(crate::application::app));
            }

            main();
        }
    }

    pub mod for_nested_items {
        use actix_web::HttpServer;

        #[cluster::main]
        pub async fn main() {
            fn serve() {
                ours!(HttpServer::new(crate::application::app));
            }
            std::future::ready(serve()).await;
            let servers = [(|| HttpServer::new(crate::application::app))()];
            ours!(servers[0]);
        }
    }
}

/// Imported inside of `main`.
mod inside {
    use crate::application::app;

    pub mod alone {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use actix_web::HttpServer;
            ours!(HttpServer::new(app));
        }
    }

    pub mod in_groups {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use ::actix_web::{App, HttpServer, web::{self, get}};
            use {std::fs, actix_web::{HttpServer as Server}};
            let _ = HttpServer::new(|| App::new().route("/", get().to(async || "hello")).service(web::scope("/a")));
            ours!(HttpServer::new(app));
            ours!(Server::new(app));
            let _ = fs::exists("/");
        }
    }

    pub mod renamed {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use actix_web::HttpServer as Server;
            ours!(Server::new(app));
        }
    }

    pub mod by_a_glob {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use actix_web::*;
            let _ = App::new();
            ours!(HttpServer::new(app));
        }
    }

    pub mod by_a_glob_of_a_prelude {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use crate::prelude::*;
            ours!(HttpServer::new(app));
        }
    }

    pub mod in_one_block {
        use super::app;
        use actix_web::HttpServer;

        #[cluster::main]
        pub async fn main() {
            ours!(HttpServer::new(app));
            {
                #[allow(unused_qualifications)]
                use actix_web::{App, HttpServer};
                let _ = HttpServer::new(App::new);
                ours!(HttpServer::new(app));
            }
            if std::fs::exists("/").is_ok() {
                use actix_web::*;
                let _ = HttpServer::new(App::new);
                ours!(HttpServer::new(app));
            }
        }
    }

    pub mod above_a_glob {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use actix_web::HttpServer;
            if let Ok(true) = std::fs::exists("/") {
                use std::io::prelude::*;
                let _ = std::io::stdout().flush();
                ours!(HttpServer::new(app));
            }
        }
    }

    pub mod from_the_cluster {
        use super::app;

        #[cluster::main]
        pub async fn main() {
            use cluster::actix::HttpServer;
            ours!(HttpServer::new(app));
        }
    }
}

/// A glob in the body that has nothing to do with it.
mod beside_other_globs {
    use crate::application::app;
    use actix_web::HttpServer;

    #[cluster::main]
    pub async fn main() -> std::io::Result<()> {
        use std::io::prelude::*;
        enum Kind {
            Plain,
        }
        use Kind::*;
        let Plain = Plain;
        std::io::stdout().write_all(b"")?;
        ours!(HttpServer::new(app));
        HttpServer::new(app).bind("127.0.0.1:0")?.run().await
    }
}

/// Not imported: named by its path.
mod by_its_path {
    use crate::application::app;

    #[cluster::main]
    pub async fn main() -> std::io::Result<()> {
        ours!(actix_web::HttpServer::new(app));
        let server: ::actix_web::HttpServer<_, _, _, _> = actix_web::HttpServer::new(app);
        ours!(server);
        return ::actix_web::HttpServer::new(app).bind("127.0.0.1:0")?.run().await;
    }
}

/// In the tokens of macro calls.
mod within_macros {
    use crate::application::app;
    use actix_web::{App, HttpServer};

    macro_rules! first {
        ($first:expr, $($other:expr),*) => {{
            $( let _ = $other; )*
            $first
        }};
    }

    #[cluster::main]
    pub async fn main() {
        ours!(first![HttpServer::new(app), { HttpServer::new(App::new) }, actix_web::HttpServer::new(app)]);
        let servers = vec![HttpServer::new(app)];
        ours!(servers[0]);
    }
}

/// Not named: nothing is imported, and an import of the user's own stays what it is.
mod not_named {
    use actix_web::HttpServer as Server;

    #[cluster::main]
    pub async fn main() {
        theirs!(Server::new(crate::application::app));
    }
}

mod not_swapped {
    use crate::application::app;
    use actix_web::HttpServer;

    #[cluster::main(swap = false)]
    pub async fn main() {
        theirs!(HttpServer::new(app));
        theirs!(actix_web::HttpServer::new(app));
    }
}

mod without_a_runtime {
    use crate::application::app;
    use actix_web::HttpServer;

    #[cluster::main(runtime = "none")]
    pub fn main() {
        ours!(HttpServer::new(app));
    }
}

// Compiled and not called: none of them is the `main` of this program.
fn main() {
    let _: [fn() -> std::io::Result<()>; 3] = [outside::alone::main, beside_other_globs::main, by_its_path::main];
    let _: [fn(); 19] = [
        outside::in_a_group::main,
        outside::by_a_glob::main,
        outside::by_a_glob_of_a_prelude::main,
        outside::and_used_elsewhere::main,
        outside::from_the_cluster::main,
        outside::in_a_function_around::main,
        outside::for_nested_items::main,
        inside::alone::main,
        inside::in_groups::main,
        inside::renamed::main,
        inside::by_a_glob::main,
        inside::by_a_glob_of_a_prelude::main,
        inside::in_one_block::main,
        inside::above_a_glob::main,
        inside::from_the_cluster::main,
        within_macros::main,
        not_named::main,
        not_swapped::main,
        without_a_runtime::main,
    ];
}
