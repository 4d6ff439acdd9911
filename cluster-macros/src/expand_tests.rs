//! What the attribute expands to, as a person reads it.

use insta::assert_snapshot;
use quote::quote;

use super::*;

/// What `cargo expand` would show.
fn page_with(actix: bool, args: TokenStream, item: TokenStream) -> String {
    let file = syn::parse2(expand_with(actix, args, item)).expect("items");
    prettyplease::unparse(&file)
}

fn page(args: TokenStream, item: TokenStream) -> String {
    page_with(true, args, item)
}

/// The page of an `async fn main` with this body.
fn swapped(body: TokenStream) -> String {
    page(quote!(), quote!(async fn main() { #body }))
}

#[test]
fn hello() {
    let args = quote!(workers = "cpus", on_exit = goodbye);
    let main = quote! {
        async fn main() -> std::io::Result<()> {
            HttpServer::new(|| App::new().route("/", web::get().to(hello))).bind(("127.0.0.1", 8000))?.run().await
        }
    };
    assert_snapshot!(page(args, main));
}

#[test]
fn nothing_given() {
    assert_snapshot!(page_with(
        false,
        quote!(),
        quote!(
            async fn main() {}
        )
    ));
}

#[test]
fn every_argument() {
    let args = quote! {
        workers = 4, threads = 2, runtime = "multi_thread", spawn = "exec", cwd = "/srv",
        env = ["NAME=value", "EMPTY="], args = ["--quiet", "a b"], output = "null",
        user = "nobody", group = "nogroup", restart = "on-failure", max_restarts = 0,
        restart_window = "1m", startup_timeout = "1h", drain_timeout = "250ms", max_connections = 10_000usize,
        heartbeat_timeout = "off", pre_drain = "5s", max_requests = 100_000, max_memory = "512MB", max_age = "24h",
        max_surge = 2, policy = "sticky", overload = "refuse", listen = ["127.0.0.1:8000", "unix:/run/app.sock"],
        preload = cache::warm_up, primary = setup, swap = false, on_fork = forked, on_online = online,
        on_listening = <Log as Listen>::listening, on_message = message::<Hello>, on_message_with = received,
        on_ask = answer, on_disconnect = disconnected, on_output = printed,
        on_exit = goodbye, on_reload = reloaded, on_upgrade = upgraded, crate = "my::cluster",
    };
    assert_snapshot!(page(
        args,
        quote!(
            async fn main() -> ExitCode {
                HttpServer::new(app)
            }
        )
    ));
}

/// Mutation: take a path for the name of a policy.
#[test]
fn a_policy_of_ones_own_is_the_path_of_a_function() {
    let page = page(
        quote!(policy = own::pick),
        quote!(
            async fn main() {}
        ),
    );
    assert!(page.contains(".policy(::cluster::Policy::Own(own::pick))"), "{page}");
}

#[test]
fn without_a_runtime() {
    assert_snapshot!(page(
        quote!(runtime = "none"),
        quote!(
            fn main() -> Result<(), Error> {
                serve()
            }
        )
    ));
}

#[test]
fn attributes_stay_outside() {
    let main = quote! {
        /// Serves.
        #[allow(unused)]
        pub(crate) async fn main() -> ! {
            #![allow(clippy::all)]
            loop {}
        }
    };
    assert_snapshot!(page(quote!(crate = crate::reexport), main));
}

#[test]
fn an_error_keeps_the_item() {
    let args = quote!(wrokers = 4, threads = 2, runtime = "actix", swap = true);
    assert_snapshot!(page_with(
        false,
        args,
        quote!(
            async fn main() {
                HttpServer::new(app)
            }
        )
    ));
}

#[test]
fn a_signature_refused_keeps_its_body() {
    assert_snapshot!(page(
        quote!(),
        quote!(
            async fn main<T>(argument: T) -> T
            where
                T: Copy,
            {
                argument
            }
        )
    ));
}

#[test]
fn what_is_no_function_is_left_alone() {
    assert_snapshot!(page(
        quote!(workers = 0),
        quote!(
            struct Main;
        )
    ));
}

#[test]
fn swap_leaves_a_body_without_the_name() {
    assert_snapshot!(swapped(quote! {
        use actix_web::{App, web::HttpServer as Other};
        crate::actix_web::HttpServer::new(self::HttpServer, it.HttpServer, other::HttpServer);
    }));
}

#[test]
fn swap_of_paths() {
    assert_snapshot!(swapped(quote! {
        let server: ::actix_web::HttpServer<_, _, _, _> = actix_web::HttpServer::new(app);
        run![actix_web::HttpServer::new(app), actix_web::App];
        return ::actix_web::HttpServer::new(app);
    }));
}

#[test]
fn swap_of_imports_in_the_body() {
    assert_snapshot!(swapped(quote! {
        use actix_web::HttpServer;
        HttpServer::new(app);
        {
            use ::actix_web::{App, HttpServer as Server, web::{self, get}};
            Server::new(App::new);
        }
        {
            use {actix_web::{HttpServer as Inner}, std::io};
            Inner::new(app);
        }
    }));
}

#[test]
fn swap_of_a_name_imported_in_one_block_only() {
    assert_snapshot!(swapped(quote! {
        {
            use actix_web::HttpServer;
            HttpServer::new(app);
        }
        join!(HttpServer::new(app), { HttpServer::new(admin) })
    }));
}

#[test]
fn swap_beside_a_glob() {
    assert_snapshot!(swapped(quote! {
        use crate::prelude::*;
        HttpServer::new(app)
    }));
}

#[test]
fn swap_beside_globs_of_the_bodys_own() {
    assert_snapshot!(swapped(quote! {
        enum Mode { Plain, Tls }
        use Mode::*;
        if mode == Plain {
            use actix_web::*;
            HttpServer::new(App::new)
        }
    }));
}

#[test]
fn swap_leaves_what_the_body_imports_of_the_cluster() {
    assert_snapshot!(swapped(quote! {
        use cluster::actix::HttpServer;
        HttpServer::new(app)
    }));
}
