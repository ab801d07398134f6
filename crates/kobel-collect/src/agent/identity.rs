//! Names that an agent gives itself.

use kobel_wire::DeviceUuid;

/// The most characters of an instance or a run.
const MAX: usize = 64;

/// Whether a text may name an instance or a run: it stands in logs and in the store.
pub(super) fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX).contains(&text.len()) && text.bytes().all(good)
}

/// A new name for a run.
pub(super) fn new_run() -> String {
    DeviceUuid::generate().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert!(is_name(&new_run()) && is_name("sim-7") && is_name(&"a".repeat(64)));
        for bad in ["", "a b", "a/b", "ä", "a\n", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
