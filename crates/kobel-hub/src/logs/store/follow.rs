//! Lines as they are stored, for those who look on.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use kobel_wire::DeviceUuid;

use super::{
    FoundLine, LogIdentity, LogPlace, LogQuery,
    catalog::{Block, Chunk, SharedCatalog},
    identity::StreamKey,
};

/// The most lines at once; the rest comes with the next look.
const AT_ONCE: usize = 5_000;

/// Looks on from some moment: what is stored later, of each stream in its order.
#[derive(Debug)]
pub struct LogFollow {
    catalog: SharedCatalog,
    query: LogQuery,
    /// The number of the next line of each stream that was there then; of others it is the first.
    next: HashMap<StreamKey, u64>,
}

enum Part {
    Block(Arc<Block>),
    Chunk(Arc<Chunk>),
}

impl LogFollow {
    /// From now on.
    pub(super) fn new(catalog: SharedCatalog, query: LogQuery) -> Self {
        let next = catalog.lock().streams.iter().map(|(key, stream)| (*key, stream.next)).collect();
        Self { catalog, query, next }
    }

    /// Whether a line was stored before.
    pub fn is_before(&self, place: LogPlace) -> bool {
        self.next.get(&place.stream()).is_some_and(|next| place.number() < *next)
    }

    /// What was stored since the last look, on devices that may be seen. May read files.
    pub fn look(&mut self, may_see: &dyn Fn(DeviceUuid) -> bool) -> Vec<FoundLine> {
        let mut found = Vec::new();
        for (key, identity, parts) in self.new_parts(may_see) {
            let next = self.next.entry(key).or_insert(1);
            for part in parts {
                if found.len() >= AT_ONCE {
                    break;
                }
                let (head, lines) = match &part {
                    Part::Block(block) => match block.lines() {
                        Ok(lines) => (&block.head, Cow::Owned(lines)),
                        Err(error) => {
                            block.tell(&error);
                            *next = block.head.first + u64::from(block.head.count);
                            continue;
                        }
                    },
                    Part::Chunk(chunk) => (&chunk.head, Cow::Borrowed(&chunk.lines)),
                };
                for (number, kept) in (head.first..).zip(lines.iter()) {
                    if number < *next {
                        continue;
                    }
                    *next = number + 1;
                    if !self.query.matches(kept) {
                        continue;
                    }
                    let Ok(line) = kept.line(number) else { continue };
                    let place = LogPlace::new(line.timestamp.as_nanos(), key, number);
                    found.push(FoundLine { place, identity: Arc::clone(&identity), line });
                }
            }
        }
        found.sort_by_key(|line| line.place);
        found
    }

    /// What holds new lines, by stream and in order.
    fn new_parts(
        &self,
        may_see: &dyn Fn(DeviceUuid) -> bool,
    ) -> Vec<(StreamKey, Arc<LogIdentity>, Vec<Part>)> {
        let catalog = self.catalog.lock();
        let from = |key: &StreamKey| self.next.get(key).copied().unwrap_or(1);
        let mut wanted: HashMap<StreamKey, (Arc<LogIdentity>, Vec<Part>)> = catalog
            .streams
            .iter()
            .filter(|(key, stream)| {
                let identity = &stream.identity;
                stream.next > from(key)
                    && may_see(identity.device_uuid)
                    && self.query.wants(identity)
            })
            .map(|(key, stream)| (*key, (Arc::clone(&stream.identity), Vec::new())))
            .collect();
        let packed =
            |key: &StreamKey| catalog.streams.get(key).is_some_and(|s| s.packed > from(key));
        if wanted.keys().any(packed) {
            for block in &catalog.blocks {
                let head = &block.head;
                if head.first + u64::from(head.count) > from(&head.stream)
                    && let Some((_, parts)) = wanted.get_mut(&head.stream)
                {
                    parts.push(Part::Block(Arc::clone(block)));
                }
            }
        }
        for (key, (_, parts)) in &mut wanted {
            let open = catalog.streams.get(key).into_iter().flat_map(|stream| &stream.open);
            let open = open.filter(|c| c.head.first + u64::from(c.head.count) > from(key));
            parts.extend(open.map(|chunk| Part::Chunk(Arc::clone(chunk))));
        }
        drop(catalog);
        wanted.into_iter().map(|(key, (identity, parts))| (key, identity, parts)).collect()
    }
}
