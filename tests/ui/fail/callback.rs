//! A function that does not exist, in the place where it is named.
#[cluster::main(on_exit = godbye, preload = self::warm_up)]
async fn main() {}
