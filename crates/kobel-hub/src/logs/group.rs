//! Lines that belong together: the stack traces of Java, Python, Go, Rust and Node.
//!
//! Only a line that may begin a trace is held back, and no longer than the limit: what is a warning
//! or worse, or has the form of a trace's first line. All others pass at once.

use std::time::Duration;

use kobel_wire::{
    event::Seq,
    log::{Level, LogLine, LogOutput},
};
use tokio::time::Instant;

/// The most lines of an entry. What follows is another entry.
pub const GROUP_LINES: usize = 500;

/// The most bytes of an entry, but for a single line that is longer.
pub const GROUP_BYTES: usize = 64 << 10;

/// However slowly lines come, an entry is held back no longer than so many limits.
const AT_MOST: u32 = 10;

/// Where in a trace an entry stands: what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A line that a trace may follow.
    Head,
    /// The frames of Java or Node, which look alike.
    Frames,
    /// `/app/index.js:7`, and so many lines of source after it.
    NodeSource(u8),
    /// The frames of Python.
    Python,
    /// After the last line of a Python trace, or a blank one: another may follow.
    PythonEnd,
    /// `panic: …` or `fatal error: …` of Go.
    GoPanic,
    /// After `goroutine 1 [running]:`.
    Go,
    /// `thread 'main' panicked at …:`: the message is on the next line.
    RustMessage,
    /// After it.
    Rust,
}

/// An entry that may go on.
#[derive(Debug)]
struct Open {
    line: LogLine,
    at: At,
    lines: usize,
    /// The source's number of its first and of its last line.
    numbers: (Seq, Seq),
    first: Instant,
    last: Instant,
}

/// Joins the lines of traces. One for each stream.
#[derive(Debug)]
pub struct Grouper {
    limit: Duration,
    /// What is held back of each output: their lines come in between each other.
    stdout: Option<Open>,
    stderr: Option<Open>,
    /// The highest of the source's numbers that was given.
    given: Seq,
}

impl Grouper {
    /// Holds an entry back for so long after its last line.
    pub fn new(limit: Duration) -> Self {
        Self { limit, stdout: None, stderr: None, given: 0 }
    }

    /// Takes a line that came at `now`; adds what is complete to `out`. Its `seq` is the number that
    /// its source gave it; that of an entry is its first line's.
    pub fn push(&mut self, now: Instant, line: LogLine, out: &mut Vec<LogLine>) {
        self.expire(now, out);
        let number = line.seq;
        let held = match line.stream {
            LogOutput::Stdout => &mut self.stdout,
            LogOutput::Stderr => &mut self.stderr,
        };
        let single =
            line.marker.is_some() || !line.fields.is_empty() || line.raw().starts_with('{');
        if let Some(open) = held {
            match follows(open.at, &line.message).filter(|_| !single) {
                Some(at) if open.has_room(&line) => {
                    open.add(&line, at, now);
                    return;
                }
                Some(at) => {
                    give(held, &mut self.given, out);
                    *held = Some(Open::new(line, at, now));
                    return;
                }
                None => give(held, &mut self.given, out),
            }
        }
        match begins(&line).filter(|_| !single) {
            Some(at) => *held = Some(Open::new(line, at, now)),
            None => {
                self.given = self.given.max(number);
                out.push(line);
            }
        }
    }

    /// Up to which of the source's numbers every line was given, and none after it; `None` while a
    /// line is held back that is older than one that was given.
    pub fn whole_upto(&self) -> Option<Seq> {
        let held = [&self.stdout, &self.stderr].into_iter().flatten();
        held.into_iter().all(|open| open.numbers.0 > self.given).then_some(self.given)
    }

    /// When [`Grouper::expire`] has something to do; `None` while nothing is held back.
    pub fn deadline(&self) -> Option<Instant> {
        [&self.stdout, &self.stderr].into_iter().flatten().map(|open| open.until(self.limit)).min()
    }

    /// Gives what was held back for long enough.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<LogLine>) {
        for held in [&mut self.stdout, &mut self.stderr] {
            if held.as_ref().is_some_and(|open| open.until(self.limit) <= now) {
                give(held, &mut self.given, out);
            }
        }
    }

    /// Gives all that is held back: nothing follows.
    pub fn flush(&mut self, out: &mut Vec<LogLine>) {
        for held in [&mut self.stdout, &mut self.stderr] {
            give(held, &mut self.given, out);
        }
    }
}

/// Gives what is held back, if something is.
fn give(held: &mut Option<Open>, given: &mut Seq, out: &mut Vec<LogLine>) {
    if let Some(open) = held.take() {
        *given = (*given).max(open.numbers.1);
        out.push(open.line);
    }
}

impl Open {
    fn new(line: LogLine, at: At, now: Instant) -> Self {
        let numbers = (line.seq, line.seq);
        Self { line, at, lines: 1, numbers, first: now, last: now }
    }

    fn until(&self, limit: Duration) -> Instant {
        (self.last + limit).min(self.first + limit * AT_MOST)
    }

    fn has_room(&self, line: &LogLine) -> bool {
        self.lines < GROUP_LINES && self.line.raw().len() + line.raw().len() < GROUP_BYTES
    }

    fn add(&mut self, line: &LogLine, at: At, now: Instant) {
        let entry = &mut self.line;
        if entry.raw.is_some() || line.raw.is_some() {
            let mut raw = entry.raw.take().unwrap_or_else(|| entry.message.clone());
            raw.push('\n');
            raw.push_str(line.raw());
            entry.raw = Some(raw);
        }
        entry.message.push('\n');
        entry.message.push_str(&line.message);
        entry.cut = match (entry.cut, line.cut) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        // A trace is of an error, if nobody says otherwise.
        entry.level.get_or_insert(Level::Error);
        self.lines += 1;
        self.numbers.1 = line.seq;
        (self.at, self.last) = (at, now);
    }
}

/// Whether a line may begin an entry of several.
fn begins(line: &LogLine) -> Option<At> {
    let text = line.message.as_str();
    // Rare in the first bytes of other lines, so this is cheap.
    match text.as_bytes().first()? {
        b'p' if text.starts_with("panic: ") => return Some(At::GoPanic),
        b'f' if text.starts_with("fatal error: ") => return Some(At::GoPanic),
        b'g' if is_goroutine(text) => return Some(At::Go),
        b't' if is_rust_panic(text) => return Some(rust(text)),
        b'T' if text.starts_with(TRACEBACK) => return Some(At::Python),
        b'E' if text.starts_with("Exception in thread ") => return Some(At::Head),
        b'U' if text.starts_with("Uncaught ") => return Some(At::Head),
        b'/' | b'f' | b'n' if is_node_source(text) => return Some(At::NodeSource(0)),
        _ => {}
    }
    if line.level >= Some(Level::Warn) || is_exception(text) {
        return Some(At::Head);
    }
    None
}

const TRACEBACK: &str = "Traceback (most recent call last):";

/// Whether a line goes on with an entry, and where that stands then.
fn follows(at: At, text: &str) -> Option<At> {
    let inner = text.trim_start();
    let indented = inner.len() < text.len();
    let blank = inner.is_empty();
    match at {
        At::Head => {
            if is_frame(inner, indented) {
                Some(At::Frames)
            } else if inner.starts_with(TRACEBACK) {
                Some(At::Python)
            } else if is_goroutine(inner) {
                Some(At::Go)
            } else if is_exception(text) {
                Some(At::Head)
            } else {
                None
            }
        }
        At::Frames => {
            // Node prints what else an error holds: "{", "  code: 'X'", "}", "  [cause]: …".
            let properties = indented && (inner.starts_with('[') || inner.contains(": "));
            (is_frame(inner, indented) || properties || text == "}").then_some(At::Frames)
        }
        At::NodeSource(lines) => match inner {
            _ if is_frame(inner, indented) => Some(At::Frames),
            _ if lines < 5 => Some(At::NodeSource(lines + 1)),
            _ => None,
        },
        At::Python if indented || blank => Some(At::Python),
        // The exception itself, the first line that is not indented.
        At::Python => is_python_name(text).then_some(At::PythonEnd),
        At::PythonEnd => {
            let again = blank
                || text.starts_with("During handling of the above exception")
                || text.starts_with("The above exception was the direct cause");
            if text.starts_with(TRACEBACK) {
                Some(At::Python)
            } else {
                again.then_some(At::PythonEnd)
            }
        }
        At::GoPanic | At::Go if is_goroutine(text) => Some(At::Go),
        At::GoPanic => (blank || indented || text.starts_with("[signal ")).then_some(At::GoPanic),
        At::Go => {
            let call = text.ends_with(')') && text.contains('(') || text.ends_with("(...)");
            let other = text.starts_with("created by ") || text.starts_with("exit status ");
            (blank || indented || other || (call && !text.contains(": "))).then_some(At::Go)
        }
        At::RustMessage => Some(At::Rust),
        At::Rust => {
            let frame =
                indented && inner.as_bytes()[0].is_ascii_digit() || inner.starts_with("at ");
            let other = text.starts_with("note: ") || text.starts_with("stack backtrace:");
            (frame || other).then_some(At::Rust)
        }
    }
}

/// A frame of Java or Node, or what stands between them.
fn is_frame(inner: &str, indented: bool) -> bool {
    if indented {
        inner.starts_with("at ")
            || inner.starts_with("Suppressed: ")
            || inner.starts_with("Caused by: ")
            || (inner.starts_with("... ")
                && (inner.ends_with(" more") || inner.contains("omitted")))
    } else {
        inner.starts_with("Caused by: ")
    }
}

/// `java.lang.IllegalStateException: no`, `TypeError: x is not a function`: a name that ends so,
/// alone or before a colon.
fn is_exception(text: &str) -> bool {
    let name = text.split([':', ' ']).next().unwrap_or_default();
    let ends = ["Exception", "Error", "Throwable", "Failure"].iter().any(|end| name.ends_with(end));
    ends && is_python_name(text)
        && (text.len() == name.len() || text[name.len()..].starts_with(':'))
}

/// A dotted name at the start, alone or before a colon.
fn is_python_name(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$'))
}

fn is_goroutine(text: &str) -> bool {
    text.starts_with("goroutine ") && text.ends_with("]:")
}

fn is_rust_panic(text: &str) -> bool {
    text.starts_with("thread '") && text.contains(" panicked at ")
}

fn rust(text: &str) -> At {
    // Before Rust 1.73 the message stood on the same line.
    if text.ends_with(':') { At::RustMessage } else { At::Rust }
}

fn is_node_source(text: &str) -> bool {
    let Some((path, line)) = text.rsplit_once(':') else { return false };
    let source = ["js", "ts"].iter().any(|end| path.ends_with(end)) || path.starts_with("node:");
    source && !path.contains(' ') && !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
