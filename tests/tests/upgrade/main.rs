//! Upgrades in place: another program in the primary's process, and nobody outside notices.

mod load;
