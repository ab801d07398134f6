//! Remote Linux hosts over plain SSH.

pub mod docker;
pub mod remote;
