//! Whatever `main` may return, in a workers' runtime and without one.
#![deny(warnings)]

use std::process::{ExitCode, Termination};

mod nothing {
    #[cluster::main]
    pub async fn main() {}
}

mod unit {
    #[cluster::main]
    pub async fn main() -> () {
        std::future::ready(()).await;
    }
}

mod io_result {
    #[cluster::main]
    pub async fn main() -> std::io::Result<()> {
        std::fs::read("/dev/null")?;
        if false {
            return Ok(());
        }
        Err(std::io::ErrorKind::Other.into())
    }
}

mod boxed_error {
    type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

    #[cluster::main]
    pub async fn main() -> Result<()> {
        "4".parse::<u8>()?;
        // Needs to know what `main` returns.
        Err(Box::new(std::fmt::Error))
    }
}

mod exit_code {
    use super::ExitCode;

    #[cluster::main]
    pub async fn main() -> ExitCode {
        ExitCode::from(7)
    }
}

mod result_of_exit_code {
    use super::ExitCode;

    #[cluster::main]
    pub async fn main() -> Result<ExitCode, std::fmt::Error> {
        Ok(ExitCode::SUCCESS)
    }
}

mod never {
    #[cluster::main]
    pub async fn main() -> ! {
        loop {
            std::future::pending::<()>().await;
        }
    }
}

mod some_termination {
    use super::{ExitCode, Termination};

    #[cluster::main]
    pub async fn main() -> impl Termination {
        ExitCode::SUCCESS
    }
}

mod without_a_runtime {
    use super::{ExitCode, Termination};

    pub mod nothing {
        #[cluster::main(runtime = "none")]
        pub fn main() {}
    }

    pub mod result {
        #[cluster::main(runtime = "none")]
        pub fn main() -> Result<(), Box<dyn std::error::Error>> {
            "4".parse::<u8>()?;
            Err(Box::new(std::fmt::Error))
        }
    }

    pub mod never {
        #[cluster::main(runtime = "none")]
        pub fn main() -> ! {
            loop {
                std::thread::park();
            }
        }
    }

    #[cluster::main(runtime = "none")]
    pub fn main() -> impl Termination {
        ExitCode::SUCCESS
    }
}

// Compiled and not called: none of them is the `main` of this program.
fn main() {
    let _: fn() = nothing::main;
    let _: fn() = unit::main;
    let _: fn() -> std::io::Result<()> = io_result::main;
    let _: fn() -> Result<(), Box<dyn std::error::Error>> = boxed_error::main;
    let _: fn() -> ExitCode = exit_code::main;
    let _: fn() -> Result<ExitCode, std::fmt::Error> = result_of_exit_code::main;
    let _: fn() -> ! = never::main;
    let _: fn() -> _ = some_termination::main;
    let _: fn() = without_a_runtime::nothing::main;
    let _: fn() -> Result<(), Box<dyn std::error::Error>> = without_a_runtime::result::main;
    let _: fn() -> ! = without_a_runtime::never::main;
    let _: fn() -> _ = without_a_runtime::main;
}
