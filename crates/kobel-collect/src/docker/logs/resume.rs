//! Where to go on after a break, and what of it was already seen.
//!
//! The engine can be asked for lines from a time on. Its times are not quite in order: two outputs
//! are stamped by two of its threads before they meet in one file. So it is asked from a second
//! before the newest line on, and what comes is held against the lines of that second: by time and
//! hash, and as often as each was seen.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use kobel_hub::logs::RawLine;

/// How far the times of two lines may be out of order, nanoseconds.
const MARGIN: i64 = 1_000_000_000;

/// The most lines that are remembered. In a flood they reach less far back than the margin.
const REMEMBERED: usize = 16_384;

/// What to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody has seen it.
    New,
    /// It was seen before the break.
    Seen,
    /// New, and lines before it may be missing: the engine no longer had those that were seen last.
    NewAfterLoss,
}

/// The newest lines of one container.
#[derive(Debug, Default)]
pub(super) struct Resume {
    hasher: RandomState,
    /// Time and hash, in the order in which they came.
    recent: VecDeque<(i64, u64)>,
    newest: Option<i64>,
    /// The newest time of lines that were forgotten for want of room, and how many had it.
    forgotten: Option<(i64, u64)>,
    catching_up: Option<CatchingUp>,
}

/// What comes again.
#[derive(Debug)]
struct CatchingUp {
    seen: HashMap<(i64, u64), u32>,
    /// So many lines of this time were seen, whatever they were.
    skip: Option<(i64, u64)>,
    /// The newest line before the break.
    newest: i64,
    /// Whether one of those that were seen has come.
    met: bool,
}

impl Resume {
    /// From when on to ask, nanoseconds since 1970, that time included; `None` while nothing was
    /// seen.
    pub(super) fn since(&self) -> Option<i64> {
        let from = self.newest?.saturating_sub(MARGIN);
        Some(self.forgotten.map_or(from, |(at, _)| from.max(at)))
    }

    /// The stream broke: what comes next begins at [`Resume::since`].
    pub(super) fn broke(&mut self) {
        let Some(newest) = self.newest else { return };
        let since = self.since();
        let mut seen = HashMap::new();
        for line in self.recent.iter().filter(|(at, _)| Some(*at) >= since) {
            *seen.entry(*line).or_default() += 1;
        }
        let skip = self.forgotten.filter(|(at, _)| Some(*at) == since);
        self.catching_up = Some(CatchingUp { seen, skip, newest, met: false });
    }

    /// A line came.
    pub(super) fn line(&mut self, line: &RawLine) -> Verdict {
        let at = line.at.as_nanos();
        let key = (at, self.hasher.hash_one((&line.text, line.stream, line.cut)));
        let mut verdict = Verdict::New;
        if let Some(before) = &mut self.catching_up {
            if let Some(times) = before.seen.get_mut(&key).filter(|times| **times > 0) {
                *times -= 1;
                before.met = true;
                return Verdict::Seen;
            }
            if let Some((_, left)) = before.skip.as_mut().filter(|(t, left)| *t == at && *left > 0)
            {
                *left -= 1;
                before.met = true;
                return Verdict::Seen;
            }
            if at > before.newest && !before.met {
                before.met = true;
                verdict = Verdict::NewAfterLoss;
            }
            if at > before.newest.saturating_add(MARGIN) {
                self.catching_up = None;
            }
        }
        self.remember(key);
        verdict
    }

    fn remember(&mut self, key: (i64, u64)) {
        let newest = self.newest.map_or(key.0, |newest| newest.max(key.0));
        self.newest = Some(newest);
        self.recent.push_back(key);
        while self.recent.front().is_some_and(|(at, _)| *at < newest.saturating_sub(MARGIN)) {
            self.recent.pop_front();
        }
        if self.recent.len() > REMEMBERED
            && let Some((at, _)) = self.recent.pop_front()
        {
            match &mut self.forgotten {
                Some((known, count)) if *known == at => *count += 1,
                // Not asked for again.
                Some((known, _)) if *known > at => {}
                other => *other = Some((at, 1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kobel_wire::log::{LogOutput, LogTime};
    use proptest::prelude::*;

    use super::*;

    fn line(at: i64, text: &str) -> RawLine {
        let (at, stream) = (LogTime::from_nanos(at), LogOutput::Stdout);
        RawLine { at, stream, text: text.into(), cut: 0 }
    }

    /// An engine: all lines in the order of its file.
    fn from(file: &[RawLine], since: Option<i64>) -> impl Iterator<Item = &RawLine> {
        file.iter().filter(move |line| since.is_none_or(|since| line.at.as_nanos() >= since))
    }

    /// What is new when the stream breaks after each so many lines, and then is read to the end.
    fn follow(file: &[RawLine], breaks: &[usize]) -> (Vec<RawLine>, bool) {
        let (mut resume, mut new, mut lost) = (Resume::default(), Vec::new(), false);
        for upto in breaks.iter().chain([&usize::MAX]) {
            for line in from(file, resume.since()).take(*upto) {
                let verdict = resume.line(line);
                lost |= verdict == Verdict::NewAfterLoss;
                if verdict != Verdict::Seen {
                    new.push(line.clone());
                }
            }
            resume.broke();
        }
        (new, lost)
    }

    #[test]
    fn equal_lines_of_an_equal_time_count_each() {
        let file: Vec<_> =
            ["a", "b", "b", "a", "b"].into_iter().map(|text| line(5, text)).collect();
        for upto in 0..=5 {
            assert_eq!(follow(&file, &[upto]), (file.clone(), false), "{upto}");
            assert_eq!(follow(&file, &[upto, 1, 3]), (file.clone(), false), "{upto}");
        }
    }

    #[test]
    fn a_flood_within_one_stamp() {
        let file: Vec<_> = (0..40_000).map(|n| line(5, &n.to_string())).collect();
        assert_eq!(follow(&file, &[30_000]), (file.clone(), false));
        let file: Vec<_> = (0..60_000).map(|n| line(n / 20_000, &n.to_string())).collect();
        assert_eq!(follow(&file, &[50_000, 10, 30_000]), (file.clone(), false));
    }

    #[test]
    fn what_the_engine_threw_away_is_noticed() {
        let (mut resume, s) = (Resume::default(), MARGIN);
        assert_eq!(resume.since(), None);
        assert_eq!(resume.line(&line(10 * s, "a")), Verdict::New);
        assert_eq!(resume.since(), Some(9 * s));
        resume.broke();
        assert_eq!(resume.line(&line(10 * s + 5, "c")), Verdict::NewAfterLoss);
        assert_eq!(resume.line(&line(10 * s + 6, "d")), Verdict::New, "said once");
        resume.broke();
        assert_eq!(resume.line(&line(10 * s + 6, "d")), Verdict::Seen);
        assert_eq!(resume.line(&line(10 * s + 7, "e")), Verdict::New);
    }

    proptest! {
        /// Whatever breaks where, each line is new exactly once; also when times are out of order.
        #[test]
        fn nothing_is_lost_or_repeated(
            steps in prop::collection::vec((0..400_i64, -300..1_i64, 0..3_u8), 0..60),
            breaks in prop::collection::vec(0..40_usize, 0..6),
        ) {
            let mut now = 0;
            let file: Vec<_> = steps
                .iter()
                .map(|(step, early, text)| {
                    now += step * 1_000_000;
                    line((now + early * 1_000_000).max(0), &text.to_string())
                })
                .collect();
            let (mut new, lost) = follow(&file, &breaks);
            let mut wanted = file;
            let key = |line: &RawLine| (line.at, line.text.clone());
            new.sort_by_key(key);
            wanted.sort_by_key(key);
            prop_assert_eq!(new, wanted);
            prop_assert!(!lost);
        }
    }
}
