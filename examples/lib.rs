//! Empty library; the examples are beside this file.
