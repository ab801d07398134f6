//! What is stored, for those who look: blocks in segments, and lines that are in no block yet.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    bytes::Damaged,
    identity::{LogIdentity, StreamKey},
    lines::Lines,
    record::{LinesHead, checksum},
    words::{FILTER_BLOCK, WordHash, block_of, may_hold},
};
use crate::logs::LogPosition;

/// The most bytes that a block may say to unpack to.
const UNPACKED: u32 = 256 << 20;

/// A file of blocks. Readers keep it open: it can be read to the end after it was removed.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) bytes: AtomicU64,
}

/// Lines that are packed.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) segment: Arc<Segment>,
    pub(super) head: LinesHead,
    pub(super) at: u64,
    pub(super) len: u32,
    /// Whether its filter was found to be whole.
    checked: AtomicBool,
    /// Whether it was told that it is damaged.
    told: AtomicBool,
}

/// Why a block cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlockError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its checksum is wrong")]
    Damaged(#[from] Damaged),
}

impl Block {
    pub(super) fn new(segment: Arc<Segment>, head: LinesHead, at: u64, len: u32) -> Self {
        let (checked, told) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { segment, head, at, len, checked, told }
    }

    /// Whether all of these words may be in it.
    pub(super) fn may_hold(&self, words: &[WordHash]) -> Result<bool, BlockError> {
        let (len, sum) = self.head.filter;
        if words.is_empty() || (len as usize) < FILTER_BLOCK {
            return Ok(true);
        }
        if !self.checked.load(Relaxed) {
            let mut filter = vec![0; len as usize];
            self.segment.file.read_exact_at(&mut filter, self.at)?;
            if checksum(&[&filter]) != sum {
                return Err(Damaged.into());
            }
            self.checked.store(true, Relaxed);
        }
        for word in words {
            let mut block = [0; FILTER_BLOCK];
            let at = block_of(*word, len as usize / FILTER_BLOCK) * FILTER_BLOCK;
            self.segment.file.read_exact_at(&mut block, self.at + at as u64)?;
            if !may_hold(&block, *word) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its lines.
    pub(super) fn lines(&self) -> Result<Lines, BlockError> {
        let filter = self.head.filter.0;
        let mut packed = vec![0; (self.len - filter) as usize];
        self.segment.file.read_exact_at(&mut packed, self.at + u64::from(filter))?;
        let (sum, size) = self.head.lines;
        if checksum(&[&packed]) != sum || size > UNPACKED {
            return Err(Damaged.into());
        }
        let bytes = zstd::bulk::decompress(&packed, size as usize).map_err(|_| Damaged)?;
        let lines = Lines::read(&bytes)?;
        if lines.len() == self.head.count as usize { Ok(lines) } else { Err(Damaged.into()) }
    }

    /// Says once that it cannot be read; whether this is the first time.
    pub(super) fn tell(&self, error: &BlockError) -> bool {
        let first = !self.told.swap(true, Relaxed);
        if first {
            let (file, lines) = (self.segment.path.display(), self.head.count);
            tracing::error!(%error, %file, at = self.at, lines, "stored lines cannot be read");
        }
        first
    }
}

/// Lines in memory that are in the journal and in no block yet.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) head: LinesHead,
    pub(super) lines: Lines,
}

/// One container's log.
#[derive(Debug)]
pub(super) struct StoredStream {
    pub(super) identity: Arc<LogIdentity>,
    /// The number of the next line.
    pub(super) next: u64,
    /// The number after the last line that is in a block.
    pub(super) packed: u64,
    pub(super) position: Option<LogPosition>,
    /// In their order.
    pub(super) open: Vec<Arc<Chunk>>,
}

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) blocks: Vec<Arc<Block>>,
    pub(super) streams: HashMap<StreamKey, StoredStream>,
}

/// Shared by the writer and those who look; locked for a look or a move, never for reading a file.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCatalog(Arc<Mutex<Catalog>>);

impl SharedCatalog {
    pub(super) fn lock(&self) -> MutexGuard<'_, Catalog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// Adds lines to a stream that is known, after those it has.
    pub(super) fn add(&mut self, chunk: Chunk) {
        let Some(stream) = self.streams.get_mut(&chunk.head.stream) else { return };
        stream.next = stream.next.max(chunk.head.first + u64::from(chunk.head.count));
        stream.position = chunk.head.position.or(stream.position);
        // Small ones are joined, as long as nobody looks at them.
        if let Some(last) = stream.open.last_mut().and_then(Arc::get_mut)
            && last.head.first + u64::from(last.head.count) == chunk.head.first
            && last.lines.len() + chunk.lines.len() <= 512
        {
            last.lines.extend(&chunk.lines, 0);
            last.head.count = last.lines.len() as u32;
            last.head.span.0 = last.head.span.0.min(chunk.head.span.0);
            last.head.span.1 = last.head.span.1.max(chunk.head.span.1);
            last.head.levels |= chunk.head.levels;
            last.head.position = chunk.head.position;
            return;
        }
        stream.open.push(Arc::new(chunk));
    }
}
