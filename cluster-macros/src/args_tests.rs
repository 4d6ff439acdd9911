//! What the attribute accepts, and how it refuses the rest.

use super::*;

/// The messages that these arguments bring.
fn errors_with(actix: bool, tokens: &str) -> Vec<String> {
    let mut errors = Errors::default();
    Args::parse(tokens.parse().expect("tokens"), actix, &mut errors);
    errors.0.into_iter().flatten().map(|error| error.to_string()).collect()
}

fn errors(tokens: &str) -> Vec<String> {
    errors_with(true, tokens)
}

#[track_caller]
fn error(tokens: &str) -> String {
    let errors = errors(tokens);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().expect("one error")
}

fn time(text: &str) -> Result<std::time::Duration, String> {
    Ok(match duration(text)? {
        Value::Millis(millis) => std::time::Duration::from_millis(millis),
        Value::Secs(secs) => std::time::Duration::from_secs(secs),
        _ => unreachable!(),
    })
}

#[test]
fn every_argument_shows_a_value_that_it_takes() {
    for (name, _, example) in ARGUMENTS {
        assert_eq!(errors(&format!("{name} = {example}")), [] as [String; 0], "{name}");
    }
}

#[test]
fn what_no_process_can_be_given_is_refused() {
    for wrong in [
        "cwd = \"\"",
        "cwd = \"a\\0\"",
        "env = \"A=1\"",
        "env = [\"A\"]",
        "env = [\"=1\"]",
        "args = [1]",
        "args = [\"\\0\"]",
    ] {
        assert!(error(wrong).contains(" takes "), "{wrong}");
    }
    assert!(errors("args = [], env = [\"A==\", \"B=\"], cwd = \"..\"").is_empty());
}

#[test]
fn every_argument_needs_a_value() {
    for (name, _, example) in ARGUMENTS {
        assert_eq!(error(name), format!("`{name}` needs a value: write `{name} = {example}`"));
        assert_eq!(
            error(&format!("{name}(1)")),
            format!("expected a value after `{name}`, as in `{name} = ..`")
        );
    }
}

#[test]
fn every_argument_refuses_a_value_of_another_kind() {
    for (name, ..) in ARGUMENTS {
        assert!(error(&format!("{name} = 1.5")).starts_with(&format!("`{name}` takes ")));
        assert!(error(&format!("{name} = -1")).starts_with(&format!("`{name}` takes ")));
    }
}

#[test]
fn every_argument_may_be_set_once() {
    for (name, _, example) in ARGUMENTS {
        let twice = format!("{name} = {example}, {name} = {example}");
        assert_eq!(error(&twice), format!("`{name}` is set more than once"));
    }
}

#[test]
fn no_argument_is_fine_and_so_is_a_last_comma() {
    assert!(errors("").is_empty());
    assert!(errors("workers = 2, threads = 1,").is_empty());
}

#[test]
fn durations() {
    let millis = std::time::Duration::from_millis;
    assert_eq!(time("250ms"), Ok(millis(250)));
    assert_eq!(time("1s"), Ok(millis(1_000)));
    assert_eq!(time("30s"), Ok(millis(30_000)));
    assert_eq!(time("1m"), Ok(millis(60_000)));
    assert_eq!(time("1h"), Ok(millis(3_600_000)));
    for zero in ["0s", "0ms", "000h"] {
        assert_eq!(time(zero), Err("may not be 0".to_owned()));
    }
    assert_eq!(time("30"), Err("needs a unit: write \"30s\" for seconds".to_owned()));
    for not_one in ["", "s", "-1s", "1.5s", "30 s", "30sec", "1h30m", "1d", "½s"] {
        assert!(
            time(not_one).is_err_and(|why| why.starts_with(&format!("cannot be \"{not_one}\": it takes ")))
        );
    }
    for long in ["99999999999999999999s", "18446744073709551615m", "18446744073709551615h"] {
        assert!(time(long).is_err_and(|why| why.contains("more than can be counted")));
    }
    assert_eq!(error("drain_timeout = 30"), "`drain_timeout` needs a unit: write \"30s\" for seconds");
    assert_eq!(error("drain_timeout = 0"), "`drain_timeout` may not be 0");
    assert_eq!(error("drain_timeout = \"0s\""), "`drain_timeout` may not be 0");
}

#[test]
fn sizes() {
    assert_eq!(size("512MB"), Ok(512_000_000));
    assert_eq!(size("2GiB"), Ok(2 << 30));
    assert_eq!(size("0KB"), Err("may not be 0".to_owned()));
    for not_one in ["", "MB", "512", "1.5GB", "512 MB", "512mb", "512M"] {
        assert!(
            size(not_one).is_err_and(|why| why.starts_with(&format!("cannot be \"{not_one}\": it takes ")))
        );
    }
    assert!(size("99999999999999999GB").is_err_and(|why| why.contains("more than can be counted")));
    assert!(error("max_memory = 512").contains("takes a size in quotes"));
    assert!(errors("heartbeat_timeout = \"off\"").is_empty());
    assert!(error("drain_timeout = \"off\"").starts_with("`drain_timeout` cannot be \"off\""));
}

#[test]
fn numbers() {
    assert_eq!(error("threads = 0"), "`threads` may not be 0");
    assert_eq!(error("max_connections = 0x0"), "`max_connections` may not be 0");
    assert!(error("workers = 0").contains("CLUSTER_WORKERS=0"));
    assert!(errors("max_restarts = 0").is_empty());
    assert!(errors("workers = 1_0u8").is_empty());
    assert_eq!(error("max_restarts = 4294967296"), "`max_restarts` may not be more than 4294967295");
    assert!(error("threads = 99999999999999999999999").starts_with("`threads` may not be more than "));
}

#[test]
fn near_misses() {
    for (slip, meant) in [
        ("worker", "workers"),
        ("wrokers", "workers"),
        ("thread", "threads"),
        ("onexit", "on_exit"),
        ("on_exti", "on_exit"),
        ("max_restart", "max_restarts"),
        ("start_timeout", "startup_timeout"),
        ("drain_time", "drain_timeout"),
        ("polcy", "policy"),
        ("overlaod", "overload"),
        ("flavor", "runtime"),
        ("worker_threads", "threads"),
    ] {
        let message = error(&format!("{slip} = 1"));
        assert!(message.contains(&format!("did you mean `{meant}`?")), "{message}");
    }
    for strange in ["nice", "uid", "telemetry_interval", "colour", "x"] {
        let message = error(&format!("{strange} = 1"));
        assert!(!message.contains("did you mean"), "{message}");
        assert!(message.contains("the arguments are `workers`, `threads`, "), "{message}");
    }
}

#[test]
fn contradictions() {
    assert!(error("runtime = \"current_thread\", threads = 2").contains("runtime = \"multi_thread\""));
    assert!(errors("runtime = \"current_thread\", threads = 1").is_empty());
    assert!(error("threads = 1, runtime = \"none\"").contains("remove `threads`"));
    assert!(errors("runtime = \"actix\", threads = 2").is_empty());
    assert!(error("restart = \"never\", max_restarts = 1").contains("remove `max_restarts`"));
    assert!(error("restart_window = \"1m\", restart = \"never\"").contains("remove `restart_window`"));
    assert_eq!(errors("restart = \"never\", max_restarts = 1, restart_window = \"1m\"").len(), 2);
}

#[test]
fn what_needs_the_feature_says_so() {
    for needs in ["swap = true", "runtime = \"actix\""] {
        let errors = errors_with(false, needs);
        assert_eq!(errors, [format!("`{needs}` needs the feature `actix` of the package `cluster-runtime`")]);
    }
    assert!(errors_with(false, "swap = false, runtime = \"none\"").is_empty());
}

#[test]
fn one_unreadable_argument_does_not_hide_the_others() {
    let errors =
        errors("workers 4, \"cpus\", threads = , on_exit = a b, drain_timeout = 5, restart = \"sometimes\"");
    assert_eq!(
        errors,
        [
            "expected a value after `workers`, as in `workers = ..`",
            "expected an argument, such as `workers = \"cpus\"`",
            "expected an expression",
            "expected `,`",
            "`drain_timeout` needs a unit: write \"5s\" for seconds",
            "`restart` cannot be \"sometimes\": it takes \"always\", \"on-failure\" or \"never\"",
        ]
    );
}
