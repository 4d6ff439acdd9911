//! Every argument, in every form that it takes.
#![deny(warnings)]

mod all {
    use cluster::{Address, Exit, Line, Primary, Reload, Upgrade, Worker};

    #[cluster::main(
        workers = "cpus",
        threads = 2,
        runtime = "multi_thread",
        swap = true,
        spawn = "exec",
        cwd = "/",
        env = ["NAME=value", "EMPTY="],
        args = [],
        output = "captured",
        user = "nobody",
        group = "65534",
        restart = "on-failure",
        max_restarts = 0,
        restart_window = "1m",
        startup_timeout = "1h",
        drain_timeout = "250ms",
        max_connections = 10_000,
        heartbeat_timeout = "off",
        pre_drain = "5s",
        max_requests = 100_000,
        max_memory = "512MB",
        max_age = "24h",
        max_surge = 2,
        policy = "least-connections",
        overload = "refuse",
        listen = ["127.0.0.1:0", "[::]:80", "unix:/run/app.sock", "udp:0.0.0.0:53"],
        preload = warm_up,
        primary = setup,
        on_fork = forked,
        on_online = self::online,
        on_listening = listening,
        on_message = message::<String>,
        on_message_with = received,
        on_ask = answer,
        on_disconnect = <Log as Disconnected>::disconnected,
        on_output = printed,
        on_exit = goodbye,
        on_reload = reloaded,
        on_upgrade = upgraded,
    )]
    pub async fn main() {}

    fn warm_up() -> Result<(), std::io::Error> {
        Ok(())
    }

    fn setup(_: &mut Primary) {}

    fn forked(_: Worker) {}

    fn online(_: Worker) {}

    fn listening(_: Worker, _: Address) {}

    fn message<M>(_: Worker, _: M) {}

    fn received(_: Worker, _: String, _: Option<std::os::fd::OwnedFd>) {}

    fn answer(_: Worker, question: u8) -> u8 {
        question
    }
    fn printed(_: Worker, _: Line) {}

    fn goodbye(_: Worker, _: Exit) {}

    fn reloaded(_: Reload) {}

    fn upgraded(_: Upgrade) {}

    struct Log;

    trait Disconnected {
        fn disconnected(worker: Worker);
    }

    impl Disconnected for Log {
        fn disconnected(_: Worker) {}
    }
}

mod numbers {
    fn pick(choice: &cluster::Choice) -> Option<usize> {
        choice.candidates().first().map(|worker| worker.slot())
    }

    #[cluster::main(workers = 4, threads = 1, policy = pick, max_restarts = 3, max_connections = 1, listen = "127.0.0.1:0")]
    pub async fn main() {}
}

mod current_thread {
    #[cluster::main(runtime = "current_thread", threads = 1, restart = "always", swap = false)]
    pub async fn main() {}
}

mod actix {
    #[cluster::main(runtime = "actix", threads = 2, restart = "never", drain_timeout = "5s")]
    pub async fn main() {}
}

mod preload_of_nothing {
    fn warm_up() {}

    #[cluster::main(preload = warm_up)]
    pub async fn main() {}
}

mod generated {
    macro_rules! cluster_of {
        ($workers:literal, $timeout:expr, $on_exit:path) => {
            #[cluster::main(workers = $workers, drain_timeout = $timeout, on_exit = $on_exit)]
            pub async fn main() {}
        };
    }

    fn goodbye(_: cluster::Worker, _: cluster::Exit) {}

    cluster_of!(3, "2s", goodbye);
}

/// The names in the expansion are not the body's.
mod hygiene {
    use cluster::worker;

    fn end() {}

    #[allow(dead_code)]
    #[cluster::main]
    pub async fn main() {
        #![allow(unused_variables)]
        let unused = worker().id();
        end();
    }
}

fn main() {
    let _: [fn(); 7] = [
        all::main,
        numbers::main,
        current_thread::main,
        actix::main,
        preload_of_nothing::main,
        generated::main,
        hygiene::main,
    ];
}
