//! kobel-hub
