//! Lazaret.
fn main() {}
