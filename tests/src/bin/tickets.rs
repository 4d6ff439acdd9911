//! TLS, configured once in `preload`: certificate and ticket keys are the same in all workers. With TEST_TICKETS=own the
//! control: each worker has ticket keys of its own.

use std::sync::OnceLock;

use actix_web::App;
use cluster::actix::HttpServer;
use cluster_tests::{announce, serve};
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::PrivateKeyDer;

static TLS: OnceLock<ServerConfig> = OnceLock::new();

fn configure() -> Result<(), rustls::Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate");
    let hex: String = made.cert.der().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("certificate {hex}");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.into()], key)?;
    config.ticketer = Ticketer::new()?;
    // It reads no ticket that is longer than the longest that it wrote itself, and a new worker has written none.
    config.ticketer.encrypt(&[0; 4096]);
    TLS.get_or_init(|| config);
    Ok(())
}

#[cluster::main(preload = configure, primary = announce::life)]
async fn main() -> std::io::Result<()> {
    let mut config = TLS.get().expect("built by preload").clone();
    if std::env::var_os("TEST_TICKETS").is_some() {
        config.ticketer = Ticketer::new().map_err(std::io::Error::other)?;
    }
    let server = HttpServer::new(|| App::new().configure(serve::routes));
    server.bind_rustls_0_23("127.0.0.1:0", config)?.run().await
}
