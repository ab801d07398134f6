//! Why bytes are not METR.

/// Why bytes are not METR, or not yet to be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first four bytes are another format's.
    #[error("not METR: it begins with {found:02x?}, expected {expected:02x?}")]
    BadMagic {
        /// What is there.
        found: [u8; 4],
        /// What the version that was asked for begins with.
        expected: [u8; 4],
    },
    /// A version that this reader does not know.
    #[error("METR version {0} is not known here; this reads version 2")]
    UnsupportedVersion(u8),
    /// Flags that this reader does not know: the frame means something that it would miss.
    #[error("METR flags {0:#010b} are not known here")]
    UnsupportedFlags(u8),
    /// The bytes end within the header.
    #[error("too short for METR: {have} bytes, the header alone needs {need}")]
    TooShort {
        /// Bytes of the header.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The count in the header does not go with the length (version 1: not exactly; version 2:
    /// more records than the bytes can hold).
    #[error("METR of {records} records needs {need} bytes and has {have}")]
    LengthMismatch {
        /// The count in the header.
        records: u32,
        /// Bytes that so many records need at least, header included.
        need: u64,
        /// Bytes there are.
        have: usize,
    },
    /// More records than the reader will hold.
    #[error("METR of {records} records; this reader takes at most {limit}")]
    TooManyRecords {
        /// The count in the header.
        records: u32,
        /// What the reader allows.
        limit: usize,
    },
    /// The bytes end within a record.
    #[error("METR ends within record {record}, counted from 0")]
    Truncated {
        /// Which record, from 0.
        record: u32,
    },
    /// The last record is followed by something.
    #[error("METR has {bits} bits after its last record, or they are not zero")]
    TrailingBytes {
        /// How many bits are left; less than 8 must be zeros.
        bits: usize,
    },
    /// A value outside the range of its field.
    #[error("METR record {record}, counted from 0: {field} is out of range")]
    OutOfRange {
        /// Which record, from 0.
        record: u32,
        /// Which field.
        field: &'static str,
    },
    /// The timestamp is outside the years 0 to 9999.
    #[error("METR timestamp {0} ms is outside the years 0 to 9999")]
    BadTimestamp(i64),
    /// A delta frame against a key frame that the reader does not have. The next key frame helps.
    #[error("METR delta against key frame {needs}: the reader has {}", .has.map_or("none".to_owned(), |key| format!("key frame {key}")))]
    NeedsKeyFrame {
        /// The key frame that the delta is against.
        needs: u32,
        /// The key frame that the reader has.
        has: Option<u32>,
    },
}
