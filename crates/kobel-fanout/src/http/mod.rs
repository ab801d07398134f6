//! The HTTP side: requests under the server's path, and a ready accept loop.

mod answer;
mod cors;
mod listen;

pub use answer::Body;
pub use listen::{Admission, ServeLimits, serve};
