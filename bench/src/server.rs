//! The servers that are compared: how each is started, and what it takes to have it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::places::Places;

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Make {
    Cluster,
    Actix,
    Node,
    Nginx,
    Haproxy,
    Pm2,
    Gunicorn,
}

/// One row of the tables.
#[derive(Debug)]
pub(crate) struct Server {
    /// As it is chosen on the command line.
    pub(crate) name: &'static str,
    /// As it is called in the tables.
    pub(crate) title: &'static str,
    pub(crate) make: Make,
    /// This cluster's settings.
    pub(crate) policy: &'static str,
    pub(crate) spawn: &'static str,
}

const fn cluster(name: &'static str, title: &'static str, policy: &'static str) -> Server {
    Server { name, title, make: Make::Cluster, policy, spawn: "fork" }
}

const fn other(name: &'static str, title: &'static str, make: Make) -> Server {
    Server { name, title, make, policy: "", spawn: "" }
}

/// In the tables' order.
pub(crate) static ALL: [Server; 12] = [
    cluster("cluster", "cluster, round-robin", "round-robin"),
    Server { spawn: "exec", ..cluster("cluster-exec", "cluster, round-robin, exec", "round-robin") },
    cluster("least-connections", "cluster, least-connections", "least-connections"),
    cluster("sticky", "cluster, sticky", "sticky"),
    cluster("shared", "cluster, shared", "shared"),
    cluster("reuseport", "cluster, reuseport", "reuseport"),
    other("actix", "actix-web alone", Make::Actix),
    other("node", "Node's cluster", Make::Node),
    other("nginx", "nginx", Make::Nginx),
    other("haproxy", "HAProxy", Make::Haproxy),
    other("pm2", "PM2", Make::Pm2),
    other("gunicorn", "gunicorn", Make::Gunicorn),
];

/// The one of this name.
pub(crate) fn named(name: &str) -> Option<&'static Server> {
    ALL.iter().find(|server| server.name == name)
}

impl Server {
    /// What has to be installed before it can be started.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let (program, remedy) = match self.make {
            Make::Cluster | Make::Actix => return None,
            Make::Node => ("node", "apt-get install nodejs"),
            Make::Nginx => ("nginx", "apt-get install nginx"),
            Make::Haproxy => ("haproxy", "apt-get install haproxy"),
            Make::Pm2 => ("pm2-runtime", "npm install -g pm2"),
            Make::Gunicorn => ("gunicorn", "apt-get install gunicorn, or pip install gunicorn"),
        };
        find(program).is_none().then_some(remedy)
    }

    /// Whether its answers know the paths beside `/`.
    pub(crate) fn can_be_slow(&self) -> bool {
        !matches!(self.make, Make::Nginx | Make::Haproxy)
    }

    /// Whether a connection without a request costs it no thread.
    pub(crate) fn holds_idle(&self) -> bool {
        self.make != Make::Gunicorn
    }

    /// How it is started, in the foreground.
    ///
    /// # Errors
    ///
    /// Its configuration can't be written.
    pub(crate) fn command(&self, places: &Places, port: u16, workers: usize) -> io::Result<Command> {
        let script = |name: &str| places.package.join("servers").join(name);
        let mut command = match self.make {
            Make::Cluster => Command::new(places.program("bench_hello")),
            Make::Actix => Command::new(places.program("bench_plain")),
            Make::Node => with(Command::new("node"), [script("node.cjs")]),
            Make::Nginx => {
                let file = fill(&script("nginx.conf"), places, port, workers)?;
                with(
                    Command::new(find("nginx").unwrap_or_default()),
                    ["-e".into(), "stderr".into(), "-p".into(), places.folder.clone(), "-c".into(), file],
                )
            }
            Make::Haproxy => {
                let file = fill(&script("haproxy.cfg"), places, port, workers)?;
                with(Command::new(find("haproxy").unwrap_or_default()), ["-db".into(), "-f".into(), file])
            }
            Make::Pm2 => {
                let mut command = with(Command::new("pm2-runtime"), [script("node.cjs")]);
                command.args(["-i", &workers.to_string(), "--no-auto-exit"]);
                command.env("PM2_HOME", places.folder.join("pm2")).env("NODE_CLUSTERED", "1");
                command
            }
            Make::Gunicorn => {
                let mut command = Command::new("gunicorn");
                // Its plain workers close every connection; these keep them.
                command.args(["--worker-class", "gthread", "--threads", "1", "--keep-alive", "300"]);
                command.args(["--workers", &workers.to_string(), "--bind", &format!("127.0.0.1:{port}")]);
                command.arg("--chdir").arg(places.package.join("servers")).arg("hello:application");
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        };
        command.env("PORT", port.to_string()).env("CLUSTER_WORKERS", workers.to_string());
        if self.make == Make::Cluster {
            command.env("CLUSTER_POLICY", self.policy).env("CLUSTER_SPAWN", self.spawn);
        }
        Ok(command)
    }
}

fn with<const N: usize>(mut command: Command, args: [PathBuf; N]) -> Command {
    command.args(args);
    command
}

/// Where a program is: on the path, or where Debian puts daemons, which is not on everybody's.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A configuration with its numbers in it.
fn fill(template: &Path, places: &Places, port: u16, workers: usize) -> io::Result<PathBuf> {
    let text = fs::read_to_string(template)?;
    let limit = places.open_files;
    let text = text.replace("WORKERS", &workers.to_string()).replace("PORT", &port.to_string());
    // HAProxy counts two descriptors for each connection.
    let text =
        text.replace("CONNECTIONS", &((limit - 200) / 2).to_string()).replace("LIMIT", &limit.to_string());
    let text = text.replace("FOLDER", &places.folder.display().to_string());
    let name = template.file_name().unwrap_or_default();
    let file = places.folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}
