//! Text without what a terminal would obey.
//!
//! Escape sequences by ECMA-48: CSI (5.4), the strings OSC, DCS, SOS, PM and APC up to their
//! terminator (5.6) or, as xterm takes it, BEL, and the escapes of two and three bytes.

use std::borrow::Cow;

/// The longest sequence in bytes. What has no end by then only loses its introducer, so that a
/// lone ESC cannot hide the rest of the line.
const LONGEST: usize = 4096;

/// The text without escape sequences, control characters other than tab, and the marks that turn
/// the direction of writing; of what a carriage return overwrites, only the last is kept.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let Some(first) = first_disturbing(text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    let mut plain = String::with_capacity(text.len());
    plain.push_str(&text[..first]);
    // Where the text begins that a carriage return makes a terminal write over.
    let mut line = 0;
    let mut returned = false;
    let mut chars = text[first..].char_indices().map(|(at, c)| (first + at, c));
    let mut skip_to = 0;
    for (at, c) in chars.by_ref() {
        if at < skip_to {
            continue;
        }
        match c {
            '\u{1b}' => skip_to = at + escape(&text.as_bytes()[at..]),
            '\u{9b}' => {
                skip_to = at + 2 + control_sequence(&text.as_bytes()[at + 2..]).unwrap_or(0);
            }
            '\r' => returned = true,
            '\n' => {
                plain.push('\n');
                (line, returned) = (plain.len(), false);
            }
            c if is_disturbing(c) => {}
            c => {
                if returned {
                    plain.truncate(line);
                    returned = false;
                }
                plain.push(c);
            }
        }
    }
    Cow::Owned(plain)
}

/// Where the first byte stands that may have to go.
fn first_disturbing(text: &[u8]) -> Option<usize> {
    // C2 begins the controls U+0080 to U+009F; D8 9C is U+061C; E2 80 and E2 81 begin the marks
    // of direction.
    text.iter().position(|&b| (b < 0x20 && b != b'\t') || matches!(b, 0x7f | 0xc2 | 0xd8 | 0xe2))
}

fn is_disturbing(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The length of the sequence at the start of `text`, which is an ESC.
fn escape(text: &[u8]) -> usize {
    match text.get(1) {
        Some(b'[') => 2 + control_sequence(&text[2..]).unwrap_or(0),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => 2 + string(&text[2..]).unwrap_or(0),
        // Three bytes: designation of a character set and the like.
        Some(b' '..=b'/') => 2 + usize::from(matches!(text.get(2), Some(0x30..=0x7e))),
        Some(0x30..=0x7e) => 2,
        _ => 1,
    }
}

/// What follows CSI: parameters, intermediates, a final byte.
fn control_sequence(text: &[u8]) -> Option<usize> {
    let end = text.iter().take(LONGEST).position(|b| !matches!(b, 0x20..=0x3f))?;
    matches!(text[end], 0x40..=0x7e).then_some(end + 1)
}

/// What follows the introducer of a string: up to BEL, ST as ESC \, or ST as U+009C.
fn string(text: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(LONGEST)];
    let end = text.iter().position(|b| matches!(b, 0x07 | 0x1b | 0xc2))?;
    match (text[end], text.get(end + 1)) {
        (0x07, _) => Some(end + 1),
        (0x1b, Some(b'\\')) | (0xc2, Some(0x9c)) => Some(end + 2),
        // Another sequence begins: xterm ends the string there.
        (0x1b, _) => Some(end),
        (_, _) => Some(end + 1 + string_rest(&text[end + 1..])?),
    }
}

/// Past a byte C2 that began another character; in a loop, not a recursion, for hostile texts.
fn string_rest(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(b) = text.get(at) {
        match (b, text.get(at + 1)) {
            (0x07, _) => return Some(at + 1),
            (0x1b, Some(b'\\')) | (0xc2, Some(0x9c)) => return Some(at + 2),
            (0x1b, _) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        let table = [
            ("plain\ttext grüße 日本", "plain\ttext grüße 日本"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[38;2;1;2;3mx\u{1b}[?25h", "x"),
            ("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\ y", "link y"),
            ("\u{1b}]0;title ß\u{9c}x", "x"),
            ("\u{1b}]0;pwn\u{1b}[31mx", "x"),
            ("\u{1b}(Bx\u{1b}=y\u{1b}", "xy"),
            ("\u{9b}31mx", "x"),
            ("\u{1b}]no end", "no end"),
            ("\u{1b}[12", "12"),
            ("\u{1b}[1\u{1b}[2mx", "1x"),
            ("10%\r50%\r100%", "100%"),
            ("done\r", "done"),
            ("a\rb\ncd\re", "b\ne"),
            ("a\u{202e}b\u{0}c\u{8}d\u{7f}e\u{2066}", "abcde"),
            ("é Â â€", "é Â â€"),
        ];
        for (text, wanted) in table {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
        let hidden = format!("\u{1b}]{}", "x".repeat(10_000));
        assert_eq!(plain(&hidden).len(), 10_000, "an endless sequence hides nothing");
    }

    proptest! {
        #[test]
        fn nothing_disturbing_is_left(text in "(\u{1b}|\u{9b}|\\[|\\]|[0-9;m\\\\]|\u{7}|\r|\n|\u{c2}|ß|x|\\PC|\\pC){0,60}") {
            let plain = plain(&text);
            prop_assert!(!plain.chars().any(|c| c != '\n' && is_disturbing(c)), "{:?}", plain);
        }
    }
}
