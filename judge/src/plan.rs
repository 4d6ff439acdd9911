//! What to ask, of whom, and how: the plan of a trial.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `http://127.0.0.1:8000` or `127.0.0.1:8000`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let error =
            |error| format!("{text:?} is no address such as http://127.0.0.1:8000 or unix:/path: {error}");
        bare.parse().map(Self::Tcp).map_err(error)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection for each request.
    OneShot,
    /// A connection that is opened ahead of time, for one request.
    Preconnect,
    /// Many requests on a connection, with pauses in which the server may close it.
    KeepAlive,
    /// Many requests on a connection, up to four at once.
    Pipelined,
    /// A request whose answer takes its time.
    SlowAnswer,
    /// A large body that is written in pieces.
    Upload,
    /// A large body that is read in pieces, through a small window.
    Download,
    /// A client that ends its own half once it has asked.
    HalfClose,
    /// Messages with numbers, up to four at once, over a WebSocket.
    WebSocket,
}

impl Kind {
    /// All of them, in the order of the table's rows.
    pub const ALL: [Self; 9] = [
        Self::OneShot,
        Self::Preconnect,
        Self::KeepAlive,
        Self::Pipelined,
        Self::SlowAnswer,
        Self::Upload,
        Self::Download,
        Self::HalfClose,
        Self::WebSocket,
    ];

    /// As the table and the command line call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShot => "one-shot",
            Self::Preconnect => "preconnect",
            Self::KeepAlive => "keep-alive",
            Self::Pipelined => "pipelined",
            Self::SlowAnswer => "slow-answer",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::HalfClose => "half-close",
            Self::WebSocket => "websocket",
        }
    }
}

/// Clients of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crew {
    /// Their kind.
    pub kind: Kind,
    /// How many, for each address.
    pub clients: usize,
    /// The longest pause; each is drawn anew. Before a request; for slow answers how long the server is to take; for
    /// large bodies between two pieces.
    pub pause: Duration,
}

/// `keep-alive=8@300ms`; without a pause, as in `keep-alive=8`, without pauses.
impl FromStr for Crew {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            let kinds = Kind::ALL.map(Kind::name).join(", ");
            format!("{text:?} is no crew such as keep-alive=8@300ms; there are {kinds}")
        };
        let (kind, rest) = text.split_once('=').ok_or_else(error)?;
        let (clients, pause) = rest.split_once('@').unwrap_or((rest, "0ms"));
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(error)?;
        let clients = clients.parse().map_err(|_| error())?;
        Ok(Self { kind, clients, pause: duration(pause)? })
    }
}

/// As it is read: the name of its rows.
impl fmt::Display for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}@{}ms", self.kind.name(), self.clients, self.pause.as_millis())
    }
}

/// Reads `250ms` or `3s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(""), 1000),
    };
    let number: Option<u64> = number.parse().ok();
    let time = number.and_then(|number| number.checked_mul(scale)).map(Duration::from_millis);
    time.ok_or_else(|| format!("{text:?} is no time such as 250ms or 3s"))
}

/// A trial that was not begun yet.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to ask; every crew works on each.
    pub addresses: Vec<Address>,
    /// Who asks.
    pub crews: Vec<Crew>,
    /// How long a request may take, pauses not counted.
    pub timeout: Duration,
    /// The size of the bodies of uploads and downloads, in bytes.
    pub body: usize,
    /// From it come all pauses and orders.
    pub seed: u64,
    /// Whether the server may be stopped during the trial. Then it may refuse, but not take anybody on again after
    /// it has refused somebody.
    pub may_stop: bool,
    /// Whether raced requests are no fault, as where clients are idle for longer than the server waits for them.
    pub may_race: bool,
}

impl Plan {
    /// Everybody on these addresses: 25 clients on each.
    #[must_use]
    pub fn on(addresses: impl IntoIterator<Item = Address>) -> Self {
        let crew = |kind, clients, pause| Crew { kind, clients, pause: Duration::from_millis(pause) };
        let crews = vec![
            crew(Kind::OneShot, 4, 20),
            crew(Kind::Preconnect, 2, 500),
            crew(Kind::KeepAlive, 6, 500),
            crew(Kind::Pipelined, 1, 50),
            crew(Kind::SlowAnswer, 2, 100),
            crew(Kind::Upload, 2, 5),
            crew(Kind::Download, 2, 5),
            crew(Kind::HalfClose, 2, 20),
            crew(Kind::WebSocket, 4, 50),
        ];
        Self {
            addresses: addresses.into_iter().collect(),
            crews,
            timeout: Duration::from_secs(10),
            body: 1 << 20,
            seed: 1,
            may_stop: false,
            may_race: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_writes_is_read_or_refused() {
        let crew: Crew = "keep-alive=8@300ms".parse().unwrap();
        assert_eq!(crew, Crew { kind: Kind::KeepAlive, clients: 8, pause: Duration::from_millis(300) });
        assert_eq!(crew.to_string().parse(), Ok(crew));
        assert_eq!("upload=1".parse::<Crew>().unwrap().pause, Duration::ZERO);
        for wrong in ["upload", "upload=x", "download=1@5", "download=1@s", "slow=3", ""] {
            assert!(wrong.parse::<Crew>().is_err(), "{wrong}");
        }
        assert_eq!("http://127.0.0.1:80/".parse::<Address>().unwrap().to_string(), "127.0.0.1:80");
        assert_eq!("unix:/run/x".parse::<Address>().unwrap().to_string(), "unix:/run/x");
        assert!("localhost".parse::<Address>().is_err());
    }
}
