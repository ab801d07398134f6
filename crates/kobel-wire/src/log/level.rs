//! How grave a line is, from the many ways in which programs say it.

use serde::{Deserialize, Serialize};

/// How grave a line is; a greater one is graver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The finest detail.
    Trace,
    /// For developers.
    Debug,
    /// The ordinary.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Level {
    /// All, the finest first.
    pub const ALL: [Self; 6] =
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// By a word, in any case: those of syslog (RFC 5424), log4j, Python, Go, Rust, .NET and
    /// PostgreSQL, and their abbreviations to three and four letters. Not single letters.
    pub fn from_word(word: &[u8]) -> Option<Self> {
        let mut lower = [0; 13];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" | b"trce" | b"verbose" | b"finest" | b"finer" | b"silly" => {
                Self::Trace
            }
            b"debug" | b"dbg" | b"debg" | b"dbug" | b"fine" => Self::Debug,
            b"info" | b"inf" | b"information" | b"informational" | b"notice" | b"note" | b"log"
            | b"http" | b"config" => Self::Info,
            b"warn" | b"wrn" | b"warning" => Self::Warn,
            b"error" | b"err" | b"eror" | b"fail" | b"failure" | b"severe" => Self::Error,
            b"fatal" | b"ftl" | b"crit" | b"critical" | b"panic" | b"pnc" | b"dpanic"
            | b"emerg" | b"emergency" | b"alert" => Self::Fatal,
            _ => return None,
        })
    }

    /// By a letter, as in klog's `E0102`, logcat's `W/`, MongoDB's `"s":"I"`.
    pub fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_uppercase() {
            b'T' | b'V' => Self::Trace,
            b'D' => Self::Debug,
            b'I' | b'N' => Self::Info,
            b'W' => Self::Warn,
            b'E' => Self::Error,
            b'F' | b'C' | b'P' | b'A' => Self::Fatal,
            _ => return None,
        })
    }

    /// By the number of a JSON line: up to 7 a severity of syslog (RFC 5424, 6.2.1; GELF uses it),
    /// from 10 on that of pino, bunyan and Python's logging (10 the finest, 60 the gravest).
    ///
    /// Python's debug is 10, where pino has trace; and so on by one step up to its critical, 50.
    /// Pino is taken: Python's JSON formatters write the name.
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0..=7 => return Self::from_syslog(number.unsigned_abs()),
            10..=19 => Self::Trace,
            20..=29 => Self::Debug,
            30..=39 => Self::Info,
            40..=49 => Self::Warn,
            50..=59 => Self::Error,
            60..=99 => Self::Fatal,
            _ => return None,
        })
    }

    /// By a severity of syslog: 0 emergency to 7 debug (RFC 5424, 6.2.1).
    pub fn from_syslog(severity: u64) -> Option<Self> {
        Some(match severity {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            _ => return None,
        })
    }

    /// By a `SeverityNumber` of OpenTelemetry's data model: 1 trace to 24 fatal.
    pub fn from_otel(number: i64) -> Option<Self> {
        let step = usize::try_from(number.checked_sub(1)?).ok()? / 4;
        Self::ALL.get(step).copied()
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
            "expected \"trace\", \"debug\", \"info\", \"warn\", \"error\" or \"fatal\"".to_owned()
        })
    }
}
