//! kobel-fanout
