//! What holds of reloads, whatever happens.
