//! The patterns in `deploy/`: what can be checked of them without a systemd or a cluster of machines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use cluster_tests::can_run;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("deploy")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// In seconds: `5s`, `30`.
fn seconds(text: &str) -> f64 {
    let digits = text.trim().trim_matches('"').trim_end_matches('s');
    digits.parse().unwrap_or_else(|_| panic!("{text:?} is no time in seconds"))
}

/// What follows the first of these words that is there, up to the end of the line or a blank.
fn value<'a>(text: &'a str, before: &str) -> &'a str {
    let at = text.find(before).unwrap_or_else(|| panic!("no {before:?}"));
    text[at + before.len()..]
        .split(['\n', ' ', '"', '`', ','])
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

/// Mutation: let the time that a manager gives be less than that which the program takes.
#[test]
fn whoever_ends_it_waits_longer_than_it_takes() {
    let (service, docker, pod) = (read("app.service"), read("Dockerfile"), read("kubernetes.yaml"));
    for (name, grace, pre_drain, drain) in [
        (
            "app.service",
            value(&service, "\nTimeoutStopSec="),
            value(&service, "CLUSTER_PRE_DRAIN="),
            value(&service, "CLUSTER_DRAIN_TIMEOUT="),
        ),
        (
            "Dockerfile",
            value(&docker, "docker stop --time "),
            value(&docker, "CLUSTER_PRE_DRAIN="),
            value(&docker, "CLUSTER_DRAIN_TIMEOUT="),
        ),
        (
            "kubernetes.yaml",
            value(&pod, "terminationGracePeriodSeconds: "),
            value(&pod, "CLUSTER_PRE_DRAIN\n              value: "),
            value(&pod, "CLUSTER_DRAIN_TIMEOUT\n              value: "),
        ),
    ] {
        let (grace, takes) = (seconds(grace), seconds(pre_drain) + seconds(drain) + 0.5);
        assert!(grace > takes, "{name}: {grace} s for what may take {takes} s");
    }
    assert!(
        seconds(value(&service, "\nTimeoutStartSec="))
            > 2.0 * seconds(value(&service, "CLUSTER_STARTUP_TIMEOUT=")),
        "app.service: a start may take startup_timeout twice"
    );
}

/// Mutation: rename a setting, and forget these.
#[test]
fn every_variable_that_is_named_exists() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster-runtime/src/config.rs");
    let config = fs::read_to_string(config).expect("config.rs");
    let word = |c: char| c.is_ascii_uppercase() || c == '_';
    for name in ["app.service", "app.socket", "Dockerfile", "kubernetes.yaml", "README.md"] {
        let text = read(name);
        for (at, _) in text.match_indices("CLUSTER_") {
            let variable: String = text[at..].chars().take_while(|c| word(*c)).collect();
            assert!(config.contains(&format!("\"{variable}\"")), "deploy/{name}: there is no {variable}");
        }
    }
}

/// Mutation: in the units, an unknown setting; a section that is none.
#[test]
fn the_units_are_what_systemd_takes() {
    if !can_run(&["systemd-analyze", "--version"]) {
        return;
    }
    let version = Command::new("systemd-analyze").arg("--version").output().expect("systemd-analyze").stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let version: u32 = version.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let copies = env::temp_dir().join(format!("cluster-units-{}", process::id()));
    fs::create_dir_all(&copies).expect("a folder");
    for name in ["app.service", "app.socket"] {
        let mut text = read(name).replace("/usr/local/bin/app", "/bin/true");
        if version < 253 {
            text = text.replace("Type=notify-reload", "Type=notify");
        }
        fs::write(copies.join(name), text).expect("a copy");
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["app.service", "app.socket"].map(|name| copies.join(name)))
        .output()
        .expect("systemd-analyze");
    fs::remove_dir_all(&copies).expect("remove the copies");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("app."), "{said}");
}

/// Mutation: a shell before the program; another signal; a hook that would only sleep.
#[test]
fn the_program_is_pid_1_and_hears_sigterm() {
    let (docker, pod) = (read("Dockerfile"), read("kubernetes.yaml"));
    assert!(docker.contains("\nENTRYPOINT [\"/app\"]") && docker.contains("\nSTOPSIGNAL SIGTERM"));
    assert!(!docker.contains("\nCMD "));
    let said: Vec<_> = pod.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    assert!(!said.iter().any(|line| line.contains("preStop") || line.contains("command:")));
    let (service, probe) = (read("app.service"), said.join("\n"));
    assert!(service.contains("\nType=notify-reload\n") && service.contains("\nKillMode=mixed\n"));
    assert!(probe.contains("readinessProbe:\n            httpGet:"));
}
