//! Looking: from the newest line back, or from the oldest on.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    fmt,
    ops::ControlFlow,
    str::FromStr,
    sync::Arc,
};

use kobel_wire::{
    DeviceUuid,
    log::{LogLine, LogStreamId},
};

use super::{
    LogIdentity, LogQuery,
    catalog::{Block, Chunk, SharedCatalog},
    identity::StreamKey,
    lines::Lines,
    record::LinesHead,
};

/// The most bytes of found lines that wait until their turn has come.
const WAITING: usize = 32 << 20;

/// In which order lines are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogOrder {
    /// From the newest back.
    #[default]
    NewestFirst,
    /// From the oldest on.
    OldestFirst,
}

/// The place of a line among all that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPlace {
    time: i64,
    stream: u64,
    number: u64,
}

impl LogPlace {
    pub(super) fn new(time: i64, stream: StreamKey, number: u64) -> Self {
        Self { time, stream: stream.0, number }
    }

    pub(super) fn stream(self) -> StreamKey {
        StreamKey(self.stream)
    }

    pub(super) fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}.{}", self.time, self.stream, self.number)
    }
}

impl FromStr for LogPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let mut parts = text.split('.');
            let time = parts.next()?.parse().ok()?;
            let stream = u64::from_str_radix(parts.next()?, 16).ok()?;
            let number = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { time, stream, number })
        };
        read().ok_or_else(|| "not one that a search gave".to_owned())
    }
}

/// What is looked for, where, and how much of it.
#[derive(Debug, Clone)]
pub struct LogSearch {
    /// Which lines.
    pub query: LogQuery,
    /// Only those of this container.
    pub only: Option<LogStreamId>,
    /// From this time on, nanoseconds since 1970.
    pub from: i64,
    /// Up to this time, it included.
    pub to: i64,
    /// In which order.
    pub order: LogOrder,
    /// Only what comes after this one, in that order.
    pub after: Option<LogPlace>,
    /// The most lines.
    pub limit: usize,
}

impl Default for LogSearch {
    fn default() -> Self {
        let (query, order) = (LogQuery::default(), LogOrder::default());
        Self {
            query,
            only: None,
            from: i64::MIN,
            to: i64::MAX,
            order,
            after: None,
            limit: usize::MAX,
        }
    }
}

/// A line that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLine {
    /// Where it is.
    pub place: LogPlace,
    /// Whose it is.
    pub identity: Arc<LogIdentity>,
    /// The line; its number is that of the stored log.
    pub line: LogLine,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchProgress {
    /// Parts of the store in the time that is asked for.
    pub blocks: u64,
    /// Of these, how many were read, or known to hold nothing.
    pub done: u64,
    /// Lines that were looked at.
    pub lines: u64,
    /// Lines that cannot be read any more, since their file is damaged.
    pub damaged_lines: u64,
}

/// What a search gives.
#[derive(Debug)]
pub enum SearchEvent {
    /// A line, in order.
    Found(Box<FoundLine>),
    /// How far it is; after each part that was read.
    Progress(SearchProgress),
}

enum Part {
    Block(Arc<Block>),
    Chunk(Arc<Chunk>),
}

impl Part {
    fn head(&self) -> &LinesHead {
        match self {
            Self::Block(block) => &block.head,
            Self::Chunk(chunk) => &chunk.head,
        }
    }
}

/// A found line that waits, by its place in the order that is asked for.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Turn(LogPlace, LogOrder);

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.1 {
            LogOrder::NewestFirst => other.0.cmp(&self.0),
            LogOrder::OldestFirst => self.0.cmp(&other.0),
        }
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Looks for lines on devices that may be seen; reads files. Ends early when `each` breaks.
pub(super) fn search(
    catalog: &SharedCatalog,
    search: &LogSearch,
    may_see: &dyn Fn(DeviceUuid) -> bool,
    each: &mut dyn FnMut(SearchEvent) -> ControlFlow<()>,
) -> SearchProgress {
    let mut pass = Pass {
        search,
        after: search.after.map(|place| Turn(place, search.order)),
        left: search.limit,
        progress: SearchProgress::default(),
        told: false,
    };
    // Once, but where more was found than can wait.
    while let ControlFlow::Continue(true) = pass.run(catalog, may_see, each) {}
    pass.progress
}

struct Pass<'a> {
    search: &'a LogSearch,
    after: Option<Turn>,
    left: usize,
    progress: SearchProgress,
    told: bool,
}

impl Pass<'_> {
    /// Whether another pass is needed.
    fn run(
        &mut self,
        catalog: &SharedCatalog,
        may_see: &dyn Fn(DeviceUuid) -> bool,
        each: &mut dyn FnMut(SearchEvent) -> ControlFlow<()>,
    ) -> ControlFlow<(), bool> {
        let (mut parts, streams) = self.plan(catalog, may_see);
        let order = self.search.order;
        // The first to be opened is the last.
        match order {
            LogOrder::NewestFirst => parts.sort_by_key(|part| part.head().span.1),
            LogOrder::OldestFirst => parts.sort_by_key(|part| -i128::from(part.head().span.0)),
        }
        if !self.told {
            self.progress.blocks = parts.len() as u64;
            self.told = true;
        }
        let words = self.search.query.must_hold();
        let mut waiting: BTreeMap<Turn, (StreamKey, LogLine)> = BTreeMap::new();
        // What waits, in bytes; and the first that had no room.
        let (mut bytes, mut floor) = (0, None::<Turn>);
        loop {
            // A part that is not open yet may hold a line before the first that waits.
            let edge = parts.last().map(|part| match order {
                LogOrder::NewestFirst => part.head().span.1,
                LogOrder::OldestFirst => part.head().span.0,
            });
            while let Some(first) = waiting.first_entry() {
                let turn = *first.key();
                let ready = edge.is_none_or(|edge| match order {
                    LogOrder::NewestFirst => turn.0.time > edge,
                    LogOrder::OldestFirst => turn.0.time < edge,
                });
                if !ready || floor.is_some_and(|floor| floor < turn) {
                    break;
                }
                let (key, line) = first.remove();
                bytes -= size(&line);
                self.after = Some(turn);
                let Some(identity) = streams.get(&key) else { continue };
                if !may_see(identity.device_uuid) {
                    continue;
                }
                let identity = Arc::clone(identity);
                each(SearchEvent::Found(Box::new(FoundLine { place: turn.0, identity, line })))?;
                self.left -= 1;
                if self.left == 0 {
                    return ControlFlow::Continue(false);
                }
            }
            // All that comes is behind what had no room.
            if let Some(floor) = floor
                && waiting.first_key_value().is_none_or(|(turn, _)| *turn > floor)
            {
                return ControlFlow::Continue(true);
            }
            let Some(part) = parts.pop() else { return ControlFlow::Continue(false) };
            self.progress.done = (self.progress.done + 1).min(self.progress.blocks);
            let lines = match &part {
                Part::Block(block) => match self.read(block, &words) {
                    Some(lines) => lines,
                    None => {
                        each(SearchEvent::Progress(self.progress))?;
                        continue;
                    }
                },
                Part::Chunk(chunk) => std::borrow::Cow::Borrowed(&chunk.lines),
            };
            self.progress.lines += lines.len() as u64;
            let head = part.head();
            let inside = self.search.from <= head.span.0 && head.span.1 <= self.search.to;
            for (at, kept) in lines.iter().enumerate() {
                if !self.search.query.matches(kept) {
                    continue;
                }
                let time = kept.time();
                if !inside && !(self.search.from..=self.search.to).contains(&time) {
                    continue;
                }
                let number = head.first + at as u64;
                let place = LogPlace { time, stream: head.stream.0, number };
                let turn = Turn(place, order);
                let passed = self.after.is_some_and(|after| turn <= after);
                if passed || floor.is_some_and(|floor| turn >= floor) {
                    continue;
                }
                // Not among the first that are asked for.
                if waiting.len() >= self.left
                    && waiting.last_key_value().is_some_and(|(last, _)| *last < turn)
                {
                    continue;
                }
                let Ok(line) = kept.line(number) else { continue };
                bytes += size(&line);
                waiting.insert(turn, (head.stream, line));
                while waiting.len() > self.left || (bytes > WAITING && waiting.len() > 1) {
                    let enough = waiting.len() > self.left;
                    let Some((turn, (_, line))) = waiting.pop_last() else { break };
                    bytes -= size(&line);
                    if !enough {
                        floor = Some(floor.map_or(turn, |floor| floor.min(turn)));
                    }
                }
            }
            each(SearchEvent::Progress(self.progress))?;
        }
    }

    fn plan(
        &self,
        catalog: &SharedCatalog,
        may_see: &dyn Fn(DeviceUuid) -> bool,
    ) -> (Vec<Part>, HashMap<StreamKey, Arc<LogIdentity>>) {
        let catalog = catalog.lock();
        let query = &self.search.query;
        let only = self.search.only.as_ref().map(StreamKey::of);
        let streams: HashMap<_, _> = catalog
            .streams
            .iter()
            .filter(|(key, _)| only.is_none_or(|only| only == **key))
            .filter(|(_, stream)| {
                may_see(stream.identity.device_uuid) && query.wants(&stream.identity)
            })
            .map(|(key, stream)| (*key, Arc::clone(&stream.identity)))
            .collect();
        let (mut from, mut to) = (self.search.from, self.search.to);
        if let Some(Turn(place, order)) = self.after {
            match order {
                LogOrder::NewestFirst => to = to.min(place.time),
                LogOrder::OldestFirst => from = from.max(place.time),
            }
        }
        let wanted = |head: &LinesHead| {
            head.span.0 <= to
                && head.span.1 >= from
                && head.levels & query.levels() != 0
                && streams.contains_key(&head.stream)
        };
        let mut parts: Vec<_> = catalog
            .blocks
            .iter()
            .filter(|block| wanted(&block.head))
            .map(|block| Part::Block(Arc::clone(block)))
            .collect();
        for stream in streams.keys().filter_map(|key| catalog.streams.get(key)) {
            let open = stream.open.iter().filter(|chunk| wanted(&chunk.head));
            parts.extend(open.map(|chunk| Part::Chunk(Arc::clone(chunk))));
        }
        drop(catalog);
        (parts, streams)
    }

    /// A block's lines, where it may hold what is looked for.
    fn read(
        &mut self,
        block: &Block,
        words: &[super::words::WordHash],
    ) -> Option<std::borrow::Cow<'static, Lines>> {
        let read = match block.may_hold(words) {
            Ok(false) => return None,
            Ok(true) => block.lines(),
            // Its lines may be whole.
            Err(error) => {
                block.tell(&error);
                block.lines()
            }
        };
        match read {
            Ok(lines) => Some(std::borrow::Cow::Owned(lines)),
            Err(error) => {
                block.tell(&error);
                self.progress.damaged_lines += u64::from(block.head.count);
                None
            }
        }
    }
}

fn size(line: &LogLine) -> usize {
    200 + line.message.len() + line.raw.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests;
