//! The policies that have a name.

use crate::args::Value;

/// Its variants are named as the runtime's are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Policy {
    RoundRobin,
    LeastConnections,
    Sticky,
    Shared,
    ReusePort,
}

/// By what they are called; whatever else is a path is a function of the user's own.
pub(crate) const POLICIES: [(&str, Value); 5] = [
    ("round-robin", Value::Policy(Policy::RoundRobin)),
    ("least-connections", Value::Policy(Policy::LeastConnections)),
    ("sticky", Value::Policy(Policy::Sticky)),
    ("shared", Value::Policy(Policy::Shared)),
    ("reuseport", Value::Policy(Policy::ReusePort)),
];
