//! Writing: lines into a journal at once, blocks into segments when they are full.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use kobel_wire::log::LogLine;
use serde::{Deserialize, Serialize};

use super::{
    catalog::{Block, Chunk, Segment, SharedCatalog, StoredStream},
    identity::{LogIdentity, StreamKey},
    lines::Lines,
    record::{self, Head, LinesHead, checksum},
    words,
};
use crate::logs::LogPosition;

/// How hard to pack. Measured: 3 takes a tenth more on disk, 9 a fortieth less (docs/logs.md).
const PACKING: i32 = 6;

/// However new it is, a segment is closed after so long, so that its oldest lines go in time.
const SEGMENT_AGE: Duration = Duration::from_secs(86_400);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes on disk.
    pub bytes: u64,
    /// How long.
    pub age: Duration,
}

impl Default for Keep {
    /// 2 GB or 14 days, whichever comes first.
    fn default() -> Self {
        Self { bytes: 2_000_000_000, age: Duration::from_secs(14 * 86_400) }
    }
}

impl Keep {
    /// A segment is a small part of all, since the oldest goes as a whole.
    fn segment(self) -> u64 {
        (self.bytes / 32).clamp(64 << 10, 64 << 20)
    }

    fn journal(self) -> u64 {
        (self.bytes / 32).clamp(64 << 10, 16 << 20)
    }
}

/// Lines of one stream on their way to the disk.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) identity: Arc<LogIdentity>,
    pub(super) lines: Vec<Arc<LogLine>>,
    /// How far the container's log was read with the last of them.
    pub(super) position: Option<LogPosition>,
}

/// What is kept of a stream beside its lines.
#[derive(Debug, Serialize, Deserialize)]
struct StreamRecord {
    identity: LogIdentity,
    next: u64,
    position: Option<LogPosition>,
}

/// A file that records are added to, all or nothing.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whether it is of an earlier run: its end may be damaged, so nothing is added to it.
    old: bool,
    /// The streams that were named in it.
    named: HashSet<StreamKey>,
}

impl Appended {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, bytes: 0, old: false, named: HashSet::new() })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_ok() {
            self.bytes += bytes.len() as u64;
        } else {
            // What is half there would be taken for damage. Where this fails, too, it is skipped.
            let _ = self.file.set_len(self.bytes);
        }
        written
    }
}

/// What was found when the store was opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Lines in the journal that were in no block.
    pub(super) lines: u64,
    /// Bytes of files that belong to nothing whole.
    pub(super) damaged: u64,
}

/// Writes the files. One at a time on a folder.
pub(super) struct Writer {
    folder: PathBuf,
    keep: Keep,
    catalog: SharedCatalog,
    segments: Vec<(Arc<Segment>, SystemTime)>,
    /// The segment that is added to: the last of `segments`.
    current: Option<(Appended, SystemTime)>,
    journals: Vec<Appended>,
    journal_since: SystemTime,
    /// The highest number of a file.
    number: u64,
    /// Streams whose position must not be lost with their last line.
    active: HashSet<StreamKey>,
    packer: zstd::bulk::Compressor<'static>,
}

const SEGMENT: &str = "segment";
const JOURNAL: &str = "journal";

impl Writer {
    /// Opens a folder, made where there is none, and reads what is in it into the catalog.
    pub(super) fn open(
        folder: &Path,
        keep: Keep,
        catalog: SharedCatalog,
        now: SystemTime,
    ) -> io::Result<(Self, Recovered)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut files: Vec<(u64, &'static str, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((kind, number)) = name.split_once('-') else { continue };
            let kind = match kind {
                SEGMENT => SEGMENT,
                JOURNAL => JOURNAL,
                _ => continue,
            };
            if let Ok(number) = number.parse() {
                files.push((number, kind, path));
            }
        }
        files.sort_unstable();
        let mut writer = Self {
            folder: folder.to_owned(),
            keep,
            catalog,
            segments: Vec::new(),
            current: None,
            journals: Vec::new(),
            journal_since: now,
            number: files.last().map_or(0, |(number, ..)| *number),
            active: HashSet::new(),
            packer: zstd::bulk::Compressor::new(PACKING)?,
        };
        let mut recovered = Recovered::default();
        for (number, _, path) in files.iter().filter(|(_, kind, _)| *kind == SEGMENT) {
            recovered.damaged += writer.read_segment(*number, path)?;
        }
        for (_, _, path) in files.iter().filter(|(_, kind, _)| *kind == JOURNAL) {
            let (lines, damaged) = writer.read_journal(path)?;
            recovered.lines += lines;
            recovered.damaged += damaged;
        }
        writer.retain(now);
        Ok((writer, recovered))
    }

    fn read_segment(&mut self, number: u64, path: &Path) -> io::Result<u64> {
        let file = OpenOptions::new().read(true).open(path)?;
        let scanned = record::scan(&file)?;
        let meta = file.metadata()?;
        if scanned.lost > 0 {
            told_damage(path, scanned.lost);
        }
        let segment =
            Arc::new(Segment { number, path: path.to_owned(), file, bytes: meta.len().into() });
        let mut catalog = self.catalog.lock();
        for found in scanned.records {
            match found.head {
                Head::Stream(json) => name(&mut catalog.streams, &json),
                Head::Lines(head) => {
                    let Some(stream) = catalog.streams.get_mut(&head.stream) else { continue };
                    stream.packed = stream.packed.max(head.first + u64::from(head.count));
                    stream.next = stream.next.max(stream.packed);
                    stream.position = head.position.or(stream.position);
                    let (at, len) = found.body;
                    let block = Block::new(Arc::clone(&segment), head, at, len);
                    catalog.blocks.push(Arc::new(block));
                }
            }
        }
        drop(catalog);
        self.segments.push((segment, meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
        Ok(scanned.lost)
    }

    fn read_journal(&mut self, path: &Path) -> io::Result<(u64, u64)> {
        use std::os::unix::fs::FileExt;
        let file = OpenOptions::new().read(true).open(path)?;
        let scanned = record::scan(&file)?;
        let (mut lines, mut damaged) = (0, scanned.lost);
        let mut catalog = self.catalog.lock();
        for found in scanned.records {
            let head = match found.head {
                Head::Stream(json) => {
                    name(&mut catalog.streams, &json);
                    continue;
                }
                Head::Lines(head) => head,
            };
            let Some(stream) = catalog.streams.get(&head.stream) else { continue };
            let end = head.first + u64::from(head.count);
            if end <= stream.packed {
                // In a block already.
                continue;
            }
            let mut body = vec![0; found.body.1 as usize];
            file.read_exact_at(&mut body, found.body.0)?;
            let read = match Lines::read(&body) {
                Ok(read) if checksum(&[&body]) == head.lines.0 => read.with_times(),
                _ => {
                    damaged += u64::from(found.body.1);
                    continue;
                }
            };
            let known = stream.packed.saturating_sub(head.first) as usize;
            let mut new = Lines::default();
            new.extend(&read, known);
            lines += new.len() as u64;
            let first = head.first + known as u64;
            let count = new.len() as u32;
            catalog.add(Chunk { head: LinesHead { first, count, ..head }, lines: new });
        }
        drop(catalog);
        if damaged > 0 {
            told_damage(path, damaged);
        }
        // Only to be removed once its lines are in blocks.
        let bytes = file.metadata()?.len();
        let named = HashSet::new();
        self.journals.push(Appended { path: path.to_owned(), file, bytes, old: true, named });
        Ok((lines, damaged))
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let segments: u64 =
            self.segments.iter().map(|(segment, _)| segment.bytes.load(Relaxed)).sum();
        segments + self.journals.iter().map(|journal| journal.bytes).sum::<u64>()
    }

    /// Writes lines. All of them are written or, with an error, none.
    pub(super) fn append(&mut self, batches: &[Batch], now: SystemTime) -> io::Result<()> {
        // What could not be packed before must be, before more comes.
        self.pack(now)?;
        if batches.iter().all(|batch| batch.lines.is_empty()) {
            return Ok(());
        }
        let mut chunks = Vec::with_capacity(batches.len());
        let mut bytes = Vec::new();
        let mut firsts: HashMap<StreamKey, u64> = HashMap::new();
        let mut named = Vec::new();
        self.journal(now)?;
        for batch in batches.iter().filter(|batch| !batch.lines.is_empty()) {
            let key = StreamKey::of(&batch.identity.stream());
            let (next, position) = self.name(key, &batch.identity);
            let journal = self.journals.last();
            if journal.is_some_and(|journal| !journal.named.contains(&key)) && !named.contains(&key)
            {
                write_stream(&mut bytes, &batch.identity, next, position);
                named.push(key);
            }
            let mut rest = batch.lines.as_slice();
            while !rest.is_empty() {
                let mut lines = Lines::default();
                while let Some((line, more)) = rest.split_first()
                    && !lines.is_full()
                {
                    lines.push(line);
                    rest = more;
                }
                let next = firsts.entry(key).or_insert(next);
                let (first, count) = (*next, lines.len() as u32);
                *next += u64::from(count);
                // Not before all of the batch is written.
                let position = batch.position.filter(|_| rest.is_empty());
                let body = body_of(&lines);
                let head = LinesHead {
                    stream: key,
                    first,
                    count,
                    span: lines.span().unwrap_or_default(),
                    levels: lines.levels(),
                    position,
                    filter: (0, 0),
                    lines: (checksum(&[&body]), 0),
                };
                record::write_lines(&mut bytes, &head, body.len());
                bytes.extend_from_slice(&body);
                chunks.push(Chunk { head, lines });
            }
        }
        let Some(journal) = self.journals.last_mut() else { return Ok(()) };
        journal.append(&bytes)?;
        journal.named.extend(named);
        let mut catalog = self.catalog.lock();
        for chunk in chunks {
            self.active.insert(chunk.head.stream);
            catalog.add(chunk);
        }
        drop(catalog);
        // The lines are safe, whatever becomes of this.
        if let Err(error) = self.pack(now) {
            tracing::debug!(%error, "stored lines stay in the journal");
        }
        Ok(())
    }

    /// Makes sure that there is a journal to add to.
    fn journal(&mut self, now: SystemTime) -> io::Result<()> {
        if self.journals.last().is_none_or(|journal| journal.old) {
            let path = self.next_path(JOURNAL);
            self.journals.push(Appended::create(path)?);
            self.journal_since = now;
        }
        Ok(())
    }

    fn next_path(&mut self, kind: &str) -> PathBuf {
        self.number += 1;
        self.folder.join(format!("{kind}-{:08}", self.number))
    }

    /// Makes the stream known, or known by its new name. Its next number and its position.
    fn name(&mut self, key: StreamKey, identity: &Arc<LogIdentity>) -> (u64, Option<LogPosition>) {
        let mut catalog = self.catalog.lock();
        let stream = catalog.streams.entry(key).or_insert_with(|| StoredStream {
            identity: Arc::clone(identity),
            next: 1,
            packed: 0,
            position: None,
            open: Vec::new(),
        });
        if stream.identity != *identity {
            stream.identity = Arc::clone(identity);
            let files = self.current.iter_mut().map(|(current, _)| current);
            for file in files.chain(&mut self.journals) {
                file.named.remove(&key);
            }
        }
        (stream.next, stream.position)
    }

    /// Packs what is full, and everything when the journal is long or old.
    pub(super) fn pack(&mut self, now: SystemTime) -> io::Result<()> {
        let length: u64 = self.journals.iter().map(|journal| journal.bytes).sum();
        let old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age > SEGMENT_AGE);
        let all = length > self.keep.journal() || (length > 0 && old(self.journal_since));
        let due: Vec<StreamKey> = {
            let catalog = self.catalog.lock();
            let streams = catalog.streams.iter().filter(|(_, stream)| {
                let open = stream.open.iter();
                let (lines, bytes) = open.fold((0, 0), |(lines, bytes), chunk| {
                    (lines + chunk.lines.len(), bytes + chunk.lines.bytes())
                });
                lines > 0 && (all || lines >= super::lines::LINES || bytes >= super::lines::BYTES)
            });
            streams.map(|(key, _)| *key).collect()
        };
        for key in due {
            self.pack_stream(key, now)?;
        }
        if all {
            self.close(now)?;
        }
        Ok(())
    }

    /// Everything is in blocks: the journals are of no use any more.
    fn close(&mut self, now: SystemTime) -> io::Result<()> {
        if let Some((current, _)) = &self.current {
            current.file.sync_data()?;
        }
        for journal in self.journals.drain(..) {
            let _ = fs::remove_file(&journal.path);
        }
        self.journal_since = now;
        self.retain(now);
        Ok(())
    }

    /// Packs all lines and leaves no journal. The store's last act.
    pub(super) fn finish(&mut self, now: SystemTime) -> io::Result<()> {
        let keys: Vec<_> = {
            let catalog = self.catalog.lock();
            let open = catalog.streams.iter().filter(|(_, stream)| !stream.open.is_empty());
            open.map(|(key, _)| *key).collect()
        };
        for key in keys {
            self.pack_stream(key, now)?;
        }
        self.close(now)
    }

    fn pack_stream(&mut self, key: StreamKey, now: SystemTime) -> io::Result<()> {
        let (open, position, identity, next) = {
            let catalog = self.catalog.lock();
            let Some(stream) = catalog.streams.get(&key) else { return Ok(()) };
            (stream.open.clone(), stream.position, Arc::clone(&stream.identity), stream.next)
        };
        // A block's numbers have no hole; where some were lost with a damaged journal, it ends.
        let mut blocks: Vec<(u64, Lines)> = Vec::new();
        for chunk in &open {
            match blocks.last_mut() {
                Some((first, lines))
                    if *first + lines.len() as u64 == chunk.head.first && !lines.is_full() =>
                {
                    lines.extend(&chunk.lines, 0);
                }
                _ => blocks.push((chunk.head.first, chunk.lines.clone())),
            }
        }
        let mut written = Vec::with_capacity(blocks.len());
        let mut bytes = Vec::new();
        self.segment(now)?;
        let Some((current, _)) = &mut self.current else { return Ok(()) };
        let start = current.bytes;
        if !current.named.contains(&key) {
            write_stream(&mut bytes, &identity, next, position);
        }
        for (first, lines) in blocks {
            let filter = words::filter(&mut lines.words());
            let body = body_of(&lines);
            let packed = self.packer.compress(&body)?;
            let head = LinesHead {
                stream: key,
                first,
                count: lines.len() as u32,
                span: lines.span().unwrap_or_default(),
                levels: lines.levels(),
                position,
                filter: (filter.len() as u32, checksum(&[&filter])),
                lines: (checksum(&[&packed]), body.len() as u32),
            };
            let len = filter.len() + packed.len();
            record::write_lines(&mut bytes, &head, len);
            written.push((head, start + bytes.len() as u64, len as u32));
            bytes.extend_from_slice(&filter);
            bytes.extend_from_slice(&packed);
        }
        current.append(&bytes)?;
        current.named.insert(key);
        let Some((segment, modified)) = self.segments.last_mut() else { return Ok(()) };
        segment.bytes.store(current.bytes, Relaxed);
        *modified = now;
        let mut catalog = self.catalog.lock();
        for (head, at, len) in written {
            catalog.blocks.push(Arc::new(Block::new(Arc::clone(segment), head, at, len)));
        }
        if let Some(stream) = catalog.streams.get_mut(&key) {
            stream.open.clear();
            stream.packed = stream.packed.max(next);
        }
        drop(catalog);
        self.retain(now);
        Ok(())
    }

    /// Makes sure that there is a segment to add to.
    fn segment(&mut self, now: SystemTime) -> io::Result<()> {
        let fits = self.current.as_ref().is_some_and(|(current, since)| {
            let young = now.duration_since(*since).is_ok_and(|age| age < SEGMENT_AGE);
            current.bytes < self.keep.segment() && young
        });
        if fits {
            return Ok(());
        }
        let path = self.next_path(SEGMENT);
        let mut new = Appended::create(path.clone())?;
        // Where each log goes on is known even when its last line is gone for its age.
        let mut bytes = Vec::new();
        {
            let catalog = self.catalog.lock();
            for (key, stream) in catalog.streams.iter() {
                if self.active.contains(key) {
                    write_stream(&mut bytes, &stream.identity, stream.next, stream.position);
                    new.named.insert(*key);
                }
            }
        }
        new.append(&bytes).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        if let Some((current, _)) = &self.current {
            current.file.sync_data()?;
        }
        let segment = Segment {
            number: self.number,
            path,
            file: new.file.try_clone()?,
            bytes: new.bytes.into(),
        };
        self.segments.push((Arc::new(segment), now));
        self.current = Some((new, now));
        Ok(())
    }

    /// Removes what is too old, and the oldest of what is too much. Not the segment that is added
    /// to.
    fn retain(&mut self, now: SystemTime) {
        loop {
            let last = self.segments.len().saturating_sub(usize::from(self.current.is_some()));
            let Some((oldest, modified)) = self.segments[..last].first() else { return };
            let old = now.duration_since(*modified).is_ok_and(|age| age > self.keep.age);
            if !old && self.bytes() <= self.keep.bytes {
                return;
            }
            if let Err(error) = fs::remove_file(&oldest.path)
                && error.kind() != io::ErrorKind::NotFound
            {
                let file = oldest.path.display();
                return tracing::error!(%error, %file, "old stored lines cannot be removed");
            }
            let number = oldest.number;
            self.segments.remove(0);
            let mut catalog = self.catalog.lock();
            catalog.blocks.retain(|block| block.segment.number != number);
            let live: HashSet<_> = catalog.blocks.iter().map(|block| block.head.stream).collect();
            let active = &self.active;
            catalog.streams.retain(|key, stream| {
                !stream.open.is_empty() || live.contains(key) || active.contains(key)
            });
        }
    }

    /// A container's log is followed.
    pub(super) fn follow(&mut self, stream: StreamKey) {
        self.active.insert(stream);
    }

    /// A container is gone: nobody will ask where its log goes on.
    pub(super) fn forget(&mut self, stream: StreamKey) {
        self.active.remove(&stream);
    }
}

fn told_damage(path: &Path, bytes: u64) {
    let file = path.display();
    tracing::error!(%file, bytes, "stored lines are damaged: what belongs to no whole record is skipped");
}

fn body_of(lines: &Lines) -> Vec<u8> {
    let mut body = Vec::with_capacity(lines.bytes() * 5 / 4);
    lines.write(&mut body);
    body
}

fn write_stream(
    out: &mut Vec<u8>,
    identity: &LogIdentity,
    next: u64,
    position: Option<LogPosition>,
) {
    let record = StreamRecord { identity: identity.clone(), next, position };
    // Texts and numbers are always written.
    record::write_stream(out, &serde_json::to_vec(&record).unwrap_or_default());
}

/// Makes the stream of a record known.
fn name(streams: &mut HashMap<StreamKey, StoredStream>, json: &[u8]) {
    let Ok(record) = serde_json::from_slice::<StreamRecord>(json) else { return };
    let key = StreamKey::of(&record.identity.stream());
    let identity = Arc::new(record.identity);
    match streams.get_mut(&key) {
        Some(stream) => {
            stream.identity = identity;
            // Of a stream whose lines were all removed, this is all that is known.
            if stream.next < record.next {
                stream.next = record.next;
                stream.position = record.position.or(stream.position);
            }
        }
        None => {
            let StreamRecord { next, position, .. } = record;
            streams.insert(
                key,
                StoredStream { identity, next, packed: 0, position, open: Vec::new() },
            );
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
