use proptest::prelude::*;

use super::*;

const NOW: LogTime = LogTime::from_nanos(7);
const AT: &str = "2026-11-18T11:06:40.007000001Z";
const LATER: &str = "2026-11-18T11:06:40.007000002Z";
const AT_NS: i64 = 1_795_000_000_007_000_001;

fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [[kind, 0, 0, 0].as_slice(), &length, text].concat()
}

/// A line as Docker sends it, in its parts.
fn sent(kind: u8, stamp: &str, line: &[u8]) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> =
        line.chunks(PART).map(|part| [stamp.as_bytes(), b" ", part].concat()).collect();
    if line.is_empty() {
        parts.push(format!("{stamp} ").into());
    }
    if kind == 9 {
        return [parts.concat().as_slice(), b"\n"].concat();
    }
    parts.last_mut().unwrap().push(b'\n');
    parts.iter().flat_map(|part| frame(kind, part)).collect()
}

/// The lines of these bytes, which come in pieces of `size`.
fn read(tty: bool, bytes: &[u8], size: usize) -> Vec<RawLine> {
    let (mut framing, mut out) = (Framing::new(tty, Parts::Alike), Vec::new());
    for chunk in bytes.chunks(size) {
        framing.feed(NOW, chunk, &mut out).unwrap();
    }
    framing.finish(NOW, &mut out);
    out
}

fn texts(lines: &[RawLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn lines_with_their_time_and_output() {
    let bytes = [
        sent(1, AT, b"one\r"),
        sent(2, LATER, "grüße".as_bytes()),
        sent(1, LATER, b""),
        frame(1, b"no stamp\n"),
        frame(1, b"x"),
        frame(1, format!("{LATER} cut short").as_bytes()),
    ]
    .concat();
    let lines = read(false, &bytes, 1000);
    assert_eq!(texts(&lines), ["one", "grüße", "", "no stamp", "x", "cut short"]);
    assert_eq!((lines[0].at.as_nanos(), lines[0].stream), (AT_NS, LogOutput::Stdout));
    assert_eq!((lines[1].at.as_nanos(), lines[1].stream), (AT_NS + 1, LogOutput::Stderr));
    assert_eq!((lines[3].at, lines[5].at.as_nanos()), (NOW, AT_NS + 1));
}

#[test]
fn parts_are_joined_and_a_process_that_ended_without_a_line_feed_is_not() {
    let long = "x".repeat(40_000);
    for (tty, kind) in [(false, 1), (true, 9)] {
        for size in [1, 7, 16_384, 100_000] {
            let bytes = [sent(kind, AT, long.as_bytes()), sent(kind, LATER, b"next")].concat();
            let lines = read(tty, &bytes, size);
            assert_eq!(texts(&lines), [&long, "next"], "{tty} {size}");
            assert_eq!(lines[0].at.as_nanos(), AT_NS);
        }
    }
    let unfinished = frame(1, format!("{AT} unfinished").as_bytes());
    let bytes = [unfinished, sent(1, LATER, b"next")].concat();
    assert_eq!(texts(&read(false, &bytes, 9)), ["unfinished", "next"]);
    // Podman stamps each part by itself.
    let (mut framing, mut out) = (Framing::new(false, Parts::Apart), Vec::new());
    framing.feed(NOW, &bytes, &mut out).unwrap();
    assert_eq!(texts(&out), ["unfinishednext"]);
}

#[test]
fn a_terminal_has_no_frames() {
    let like_a_header = sent(9, AT, b"\x01\0\0\0\0\0\0\x01");
    let bytes = [like_a_header, sent(9, AT, b"$ ls\r"), format!("{LATER} $ ").into()].concat();
    assert_eq!(texts(&read(true, &bytes, 3)), ["\x01\0\0\0\0\0\0\x01", "$ ls", "$ "]);
    // What looks like a stamp where a part could begin, but is another.
    let line = [&"x".repeat(PART), "2026-11-18T11:06:4", "y"].concat();
    let bytes = format!("{AT} {line}\n");
    assert_eq!(texts(&read(true, bytes.as_bytes(), 5)), [&line]);
    let bytes = &bytes.as_bytes()[..bytes.len() - 2];
    assert_eq!(texts(&read(true, bytes, 5)), [&line[..line.len() - 1]]);
}

#[test]
fn long_lines_are_cut_and_the_rest_counted() {
    for (tty, kind) in [(false, 2), (true, 9)] {
        // The cut falls into the middle of a character.
        let long = [&"x".repeat(LINE_BYTES - 1), "ü", &"y".repeat(1_000_000)].concat();
        let bytes = [sent(kind, AT, long.as_bytes()), sent(kind, LATER, b"next")].concat();
        let lines = read(tty, &bytes, 100_000);
        assert_eq!(lines[0].text, "x".repeat(LINE_BYTES - 1));
        assert_eq!(lines[0].cut as usize, long.len() - lines[0].text.len());
        assert_eq!((lines[1].text.as_str(), lines[1].cut), ("next", 0));
    }
}

#[test]
fn rubbish_is_text() {
    let rubbish: Vec<u8> = (0..=255).filter(|b| *b != b'\n').collect();
    let lines = read(false, &sent(1, AT, &rubbish), 10);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].text.contains("0123") && lines[0].text.contains('\u{fffd}'));
    let mut framing = Framing::new(false, Parts::Alike);
    assert!(framing.feed(NOW, &rubbish, &mut Vec::new()).is_err());
}

proptest! {
    /// Any split of the bytes gives the same lines.
    #[test]
    fn any_split_gives_the_same_lines(
        tty in any::<bool>(),
        lines in prop::collection::vec(
            (1..=2_u8, 0..3_usize, prop::collection::vec(any::<u8>(), 0..60), prop_oneof![Just(0_usize), PART - 70..PART + 70]),
            0..8,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        rest in 0..60_usize,
    ) {
        let bytes: Vec<u8> = lines
            .iter()
            .flat_map(|(kind, stamp, text, filler)| {
                let mut line: Vec<u8> = vec![b'f'; *filler];
                line.extend(text.iter().filter(|b| **b != b'\n'));
                let stamp = [AT, LATER, "2026-11-18T11:06:41Z"][*stamp];
                sent(if tty { 9 } else { *kind }, stamp, &line)
            })
            .collect();
        // Ends anywhere.
        let bytes = &bytes[..bytes.len().saturating_sub(rest)];
        let whole = read(tty, bytes, usize::MAX);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let (mut framing, mut out) = (Framing::new(tty, Parts::Alike), Vec::new());
        for pair in cuts.windows(2) {
            framing.feed(NOW, &bytes[pair[0]..pair[1]], &mut out).unwrap();
        }
        framing.finish(NOW, &mut out);
        prop_assert_eq!(out, whole);
        prop_assert_eq!(read(tty, bytes, 1), read(tty, bytes, usize::MAX));
    }

    #[test]
    fn any_bytes_are_read_or_refused(tty in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut framing = Framing::new(tty, Parts::Alike);
        let _ = framing.feed(NOW, &bytes, &mut Vec::new());
        framing.finish(NOW, &mut Vec::new());
    }
}
