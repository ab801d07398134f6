//! The agent link, both ends: a hub whose agent says anything, and an agent whose hub does.
#![no_main]

use kobel_collect::agent::fuzz::receive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| receive(bytes));
