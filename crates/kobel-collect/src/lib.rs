//! kobel-collect
