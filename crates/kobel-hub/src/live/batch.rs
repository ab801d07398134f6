//! Aggregation: several updates in one message, the newest per id.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::value::RawValue;

/// How long an update waits for others.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// A batch is flushed as soon as it holds more updates than this.
pub(crate) const FLUSH_BEYOND: usize = 50;

/// Updates that wait to be sent together. An update replaces a waiting one of the same key and
/// takes its place; otherwise they stay in the order in which they came. Bounded by
/// [`FLUSH_BEYOND`], since the caller flushes when told so.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    updates: Vec<Arc<RawValue>>,
    places: HashMap<u64, usize>,
}

impl Batch {
    /// Adds an update; true means that the batch must be taken now.
    #[must_use]
    pub(crate) fn push(&mut self, key: u64, update: Arc<RawValue>) -> bool {
        match self.places.get(&key) {
            Some(&place) => self.updates[place] = update,
            None => {
                self.places.insert(key, self.updates.len());
                self.updates.push(update);
            }
        }
        self.updates.len() > FLUSH_BEYOND
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }

    /// All that waits, which goes on waiting.
    pub(crate) fn waiting(&self) -> &[Arc<RawValue>] {
        &self.updates
    }

    /// All that waits; the batch is empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<Arc<RawValue>> {
        self.places.clear();
        std::mem::take(&mut self.updates)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(n: u32) -> Arc<RawValue> {
        RawValue::from_string(n.to_string()).unwrap().into()
    }

    proptest! {
        /// Against a plain model: a list of pairs, searched from the front.
        #[test]
        fn behaves_as_the_model(steps in prop::collection::vec((0u64..80, 0u32..1000), 0..300)) {
            let mut batch = Batch::default();
            let mut model: Vec<(u64, u32)> = Vec::new();
            for (key, value) in steps {
                match model.iter_mut().find(|(k, _)| *k == key) {
                    Some(waiting) => waiting.1 = value,
                    None => model.push((key, value)),
                }
                let full = batch.push(key, raw(value));
                prop_assert_eq!(full, model.len() > FLUSH_BEYOND);
                if full {
                    let taken: Vec<_> = batch.take().iter().map(|v| v.get().to_owned()).collect();
                    let expected: Vec<_> = model.iter().map(|(_, v)| v.to_string()).collect();
                    prop_assert_eq!(taken, expected);
                    prop_assert!(batch.is_empty());
                    model.clear();
                }
            }
        }
    }
}
