//! Whatever happens to the files.

use std::{collections::BTreeSet, ops::ControlFlow};

use kobel_wire::log::{LogOutput, LogTime};
use proptest::prelude::*;

use super::*;
use crate::logs::{
    RawLine, line,
    store::{LogSearch, SearchEvent, search::search},
};

const AT: i64 = 1_795_000_000_000_000_000;

pub(in crate::logs::store) fn identity(n: u8) -> Arc<LogIdentity> {
    Arc::new(LogIdentity {
        device_uuid: "0198c0de-0000-7000-8000-0000000000ab".parse().unwrap(),
        device_name: "nest".into(),
        container_id: format!("{n:02x}").repeat(32).parse().unwrap(),
        name: format!("web-{n}"),
        image: "shop/web:1".into(),
        project: Some("shop".into()),
        service: None,
    })
}

pub(in crate::logs::store) fn entry(n: i64, text: &str) -> Arc<LogLine> {
    let (at, stream) = (LogTime::from_nanos(AT + n * 1_000_000), LogOutput::Stdout);
    Arc::new(line::read(RawLine { at, stream, text: text.into(), cut: 0 }))
}

fn position(n: i64) -> Option<LogPosition> {
    Some(LogPosition { since: n, seen: 1, newest: n })
}

struct Nest {
    folder: tempfile::TempDir,
    writer: Writer,
    catalog: SharedCatalog,
    recovered: Recovered,
    now: SystemTime,
    keep: Keep,
}

impl Nest {
    fn new(keep: Keep) -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        Self::open(folder, keep, now)
    }

    fn open(folder: tempfile::TempDir, keep: Keep, now: SystemTime) -> Self {
        let catalog = SharedCatalog::default();
        let (writer, recovered) = Writer::open(folder.path(), keep, catalog.clone(), now).unwrap();
        Self { folder, writer, catalog, recovered, now, keep }
    }

    /// As after a kill: nothing is packed, nothing is told.
    fn again(self) -> Self {
        let Self { folder, writer, now, keep, .. } = self;
        drop(writer);
        Self::open(folder, keep, now)
    }

    fn write(&mut self, stream: u8, numbers: std::ops::Range<i64>) {
        let last = numbers.end;
        let lines = numbers.map(|n| entry(n, &format!("line {n} of {stream}"))).collect();
        let batch = Batch { identity: identity(stream), lines, position: position(last) };
        self.writer.append(&[batch], self.now).unwrap();
    }

    /// All that is found, newest first: number and text.
    fn found(&self) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        search(&self.catalog, &LogSearch::default(), &|_| true, &mut |event| {
            if let SearchEvent::Found(line) = event {
                found.push((line.line.seq, line.line.message.clone()));
            }
            ControlFlow::Continue(())
        });
        found
    }

    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with(kind));
        files.sort();
        files
    }
}

fn wanted(stream: u8, numbers: std::ops::Range<i64>) -> Vec<(u64, String)> {
    numbers.rev().map(|n| (n as u64 + 1, format!("line {n} of {stream}"))).collect()
}

#[test]
fn a_kill_loses_and_repeats_nothing() {
    let mut nest = Nest::new(Keep::default());
    let mut last = 0;
    for round in 1..=7 {
        // Of these 4,096 go into a block each time.
        nest.write(1, last..last + 3_000);
        last += 3_000;
        nest.write(2, round..round + 1);
        nest = nest.again();
        assert_eq!(nest.recovered.damaged, 0);
        let (one, two): (Vec<_>, Vec<_>) =
            nest.found().into_iter().partition(|(_, text)| text.ends_with("of 1"));
        assert_eq!(one, wanted(1, 0..last));
        assert_eq!(two.len() as i64, round);
        let catalog = nest.catalog.lock();
        let stream = &catalog.streams[&StreamKey::of(&identity(1).stream())];
        assert_eq!((stream.next, stream.position), (last as u64 + 1, position(last)));
    }
    nest.writer.finish(nest.now).unwrap();
    assert_eq!(nest.files(JOURNAL).len(), 0);
    let nest = nest.again();
    assert_eq!((nest.found().len() as i64, nest.recovered.lines), (last + 7, 0));
}

#[test]
fn a_segment_that_begins_while_lines_are_in_the_journal() {
    let mut nest = Nest::new(Keep::default());
    nest.write(2, 0..10);
    nest.write(1, 0..5_000);
    // It names the other, too, whose lines are not in it.
    assert_eq!(nest.files(SEGMENT).len(), 1);
    let nest = nest.again();
    assert_eq!(nest.found().len(), 5_010);
}

#[test]
fn the_oldest_goes_when_there_is_too_much() {
    let keep = Keep { bytes: 1 << 20, ..Keep::default() };
    let mut nest = Nest::new(keep);
    let mut random = 1_u64;
    for n in 0..100 {
        let lines = (0..1_000)
            .map(|k| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                entry(n * 1_000 + k, &format!("{random:016x} {:016x}", random.rotate_left(17)))
            })
            .collect();
        let batch = Batch { identity: identity(1), lines, position: position(n) };
        nest.writer.append(&[batch], nest.now).unwrap();
        assert!(nest.writer.bytes() <= keep.bytes + (200 << 10), "{}", nest.writer.bytes());
    }
    let on_disk: u64 = nest.files("").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(on_disk, nest.writer.bytes());
    let found = nest.found();
    assert!(found.len() > 20_000 && found.len() < 99_000, "{}", found.len());
    assert_eq!(found[0].0, 100_000, "the newest stay");
    let nest = nest.again();
    assert_eq!(nest.found(), found);
}

#[test]
fn what_is_old_goes_and_its_position_stays_while_it_is_followed() {
    let keep = Keep { age: Duration::from_secs(3 * 86_400), ..Keep::default() };
    let mut nest = Nest::new(keep);
    nest.write(1, 0..10);
    nest.write(2, 0..10);
    nest.writer.forget(StreamKey::of(&identity(2).stream()));
    for day in 1..=6 {
        nest.now += Duration::from_secs(86_401);
        nest.write(3, day * 10..day * 10 + 10);
        nest.writer.pack(nest.now).unwrap();
    }
    let texts: BTreeSet<_> = nest.found().into_iter().map(|(_, text)| text).collect();
    assert!(!texts.contains("line 0 of 1") && !texts.contains("line 0 of 2"));
    assert!(texts.contains("line 60 of 3"));
    // The files say when they were written by the clock of this machine.
    nest.now = SystemTime::now();
    let nest = nest.again();
    let catalog = nest.catalog.lock();
    let known = |n| catalog.streams.get(&StreamKey::of(&identity(n).stream()));
    assert_eq!(known(1).and_then(|stream| stream.position), position(10));
    assert_eq!(known(1).map(|stream| stream.next), Some(11));
    assert!(known(2).is_none());
}

#[test]
fn a_container_with_another_name_keeps_its_log() {
    let mut nest = Nest::new(Keep::default());
    nest.write(1, 0..10);
    let renamed = Arc::new(LogIdentity { name: "shop".into(), ..LogIdentity::clone(&identity(1)) });
    let batch = Batch { identity: renamed, lines: vec![entry(20, "x")], position: None };
    nest.writer.append(&[batch], nest.now).unwrap();
    let nest = nest.again();
    assert_eq!(nest.found().len(), 11);
    let catalog = nest.catalog.lock();
    assert_eq!(catalog.streams[&StreamKey::of(&identity(1).stream())].identity.name, "shop");
}

/// A nest with lines in blocks and in a journal, and which file to damage.
fn written(journal: bool) -> (Nest, PathBuf, Vec<(u64, String)>) {
    let mut nest = Nest::new(Keep::default());
    nest.write(1, 0..300);
    nest.writer.finish(nest.now).unwrap();
    for n in 3..6 {
        nest.write(1, n * 100..n * 100 + 100);
        if !journal {
            nest.writer.finish(nest.now).unwrap();
        }
    }
    let file = nest.files(if journal { JOURNAL } else { SEGMENT }).pop().unwrap();
    let all = nest.found();
    assert_eq!(all.len(), 600);
    (nest, file, all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is cut off or changed: what was whole before it is found, and nothing is made up.
    #[test]
    fn damage_costs_what_is_damaged(journal: bool, cut: bool, at in 0.0..1.0_f64, bit in 0..8_u8) {
        let (nest, file, all) = written(journal);
        let mut bytes = fs::read(&file).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        // Whole records before the damage.
        let before = record::scan(&File::open(&file).unwrap()).unwrap();
        let whole: u64 = before
            .records
            .iter()
            .filter(|found| found.body.0 + u64::from(found.body.1) <= at as u64)
            .filter_map(|found| match &found.head {
                Head::Lines(head) => Some(u64::from(head.count)),
                Head::Stream(_) => None,
            })
            .sum();
        fs::write(&file, bytes).unwrap();
        let mut nest = nest.again();
        let found = nest.found();
        let known: BTreeSet<_> = all.iter().collect();
        prop_assert!(found.iter().all(|line| known.contains(line)), "made up");
        let once: BTreeSet<_> = found.iter().collect();
        prop_assert_eq!(once.len(), found.len(), "repeated");
        let others = if journal { 300 } else { 0 };
        // A stream that is not named any more has no lines.
        let named = before.records.first().is_some_and(|found| found.body.0 <= at as u64);
        if named {
            prop_assert!(found.len() as u64 >= whole + others, "{} < {whole} + {others}", found.len());
        }
        // And it goes on.
        nest.write(1, 600..700);
        let nest = nest.again();
        prop_assert!(nest.found().len() >= found.len() + 100);
    }
}
