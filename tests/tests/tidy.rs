//! What should be true of this repository and can be checked by reading it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

struct Source {
    /// From the repository's root on, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// The lines which are code, with their numbers: no comments, no blanks, no unit tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        // Not at a field, or a line, that tests alone have: what follows it is shipped.
        let shipped = self.text.lines().enumerate().take_while(|(_, line)| *line != "#[cfg(test)]");
        let lines = shipped.map(|(n, line)| (n + 1, line.trim()));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for folder in ["cluster-runtime/src", "cluster-macros/src", "examples", "judge", "tests", "bench"] {
        collect(&root().join(folder), &mut all);
    }
    assert!(all.len() > 20, "is this the repository?");
    all
}

fn collect(folder: &Path, all: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        if path.ends_with("target") || path.ends_with("tests/ui") {
            // Built, or made to be read by the compiler alone.
            continue;
        }
        if path.is_dir() {
            collect(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let path = path.strip_prefix(root()).expect("under the root").display().to_string();
            all.push(Source { path, text });
        }
    }
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The word, not the part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(letter) && !line[at + word.len()..].starts_with(letter))
}

/// All lines of code that have one of these.
fn lines_with(sources: &[Source], parts: &[&str], hit: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code() {
            if parts.iter().any(|part| hit(line, part)) {
                found.push(format!("{}:{number}: {line}", source.path));
            }
        }
    }
    found
}

fn only(keep: impl Fn(&Source) -> bool) -> Vec<Source> {
    sources().into_iter().filter(|source| keep(source) && source.path != "tests/tests/tidy.rs").collect()
}

#[test]
fn the_kernel_is_talked_to_without_a_net_in_one_place_only() {
    let elsewhere = only(|source| !source.is_under("cluster-runtime/src/sys/"));
    none("unsafe outside of sys", lines_with(&elsewhere, &["unsafe"], has_word));
}

#[test]
fn no_test_waits_for_time_to_pass() {
    let tests = only(|source| source.is_under("tests/") && source.path != "tests/src/wait.rs");
    none("a sleep instead of an event", lines_with(&tests, &["sleep("], |line, part| line.contains(part)));
}

#[test]
fn no_test_is_passed_over() {
    let all = only(|_| true);
    none("an ignored test", lines_with(&all, &["#[ignore"], |line, part| line.contains(part)));
}

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let fixture = source.is_under("tests/") && source.path.contains("/src/bin/");
        let most = if fixture { 40 } else { 400 };
        let lines = source.code().count();
        (lines > most).then(|| format!("{}: {lines} lines, {most} are allowed", source.path))
    };
    none("too long", sources().iter().filter_map(long).collect());
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |source: &&Source| {
        let opening = if source.is_under("examples/") { "//" } else { "//!" };
        !source.text.starts_with(opening)
    };
    none("no opening words", sources().iter().filter(silent).map(|source| source.path.clone()).collect());
}

#[test]
fn files_are_named_for_what_they_do() {
    let banned = ["manager", "handler", "helper", "util", "utils", "common", "context", "data", "info"];
    let vague = |source: &&Source| {
        source.path.trim_end_matches(".rs").split(['/', '_']).any(|word| banned.contains(&word))
    };
    none(
        "a name that says nothing",
        sources().iter().filter(vague).map(|source| source.path.clone()).collect(),
    );
}

#[test]
fn what_decides_neither_acts_nor_looks_at_the_clock() {
    let pure = [
        "primary/step.rs",
        "primary/reload.rs",
        "primary/heart.rs",
        "primary/upgrade.rs",
        "primary/leave.rs",
        "primary/saved/fleet.rs",
        "primary/saved/file.rs",
        "primary/saved/words.rs",
        "primary/recycle.rs",
        "primary/scale.rs",
        "primary/stop.rs",
        "primary/slot.rs",
        "primary/supervise.rs",
        "primary/pick.rs",
        "primary/pace.rs",
        "ipc/frame.rs",
        "ipc/message.rs",
    ];
    let sources = only(|source| pure.iter().any(|name| source.path == format!("cluster-runtime/src/{name}")));
    assert_eq!(sources.len(), pure.len(), "a pure file was moved: tell this test");
    let acts = [
        "std::fs",
        "std::process",
        "std::env",
        "std::thread",
        "tokio::",
        "rustix::",
        "nix::",
        "libc::",
        "crate::sys",
        "Instant::now",
        "SystemTime",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "println!",
        "eprintln!",
    ];
    none("impure", lines_with(&sources, &acts, |line, part| line.contains(part)));
}

#[test]
fn imports_go_down_only() {
    let above = [
        ("sys/", &["crate::primary", "crate::worker", "crate::ipc", "crate::cluster"][..]),
        ("ipc/", &["crate::primary", "crate::worker", "crate::cluster"][..]),
        ("primary/", &["crate::worker"][..]),
        ("worker/", &["crate::primary"][..]),
    ];
    for (folder, forbidden) in above {
        let sources = only(|source| source.is_under(&format!("cluster-runtime/src/{folder}")));
        assert!(!sources.is_empty(), "{folder} was moved: tell this test");
        none("an import that goes up", lines_with(&sources, forbidden, has_word));
    }
}

#[test]
fn the_table_of_contents_is_complete() {
    let contents = fs::read_to_string(root().join("tests/README.md")).expect("tests/README.md");
    let mut missing = Vec::new();
    for source in only(|source| source.is_under("tests/") && source.path.contains("/tests/")) {
        let names = source.text.lines().filter_map(|line| line.strip_prefix("fn ")?.split('(').next());
        let ids: BTreeSet<String> = names.filter_map(scenario).collect();
        let file = source.path.strip_prefix("tests/").unwrap_or(&source.path);
        for id in ids {
            if !contents.lines().any(|line| line.contains(&format!("| {id} |")) && line.contains(file)) {
                missing.push(format!("{id} in {file}"));
            }
        }
    }
    none("not in tests/README.md", missing);
}

/// `n03_each_event_once` is of N03.
fn scenario(test: &str) -> Option<String> {
    let (id, _) = test.split_once('_')?;
    let number = id.get(1..)?;
    let is_one = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    is_one.then(|| id.to_uppercase())
}
