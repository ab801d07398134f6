//! The text of many lines, with its numbers set apart.
//!
//! Lines of one container are made by a few statements: the words repeat, the numbers do not.
//! Numbers among the words hide the repetition from the compressor, and a random hexadecimal id
//! written in text costs it more than its bytes. So numbers go into columns of their own, by their
//! place in the line, and a sign stands for each in the text. It is the idea of CLP (Rodrigues, Luo,
//! Yuan, OSDI 2021) without its dictionaries: on the lines of the bench it makes zstd's output
//! a quarter smaller.

use super::bytes::{Damaged, Input, put};

/// Stands for a decimal number; its count of digits follows.
const DECIMAL: u8 = 1;
/// Stands for an even count of hexadecimal digits; the count follows.
const HEX: u8 = 2;
/// The next byte stands for itself.
const LITERAL: u8 = 3;

/// The most columns; what is further right in a line stays in the text.
const COLUMNS: usize = 64;

/// The most digits of a decimal number: it fits 64 bits.
const DIGITS: usize = 18;

/// The fewest and the most hexadecimal digits.
const HEX_DIGITS: std::ops::RangeInclusive<usize> = 8..=64;

/// Lines being taken apart.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    text: Vec<u8>,
    columns: Vec<Vec<u8>>,
}

impl Shapes {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        let bytes = line.as_bytes();
        let (mut at, mut column) = (0, 0);
        while at < bytes.len() {
            if !bytes[at].is_ascii_alphanumeric() {
                if bytes[at] <= LITERAL {
                    self.text.push(LITERAL);
                }
                self.text.push(bytes[at]);
                at += 1;
                continue;
            }
            let rest = &bytes[at..];
            let len = rest.iter().position(|c| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let word = &rest[..len];
            at += len;
            let digits = word.iter().position(|c| !c.is_ascii_digit()).unwrap_or(len);
            if column >= COLUMNS {
                self.text.extend_from_slice(word);
            } else if digits < len && is_hex(word) {
                self.text.extend_from_slice(&[HEX, len as u8]);
                let into = column_of(&mut self.columns, &mut column);
                into.extend(word.chunks_exact(2).map(|two| nibble(two[0]) << 4 | nibble(two[1])));
            } else {
                // 12ms, 05T11: what stands before the letters; a longer one in part.
                let digits = digits.min(DIGITS);
                if digits > 0 {
                    let number = word[..digits]
                        .iter()
                        .fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
                    self.text.extend_from_slice(&[DECIMAL, digits as u8]);
                    put(column_of(&mut self.columns, &mut column), number);
                }
                self.text.extend_from_slice(&word[digits..]);
            }
        }
        self.text.push(0);
    }

    /// Writes all of it behind `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, self.columns.len() as u64);
        for part in std::iter::once(&self.text).chain(&self.columns) {
            put(out, part.len() as u64);
        }
        for part in std::iter::once(&self.text).chain(&self.columns) {
            out.extend_from_slice(part);
        }
    }
}

fn column_of<'a>(columns: &'a mut Vec<Vec<u8>>, column: &mut usize) -> &'a mut Vec<u8> {
    if *column == columns.len() {
        columns.push(Vec::new());
    }
    *column += 1;
    &mut columns[*column - 1]
}

fn is_hex(word: &[u8]) -> bool {
    HEX_DIGITS.contains(&word.len())
        && word.len().is_multiple_of(2)
        && word.iter().any(u8::is_ascii_digit)
        && word.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

fn nibble(digit: u8) -> u8 {
    if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 }
}

/// Reads `lines` lines, each handed to `each`; they may take `most` bytes together.
pub(super) fn read(
    input: &mut Input<'_>,
    lines: usize,
    most: usize,
) -> Result<(String, Vec<u32>), Damaged> {
    let columns = input.number()?;
    if columns > COLUMNS as u64 {
        return Err(Damaged);
    }
    let mut lens = Vec::with_capacity(columns as usize + 1);
    for _ in 0..=columns {
        lens.push(usize::try_from(input.number()?).map_err(|_| Damaged)?);
    }
    let mut text = Input::new(input.take(lens[0])?);
    let mut parts = Vec::with_capacity(lens.len() - 1);
    for len in &lens[1..] {
        parts.push(Input::new(input.take(*len)?));
    }
    let mut out = Vec::with_capacity((lens[0] * 2).min(most));
    let mut ends = Vec::with_capacity(lines);
    for _ in 0..lines {
        let mut column = parts.iter_mut();
        loop {
            // Words, up to the next sign.
            out.extend_from_slice(text.until(|byte| byte <= LITERAL)?);
            match text.byte()? {
                0 => break,
                DECIMAL => {
                    let digits = text.byte()? as usize;
                    let number = column.next().ok_or(Damaged)?.number()?;
                    decimal(number, digits, &mut out)?;
                }
                HEX => {
                    let digits = text.byte()? as usize;
                    for byte in column.next().ok_or(Damaged)?.take(digits / 2)? {
                        const HEX: &[u8; 16] = b"0123456789abcdef";
                        out.push(HEX[usize::from(byte >> 4)]);
                        out.push(HEX[usize::from(byte & 15)]);
                    }
                }
                _ => out.push(text.byte()?),
            }
        }
        if out.len() > most {
            return Err(Damaged);
        }
        ends.push(out.len() as u32);
    }
    let text = String::from_utf8(out).map_err(|_| Damaged)?;
    // An end within a character would be of another writer.
    if ends.iter().any(|end| !text.is_char_boundary(*end as usize)) {
        return Err(Damaged);
    }
    Ok((text, ends))
}

fn decimal(number: u64, digits: usize, out: &mut Vec<u8>) -> Result<(), Damaged> {
    if digits > DIGITS {
        return Err(Damaged);
    }
    let mut buffer = [b'0'; DIGITS];
    let (mut number, mut at) = (number, DIGITS);
    while number > 0 && at > 0 {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&buffer[DIGITS - digits..]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(lines: &[String]) -> Result<Vec<String>, Damaged> {
        let mut shapes = Shapes::default();
        lines.iter().for_each(|line| shapes.push(line));
        let mut bytes = Vec::new();
        shapes.write(&mut bytes);
        read_all(&bytes, lines.len())
    }

    fn read_all(bytes: &[u8], lines: usize) -> Result<Vec<String>, Damaged> {
        let (text, ends) = read(&mut Input::new(bytes), lines, 1 << 20)?;
        let mut from = 0;
        Ok(ends
            .into_iter()
            .map(|end| {
                let line = text[from..end as usize].to_owned();
                from = end as usize;
                line
            })
            .collect())
    }

    #[test]
    fn each_kind_of_number_comes_back() {
        let lines: Vec<String> = [
            "",
            "2026-11-18T11:06:40.000700Z took=12ms 007 0 00",
            "123456789012345678 1234567890123456789 99999999999999999999999",
            "9f3a00bc9f3a00bc 9F3A00BC deadbeef 0123456789abcdef012 a1",
            "\u{0}\u{1}\u{2}\u{3}\u{4} grüße 1ü2",
        ]
        .map(str::to_owned)
        .into();
        assert_eq!(back(&lines).unwrap(), lines);
        let many = vec![(0..200).map(|n| format!("{n} ")).collect::<String>()];
        assert_eq!(back(&many).unwrap(), many);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(lines in prop::collection::vec("([0-9a-f]{0,20}|\\PC{0,5}|[\u{0}-\u{5}])*", 0..20)) {
            prop_assert_eq!(back(&lines).unwrap(), lines);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), lines in 0_usize..50) {
            let _ = read_all(&bytes, lines);
        }
    }
}
