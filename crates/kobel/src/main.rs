//! kobel
fn main() {}
