//! The HTTP side: requests under the server's path, and a ready accept loop.

mod accept;
mod admission;
mod answer;
mod cors;
mod listen;
mod proxies;
mod tuning;
mod vouch;

pub use accept::{Accept, Plain};
pub use admission::Admission;
pub use answer::{Body, Refusal, sid_of};
pub use listen::{Listen, ServeLimits, serve, serve_with};
pub use proxies::{Client, Network, NetworkError, Proxies};
pub use vouch::Vouch;
