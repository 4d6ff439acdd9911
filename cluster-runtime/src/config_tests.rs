//! Settings: what the environment overrides, and what can't be.

use super::*;

fn with(name: &'static str, value: &'static str) -> Result<Settings, BadSetting> {
    Settings::default().with_environment(|asked| (asked == name).then(|| value.to_owned()))
}

#[test]
fn the_environment_overrides_each_scalar() {
    assert_eq!(with("CLUSTER_WORKERS", "0").unwrap().workers, Workers::Count(0));
    assert_eq!(with("CLUSTER_WORKERS", "cpus").unwrap().workers, Workers::Cpus);
    assert_eq!(with("CLUSTER_THREADS", "4").unwrap().threads, 4);
    assert_eq!(with("CLUSTER_RUNTIME", "multi_thread").unwrap().runtime, Some(Runtime::MultiThread));
    assert_eq!(with("CLUSTER_SPAWN", "exec").unwrap().spawn, Spawn::Exec);
    assert_eq!(with("CLUSTER_CWD", "/srv").unwrap().fork, Fork::new().cwd("/srv"));
    assert_eq!(with("CLUSTER_OUTPUT", "null").unwrap().output, Output::Null);
    assert_eq!(with("CLUSTER_USER", "nobody").unwrap().user.as_deref(), Some("nobody"));
    assert_eq!(with("CLUSTER_GROUP", "9").unwrap().group.as_deref(), Some("9"));
    assert_eq!(with("CLUSTER_RESTART", "on-failure").unwrap().restart, Restart::OnFailure);
    assert_eq!(with("CLUSTER_MAX_RESTARTS", "0").unwrap().max_restarts, Some(0));
    assert_eq!(with("CLUSTER_RESTART_WINDOW", "2m").unwrap().restart_window, Duration::from_secs(120));
    assert_eq!(with("CLUSTER_STARTUP_TIMEOUT", "1h").unwrap().startup_timeout.as_secs(), 3600);
    assert_eq!(with("CLUSTER_DRAIN_TIMEOUT", "250ms").unwrap().drain_timeout.as_millis(), 250);
    assert_eq!(with("CLUSTER_HEARTBEAT_TIMEOUT", "5s").unwrap().heartbeat_timeout.as_secs(), 5);
    assert!(with("CLUSTER_HEARTBEAT_TIMEOUT", "off").unwrap().heartbeat_timeout.as_secs() > 1 << 30);
    assert_eq!(with("CLUSTER_PRE_DRAIN", "5s").unwrap().pre_drain.as_secs(), 5);
    assert_eq!(with("CLUSTER_PRE_DRAIN", "0s").unwrap().pre_drain, Duration::ZERO);
    assert_eq!(with("CLUSTER_MAX_REQUESTS", "9").unwrap().max_requests, Some(9));
    assert_eq!(with("CLUSTER_MAX_MEMORY", "2MiB").unwrap().max_memory, Some(2 << 20));
    assert_eq!(with("CLUSTER_MAX_MEMORY", "512MB").unwrap().max_memory, Some(512_000_000));
    assert_eq!(with("CLUSTER_MAX_AGE", "24h").unwrap().max_age, Some(Duration::from_secs(86_400)));
    assert_eq!(with("CLUSTER_MAX_CONNECTIONS", "9").unwrap().max_connections, Some(9));
    assert_eq!(with("CLUSTER_MAX_SURGE", "3").unwrap().max_surge, 3);
    assert_eq!(with("CLUSTER_POLICY", "least-connections").unwrap().policy, Policy::LeastConnections);
    assert_eq!(with("CLUSTER_POLICY", "reuseport").unwrap().policy, Policy::ReusePort);
    assert_eq!(with("CLUSTER_OVERLOAD", "refuse").unwrap().overload, Overload::Refuse);
    assert_eq!(with("CLUSTER_OVERLOAD", "wait").unwrap().overload, Overload::Wait);
}

#[test]
fn a_bad_value_says_which_what_and_what_it_takes() {
    assert_eq!(
        with("CLUSTER_WORKERS", "many").unwrap_err().to_string(),
        "the environment has CLUSTER_WORKERS=\"many\", and it takes \"cpus\" or a number; 0 runs the program \
         unclustered"
    );
    for (name, value) in [
        ("CLUSTER_THREADS", "0"),
        ("CLUSTER_RUNTIME", "none"),
        ("CLUSTER_SPAWN", "zygote"),
        ("CLUSTER_OUTPUT", "loud"),
        ("CLUSTER_RESTART", "sometimes"),
        ("CLUSTER_MAX_RESTARTS", "-1"),
        ("CLUSTER_DRAIN_TIMEOUT", "30"),
        ("CLUSTER_DRAIN_TIMEOUT", "0s"),
        ("CLUSTER_STARTUP_TIMEOUT", "99999999999999999999s"),
        ("CLUSTER_HEARTBEAT_TIMEOUT", "0s"),
        ("CLUSTER_PRE_DRAIN", "5"),
        ("CLUSTER_MAX_REQUESTS", "0"),
        ("CLUSTER_MAX_MEMORY", "0MB"),
        ("CLUSTER_MAX_MEMORY", "512"),
        ("CLUSTER_MAX_MEMORY", "99999999999999999GB"),
        ("CLUSTER_MAX_AGE", "0s"),
        ("CLUSTER_MAX_CONNECTIONS", "0"),
        ("CLUSTER_MAX_SURGE", "0"),
        ("CLUSTER_POLICY", "random"),
        ("CLUSTER_OVERLOAD", "drop"),
    ] {
        assert!(with(name, value).unwrap_err().to_string().contains(name), "{name}={value}");
    }
}

#[test]
fn for_ever_is_a_time_too() {
    let settings = with("CLUSTER_DRAIN_TIMEOUT", "6000000000000000h").unwrap_err();
    assert!(settings.to_string().contains("CLUSTER_DRAIN_TIMEOUT"));
    let settings = Settings { drain_timeout: Duration::MAX, ..Settings::default() };
    let settings = settings.with_environment(|_| None).unwrap();
    assert!(std::time::Instant::now().checked_add(settings.drain_timeout).is_some());
}

#[test]
fn an_address_that_is_none_says_what_one_is() {
    let listen = |text: &str| Settings { listen: vec![text.into()], ..Settings::default() };
    let settings = listen("[::]:80").with_environment(|_| None).unwrap();
    assert_eq!(settings.addresses, [Address::Tcp("[::]:80".parse().unwrap())]);
    let refused = settings.allow(&Address::Tcp("[::]:81".parse().unwrap())).unwrap_err();
    assert!(refused.to_string().contains("[::]:80") && refused.to_string().contains("[::]:81"));
    assert!(settings.allow(&settings.addresses[0]).is_ok());
    let bad = listen("localhost:80").with_environment(|_| None).unwrap_err();
    assert!(bad.to_string().contains("\"localhost:80\"") && bad.to_string().contains("unix:/run"));
}

#[test]
fn contradictions_are_refused_by_the_builder_too() {
    let settings = Settings { runtime: Some(Runtime::CurrentThread), threads: 2, ..Settings::default() };
    assert!(settings.with_environment(|_| None).unwrap_err().to_string().contains("leave one of them out"));
}
