//! Messages of every shape, and bytes that are none.

use super::*;
