//! The program: see [`sightline`].
fn main() {}
