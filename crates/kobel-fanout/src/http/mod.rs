//! The HTTP side: requests under the server's path, and a ready accept loop.

mod accept;
mod admission;
mod answer;
mod cors;
mod listen;
mod proxies;
mod tuning;

pub use accept::{Accept, Plain};
pub use admission::Admission;
pub use answer::Body;
pub use listen::{Listen, ServeLimits, serve, serve_with};
pub use proxies::{Client, Network, NetworkError, Proxies};
