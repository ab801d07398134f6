//! Lines of text: the time at their head and the word for their level.
//!
//! A word such as "error" is a level only where a program put it for one, not where a sentence
//! uses it ("no errors found"). The rule: only the head of the line counts, and a level word there
//! counts where it is
//!
//! - marked, in any case: in brackets (`[error]`, `<info>`, `|WARN|`, `[core:error]`), before a
//!   colon (`error:`), as `ERR!`, or the value of `level=`, `lvl=` or `severity=`;
//! - in capitals, at the start of the line, after a time, or after what is no plain word (`[main]
//!   INFO`, `my.logger - ERROR -`);
//! - in any case, between a time and a tab, two spaces, `-` or `|` (zap's console).
//!
//! The head ends after one plain word, after three where a time is among it; a plain word is made
//! of letters alone. klog's `E0102 …`, Rails' `E, [`, Redis' `#` and the priorities `<13>` of
//! syslog (RFC 3164, 4.1.1) and systemd are known by their form.

use kobel_wire::log::Level;

use super::Said;
use crate::logs::stamp;

/// How much of a line is its head at most, in bytes and in words.
const HEAD: (usize, usize) = (200, 16);

/// Reads the head of a line.
pub(super) fn read(line: &str) -> Said {
    let bytes = line.as_bytes();
    let mut head = Head { text: &bytes[..bytes.len().min(HEAD.0)], at: 0, stamp: None, plain: 0 };
    let level = head.priority().or_else(|| head.by_form()).or_else(|| head.by_word());
    let at = head.stamp.and_then(|stamp| Some((stamp.at?, stamp.zoned)));
    Said { at, level, ..Said::default() }
}

struct Head<'a> {
    text: &'a [u8],
    at: usize,
    stamp: Option<stamp::Stamp>,
    /// Plain words passed.
    plain: usize,
}

impl<'a> Head<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// `<13>`: facility times 8 and severity. The prefix is taken, whatever it says.
    fn priority(&mut self) -> Option<Level> {
        let [b'<', first, ..] = self.text else { return None };
        if !first.is_ascii_digit() {
            return None;
        }
        let end = self.text.iter().take(5).position(|b| *b == b'>')?;
        let number: u64 = std::str::from_utf8(&self.text[1..end]).ok()?.parse().ok()?;
        if number > 191 {
            return None;
        }
        self.at = end + 1;
        Level::from_syslog(number % 8)
    }

    /// Forms that are whole in themselves: klog, Rails, Redis.
    fn by_form(&mut self) -> Option<Level> {
        let text = self.rest();
        match text {
            [letter @ (b'I' | b'W' | b'E' | b'F'), m, n, d, e, b' ', time @ ..]
                if [m, n, d, e].iter().all(|c| c.is_ascii_digit())
                    && stamp::leading(time).is_some_and(|s| s.at.is_none()) =>
            {
                Level::from_letter(*letter)
            }
            [letter @ (b'D' | b'I' | b'W' | b'E' | b'F'), b',', b' ', b'[', time @ ..] => {
                self.stamp = stamp::leading(time);
                self.stamp.and_then(|_| Level::from_letter(*letter))
            }
            [first, ..] if first.is_ascii_digit() => self.redis(),
            _ => None,
        }
    }

    /// `1:M 18 Nov 2026 11:06:40.007 * Ready`: the sign is one of `.` debug, `-` verbose, `*`
    /// notice, `#` warning.
    fn redis(&mut self) -> Option<Level> {
        let text = self.rest();
        let colon = text.iter().take(8).position(|c| *c == b':')?;
        if !matches!(text.get(colon + 1..colon + 3)?, [b'M' | b'S' | b'C' | b'X', b' ']) {
            return None;
        }
        let stamp = stamp::leading(&text[colon + 3..])?;
        let sign = match text.get(colon + 3 + stamp.len..)? {
            [b' ', sign, b' ', ..] => *sign,
            _ => return None,
        };
        self.stamp = Some(stamp);
        Some(match sign {
            b'.' | b'-' => Level::Debug,
            b'*' => Level::Info,
            b'#' => Level::Warn,
            _ => return None,
        })
    }

    fn by_word(&mut self) -> Option<Level> {
        for _ in 0..HEAD.1 {
            while matches!(self.rest().first(), Some(b' ' | b'\t' | b'-' | b'|' | b'*')) {
                self.at += 1;
            }
            let rest = self.rest();
            let open = usize::from(matches!(rest.first(), Some(b'[' | b'(' | b'<')));
            if self.stamp.is_none()
                && let Some(stamp) = stamp::leading(&rest[open..])
            {
                self.stamp = Some(stamp);
                self.at += open + stamp.len;
                while matches!(self.rest().first(), Some(b']' | b')' | b':')) {
                    self.at += 1;
                }
                continue;
            }
            // What is quoted is data: the request of an access log, for one.
            if rest.is_empty() || rest[0] == b'"' {
                return None;
            }
            let end = rest.iter().position(|c| matches!(c, b' ' | b'\t')).unwrap_or(rest.len());
            if let Some(level) = self.word(open, end) {
                return Some(level);
            }
            let rest = self.rest();
            // The rest of "[pid 7]" is no words.
            let closed = rest[..end].contains(&b']');
            let to = match rest.iter().position(|c| *c == b']') {
                Some(close) if rest[0] == b'[' && !closed => close + 1,
                _ => end,
            };
            let word = rest[..end].trim_ascii_end();
            let word = word.strip_suffix(b":").or(word.strip_suffix(b",")).unwrap_or(word);
            let is_plain = rest[0] != b'['
                && word.iter().all(|c| c.is_ascii_alphabetic() || !c.is_ascii() || *c == b'\'');
            self.plain += usize::from(is_plain);
            if self.plain > if self.stamp.is_some() { 3 } else { 1 } {
                return None;
            }
            self.at += to;
        }
        None
    }

    /// The level that the next word says: `end` bytes, the first `open` of them a bracket.
    fn word(&self, open: usize, end: usize) -> Option<Level> {
        let rest = self.rest();
        let word = &rest[..end];
        if let Some(equals) = word.iter().position(|c| *c == b'=') {
            if !matches!(&word[..equals], b"level" | b"lvl" | b"severity") {
                return None;
            }
            let value = word[equals + 1..].trim_ascii();
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let letters = value.iter().position(|c| !c.is_ascii_alphabetic());
            return Level::from_word(&value[..letters.unwrap_or(value.len())]);
        }
        let mut inner = &word[open..];
        // Apache: [core:error].
        if open == 1
            && let Some(colon) = inner.iter().position(|c| *c == b':')
            && inner[colon + 1..].first().is_some_and(u8::is_ascii_alphabetic)
        {
            inner = &inner[colon + 1..];
        }
        let letters = inner.iter().position(|c| !c.is_ascii_alphabetic()).unwrap_or(inner.len());
        let (name, after) = inner.split_at(letters);
        // Most words are told apart here.
        if name.len() < 3 {
            return None;
        }
        let level = Level::from_word(name)?;
        let capitals = name.iter().all(u8::is_ascii_uppercase);
        let marked = match after.first() {
            Some(b']') => open == 1 && word[0] == b'[',
            Some(b'>') => open == 1 && word[0] == b'<',
            Some(b'|') => true,
            Some(b':') => after.len() == 1 || capitals || inner.len() != word.len() - open,
            Some(b'!') => after.len() == 1 && name.len() == 3,
            Some(b'/' | b'+') => capitals,
            Some(b')') => open == 1 && self.stamp.is_some(),
            None => false,
            Some(_) => return None,
        };
        if marked {
            return Some(level);
        }
        if !after.is_empty() {
            return None;
        }
        // Ordinary words and names, too: they need a mark.
        if matches!(
            name.to_ascii_lowercase().as_slice(),
            b"http" | b"config" | b"fine" | b"log" | b"note" | b"failure" | b"fail"
        ) {
            return None;
        }
        if capitals {
            return (self.plain == 0 || self.stamp.is_some()).then_some(level);
        }
        let delimited = matches!(&rest[end..], [b'\t', ..] | [b' ', b' ' | b'-' | b'|', ..]);
        (self.stamp.is_some() && self.plain == 0 && delimited).then_some(level)
    }
}
