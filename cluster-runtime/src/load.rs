//! What a worker has to do, in numbers.

use serde::Serialize;

use crate::board::Seen;

/// What was counted of connections and requests, by a worker or by all of them. Node has no word for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Load {
    /// Connections that workers have ever received. Those that wait to be received do not count.
    pub received: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Requests that were ever answered, as [`max_requests`](crate::Cluster::max_requests) counts them: each of a connection
    /// of an HTTP server of the cluster, and a whole connection of [`net`](crate::net), when it has ended.
    pub served: u64,
}

impl From<Seen> for Load {
    fn from(Seen { received, open, served }: Seen) -> Load {
        Load { received, open, served }
    }
}
