//! What it was measured on, and with what.

use std::fs;
use std::process::{Command, Stdio};

use crate::places::Places;
use crate::server::{Make, Server, find};

/// As lines of Markdown.
pub(crate) fn describe(places: &Places, servers: &[&Server]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gigabytes =
        memory.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok()).unwrap_or(0) / 1_000_000;
    let mut text = format!(
        "- {}: {cores} cores ({}), {gigabytes} GB, Linux {}\n",
        today(),
        model.map_or("of an unknown model", |(_, model)| model),
        read("/proc/sys/kernel/osrelease").trim(),
    );
    let mut versions = vec![said("rustc", &["--version"])];
    let lock = fs::read_to_string(places.root().join("Cargo.lock")).unwrap_or_default();
    versions.push(locked(&lock, "actix-web").map(|version| format!("actix-web {version}")));
    let has = |make| servers.iter().any(|server| server.make == make);
    // Not PM2: whoever asks it for its version starts its daemon.
    for (make, program, args) in [
        (Make::Node, "node", "--version"),
        (Make::Nginx, "nginx", "-v"),
        (Make::Haproxy, "haproxy", "-v"),
        (Make::Gunicorn, "gunicorn", "--version"),
    ] {
        if has(make) {
            let said = said(program, &[args]).map(|said| said.replace("nginx version: ", ""));
            versions.push(said.map(|said| {
                if said.contains(program) || said.starts_with("HAProxy") {
                    said
                } else {
                    format!("{program} {said}")
                }
            }));
        }
    }
    let versions: Vec<String> = versions.into_iter().flatten().collect();
    text += &format!("- {}\n", versions.join("; "));
    text
}

/// The first line that a program prints, of whichever kind.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(find(program)?);
    let output = command.args(args).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let line =
        String::from_utf8_lossy(&said).lines().map(str::trim).find(|line| !line.is_empty())?.to_owned();
    // HAProxy tells its address, too.
    Some(line.split(" - http").next().unwrap_or_default().to_owned())
}

fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}

fn today() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (year, month, day) = civil(now.tv_sec.div_euclid(86_400));
    format!("{year}-{month:02}-{day:02}")
}

/// The date so many days after 1970-01-01: years begin in March here, so that a leap day is the last of one.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_513), (2026, 3, 1));
    }

    #[test]
    fn a_version_is_in_the_lock_file() {
        let lock = "[[package]]\nname = \"actix-web\"\nversion = \"4.18.1\"\nsource = \"x\"\n";
        assert_eq!((locked(lock, "actix-web"), locked(lock, "axum")), (Some("4.18.1"), None));
    }
}
