//! Takes the answers of a loop apart. No I/O; whatever the host sends, it is bounded.

use memchr::memchr;

/// The longest line that is kept, bytes; the rest of a longer one is dropped.
const LINE: usize = 16 << 10;

/// The longest answer, bytes. Ten thousand processes fit.
const ANSWER: usize = 2 << 20;

/// The most that may come outside of an answer, such as a greeting of the login shell, bytes.
const NOISE: usize = 256 << 10;

/// Why what a host sends is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// Not what was asked.
    #[error("it answers something else than what was asked")]
    WrongSeq,
    /// Too much in one answer.
    #[error("its answer is longer than 2 MB")]
    TooLong,
    /// Too much before an answer.
    #[error("it says more than 256 KB that nobody asked for")]
    TooMuchNoise,
}

/// Reads the stream of one loop.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    line: Vec<u8>,
    /// The answer that is read, and the number that it must end with.
    answer: Option<(u64, String)>,
    expected: Option<u64>,
    noise: usize,
    /// The newest line that was no part of an answer.
    aside: String,
}

impl Framing {
    /// The answer with this number is the next one.
    pub(crate) fn expect(&mut self, seq: u64) {
        self.expected = Some(seq);
    }

    /// The newest line that was no part of an answer: where there is no answer at all, it may say why.
    pub(crate) fn last_words(&self) -> String {
        let rest = String::from_utf8_lossy(&self.line);
        let words = if rest.trim().is_empty() { &self.aside } else { rest.as_ref() };
        words.trim().to_owned()
    }

    /// Takes bytes; gives the answer, once it is whole.
    ///
    /// # Errors
    /// When the host does not keep to the rules. The stream is of no use after that.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<String>, FramingError> {
        let mut whole = None;
        while let Some(end) = memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Some(answer) = self.line(&line)? {
                // An answer that nobody asked for is found out when its number is looked at.
                whole = Some(answer);
            }
            self.line = line;
            self.line.clear();
        }
        self.keep(bytes);
        Ok(whole)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if self.answer.is_none() {
            self.noise = self.noise.saturating_add(bytes.len());
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<String>, FramingError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let numbered = |mark: &[u8]| -> Option<u64> {
            std::str::from_utf8(line.strip_prefix(mark)?).ok()?.parse().ok()
        };
        match &mut self.answer {
            None => {
                if let Some(seq) = numbered(b"@B ") {
                    if self.expected != Some(seq) {
                        return Err(FramingError::WrongSeq);
                    }
                    self.noise = 0;
                    self.answer = Some((seq, String::new()));
                    return Ok(None);
                }
                if self.noise > NOISE {
                    return Err(FramingError::TooMuchNoise);
                }
                self.aside = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                Ok(None)
            }
            Some((seq, text)) => {
                if let Some(end) = numbered(b"@E ") {
                    if end != *seq {
                        return Err(FramingError::WrongSeq);
                    }
                    self.expected = None;
                    return Ok(self.answer.take().map(|(_, text)| text));
                }
                if text.len() + line.len() > ANSWER {
                    return Err(FramingError::TooLong);
                }
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_found_in_the_noise() {
        let mut framing = Framing::default();
        framing.expect(1);
        assert_eq!(framing.feed(b"Welcome!\r\n@B x\n\x1b[2J\n@B 1\r\na:1\nb").unwrap(), None);
        assert_eq!(framing.feed(b":2\n@E 1\n").unwrap().as_deref(), Some("a:1\nb:2\n"));
        framing.expect(2);
        assert_eq!(framing.feed(b"@B 2\n@E 2\n").unwrap().as_deref(), Some(""));
    }

    #[test]
    fn a_host_that_does_not_keep_to_the_rules_is_found_out() {
        let feed = |bytes: &[u8]| {
            let mut framing = Framing::default();
            framing.expect(5);
            framing.feed(bytes)
        };
        assert_eq!(feed(b"@B 4\n"), Err(FramingError::WrongSeq));
        assert_eq!(feed(b"@B 5\n@E 6\n"), Err(FramingError::WrongSeq));
        assert_eq!(feed(b"@B 5\n@E 5\n@B 5\n"), Err(FramingError::WrongSeq));
        let long = [b"@B 5\n".to_vec(), b"x".repeat(LINE).repeat(2)].concat();
        assert_eq!(feed(&long), Ok(None));
        let endless = [b"@B 5\n".to_vec(), b"xxxxxxx\n".repeat(ANSWER / 8 + 1)].concat();
        assert_eq!(feed(&endless), Err(FramingError::TooLong));
        assert_eq!(feed(&b"hello\n".repeat(NOISE / 4)), Err(FramingError::TooMuchNoise));
    }

    #[test]
    fn a_line_without_an_end_costs_no_memory() {
        let mut framing = Framing::default();
        framing.expect(1);
        framing.feed(b"@B 1\n").unwrap();
        for _ in 0..100 {
            framing.feed(&[b'x'; 100_000]).unwrap();
        }
        assert!(framing.line.capacity() <= 2 * LINE);
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same(cuts in prop::collection::vec(0_usize..40, 0..6)) {
            let bytes = b"motd\n@B 3\n/proc/stat:cpu 1 2\n@C\n@E 3\nx";
            let mut framing = Framing::default();
            framing.expect(3);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let answers: Vec<_> =
                cuts.windows(2).filter_map(|w| framing.feed(&bytes[w[0]..w[1]]).unwrap()).collect();
            prop_assert_eq!(answers, ["/proc/stat:cpu 1 2\n@C\n"]);
        }

        #[test]
        fn nothing_brings_it_down(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut framing = Framing::default();
            framing.expect(1);
            let _ = framing.feed(&bytes);
        }
    }
}
