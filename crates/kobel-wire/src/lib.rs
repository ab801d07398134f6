//! Data types of Kobel.
